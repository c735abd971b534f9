// y = x W^T for few rows of x, eight to each `mma.m16n8k16`. A block takes tiles of 16 outputs and splits the inputs
// over its warps, which add up in shared memory; weights are asked for before the kernel before this one has ended.
// Compiled with KIND, BF16, THREADS of a block, UNROLL (tiles in flight), NT (eights of rows of a block) and KEPT (a warp
// has at most UNROLL tiles of inputs, and there are at most eight rows).
#define MAGIC (BF16 ? 0x43004300u : 0x64006400u)

__constant__ u32 BOOK[16];

#if BF16
#define MMA mma_bf16
#else
#define MMA mma_f16
#endif

// bf16 has 7 bits of mantissa: 128 + code, and 8-bit codes are taken as two halves of 4 bits.
struct Wide {
#if KIND == 8 && BF16
  static constexpr int PARTS = 2;
#else
  static constexpr int PARTS = 1;
#endif
};
template <class C> DEV void operands(const C& c, int j, int part, u32 (&a)[4], const u32* book) {
#if !BF16 || KIND == NF4
  c.step(j, a, book);
#elif KIND == 4
  const u32 x = j == 0 ? c.w.x : j == 1 ? c.w.y : j == 2 ? c.w.z : c.w.w;
#pragma unroll
  for (int i = 0; i < 4; i++) a[i] = and_or(x >> (4 * i), 0x000F000Fu, MAGIC);
#elif KIND == 8
  const u32 x = j == 0 ? c.w.x : j == 1 ? c.w.z : j == 2 ? c.v.x : c.v.z;
  const u32 y = j == 0 ? c.w.y : j == 1 ? c.w.w : j == 2 ? c.v.y : c.v.w;
  a[0] = and_or(__byte_perm(x, 0, 0x4140) >> (4 * part), 0x000F000Fu, MAGIC);
  a[1] = and_or(__byte_perm(x, 0, 0x4342) >> (4 * part), 0x000F000Fu, MAGIC);
  a[2] = and_or(__byte_perm(y, 0, 0x4140) >> (4 * part), 0x000F000Fu, MAGIC);
  a[3] = and_or(__byte_perm(y, 0, 0x4342) >> (4 * part), 0x000F000Fu, MAGIC);
#else
  c.step(j, a, book);
#pragma unroll
  for (int i = 0; i < 4; i++) a[i] ^= 0x64006400u ^ MAGIC;  // the codes of 2 and 3 bits stay below the mantissa's 7
#endif
}
#if !BF16
#define BASE Codes<KIND>::BASE
#define FACTOR Codes<KIND>::FACTOR
#elif KIND == NF4
#define BASE 0.f
#define FACTOR 1.f
#else
#define BASE (KIND == 8 ? 2176.f : 128.f)  // 128 + 16 * 128
#define FACTOR (KIND == 2 ? 4.f : 1.f)
#endif

struct Problem {
  const char *words, *meta;
  const u16 *x, *bias;
  u16* y;
  int rows, cols, tiles, kbs, m, batch;
};

DEV void fragment(const Problem& q, int kb, int g, int t, u32 (&b)[8]) {  // x of row g (of this block's), in the order of the tiles
  uint2 v[4];
#pragma unroll
  for (int c = 0; c < 4; c++) {
    const int k = kb * 64 + 16 * c + 4 * t;
    v[c] = make_uint2(0, 0);
    if (g < q.batch && k < q.cols) v[c] = *(const uint2*)(q.x + (u64)g * q.cols + k);
  }
#pragma unroll
  for (int i = 0; i < 2; i++) {
    b[0 + i] = __byte_perm(v[2 * i].x, v[2 * i + 1].x, 0x5410);
    b[2 + i] = __byte_perm(v[2 * i].x, v[2 * i + 1].x, 0x7632);
    b[4 + i] = __byte_perm(v[2 * i].y, v[2 * i + 1].y, 0x5410);
    b[6 + i] = __byte_perm(v[2 * i].y, v[2 * i + 1].y, 0x7632);
  }
}

struct Inputs {
  u32 b[8];
  float sum[2];  // of this lane's two columns: what zero points are multiplied by
  DEV void load(const Problem& q, int kb, int row, int t) {
    const u32 one = BF16 ? 0x3F803F80u : 0x3C003C00u, ones[4] = {one, one, one, one};
    fragment(q, kb, row, t, b);
    float s[4] = {};
    if (KIND != NF4)
#pragma unroll
      for (int j = 0; j < 4; j++) MMA(s, ones, b[2 * j], b[2 * j + 1]);
    sum[0] = s[0], sum[1] = s[1];
  }
};
struct Tile {
  Codes<KIND> c;
  uint2 m;
  DEV void load(const Problem& q, int tile, int kb, int groups, int lane) {
    c.load(q.words + ((u64)tile * q.kbs + kb) * 128 * (KIND == NF4 ? 4 : KIND), lane);
    m = ((const uint2*)(q.meta + ((u64)tile * groups + (kb >> q.m)) * 64))[lane >> 2];
  }
  template <int N> DEV void add(const Inputs (&x)[N], const u32* book, float (&acc)[N][4]) const {
    float d[N][4], e[N][4];
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
      for (int r = 0; r < 4; r++) d[n][r] = -BASE * x[n].sum[r & 1], e[n][r] = 0.f;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      u32 a[4];
      operands(c, j, 0, a, book);
#pragma unroll
      for (int n = 0; n < N; n++) MMA(d[n], a, x[n].b[2 * j], x[n].b[2 * j + 1]);
      if (Wide::PARTS == 2) {
        operands(c, j, 1, a, book);
#pragma unroll
        for (int n = 0; n < N; n++) MMA(e[n], a, x[n].b[2 * j], x[n].b[2 * j + 1]);
      }
    }
    const float z0 = KIND == NF4 ? 0.f : high_to_float(m.x), z1 = KIND == NF4 ? 0.f : high_to_float(m.y);
    const float s0 = half_to_float(m.x), s1 = half_to_float(m.y);
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
      for (int r = 0; r < 4; r++) {
        const float v = Wide::PARTS == 2 ? d[n][r] + 16.f * e[n][r] : d[n][r];
        acc[n][r] += (r > 1 ? s1 : s0) * (v * (r > 1 ? 1.f / FACTOR : 1.f) - (r > 1 ? z1 : z0) * x[n].sum[r & 1]);
      }
  }
};
DEV void store(const Problem& q, int tile, int col, int r, float sum) {
  const int row = tile * 16 + r;
  if (col >= q.batch || row >= q.rows) return;
#if BF16
  if (q.bias) sum += __uint_as_float((u32)q.bias[row] << 16);
  q.y[(u64)col * q.rows + row] = (u16)bhalves(sum, 0.f);
#else
  if (q.bias) sum += half_to_float(q.bias[row]);
  q.y[(u64)col * q.rows + row] = (u16)halves(sum, 0.f);
#endif
}
#define WAIT asm volatile("griddepcontrol.wait;" ::: "memory")

extern "C" __global__ void __launch_bounds__(THREADS) linear(const __grid_constant__ Problem q) {
  __shared__ float red[KEPT ? 2 : 1][THREADS / 32][16][8 * NT + 1];
  const int row0 = blockIdx.y * 8 * NT;
  __shared__ u32 book[16];
  constexpr int WARPS = THREADS / 32;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, t = lane & 3, groups = ((q.kbs - 1) >> q.m) + 1;
  if (KIND == NF4) {
    if (threadIdx.x < 16) book[threadIdx.x] = BOOK[threadIdx.x];
    __syncthreads();
  }
#if KEPT  // a warp has UNROLL tiles of inputs at most: kept in registers, while the next weights are on their way
  Inputs in[UNROLL][1];
  Tile now[UNROLL], next[UNROLL];
#pragma unroll
  for (int u = 0; u < UNROLL; u++) now[u].load(q, blockIdx.x, min(warp + u * WARPS, q.kbs - 1), groups, lane);
  WAIT;
  asm volatile("griddepcontrol.launch_dependents;");
#pragma unroll
  for (int u = 0; u < UNROLL; u++) in[u][0].load(q, warp + u * WARPS, row0 + g, t);
  int buffer = 0;
  for (int tile = blockIdx.x; tile < q.tiles; tile += gridDim.x, buffer ^= 1) {
    const int after = tile + gridDim.x < q.tiles ? tile + gridDim.x : tile;
#pragma unroll
    for (int u = 0; u < UNROLL; u++) next[u].load(q, after, min(warp + u * WARPS, q.kbs - 1), groups, lane);
    float acc[1][4] = {};
#pragma unroll
    for (int u = 0; u < UNROLL; u++) now[u].add(in[u], book, acc), now[u] = next[u];
#else
  for (int tile = blockIdx.x, buffer = 0; tile < q.tiles; tile += gridDim.x) {
    float acc[NT][4] = {};
    for (int first = warp; first < q.kbs; first += WARPS * UNROLL) {
      Tile now[UNROLL];
#pragma unroll
      for (int u = 0; u < UNROLL; u++) now[u].load(q, tile, min(first + u * WARPS, q.kbs - 1), groups, lane);
      if (first == warp && tile == blockIdx.x) WAIT;
#pragma unroll
      for (int u = 0; u < UNROLL; u++) {
        Inputs in[NT];  // past the end: zeros
#pragma unroll
        for (int n = 0; n < NT; n++) in[n].load(q, first + u * WARPS, row0 + 8 * n + g, t);
        now[u].add(in, book, acc);
      }
    }
    if (warp >= q.kbs) WAIT;
#endif
#pragma unroll
    for (int n = 0; n < (KEPT ? 1 : NT); n++)
#pragma unroll
      for (int r = 0; r < 4; r++) red[buffer][warp][g + 8 * (r >> 1)][8 * n + 2 * t + (r & 1)] = acc[n][r];
    __syncthreads();
    for (int n = threadIdx.x; n < 128 * NT; n += THREADS) {
      float sum = 0.f;
#pragma unroll
      for (int w = 0; w < WARPS; w++) sum += red[buffer][w][n & 15][n >> 4];
      store(q, tile, row0 + (n >> 4), n & 15, sum);
    }
    if (!KEPT) __syncthreads();
  }
}
