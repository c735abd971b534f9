// What comes into a phase: normed, or from the blocks that made it.
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

DEV void residual(const Args& a, const Product& product, const char* x, const State& now, bool first, float (&v)[NORMS][4]) {
  bool mine[NORMS];
  Two w[NORMS];
#pragma unroll
  for (int n = 0; n < NORMS; n++) mine[n] = my_tile(n) < product.kb, w[n] = {};
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
// brings along.
DEV void normed(const Args& a, const Core& ph, const Product& product, char* x, Shared& sh, State& now, bool first, const NormWeights& weights,
                const char* norms) {
  float v[NORMS][4], scale = 1.f, squares = 0.f;
  residual(a, product, x, now, first, v);
  MARK(1);
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
      for (int j = 0; j < 4; j++) v[n][j] = my_tile(n) < product.kb ? v[n][j] - mean : 0.f;
  }
#pragma unroll
  for (int n = 0; n < NORMS; n++)
#pragma unroll
    for (int j = 0; j < 4; j++) squares += v[n][j] * v[n][j];
  squares = over_warp(squares);
  if (!(threadIdx.x & 31)) sh.squares[now.norms % NORMED][threadIdx.x >> 5] = squares;
  if (LAYERNORM) {  // its biases are not to be scaled
    consumers_sync();
    scale = root(a, ph, sh, now);
  } else if (first) consumers_sync();  // the inputs are where they are put
#pragma unroll
  for (int n = 0; n < NORMS; n++) {
    if (n * 2 * WARPS >= product.kb) break;
    float w[4], b[4] = {0, 0, 0, 0};
    weights.spread(w, n);
    const bool mine = my_tile(n) < product.kb;
    if (LAYERNORM && ph.biased && mine) {
      NormWeights biases;
      biases.load(product.kb, norms + ph.k * 2);
      biases.spread(b, n);
    }
#pragma unroll
    for (int j = 0; j < 4; j++) v[n][j] = LAYERNORM ? v[n][j] * (scale * w[j]) + b[j] : v[n][j] * w[j];
    put(x, sh, product.kind, n, mine, v[n]);
  }
}

DEV int splits_of(const Args& a, int keys) { return min(a.splits, (keys + SPLIT_KEYS - 1) / SPLIT_KEYS); }

struct Part {  // what one block found of a head: four outputs, its largest score and its sum
  Two outputs;
  Word sums;
  DEV void ask_for(const u64* from, const u64* sums_from) { ask(outputs, from), ask(sums, sums_from); }
  DEV bool missing(u32 tag) const { return stale(outputs, tag) || stale(sums, tag); }
  DEV void merge(float (&v)[4], float& most, float& total) const {
    const float2 s = values_of(sums);
    const float m = fmaxf(most, s.x), keep = exponential(most - m), f = exponential(s.x - m);
    float o[4];
    four_of(o, outputs);
    most = m, total = total * keep + f * s.y;
#pragma unroll
    for (int j = 0; j < 4; j++) v[j] = v[j] * keep + f * o[j];
  }
};
// Attention's outputs from its splits, parts [split][head][HD]; two splits are asked for at a time.
DEV void merged(const Args& a, u32 tag, int place, int splits, float (&v)[4]) {
  const int next = a.heads * (HD / 2);
  const u64 *from = a.parts + place, *sums = a.part_sums + place * 2 / HD;
  float most = -1e30f, total = 0.f;
#pragma unroll 1
  for (int s = 0; s < splits; s += 2, from += 2 * next, sums += 2 * a.heads) {
    const bool both = s + 1 < splits;
    Part p, q;
    p.ask_for(from, sums);
    if (both) q.ask_for(from + next, sums + a.heads);
    for (u32 n = 0; p.missing(tag); patience(n)) p.ask_for(from, sums);
    for (u32 n = 0; both && q.missing(tag); patience(n)) q.ask_for(from + next, sums + a.heads);
    p.merge(v, most, total);
    if (both) q.merge(v, most, total);
  }
  const float inv = inverse(total);
#pragma unroll
  for (int j = 0; j < 4; j++) v[j] *= inv;
}

template <int N> DEV void take(const Args& a, const u64* from, const Product& product, char* x, Shared& sh, const State& now, int base) {
  Two w[N];
  bool mine[N];
#pragma unroll
  for (int n = 0; n < N; n++) mine[n] = my_tile(base + n) < product.kb, w[n] = {};
  await(w, from + base * 1024, mine, now.tag());
  MARK(1);
#pragma unroll
  for (int n = 0; n < N; n++) {
    float v[4];
    four_of(v, w[n]);
    put(x, sh, product.kind, base + n, mine[n], v);
  }
}
DEV void gathered(const Args& a, const Core& ph, const Product& product, char* x, Shared& sh, const State& now) {
  const int splits = ph.type == OUT ? splits_of(a, now.pos + 1) : 1;
  const u64* from = (ph.type == OUT ? a.parts : a.act) + my_place(0);
#pragma unroll 1
  for (int base = 0; base * 2 * WARPS < product.kb;) {
    if (splits > 1) {
      const bool mine = my_tile(base) < product.kb;
      float v[4] = {0.f, 0.f, 0.f, 0.f};
      merged(a, now.tag(), mine ? my_place(base) : 0, splits, v);
#pragma unroll
      for (int j = 0; j < 4; j++) v[j] = mine ? v[j] : 0.f;
      put(x, sh, product.kind, base++, mine, v);
    } else if ((base + 4) * 2 * WARPS <= product.kb) {
      take<4>(a, from, product, x, sh, now, base);
      base += 4;
    } else take<1>(a, from, product, x, sh, now, base++);
  }
}
