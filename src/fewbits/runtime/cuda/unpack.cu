// A packed weight as a plain matrix: a warp a tile at a time. Compiled with KIND and OUT (0: bf16, 1: f16, 2: f32).
__constant__ u32 BOOK[16];

struct Problem {
  const char *words, *meta;
  char* y;
  int rows, cols, tiles, kbs, m;
};
#define SIZE (OUT == 2 ? 4 : 2)
#define PITCH (64 * SIZE + 32)  // of a row in shared memory: no two lanes of a half warp write to the same banks
DEV void place(char* to, const float (&v)[4]) {
#if OUT == 2
  *(float4*)to = make_float4(v[0], v[1], v[2], v[3]);
#elif OUT == 1
  *(uint2*)to = make_uint2(halves(v[0], v[1]), halves(v[2], v[3]));
#else
  *(uint2*)to = make_uint2(bhalves(v[0], v[1]), bhalves(v[2], v[3]));
#endif
}
struct Asked {
  Codes<KIND> c;
  uint2 m;
  DEV void load(const Problem& q, int n, int groups, int lane) {
    c.load(q.words + (u64)n * 128 * (KIND == NF4 ? 4 : KIND), lane);
    m = ((const uint2*)(q.meta + ((u64)(n / q.kbs) * groups + (n % q.kbs >> q.m)) * 64))[lane >> 2];
  }
  DEV void values(const u32* book, char* to, int g, int t) const {
    u32 a[4][4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
#if KIND == NF4
#pragma unroll
      for (int i = 0; i < 4; i++) a[j][i] = (j == 0 ? c.w.x : j == 1 ? c.w.y : j == 2 ? c.w.z : c.w.w) >> (4 * i);
#else
      c.step(j, a[j], book);
#endif
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const u32 pair = i & 1 ? m.y : m.x;
        const float scale = half_to_float(pair), zero = high_to_float(pair);
        float v[4];
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const u32 x = a[j][i] >> (16 * h);
#if KIND == NF4
          v[j] = __uint_as_float(book[x & 15]) * scale;
#else
          const float code = (half_to_float(x) - Codes<KIND>::BASE) * (i & 1 ? 1.f / Codes<KIND>::FACTOR : 1.f);
          v[j] = __fmul_rn(__fsub_rn(code, zero), scale);
#endif
        }
        place(to + (g + 8 * (i & 1)) * PITCH + (32 * (i >> 1) + 16 * h + 4 * t) * SIZE, v);
      }
  }
};
// A tile goes out through shared memory, a row's 64 values side by side.
extern "C" __global__ void __launch_bounds__(256) unpack(const __grid_constant__ Problem q) {
  __shared__ u32 book[16];
  __shared__ __align__(16) char room[8][16 * PITCH];
  if (threadIdx.x < 16) book[threadIdx.x] = BOOK[threadIdx.x];
  __syncthreads();
  constexpr int LANES = 64 * SIZE / 16, EACH = 16 / SIZE;  // lanes of a row, and values of a lane
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, groups = ((q.kbs - 1) >> q.m) + 1;
  const int total = q.tiles * q.kbs, step = gridDim.x * 8, k = lane % LANES * EACH;
  int n = blockIdx.x * 8 + warp;
  if (n >= total) return;
  Asked next;
  next.load(q, n, groups, lane);
  for (; n < total; n += step) {
    const Asked now = next;
    if (n + step < total) next.load(q, n + step, groups, lane);
    now.values(book, room[warp], lane >> 2, lane & 3);
    __syncwarp();
    const int col = n % q.kbs * 64 + k;
#pragma unroll
    for (int i = 0; i < 16; i += 32 / LANES) {
      const int in_tile = i + lane / LANES, row = n / q.kbs * 16 + in_tile;
      const char* from = room[warp] + in_tile * PITCH + k * SIZE;
      if (row >= q.rows || col >= q.cols) continue;
      char* to = q.y + ((u64)row * q.cols + col) * SIZE;
      if (SIZE == 4 || q.cols % 8 == 0) {
        *(uint4*)to = *(const uint4*)from;
      } else {  // there are multiples of four columns
        *(uint2*)to = *(const uint2*)from;
        if (col + 4 < q.cols) *(uint2*)(to + 8) = *(const uint2*)(from + 8);
      }
    }
    __syncwarp();
  }
}
