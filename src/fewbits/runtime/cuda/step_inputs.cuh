// What a phase multiplies, put into shared memory: as f16 high and low parts in the order of the tiles, or as it is.
//
// Tiles of 64 inputs w, w + 16, .. are warp w's: it alone asks for them, keeps them and multiplies by them, so that no warp waits
// for another before the sums. Two tiles at a time, a lane has four inputs.
DEV int my_tile(int n) { return (threadIdx.x >> 5) + WARPS * (2 * n + (threadIdx.x >> 4 & 1)); }
DEV int my_four(int n) { return my_tile(n) * 16 + (threadIdx.x & 15); }

// Four inputs, 4 p ..: all lanes of a warp call this. Lane 4 apart holds the other half of the words: one of the two writes the high
// parts, the other the low parts.
DEV void put(char* x, Shared& sh, const Phase& ph, int p, bool valid, const float (&v)[4], float scale) {
  if (ph.raw) {
    if (valid) *(float4*)(x + p * 16) = make_float4(v[0] * scale, v[1] * scale, v[2] * scale, v[3] * scale);
    return;
  }
  float c[4];
#pragma unroll
  for (int j = 0; j < 4; j++) c[j] = valid ? fminf(fmaxf(v[j] * scale, -65504.f), 65504.f) : 0.f;
  const u32 h0 = halves(c[0], c[1]), h1 = halves(c[2], c[3]);
  const float r[4] = {half_to_float(h0), half_to_float(h0 >> 16), half_to_float(h1), half_to_float(h1 >> 16)};
  const u32 l0 = halves(c[0] - r[0], c[1] - r[1]), l1 = halves(c[2] - r[2], c[3] - r[3]);
  float sum = ((r[0] + half_to_float(l0)) + (r[1] + half_to_float(l0 >> 16))) + ((r[2] + half_to_float(l1)) + (r[3] + half_to_float(l1 >> 16)));
  const int kb = p >> 4, second = p >> 3 & 1, half = p >> 2 & 1, t = p & 3;
  const u32 o0 = __shfl_xor_sync(~0u, half ? h0 : l0, 4), o1 = __shfl_xor_sync(~0u, half ? h1 : l1, 4);
#pragma unroll
  for (int o = 1; o < 16; o <<= 1) sum += __shfl_xor_sync(~0u, sum, o);
  if (!valid) return;
  u32* to = (u32*)x + ((kb * 2 + half) * 4 + t) * 8 + second;
  const u32 a0 = half ? o0 : h0, b0 = half ? l0 : o0, a1 = half ? o1 : h1, b1 = half ? l1 : o1;
  to[0] = __byte_perm(a0, b0, 0x5410);
  to[2] = __byte_perm(a0, b0, 0x7632);
  to[4] = __byte_perm(a1, b1, 0x5410);
  to[6] = __byte_perm(a1, b1, 0x7632);
  if (!(p & 15)) sh.xs[kb] = sum;
}

struct NormWeights {  // of this lane's inputs
  uint2 w[NORMS];
  DEV void load(const Phase& ph, const char* norms) {
#pragma unroll
    for (int n = 0; n < NORMS; n++) w[n] = *(const uint2*)(norms + (my_tile(n) < ph.kb ? my_four(n) * 8 : 0));
  }
  DEV void spread(float (&to)[4], int n) const { sixteens(to, (const u16*)&w[n]); }
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
DEV float over_block(float (&sums)[WARPS], float v) {
  v = over_warp(v);
  if (!(threadIdx.x & 31)) sums[threadIdx.x >> 5] = v;
  consumers_sync();
  return all_of(sums);
}
DEV float root(const Args& a, const Phase& ph, const Shared& sh, const State& now) {  // 1 / the root of the mean square
  return rsqrtf(__fdividef(all_of(sh.squares[now.norms & 1]), ph.k) + a.eps);
}
constexpr float HEADROOM = 0.015625f;  // an input may be 2^22 times the last norm's mean before f16 ends; 19 bits stay for the rest

DEV void residual(const Args& a, const Phase& ph, const char* x, const State& now, bool first, float (&v)[NORMS][4]) {
  bool mine[NORMS];
  Four f[NORMS];
  const u64* from[NORMS];
#pragma unroll
  for (int n = 0; n < NORMS; n++) mine[n] = my_tile(n) < ph.kb, from[n] = a.h + my_four(n) * 2, f[n] = {};
  if (!first) await(f, from, mine, now.done);
#pragma unroll
  for (int n = 0; n < NORMS; n++) {
    if (first && mine[n]) spread(v[n], *(const float4*)(x + my_four(n) * 16));
    else unpack_four(v[n], f[n]);
  }
}
// RMSNorm is 1 / root of the mean square, times what W (w h) is: the product need not wait for the root, which the sums' own barrier
// brings along. Only a step's first root is found beforehand, for the scale.
DEV void normed(const Args& a, const Phase& ph, char* x, Shared& sh, State& now, bool first, const NormWeights& weights, const u16* biases) {
  float v[NORMS][4];
  residual(a, ph, x, now, first, v);
  MARK(1);
  float sum = 0.f, squares = 0.f;
  if (LAYERNORM) {  // the centred sum: a difference of squares would cancel where the mean is large
#pragma unroll
    for (int n = 0; n < NORMS; n++) sum += (v[n][0] + v[n][1]) + (v[n][2] + v[n][3]);
    const float mean = __fdividef(over_block(sh.warp_sums, sum), ph.k);
#pragma unroll
    for (int n = 0; n < NORMS; n++)
#pragma unroll
      for (int j = 0; j < 4; j++) v[n][j] = my_tile(n) < ph.kb ? v[n][j] - mean : 0.f;
  }
#pragma unroll
  for (int n = 0; n < NORMS; n++)
#pragma unroll
    for (int j = 0; j < 4; j++) squares += v[n][j] * v[n][j];
  now.norms++;
  squares = over_warp(squares);
  if (!(threadIdx.x & 31)) sh.squares[now.norms & 1][threadIdx.x >> 5] = squares;
  if (LAYERNORM || first) {
    consumers_sync();
    now.scale = root(a, ph, sh, now) * (LAYERNORM ? 1.f : HEADROOM);
  }
#pragma unroll
  for (int n = 0; n < NORMS; n++) {
    float w[4], b[4] = {0, 0, 0, 0};
    weights.spread(w, n);
    const bool mine = my_tile(n) < ph.kb;
    if (LAYERNORM && ph.biased && mine) sixteens(b, biases + my_four(n) * 4);
#pragma unroll
    for (int j = 0; j < 4; j++) v[n][j] = v[n][j] * now.scale * w[j] + b[j];
    if (n * 2 * WARPS < ph.kb) put(x, sh, ph, my_four(n), mine, v[n], 1.f);
  }
}

DEV int splits_of(const Args& a, int keys) { return min(a.splits, (keys + SPLIT_KEYS - 1) / SPLIT_KEYS); }

#define SPLITS 4  // of attention, merged at a time
struct Part {  // of one split: four outputs, times e^-top, and what they are to be divided by
  Four o;
  u32 x, t;
  const u64 *outputs, *sums;
  bool wanted;
  DEV void ask_all() { ask(o, outputs), ask(x, t, sums); }
};
DEV void await(Part (&parts)[SPLITS], u32 tag) {
  tag &= 0xFFFFu;
#pragma unroll
  for (int s = 0; s < SPLITS; s++)
    if (parts[s].wanted) parts[s].ask_all();
  for (u32 n = 0;; patience(n)) {
    bool wait = false;
#pragma unroll
    for (int s = 0; s < SPLITS; s++)
      if (parts[s].wanted && (stale(parts[s].o, tag) || stale(parts[s].t, tag))) parts[s].ask_all(), wait = true;
    if (!wait) return;
  }
}
DEV void merged(const Args& a, u32 tag, int k, bool valid, int splits, float (&v)[4]) {  // attention's outputs k.. from its splits
  const int head = k / HD, d = k % HD;
  float most = -1e30f, total = 0.f;
#pragma unroll
  for (int j = 0; j < 4; j++) v[j] = 0.f;
  for (int s0 = 0; s0 < splits; s0 += SPLITS) {
    Part parts[SPLITS];
#pragma unroll
    for (int s = 0; s < SPLITS; s++) {
      const int at = head * a.splits + s0 + s;
      parts[s] = {{}, 0, 0, a.parts + (at * HD + d) / 2, a.part_sums + at, valid && s0 + s < splits};
    }
    await(parts, tag);
    float m = most;
#pragma unroll
    for (int s = 0; s < SPLITS; s++) m = fmaxf(m, parts[s].wanted ? first_of(parts[s].x) : m);
    const float keep = __expf(most - m);
    most = m, total *= keep;
#pragma unroll
    for (int j = 0; j < 4; j++) v[j] *= keep;
#pragma unroll
    for (int s = 0; s < SPLITS; s++) {
      if (!parts[s].wanted) continue;
      float one[4];
      unpack_four(one, parts[s].o);
      const float f = __expf(first_of(parts[s].x) - m);
      total += f * second_of(parts[s].x, parts[s].t);
#pragma unroll
      for (int j = 0; j < 4; j++) v[j] += f * one[j];
    }
  }
  const float inv = __fdividef(1.f, total);
#pragma unroll
  for (int j = 0; j < 4; j++) v[j] *= inv;
}

constexpr float ACT_SCALE = 0.0625f;  // activations up to 2^20 fit into f16
DEV void gathered(const Args& a, const Phase& ph, char* x, Shared& sh, const State& now) {
  if (ph.type == OUT) {
    for (int n = 0; n * 2 * WARPS < ph.kb; n++) {
      const bool mine = my_tile(n) < ph.kb;
      float v[4];
      merged(a, now.done, mine ? my_four(n) * 4 : 0, mine, splits_of(a, now.pos + 1), v);
      put(x, sh, ph, my_four(n), mine, v, 1.f);
    }
    return;
  }
  for (int base = 0; base * 2 * WARPS < ph.kb; base += 4) {
    Four f[4];
    const u64* from[4];
    bool mine[4];
#pragma unroll
    for (int n = 0; n < 4; n++) mine[n] = my_tile(base + n) < ph.kb, from[n] = a.act + my_four(base + n) * 2, f[n] = {};
    await(f, from, mine, now.done);
    MARK(1);
#pragma unroll
    for (int n = 0; n < 4; n++) {
      float v[4];
      unpack_four(v, f[n]);
      if ((base + n) * 2 * WARPS < ph.kb) put(x, sh, ph, my_four(base + n), mine[n], v, ph.raw ? 1.f : ACT_SCALE);
    }
  }
}
