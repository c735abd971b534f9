// How blocks hand values on without a barrier: a word of 8 bytes holds two values of 24 bits (a float's upper ones) and a tag of 16
// that says which phase wrote it. Who needs a word asks for it until its tag is right: one way to the cache and back, where a
// barrier takes a fence, a count, a look at the count and then the data's own way. (NCCL's LL protocol does so between GPUs.)
//
// The launch starts with all words zero, and has fewer than 2^16 phases, so that no tag comes twice. A buffer is written again only
// by who has read something that all its readers wrote after they had read it: h is read and written in turns with act (all blocks
// that read h in GATED must have written act before DOWN ends anywhere), parts with qkv. `best` has two buffers, since a block that
// owns no rows may still look for it when the next one is written.
struct Word {
  u32 x, t;
};
DEV u64 packed(float a, float b, u32 tag) {  // rounds; a NaN stays one, which adding to its bits would not do
  const u32 x = __float_as_uint(fmaf(a, 7.62939453125e-6f, a)) >> 8, y = __float_as_uint(fmaf(b, 7.62939453125e-6f, b)) >> 8;
  return (u64)(y >> 8 | tag << 16) << 32 | (x | y << 24);
}
DEV void send(u64* to, u64 word) { asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(to), "l"(word) : "memory"); }
DEV void ask(Word& w, const u64* from) {
  asm volatile("ld.relaxed.gpu.global.v2.u32 {%0,%1}, [%2];" : "=r"(w.x), "=r"(w.t) : "l"(from) : "memory");
}
DEV bool stale(const Word& w, u32 tag) { return (w.t ^ tag << 16) >= 0x10000u; }
DEV float2 values_of(const Word& w) {
  return make_float2(__uint_as_float(w.x << 8), __uint_as_float(__funnelshift_r(w.x, w.t, 16) & 0xFFFFFF00u));
}
DEV void patience(u32& n) {
  if (++n > (1u << 22)) __trap();
}
// Where a word is: the two that a lane needs of a tile (see step_inputs.cuh) are neighbours, so that one load brings both. Half the
// loads count: hundreds of warps ask for the same words at once.
DEV int place_of(int word) { return (word & ~15) | (word & 7) << 1 | (word >> 3 & 1); }
struct Two {
  Word a, b;
};
DEV void ask(Two& two, const u64* from) {
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(two.a.x), "=r"(two.a.t), "=r"(two.b.x), "=r"(two.b.t) : "l"(from) : "memory");
}
DEV bool stale(const Two& two, u32 tag) { return ((two.a.t ^ tag << 16) | (two.b.t ^ tag << 16)) >= 0x10000u; }
// N of these, 32 tiles apart. Those not wanted stay as they were.
template <int N> DEV void await(Two (&two)[N], const u64* from, const bool (&wanted)[N], u32 tag) {
#pragma unroll
  for (int i = 0; i < N; i++)
    if (wanted[i]) ask(two[i], from + i * 1024);
  for (u32 n = 0;; patience(n)) {
    bool wait = false;
#pragma unroll
    for (int i = 0; i < N; i++)
      if (wanted[i] && stale(two[i], tag)) ask(two[i], from + i * 1024), wait = true;
    if (!wait) return;
  }
}

// ---- the likeliest token: a rank of 64 bits by block, as two halves with a tag each ----
DEV u64 larger(u64 a, u64 b) { return a > b ? a : b; }
DEV u32 largest_in_warp(u32 v) {
  u32 r;
  asm volatile("redux.sync.max.u32 %0, %1, 0xffffffff;" : "=r"(r) : "r"(v));
  return r;
}
DEV u64 largest_of_warp(u64 best) {
  const u32 high = largest_in_warp(best >> 32);
  return (u64)high << 32 | largest_in_warp(best >> 32 == high ? (u32)best : 0);
}
DEV void tell_best(const Args& a, Shared& sh, const State& now, u64 mine) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const u64 best = largest_of_warp(mine);
  if (!lane) sh.warp_best[warp] = best;
  consumers_sync();
  if (warp) return;
  const u64 whole = largest_of_warp(sh.warp_best[lane % WARPS]);
  const u64 tag = (u64)(now.done + 1) << 32;
  u64* to = a.best + ((now.pos & 1) * gridDim.x + blockIdx.x) * 2;
  if (!lane) send(to, whole >> 32 | tag), send(to + 1, (whole & 0xFFFFFFFFu) | tag);
}
// Each warp asks for some blocks': when all asked for all of them, the cache's queues were full, and a step took 338 us where it takes 332.
DEV int next_token(const Args& a, Shared& sh, u32 done, int pos) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  u64 best = 0;
#pragma unroll 1
  for (int i = lane * WARPS + warp; i < gridDim.x; i += CONSUMERS) {
    const u64* from = a.best + ((pos & 1) * gridDim.x + i) * 2;
    Two w;
    u32 n = 0;
    for (ask(w, from); w.a.t != done || w.b.t != done; patience(n)) ask(w, from);
    best = larger(best, (u64)w.a.x << 32 | w.b.x);
  }
  best = largest_of_warp(best);
  if (!lane) sh.token_best[warp] = best;
  consumers_sync();
  return (int)~(u32)largest_of_warp(sh.token_best[lane % WARPS]);
}
