// How blocks hand values on without a barrier: a word of 8 bytes holds two values of 24 bits (a float's upper ones) and a tag of 16
// that says which phase wrote it. Who needs a word asks for it until its tag is right: one way to the cache and back, where a
// barrier takes a fence, a count, a look at the count and then the data's own way. (NCCL's LL protocol does so between GPUs.)
//
// The launch starts with all words zero, and has fewer than 2^16 phases, so that no tag comes twice. A buffer is written again only
// by who has read something that all its readers wrote after they had read it: h is read and written in turns with act (all blocks
// that read h in GATED must have written act before DOWN ends anywhere), parts with qkv. `best` has two buffers, since a block that
// owns no rows may still look for it when the next one is written.
struct Four {
  u32 x0, t0, x1, t1;
};
DEV u64 packed(float a, float b, u32 tag) {  // rounds; a NaN stays one, which adding to its bits would not do
  const u32 x = __float_as_uint(fmaf(a, 7.62939453125e-6f, a)) >> 8, y = __float_as_uint(fmaf(b, 7.62939453125e-6f, b)) >> 8;
  return (u64)(y >> 8 | tag << 16) << 32 | (x | y << 24);
}
DEV void send(u64* to, u64 word) { asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(to), "l"(word) : "memory"); }
DEV void ask(Four& f, const u64* from) {
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(f.x0), "=r"(f.t0), "=r"(f.x1), "=r"(f.t1) : "l"(from) : "memory");
}
DEV void ask(u32& x, u32& t, const u64* from) {
  asm volatile("ld.relaxed.gpu.global.v2.u32 {%0,%1}, [%2];" : "=r"(x), "=r"(t) : "l"(from) : "memory");
}
DEV bool stale(u32 t, u32 tag) { return (t ^ tag << 16) >= 0x10000u; }
DEV bool stale(const Four& f, u32 tag) { return ((f.t0 ^ tag << 16) | (f.t1 ^ tag << 16)) >= 0x10000u; }
DEV float first_of(u32 x) { return __uint_as_float(x << 8); }
DEV float second_of(u32 x, u32 t) { return __uint_as_float(__funnelshift_r(x, t, 16) & 0xFFFFFF00u); }
DEV void unpack_four(float (&to)[4], const Four& f) {
  to[0] = first_of(f.x0), to[1] = second_of(f.x0, f.t0), to[2] = first_of(f.x1), to[3] = second_of(f.x1, f.t1);
}
DEV void patience(u32& n) {
  if (++n > (1u << 22)) __trap();
}
// Some groups of four values each; those not wanted are left as they were.
template <int N> DEV void await(Four (&f)[N], const u64* const (&from)[N], const bool (&wanted)[N], u32 tag) {
  tag &= 0xFFFFu;
#pragma unroll
  for (int i = 0; i < N; i++)
    if (wanted[i]) ask(f[i], from[i]);
  for (u32 n = 0;; patience(n)) {
    bool wait = false;
#pragma unroll
    for (int i = 0; i < N; i++)
      if (wanted[i] && stale(f[i], tag)) ask(f[i], from[i]), wait = true;
    if (!wait) return;
  }
}
DEV void await_two(float& a, float& b, const u64* from, u32 tag) {
  tag &= 0xFFFFu;
  u32 x, t, n = 0;
  ask(x, t, from);
  while (stale(t, tag)) ask(x, t, from), patience(n);
  a = first_of(x), b = second_of(x, t);
}

// ---- the likeliest token: a rank of 64 bits by block, as two halves with a tag each ----
DEV u64 larger(u64 a, u64 b) { return a > b ? a : b; }
DEV u64 largest_of_warp(u64 best) {
#pragma unroll
  for (int o = 16; o; o >>= 1) best = larger(best, __shfl_xor_sync(~0u, best, o));
  return best;
}
DEV void tell_best(const Args& a, Shared& sh, const State& now, u32 turn) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const u64 best = largest_of_warp(now.best);
  if (!lane) sh.warp_best[warp] = best;
  consumers_sync();
  if (warp) return;
  const u64 whole = largest_of_warp(sh.warp_best[lane % WARPS]);
  const u64 tag = (u64)(now.done + 1) << 32;
  u64* to = a.best + ((turn & 1) * gridDim.x + blockIdx.x) * 2;
  if (!lane) send(to, whole >> 32 | tag), send(to + 1, (whole & 0xFFFFFFFFu) | tag);
}
DEV int next_token(const Args& a, u32 done, u32 turn) {
  u64 best = 0;
  for (int i = threadIdx.x & 31; i < gridDim.x; i += 32) {
    const u64* from = a.best + ((turn & 1) * gridDim.x + i) * 2;
    Four f;
    u32 n = 0;
    for (ask(f, from); f.t0 != done || f.t1 != done; patience(n)) ask(f, from);
    best = larger(best, (u64)f.x0 << 32 | f.x1);
  }
  return (int)~(u32)largest_of_warp(best);
}
