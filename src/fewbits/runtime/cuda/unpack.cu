// A packed weight as a plain matrix: one warp a tile. Compiled with KIND and OUT (0: bf16, 1: f16, 2: f32).
__constant__ u32 BOOK[16];

struct Problem {
  const char *words, *meta;
  char* y;
  int rows, cols, tiles, kbs, m;
};
DEV void store4(const Problem& q, int row, int k, const float (&v)[4]) {
  if (row >= q.rows || k >= q.cols) return;  // there are multiples of four columns
  const u64 at = (u64)row * q.cols + k;
#if OUT == 2
  *(float4*)((float*)q.y + at) = make_float4(v[0], v[1], v[2], v[3]);
#elif OUT == 1
  *(uint2*)((u16*)q.y + at) = make_uint2(halves(v[0], v[1]), halves(v[2], v[3]));
#else
  *(uint2*)((u16*)q.y + at) = make_uint2(bhalves(v[0], v[1]), bhalves(v[2], v[3]));
#endif
}
extern "C" __global__ void __launch_bounds__(256) unpack(const __grid_constant__ Problem q) {
  __shared__ u32 book[16];
  if (threadIdx.x < 16) book[threadIdx.x] = BOOK[threadIdx.x];
  __syncthreads();
  const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3, groups = ((q.kbs - 1) >> q.m) + 1;
  const int total = q.tiles * q.kbs;
  for (int n = blockIdx.x * 8 + (threadIdx.x >> 5); n < total; n += gridDim.x * 8) {
    const int tile = n / q.kbs, kb = n % q.kbs;
    Codes<KIND> c;
    c.load(q.words + (u64)n * 128 * (KIND == NF4 ? 4 : KIND), lane);
    const uint2 m = ((const uint2*)(q.meta + ((u64)tile * groups + (kb >> q.m)) * 64))[g];
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
        store4(q, tile * 16 + g + 8 * (i & 1), kb * 64 + 32 * (i >> 1) + 16 * h + 4 * t, v);
      }
  }
}
