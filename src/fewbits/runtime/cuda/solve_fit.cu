// The grid of each group of weights: where it begins (src/fewbits/methods/_affine.py) and the whole search for a better one
// (src/fewbits/methods/_search.py), the group in registers (solve_group.cuh). Compiled with K (weights of a group), L (lanes that
// share one: up to 32, or all THREADS of a block), V (weights of a lane), WEIGHTS and META (0: f32, 1: f16, 2: bf16), HAS_ZERO,
// INTEGER_ZERO, VALUES (of a codebook, or 0), SHRINKS and LENGTHS (how many), NORM (whether an lp norm may not rise), COUNTED
// (weights count FLOOR + (|w| / mean)**POWER; 0: all the same).
// As it will be read back; given with the weight of code 0 in the place of the zero point.
DEV Grid stored(const Problem& q, Grid g) {
  const float scale = as_stored(fmaxf(g.scale, q.least));
  if (!HAS_ZERO) return {scale, q.implied_zero};
  const float zero = -g.zero / scale;
  return {scale, INTEGER_ZERO ? fminf(fmaxf(rintf(zero), 0.f), q.steps) : as_stored(zero)};
}
// With its ends moved towards each other by numbers of steps.
DEV Grid drawn_in(const Problem& q, Grid best, float first, float last) {
  return {best.scale * (1.f - (first + last) / q.steps), (first - best.zero) * best.scale};
}
DEV void moved(const Problem& q, Grid best, float length, Grid (&out)[TRIED]) {
  const float by = length * fminf(1.f, q.steps / q.whole), other = HAS_ZERO ? 0.f : 2.f * by;
  out[0] = drawn_in(q, best, by, 0.f), out[1] = drawn_in(q, best, -by, 0.f);
  out[2] = drawn_in(q, best, other, HAS_ZERO ? by : 0.f), out[3] = drawn_in(q, best, -other, HAS_ZERO ? -by : 0.f);
}
DEV Grid search(const Problem& q, Group& g, Grid best) {
  Grid tried[TRIED], one[1] = {best};
  float loss[TRIED], least[1], ceiling = 0.f;
  const float per_first = 1.f / best.scale, kept = NORM ? power(q.threshold, 2.f - q.p) : 1.f;
  if (COUNTED) g.measure();
  g.losses(q, one, per_first, least);
  if (NORM) ceiling = g.norm(q, best, per_first);
#pragma unroll 1
  for (int turn = SHRINKS ? 0 : 1; turn <= LENGTHS; turn++) {
    if (turn == 0) {
#pragma unroll
      for (int c = 0; c < TRIED; c++) {
        const float part = q.shrink[c < SHRINKS ? c : 0] * q.steps / 2.f;
        tried[c] = drawn_in(q, best, part, part);
      }
    } else {
      moved(q, best, q.length[turn - 1], tried);
      tried[4] = turn > 1 ? g.closed_form(q, best, kept) : tried[0];
    }
#pragma unroll
    for (int c = 0; c < TRIED; c++) tried[c] = stored(q, tried[c]);
    g.losses(q, tried, per_first, loss);
    Grid found = tried[0];
    float smallest = __int_as_float(0x7f800000);
#pragma unroll
    for (int c = 0; c < TRIED; c++)
      if (loss[c] < smallest) smallest = loss[c], found = tried[c];
    bool better = smallest < least[0];
    if (NORM && (WIDE ? better : __any_sync(~0u, better))) better = g.norm(q, found, per_first) <= ceiling && better;
    if (better) best = found, least[0] = smallest;
  }
  return best;
}

extern "C" __global__ void __launch_bounds__(THREADS) fit(const __grid_constant__ Problem q) {
  constexpr int GROUPS = WIDE ? 1 : THREADS / L;
  __shared__ u32 stats[3];
  if (threadIdx.x < 3) stats[threadIdx.x] = threadIdx.x == 2 ? ~0u : 0;
  __syncthreads();
  Group g;
  g.lane = threadIdx.x % L, g.turn = 0;
  u32 most_scale = 0, most_zero = 0, least = ~0u;
  for (long long at = (long long)blockIdx.x * GROUPS; at < q.n; at += (long long)gridDim.x * GROUPS) {
    const long long mine = at + (WIDE ? 0 : threadIdx.x / L), group = mine < q.n ? mine : q.n - 1;
    g.load(q, group);
    const Grid start = g.begin(q);
    Grid best = start;
#if SHRINKS + LENGTHS
    const Grid begun = {as_stored(fmaxf(start.scale, q.least)), HAS_ZERO ? as_stored(start.zero) : q.implied_zero};
    const Grid found = search(q, g, begun);
    if (finite(begun.scale) && finite(begun.zero)) best = {start.scale == 0.f ? 0.f : found.scale, found.zero};
#endif
    if (mine < q.n && g.lane == 0) {
      q.scale[group] = best.scale;
      if (HAS_ZERO) q.zero[group] = best.zero;
    }
    const u32 scale = __float_as_uint(fabsf(best.scale));
    most_scale = max(most_scale, scale), most_zero = max(most_zero, HAS_ZERO ? __float_as_uint(fabsf(best.zero)) : 0);
    if (scale) least = min(least, scale);
  }
  most_scale = __reduce_max_sync(~0u, most_scale), most_zero = __reduce_max_sync(~0u, most_zero), least = __reduce_min_sync(~0u, least);
  if (!(threadIdx.x & 31)) atomicMax(&stats[0], most_scale), atomicMax(&stats[1], most_zero), atomicMin(&stats[2], least);
  __syncthreads();
  if (threadIdx.x < 2) atomicMax(q.stats + threadIdx.x, stats[threadIdx.x]);  // the same in any order
  if (threadIdx.x == 2) atomicMin(q.stats + 2, stats[2]);
}
