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
DEV float summed(const float* row, int parts) {
  const float4 q = *(const float4*)row;
#if KINDS & 32
  if (parts < 4) return parts == 1 ? q.x : q.x + q.y;
#endif
  float sum = (q.x + q.y) + (q.z + q.w);
#pragma unroll
  for (int i = 4; i < WARPS; i += 4) {
    const float4 more = *(const float4*)(row + i);
    const float part = (more.x + more.y) + (more.z + more.w);
    sum += !(KINDS & 32) || i < parts ? part : 0.f;
  }
  return sum;
}
// Of some tiles, from output `first`: a thread has an output, and sends it on with its neighbour's.
DEV void finish(const Args& a, const Phase& whole, const Core& ph, const Shared& sh, const Sums* sums, State& now, int first, int tiles, u64& best) {
  const int tid = threadIdx.x, out = first + tid, type = ph.type, twice = type == GATED, count = tiles * 16 >> twice;
  if ((tid & ~31) >= count) return;
  const bool mine = tid < count && out < ph.rows;
  const float* row = sums[tid >> 4 << twice][tid & 15];
  float v = summed(row, ph.parts), up = 0.f;
  if (twice) up = summed(row + sizeof(Sums) / 4, ph.parts);
  if (!LAYERNORM && ph.norm) {
    const float factor = root(a, ph, sh, now);
    v *= factor, up *= factor;
  }
  if (whole.bias && mine) v += __ldg(whole.bias + out);
  if (type == HEAD) {
    if (!mine) return;
    if (a.logits) a.logits[out] = v;
    best = larger(best, ranked(chosen_by(a, v, out, now.pos), out));
    return;
  }
  u64* to = a.act;
  if (twice) {
    if (whole.up_bias && mine) up += __ldg(whole.up_bias + out);
    v = activated(v) * up;
  } else if (type == PLAIN) v = activated(v);
  else if (type == QKV) to = a.qkv;
  else to = a.h, v = now.before += v;
  const float next = __shfl_down_sync(~0u, v, 1);
  const int word = type == QKV ? out >> 1 : place_of(out >> 1);
  if (mine && !(tid & 1)) send(to + word, packed(v, next, now.done + 1));
}

DEV u64 multiply(const Args& a, const Phase& whole, const Core& ph, int2 units, Ring& ring, const char* x, Shared& sh, State& now) {
  const int items = units.y - units.x << (ph.type == GATED);
  u64 best = 0;  // of the head's outputs: value and row
#pragma unroll 1
  for (int item = 0; item < items; item += BATCH, now.flushes++) {
    const int count = min(BATCH, items - item);
    Sums* sums = sh.red[now.flushes & 1];
    products(ph, ring, x, sh, sums, count);
    MARK(3);
    consumers_sync();
    MARK(4);
    const int first = (units.x << 4) + (ph.type == GATED ? item << 3 : item << 4);
    finish(a, whole, ph, sh, sums, now, first, count, best);
  }
  return best;
}
