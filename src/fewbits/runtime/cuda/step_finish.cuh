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
// What a thread does with its output of a phase: bits, and the place of the word in which it is sent on with its neighbour's. This is
// told while inputs are waited for, since what follows the sums is waited for by other blocks: 7 us of a step of 359. `tiles` of
// outputs, from output `first`.
enum Does { WORKS = 1, MINE = 2, PAIRED = 4, ACTIVATED = 8, ADDED = 16, SCALED = 32, BIASED = 64, RANKED = 128, UP_BIASED = 256 };
struct Ending {
  u32 does, word;  // in units of 8 bytes from a.h
  DEV Ending(const Args& a, const Phase& whole, const Core& ph, int first, int tiles) {
    const int type = ph.type, twice = type == GATED, out = first + threadIdx.x, count = tiles * 16 >> twice;
    const bool mine = threadIdx.x < count && out < ph.rows;
    does = ((threadIdx.x & ~31) < count ? WORKS : 0) | (mine ? MINE : 0);
    if (twice) does |= PAIRED | (whole.up_bias && mine ? UP_BIASED : 0);
    if (twice || type == PLAIN) does |= ACTIVATED;
    if (type == OUT || type == DOWN) does |= ADDED;
    if (!LAYERNORM && ph.norm) does |= SCALED;
    if (whole.bias && mine) does |= BIASED;
    if (type == HEAD) does |= RANKED;
    const u64* to = type == QKV ? a.qkv + (out >> 1) : (type == OUT || type == DOWN ? a.h : a.act) + place_of(out >> 1);
    word = (u32)(to - a.h);
  }
};
DEV void finish(const Args& a, const Phase& whole, const Ending& end, const Shared& sh, const Sums* sums, State& now, int first, u64& best) {
  const Core& ph = whole.core;
  const u32 does = end.does;
  if (!(does & WORKS)) return;
  const int tid = threadIdx.x, twice = does & PAIRED ? 1 : 0;
  const float* row = sums[tid >> 4 << twice][tid & 15];
  float v = summed(row, ph.parts), up = 0.f;
  if (twice) up = summed(row + sizeof(Sums) / 4, ph.parts);
  if (does & SCALED) {
    const float factor = root(a, ph, sh, now);
    v *= factor, up *= factor;
  }
  if (does & BIASED) v += __ldg(whole.bias + first + tid);
  if (does & RANKED) {
    if (!(does & MINE)) return;
    const int out = first + tid;
    if (a.logits) a.logits[out] = v;
    best = larger(best, ranked(chosen_by(a, v, out, now.pos), out));
    return;
  }
  if (does & UP_BIASED) up += __ldg(whole.up_bias + first + tid);
  if (does & ACTIVATED) v = activated(v);
  if (twice) v *= up;
  if (does & ADDED) v = now.before += v;
  const float next = __shfl_down_sync(~0u, v, 1);
  if (does & MINE && !(tid & 1)) send(a.h + end.word, packed(v, next, now.done + 1));
}

DEV int first_output(const Core& ph, int2 units, int item) { return (units.x << 4) + (item << (ph.type == GATED ? 3 : 4)); }
DEV u64 multiply(const Args& a, const Phase& whole, const Product& product, Ending end, int2 units, Ring& ring, const char* x, Shared& sh,
                 State& now) {
  const Core& ph = whole.core;
  const int items = product.items;
  u64 best = 0;  // of the head's outputs: value and row
#pragma unroll 1
  for (int item = 0; item < items; item += BATCH, now.flushes++) {
    const int count = min(BATCH, items - item), first = first_output(ph, units, item);
    if (item) end = Ending(a, whole, ph, first, count);
    Sums* sums = sh.red[now.flushes & 1];
    products(ph, product, ring, x, sh, sums, count);
    MARK(3);
    consumers_sync();
    MARK(4);
    finish(a, whole, end, sh, sums, now, first, best);
  }
  return best;
}
