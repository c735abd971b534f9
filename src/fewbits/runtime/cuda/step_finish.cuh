// What is done with the sums of the warps.
DEV float gelu_tanh(float x) { return x / (1.f + __expf(-1.5957691216057308f * (x + 0.044715f * x * x * x))); }
DEV float gelu_erf(float x) { return 0.5f * x * (1.f + erff(x * 0.70710678118654752f)); }
DEV float activated(const Args& a, float x) {
  return a.gelu == 0 ? __fdividef(x, 1.f + __expf(-x)) : a.gelu == 1 ? gelu_tanh(x) : fmaxf(x, 0.f);
}
DEV u32 mixed(u32 x) {
  x ^= x >> 16, x *= 0x7feb352du, x ^= x >> 15, x *= 0x846ca68bu;
  return x ^ x >> 16;
}
DEV float chosen_by(const Args& a, float logit, int row, int pos) {  // Gumbel: the largest is a draw from the softmax
  if (a.inv_temperature <= 0.f) return logit;
  const u32 bits = mixed(mixed(mixed(a.seed) + (u32)pos) ^ (u32)row * 0x9E3779B9u);
  const float u = ((float)(bits >> 8) + 0.5f) * 5.9604644775390625e-8f;
  return logit * a.inv_temperature - __logf(-__logf(u));
}
DEV u64 ranked(float value, int row) {  // orders by value, then by the lower row
  u32 bits = __float_as_uint(value);
  bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return (u64)bits << 32 | (u32)~row;
}
DEV float summed(const float* row, int parts, int part) {
  float sum = 0.f;
#pragma unroll
  for (int i = 0; i < 4; i++)
    if (part + 4 * i < parts) sum += row[part + 4 * i];
  sum += __shfl_xor_sync(~0u, sum, 1);
  return sum + __shfl_xor_sync(~0u, sum, 2);
}
// Of some tiles: a thread in four has an output, and sends it on with its neighbour's.
DEV void finish(const Args& a, const Phase& ph, const Shared& sh, State& now, int first_unit, int tiles, float factor) {
  const int tid = threadIdx.x, entry = tid >> 6, r = tid >> 2 & 15, part = tid & 3;
  if (tid >= tiles * 64 >> gated(ph)) return;
  int tile;
  const Seg& sg = locate(ph, first_unit + entry, 0, tile);
  const Sums* sums = sh.red[now.flushes & 1];
  const int row = tile * 16 + r, out = sg.out0 + row;
  const bool mine = !part && row < sg.rows;
  float v = summed(sums[entry << gated(ph)][r], ph.parts, part) * factor;
  if (sg.bias && row < sg.rows) v += __ldg(sg.bias + row);
  if (ph.type == HEAD) {
    if (!mine) return;
    if (a.logits) a.logits[out] = v;
    now.best = larger(now.best, ranked(chosen_by(a, v, out, now.pos), out));
    return;
  }
  u64* to = a.act;
  if (ph.type == GATED) {
    float up = summed(sums[entry * 2 + 1][r], ph.parts, part) * factor;
    if (ph.seg[1].bias && row < sg.rows) up += __ldg(ph.seg[1].bias + row);
    v = activated(a, v) * up;
  } else if (ph.type == PLAIN) v = activated(a, v);
  else if (ph.type == QKV) to = a.qkv;
  else to = a.h, v = now.before += v;
  const float next = __shfl_down_sync(~0u, v, 4);
  if (mine && !(r & 1)) send(to + (out >> 1), packed(v, next, now.done + 1));
}

DEV void multiply(const Args& a, const Phase& ph, Ring& ring, const char* x, Shared& sh, State& now) {
  const int items = now.to - now.from << gated(ph);
  float factor = ph.type == DOWN && !ph.raw ? 1.f / ACT_SCALE : 1.f;
#pragma unroll 1
  for (int item = 0; item < items; item += BATCH, now.flushes++) {
    const int count = min(BATCH, items - item);
    products(ph, ring, x, sh, sh.red[now.flushes & 1], count);
    MARK(3);
    consumers_sync();
    MARK(4);
    if (!LAYERNORM && ph.norm && !item) {
      const float r = root(a, ph, sh, now);
      factor = __fdividef(r, now.scale), now.scale = r * HEADROOM;
    }
    finish(a, ph, sh, now, now.from + (item >> gated(ph)), count, factor);
  }
}
