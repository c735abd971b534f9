// A whole decode step (or several) of a transformer in one kernel that stays on the GPU: one block an SM, the weights streamed by
// a producer warp through a ring in shared memory while sixteen warps compute. Blocks hand values on in words that tell whether they
// are new (step_exchange.cuh), so there is no barrier over the grid, and the ring fills across phases. Nothing is added by atomics,
// and all sums have a fixed order: the same input gives the same bits.
DEV u64 one_phase(const Args& a, const Phase& whole, int2 units, Ring& ring, char* x, const char* norms, Shared& sh, State& now, bool first) {
  const Core& ph = whole.core;
  u64 best = 0;
  if (ph.type == ATTEND) {
    attend(a, ph.layer, x, now, sh);
    return best;
  }
  const bool works = units.x < units.y;
  const Product product = {ph.kind, ph.kb, ph.m, units.y - units.x << (ph.type == GATED)};
  const Ending end(a, whole, ph, first_output(ph, units, 0), min(BATCH, product.items));
  // Who owns no rows must not wait for inputs either: the others would not wait for him before they write new ones.
  if (ph.norm) {
    NormWeights weights;
    const u32 at = now.norms % NORMED;
    mbar_wait(&sh.norm_full[at], now.norms / NORMED & 1);
    const char* mine = norms + at * a.norm_bytes;
    weights.load(ph.kb, mine);
    if (!LAYERNORM) free_slot(&sh.norm_empty[at]);
    if (works) normed(a, ph, product, x, sh, now, first, weights, mine);
    else if (first) consumers_sync();  // x holds the step's inputs, which others may still read
    if (LAYERNORM) free_slot(&sh.norm_empty[at]);  // its biases are read late
  } else if (works) gathered(a, ph, product, x, sh, now);
  if (works) {
    if (ph.raw) consumers_sync();  // warps will read others' inputs
    else __syncwarp();
    MARK(2);
    best = multiply(a, whole, product, end, units, ring, x, sh, now);
  }
  if (ph.norm) now.norms++;
  return best;
}
DEV void consume(const Args& a, const char* memory, char* x, const char* norms, Shared& sh) {
  Ring ring = {memory, sh.full, sh.empty, 0, 0};
  State now = {};
  int token = __ldcg(a.tokens + a.pos);
#pragma unroll 1
  for (now.pos = a.pos; now.pos < a.pos + a.steps; now.pos++) {
    now.before = begin_step(a, sh, x, token, now.pos);
    bool first = true;
#pragma unroll 1
    for (bool last = false; !last; now.done++) {
      const u32 at = now.done % HEADS;
#if PROFILE
      if (!threadIdx.x) sh.at = now.done % a.phases;
#endif
      MARK(0);
      mbar_wait(&sh.head_full[at], now.done / HEADS & 1);
      last = sh.heads[at].core.type == HEAD;
      // Other blocks may read this step's keys and values in the next: nothing else orders it. Here the inputs are waited for anyway.
      if (last) __threadfence();
      const u64 best = one_phase(a, sh.heads[at], sh.units[at], ring, x, norms, sh, now, first);
      free_slot(&sh.head_empty[now.done % HEADS]);
      first = false;
      if (last) tell_best(a, sh, now, best);
      MARK(5);
    }
    token = next_token(a, sh, now.done, now.pos);
    if (!blockIdx.x && !threadIdx.x) a.tokens[now.pos + 1] = token;
  }
}

// Registers go from the producer's warps, of which one thread works, to the others.
extern "C" __global__ void __launch_bounds__(CONSUMERS + 128, 1) decode_steps(const __grid_constant__ Args a) {
  extern __shared__ __align__(128) char memory[];
  char *ring = memory, *x = memory + a.ring_bytes, *norms = x + a.x_bytes;
  Shared& sh = *(Shared*)(norms + NORMED * a.norm_bytes);
  if (threadIdx.x == 0) {
    for (int i = 0; i < SLOTS; i++) mbar_init(&sh.full[i], 1), mbar_init(&sh.empty[i], WARPS);
    for (int i = 0; i < HEADS; i++) mbar_init(&sh.head_full[i], 1), mbar_init(&sh.head_empty[i], WARPS);
    for (int i = 0; i < NORMED; i++) mbar_init(&sh.norm_full[i], 1), mbar_init(&sh.norm_empty[i], WARPS);
  }
  if (threadIdx.x < 16) sh.book[threadIdx.x] = BOOK[threadIdx.x];
  if (threadIdx.x < 2) sh.zeros[threadIdx.x] = make_uint4(0, 0, 0, 0);
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  __syncthreads();
  if (threadIdx.x >= CONSUMERS) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == CONSUMERS) produce(a, ring, norms, sh);
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 104;");
    consume(a, ring, x, norms, sh);
  }
}
