// What a phase multiplies, put into shared memory: as f16 high and low parts in the order of the tiles, or as it is.
//
// Tiles of 64 inputs w, w + 16, .. are asked for by warp w. Two tiles at a time, a lane has four inputs, two and two 16 apart: those
// that share words of the tensor cores' operands.
DEV int my_tile(int n) { return (threadIdx.x >> 5) + WARPS * (2 * n + (threadIdx.x >> 4 & 1)); }
DEV int my_word(int n) { return my_tile(n) * 32 + (threadIdx.x & 8) * 2 + (threadIdx.x & 7); }  // and the word 8 on
DEV int my_place(int n) { return my_tile(n) * 32 + (threadIdx.x & 15) * 2; }  // of both in what is exchanged

// All lanes of a warp call this. c: inputs 2 w, 2 w + 1, 2 w + 16, 2 w + 17 for w = my_word(n).
DEV void put(char* x, Shared& sh, int raw, int n, bool valid, const float (&c)[4]) {
  if (raw) {
    float2* to = (float2*)x + my_word(n);
    if (valid) to[0] = make_float2(c[0], c[1]), to[8] = make_float2(c[2], c[3]);
    return;
  }
  const u32 h0 = finite_halves(c[0], c[2]), h1 = finite_halves(c[1], c[3]);
  const u32 l0 = finite_halves(c[0] - half_to_float(h0), c[2] - half_to_float(h0 >> 16));
  const u32 l1 = finite_halves(c[1] - half_to_float(h1), c[3] - half_to_float(h1 >> 16));
  float sum = (c[0] + c[2]) + (c[1] + c[3]);
#pragma unroll
  for (int o = 1; o < 16; o <<= 1) sum += __shfl_xor_sync(~0u, sum, o);
  if (!valid) return;
  const int kb = my_tile(n), t = threadIdx.x >> 1 & 3, second = threadIdx.x >> 3 & 1, j = threadIdx.x & 1;
  u32* to = (u32*)x + (kb * 8 + t) * 8 + j * 4 + second;  // [tile][high, low][t][j][second]: operands are pairs of neighbours
  to[0] = h0, to[2] = h1;
  to[32] = l0, to[34] = l1;
  if (!(threadIdx.x & 15)) sh.xs[kb] = sum;
}
DEV void four_of(float (&to)[4], const Two& two) {
  const float2 p = values_of(two.a), q = values_of(two.b);
  to[0] = p.x, to[1] = p.y, to[2] = q.x, to[3] = q.y;
}

struct NormWeights {  // of this lane's inputs
  u32 w[NORMS][2];
  DEV void load(int kb, const char* norms) {
#pragma unroll
    for (int n = 0; n < NORMS; n++) {
      const u32* from = (const u32*)norms + (my_tile(n) < kb ? my_word(n) : 0);
      w[n][0] = from[0], w[n][1] = from[8];
    }
  }
  DEV void spread(float (&to)[4], int n) const {
    const float2 p = two_of(w[n][0]), q = two_of(w[n][1]);
    to[0] = p.x, to[1] = p.y, to[2] = q.x, to[3] = q.y;
  }
};
DEV float over_warp(float v) {
#pragma unroll
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
  return v;
}
DEV float all_of(const float (&sums)[WARPS]) {
  float sum = 0.f;
#pragma unroll
  for (int w = 0; w < WARPS; w += 4) {
    const float4 q = *(const float4*)&sums[w];
    sum += (q.x + q.y) + (q.z + q.w);
  }
  return sum;
}
DEV float root(const Args& a, const Core& ph, const Shared& sh, const State& now) {  // 1 / the root of the mean square
  return inverse_root(fmaf(all_of(sh.squares[now.norms % NORMED]), ph.inv_k, a.eps));
}
constexpr float HEADROOM = 0.015625f;  // an input may be 2^22 times the last norm's mean before f16 ends; 19 bits stay for the rest

DEV void residual(const Args& a, const Core& ph, const char* x, const State& now, bool first, float (&v)[NORMS][4]) {
  bool mine[NORMS];
  Two w[NORMS];
#pragma unroll
  for (int n = 0; n < NORMS; n++) mine[n] = my_tile(n) < ph.kb, w[n] = {};
  if (!first) {
    await(w, a.h + my_place(0), mine, now.tag());
#pragma unroll
    for (int n = 0; n < NORMS; n++) four_of(v[n], w[n]);
    return;
  }
#pragma unroll
  for (int n = 0; n < NORMS; n++) {
    const float2* from = (const float2*)x + (mine[n] ? my_word(n) : 0);
    const float2 p = from[0], q = from[8];
    v[n][0] = mine[n] ? p.x : 0.f, v[n][1] = mine[n] ? p.y : 0.f, v[n][2] = mine[n] ? q.x : 0.f, v[n][3] = mine[n] ? q.y : 0.f;
  }
}
// RMSNorm is 1 / root of the mean square, times what W (w h) is: the product need not wait for the root, which the sums' own barrier
// brings along. Only a step's first root is found beforehand, for the scale.
DEV void normed(const Args& a, const Core& ph, char* x, Shared& sh, State& now, bool first, const NormWeights& weights, const char* norms) {
  float v[NORMS][4];
  residual(a, ph, x, now, first, v);
  MARK(1);
  float squares = 0.f;
  if (LAYERNORM) {  // the centred sum: a difference of squares would cancel where the mean is large
    float sum = 0.f;
#pragma unroll
    for (int n = 0; n < NORMS; n++) sum += (v[n][0] + v[n][1]) + (v[n][2] + v[n][3]);
    sum = over_warp(sum);
    if (!(threadIdx.x & 31)) sh.warp_sums[threadIdx.x >> 5] = sum;
    consumers_sync();
    const float mean = all_of(sh.warp_sums) * ph.inv_k;
#pragma unroll
    for (int n = 0; n < NORMS; n++)
#pragma unroll
      for (int j = 0; j < 4; j++) v[n][j] = my_tile(n) < ph.kb ? v[n][j] - mean : 0.f;
  }
#pragma unroll
  for (int n = 0; n < NORMS; n++)
#pragma unroll
    for (int j = 0; j < 4; j++) squares += v[n][j] * v[n][j];
  squares = over_warp(squares);
  if (!(threadIdx.x & 31)) sh.squares[now.norms % NORMED][threadIdx.x >> 5] = squares;
  if (LAYERNORM || first) {
    consumers_sync();
    now.scale = root(a, ph, sh, now) * (LAYERNORM ? 1.f : HEADROOM);
  }
#pragma unroll
  for (int n = 0; n < NORMS; n++) {
    if (n * 2 * WARPS >= ph.kb) break;
    float w[4], b[4] = {0, 0, 0, 0};
    weights.spread(w, n);
    const bool mine = my_tile(n) < ph.kb;
    if (LAYERNORM && ph.biased && mine) {
      NormWeights biases;
      biases.load(ph.kb, norms + ph.k * 2);
      biases.spread(b, n);
    }
#pragma unroll
    for (int j = 0; j < 4; j++) v[n][j] = v[n][j] * (now.scale * w[j]) + b[j];
    put(x, sh, ph.raw, n, mine, v[n]);
  }
}

DEV int splits_of(const Args& a, int keys) { return min(a.splits, (keys + SPLIT_KEYS - 1) / SPLIT_KEYS); }

DEV void merge(const Args& a, const u64* parts, const u64* sums, u32 tag, float (&v)[4], float& most, float& total) {
  Two two[1];
  const bool wanted[1] = {true};
  await(two, parts, wanted, tag);
  const float2 s = await(sums, tag);
  const float m = fmaxf(most, s.x), keep = exponential(most - m), f = exponential(s.x - m);
  float o[4];
  four_of(o, two[0]);
  most = m, total = total * keep + f * s.y;
#pragma unroll
  for (int j = 0; j < 4; j++) v[j] = v[j] * keep + f * o[j];
}
// Attention's outputs from its splits, parts [split][head][HD]: their largest scores, sums and sums of values.
DEV void merged(const Args& a, u32 tag, int place, int splits, float (&v)[4]) {
  const int head = place * 2 / HD;
  float most = -1e30f, total = 0.f;
#pragma unroll
  for (int j = 0; j < 4; j++) v[j] = 0.f;
#pragma unroll 1
  for (int s = 0; s < splits; s++) merge(a, a.parts + s * a.heads * (HD / 2) + place, a.part_sums + s * a.heads + head, tag, v, most, total);
  const float inv = inverse(total);
#pragma unroll
  for (int j = 0; j < 4; j++) v[j] *= inv;
}

constexpr float ACT_SCALE = 0.0625f;  // activations are sent times this: up to 2^20 they fit into f16
DEV void gathered(const Args& a, const Core& ph, char* x, Shared& sh, const State& now) {
  const int splits = ph.type == OUT ? splits_of(a, now.pos + 1) : 1;
  if (splits > 1) {
#pragma unroll 1
    for (int n = 0; n * 2 * WARPS < ph.kb; n++) {
      const bool mine = my_tile(n) < ph.kb;
      float v[4];
      merged(a, now.tag(), mine ? my_place(n) : 0, splits, v);
      put(x, sh, ph.raw, n, mine, v);
    }
    return;
  }
  const u64* from = (ph.type == OUT ? a.parts : a.act) + my_place(0);
#pragma unroll 1
  for (int base = 0; base * 2 * WARPS < ph.kb; base += 4) {
    Two w[4];
    bool mine[4];
#pragma unroll
    for (int n = 0; n < 4; n++) mine[n] = my_tile(base + n) < ph.kb, w[n] = {};
    await(w, from + base * 1024, mine, now.tag());
    MARK(1);
#pragma unroll
    for (int n = 0; n < 4; n++) {
      if ((base + n) * 2 * WARPS >= ph.kb) break;
      float v[4];
      four_of(v, w[n]);
      put(x, sh, ph.raw, base + n, mine[n], v);
    }
  }
}
