// What all parts of the decode step share: the tables that describe it, its shared memory, barriers of a block.
//
// Compiled with HD (head size), RT (query heads that share a pass over keys), AHEAD (keys a lane asks for at a time), SLOTS and SLOT
// (of the ring, and bytes of one), SMALL (bytes for struct Shared), BF16 (16-bit type), PROFILE, KINDS (the sorts of weights that occur,
// as bits), LAYERNORM (else RMSNorm), ACT (activation), NORMS (normed inputs of a lane, in fours).
//
// A warp issues an instruction every 10 cycles or so (Nsight Compute on an H200: fixed latencies, branches, shared memory), and what
// it runs once a phase is hidden behind nothing: outside of loops, fewer instructions are what makes a phase short.
#define WARPS 16
#define CONSUMERS (WARPS * 32)
#define BATCH 8    // tiles summed over the warps at a time
#define KBMAX 512  // tiles along the inputs
#define LPK (HD <= 32 ? 4 : HD <= 64 ? 8 : 16)  // lanes that share a key
#define SUBS (32 / LPK)
#define SPLIT_KEYS (AHEAD * WARPS * SUBS)  // keys that a block takes before another helps
#define PAIRS ((HD + 63) / 64)             // words of a value row that a lane holds

enum Type { QKV, ATTEND, OUT, GATED, PLAIN, DOWN, HEAD };

struct Seg {
  const char* w;
  const char* meta;
  int tiles, rows, kind, m, chunk, unused;  // 2^m tiles a group; chunk: tiles a slot (kind 16: rows a slot)
};
struct __align__(16) Core {  // what the consumers need
  int type, kb, k, kind;
  int m, rows, layer, parts;  // rows: outputs; parts: sums that make one
  int unused[3];
  float inv_k;
  const char* norm;  // weights, then biases, of 16 bits
  int biased, raw;
};
struct Phase {
  Core core;
  Seg seg[3];
  const float *bias, *up_bias;
  int units, segs;  // units: tiles of outputs, a gate's and its up's being one
};
struct Product {  // what is needed once the inputs are there: read before they come, a step is 7 us of 328 shorter
  int kind, kb, m, items;
};
static_assert(sizeof(Phase) % 16 == 0, "the copy engine takes 16 bytes");
__constant__ Phase PHASES[304];
__constant__ u32 BOOK[16];

struct Args {
  u64 *h, *qkv, *act, *parts, *part_sums, *best;  // exchanged between blocks: see step_exchange.cuh
  char *keys, *values;
  const float *cos, *sin;
  const char *embed, *embed_meta;
  const u16* positions;
  int* tokens;
  float* logits;
  const Phase* phase_list;
  long long* profile;
  int phases, steps, pos;
  int hidden, heads, kv_heads, max_len, splits;
  int embed_kind, embed_m, rep_inverse, rope_dim;  // rep_inverse: 2^16 over the heads that share keys, rounded up
  float eps, attn_scale, inv_temperature;
  u32 seed, ring_bytes, x_bytes, norm_bytes;
};

#define HEADS 8   // descriptions of phases that are brought ahead
#define NORMED 4  // norms' weights; both are powers of two, so that counters tell the place
struct Shared {   // what is small
  u64 full[32], empty[32];
  u64 head_full[HEADS], head_empty[HEADS], norm_full[NORMED], norm_empty[NORMED];
  Phase heads[HEADS];
  int2 units[HEADS];
  float xs[KBMAX];  // of a tile's f16 inputs: what they are to be multiplied by
  float red[2][BATCH][16][20];
  float squares[NORMED][WARPS];
  float warp_sums[WARPS];
  u64 warp_best[WARPS], token_best[WARPS];
  u32 book[16];
  uint4 zeros[2];
  int at;  // the phase, for the profile
};
static_assert(sizeof(Shared) <= SMALL, "struct Shared is given SMALL bytes");

#if PROFILE
#define MARK(i) \
  if (!threadIdx.x) a.profile[(blockIdx.x * a.phases + sh.at) * 16 + i] = clock64()
#else
#define MARK(i)
#endif

// What changes from phase to phase, the same in all threads of a block but for `before`.
struct State {
  DEV u32 tag() const { return done & 0xFFFFu; }  // of what was written by the phase before
  u32 done;      // phases so far: what a phase reads is tagged with this, what it writes with one more
  u32 flushes;   // turns of the buffer for sums
  u32 norms;     // phases with norms so far
  int pos;
  float before;  // the residual stream at the output that this thread adds to
};

DEV u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
DEV void mbar_init(u64* bar, u32 count) { asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_address(bar)), "r"(count)); }
DEV void mbar_arrive(u64* bar) { asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(shared_address(bar)) : "memory"); }
DEV void mbar_expect(u64* bar, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(shared_address(bar)), "r"(bytes) : "memory");
}
DEV void mbar_wait(u64* bar, u32 parity) {  // has no end of its own: where a block hangs, others lose patience (step_exchange.cuh)
  asm volatile("{\n.reg .pred p;\nAGAIN: mbarrier.try_wait.parity.shared.b64 p, [%0], %1;\n@!p bra AGAIN;\n}" ::"r"(shared_address(bar)),
               "r"(parity) : "memory");
}
DEV void bulk_copy(void* to, const void* from, u32 bytes, u64* bar) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(to)),
               "l"(from), "r"(bytes), "r"(shared_address(bar)) : "memory");
}
// Weights are read once a step: they are to leave the cache first, and what is read again and again is to stay.
DEV u64 read_once() {
  u64 policy;
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}
DEV void bulk_copy(void* to, const void* from, u32 bytes, u64* bar, u64 policy) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(
                   shared_address(to)), "l"(from), "r"(bytes), "r"(shared_address(bar)), "l"(policy) : "memory");
}
DEV void consumers_sync() { asm volatile("bar.sync 1, 512;" ::: "memory"); }

// ---- small conversions ----
DEV float from16(u16 v) {
#if BF16
  return __uint_as_float((u32)v << 16);
#else
  return half_to_float(v);
#endif
}
DEV u32 finite_halves(float low, float high) {  // what is too large becomes the largest
  u32 r;
  asm("cvt.rn.satfinite.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
DEV void sixteens(float (&to)[4], const u16* from) {
  const ushort4 v = *(const ushort4*)from;
  to[0] = from16(v.x), to[1] = from16(v.y), to[2] = from16(v.z), to[3] = from16(v.w);
}
DEV float2 two_of(u32 x) {
#if BF16
  return make_float2(low_bf16(x), high_bf16(x));
#else
  return make_float2(half_to_float(x), half_to_float(x >> 16));
#endif
}
// Without the cases of denormal numbers, which cost more instructions than the rest.
DEV float exponential(float x) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x * 1.4426950408889634f));
  return r;
}
DEV float inverse(float x) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
DEV float inverse_root(float x) {
  float r;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
