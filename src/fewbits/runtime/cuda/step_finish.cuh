// What is done with the sums of the warps.
DEV float activated(float x) {
  if (ACT == 0) return x * inverse(1.f + exponential(-x));
  if (ACT == 1) return x * inverse(1.f + exponential(-1.5957691216057308f * (x + 0.044715f * x * x * x)));
  return fmaxf(x, 0.f);
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
// Of some tiles, from output `first`: a thread in four has an output, and sends it on with its neighbour's.
DEV void finish(const Args& a, const Phase& whole, const Core& ph, const Sums* sums, State& now, int first, int tiles, int parts, float factor,
                u64& best) {
  const int tid = threadIdx.x, entry = tid >> 6, r = tid >> 2 & 15, part = tid & 3, out = first + (tid >> 2), twice = ph.type == GATED;
  if (tid >= tiles * 64 >> twice) return;
  const bool mine = !part && out < ph.rows;
  float v = summed(sums[entry << twice][r], parts, part) * factor;
  if (whole.bias && mine) v += __ldg(whole.bias + out);
  if (ph.type == HEAD) {
    if (!mine) return;
    if (a.logits) a.logits[out] = v;
    best = larger(best, ranked(chosen_by(a, v, out, now.pos), out));
    return;
  }
  u64* to = a.act;
  if (twice) {
    float up = summed(sums[entry * 2 + 1][r], parts, part) * factor;
    if (whole.up_bias && mine) up += __ldg(whole.up_bias + out);
    v = activated(v) * up * ACT_SCALE;
  } else if (ph.type == PLAIN) v = activated(v) * ACT_SCALE;
  else if (ph.type == QKV) to = a.qkv;
  else to = a.h, v = now.before += v;
  const float next = __shfl_down_sync(~0u, v, 4);
  const int word = ph.type == QKV ? out >> 1 : place_of(out >> 1);
  if (mine && !(r & 1)) send(to + word, packed(v, next, now.done + 1));
}

DEV u64 multiply(const Args& a, const Phase& whole, const Core& ph, int2 units, Ring& ring, const char* x, Shared& sh, State& now) {
  const int items = units.y - units.x << (ph.type == GATED);
  float factor = ph.type == DOWN ? 1.f / ACT_SCALE : 1.f;
  u64 best = 0;  // of the head's outputs: value and row
#pragma unroll 1
  for (int item = 0; item < items; item += BATCH, now.flushes++) {
    const int count = min(BATCH, items - item);
    Sums* sums = sh.red[now.flushes & 1];
    products(ph, ring, x, sh, sums, count);
    MARK(3);
    consumers_sync();
    MARK(4);
    if (!LAYERNORM && ph.norm && !item) {
      const float r = root(a, ph, sh, now);
      factor = r * inverse(now.scale), now.scale = r * HEADROOM;
    }
    const int first = (units.x << 4) + (ph.type == GATED ? item << 3 : item << 4);
    finish(a, whole, ph, sums, now, first, count, ph.parts, factor, best);
  }
  return best;
}
