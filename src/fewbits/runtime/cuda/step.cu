// A whole decode step (or several) of a transformer in one kernel that stays on the GPU: one block an SM, the weights streamed by
// a producer warp through a ring in shared memory while sixteen warps compute. Blocks hand values on in words that tell whether they
// are new (step_exchange.cuh), so there is no barrier over the grid, and the ring fills across phases. Nothing is added by atomics,
// and all sums have a fixed order: the same input gives the same bits.
DEV void one_phase(const Args& a, const Phase& ph, Ring& ring, char* x, const char* norms, Shared& sh, State& now, Turn& norm, bool first) {
  if (ph.type == ATTEND) return attend(a, ph, x, now, sh);
  my_units(ph, now.from, now.to);
  const bool works = now.from < now.to;
  // Who owns no rows must not wait for inputs either: the others would not wait for him before they write new ones. The first phase
  // finds the scale of the norms, for which nothing is exchanged.
  if (ph.norm) {
    NormWeights weights;
    mbar_wait(&sh.norm_full[norm.at], norm.parity);
    const char* mine = norms + norm.at * a.norm_bytes;
    weights.load(ph, mine);
    if (works || first) normed(a, ph, x, sh, now, first, weights, (const u16*)mine + ph.k);
    free_slot(&sh.norm_empty[norm.at]);
    norm.next(NORMED);
  } else if (works) gathered(a, ph, x, sh, now);
  if (!works) return;
  if (ph.raw) consumers_sync();
  else __syncwarp();
  MARK(2);
  multiply(a, ph, ring, x, sh, now);
}
DEV void consume(const Args& a, const char* memory, char* x, const char* norms, Shared& sh) {
  Ring ring = {memory, sh.full, sh.empty, (u32)a.slots, 0, 0};
  Turn head = {0, 0}, norm = {0, 0};
  State now = {};
  int token = __ldcg(a.tokens + a.pos);
#pragma unroll 1
  for (int step = 0; step < a.steps; step++) {
    now.pos = a.pos + step, now.best = 0;
    now.before = begin_step(a, sh, x, token, now.pos);
#pragma unroll 1
    for (int p = 0; p < a.phases; p++, now.done++) {
#if PROFILE
      if (!threadIdx.x) sh.at = p;
#endif
      MARK(0);
      mbar_wait(&sh.head_full[head.at], head.parity);
      one_phase(a, sh.heads[head.at], ring, x, norms, sh, now, norm, !p);
      free_slot(&sh.head_empty[head.at]);
      head.next(HEADS);
      if (p + 1 == a.phases) tell_best(a, sh, now, step);
      MARK(5);
    }
    token = next_token(a, now.done, step);
    if (!blockIdx.x && !threadIdx.x) a.tokens[now.pos + 1] = token;
  }
}

// Registers go from the producer's warps, of which one thread works, to the others.
extern "C" __global__ void __launch_bounds__(CONSUMERS + 128, 1) decode_steps(const __grid_constant__ Args a) {
  extern __shared__ __align__(128) char memory[];
  char *ring = memory, *x = memory + a.ring_bytes, *norms = x + a.x_bytes;
  Shared& sh = *(Shared*)(norms + NORMED * a.norm_bytes);
  if (threadIdx.x == 0) {
    for (int i = 0; i < a.slots; i++) mbar_init(&sh.full[i], 1), mbar_init(&sh.empty[i], WARPS);
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
