// The grid of each group of weights: where it begins (src/fewbits/methods/_affine.py) and the whole search for a better one
// (src/fewbits/methods/_search.py), the group in registers. Compiled with K (weights of a group), L (lanes that share one: up to
// 32, or all THREADS of a block), V (weights of a lane), WEIGHTS and META (0: f32, 1: f16, 2: bf16), HAS_ZERO, INTEGER_ZERO, VALUES
// (of a codebook, or 0), SHRINKS and LENGTHS (how many), NORM (whether an lp norm may not rise), COUNTED (weights count
// FLOOR + (|w| / mean)**POWER; 0: all the same, 1: POWER is 1).
#define WIDE (L > 32)  // a block shares a group
#define EXACT (L * V == K)
#define TRIED 5
#define SLIDES (HAS_ZERO && !INTEGER_ZERO)

struct Problem {
  const char* weights;  // n groups of K
  float *scale, *zero;  // n of each
  u32* stats;           // bits of the largest scale and zero point by magnitude, and of the smallest scale above 0
  long long n;
  float steps, implied_zero, least, p, whole, threshold, most_zero, most_value;
  float shrink[8], length[8], value[16], middle[16];
};
struct Grid {
  float scale, zero;
};

DEV float as_stored(float x) { return META == 1 ? half_to_float(halves(x, 0.f)) : META == 2 ? low_bf16(bhalves(x, 0.f)) : x; }
DEV bool finite(float x) { return fabsf(x) <= 3.402823466e38f; }
DEV float power(float x, float p) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(fmaxf(x, 7.9e-31f)));
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(y * p));
  return y;
}
DEV float snap(const Problem& q, float at) {
#if VALUES
  float value = q.value[0];
#pragma unroll
  for (int i = 1; i < VALUES; i++) value = q.middle[i - 1] < at ? q.value[i] : value;
  return value;
#else
  return (fminf(fmaxf(at, 0.f), q.steps) + 12582912.f) - 12582912.f;  // 1.5 * 2^23: rounds to the nearest, ties to even
#endif
}

#if WIDE
__shared__ float parts[2][TRIED][L / 32];
#endif
struct Sum {
  DEV float operator()(float a, float b) const { return a + b; }
};
struct Most {
  DEV float operator()(float a, float b) const { return fmaxf(a, b); }
};
// Over the lanes of a group: every lane gets the same bits.
template <int N, class F> DEV void over_group(float (&v)[N], int& turn, F both) {
#pragma unroll
  for (int i = 0; i < N; i++)
#pragma unroll
    for (int o = 1; o < (WIDE ? 32 : L); o <<= 1) v[i] = both(v[i], __shfl_xor_sync(~0u, v[i], o));
#if WIDE
  if (!(threadIdx.x & 31))
#pragma unroll
    for (int i = 0; i < N; i++) parts[turn][i][threadIdx.x >> 5] = v[i];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < N; i++) {
    v[i] = parts[turn][i][0];
#pragma unroll
    for (int w = 1; w < L / 32; w++) v[i] = both(v[i], parts[turn][i][w]);
  }
  turn ^= 1;  // one barrier is enough where two halves take turns
#endif
}

struct Group {
  float w[V], per_mean;
  int lane, turn;
  DEV int index(int v) const { return ((v >> 3) * L + lane) * 8 + (v & 7); }
  DEV bool here(int v) const { return EXACT || index(v) < K; }
  DEV float counts(int v) const {
    if (!here(v)) return 0.f;
    if (COUNTED == 2) return __powf(fabsf(w[v]) * per_mean, float(POWER)) + float(FLOOR);
    return COUNTED ? __fmaf_rn(fabsf(w[v]), per_mean, float(FLOOR)) : 1.f;
  }

  DEV void load(const Problem& q, u64 group) {
    constexpr int SIZE = WEIGHTS ? 2 : 4;
    const char* from = q.weights + group * K * SIZE;
#if K % 8 == 0
#pragma unroll
    for (int c = 0; c < V; c += 8) {
      uint4 x[SIZE / 2];
#pragma unroll
      for (int i = 0; i < SIZE / 2; i++) x[i] = here(c) ? ((const uint4*)(from + index(c) * SIZE))[i] : make_uint4(0, 0, 0, 0);
      const u32* words = (const u32*)x;
#pragma unroll
      for (int i = 0; i < 8; i++)
        w[c + i] = WEIGHTS == 0   ? __uint_as_float(words[i % (2 * SIZE)])
                   : WEIGHTS == 1 ? (i & 1 ? high_to_float(words[i >> 1]) : half_to_float(words[i >> 1]))
                                  : (i & 1 ? high_bf16(words[i >> 1]) : low_bf16(words[i >> 1]));
    }
#else
#pragma unroll
    for (int v = 0; v < V; v++) {
      const int i = here(v) ? index(v) : 0;
      w[v] = WEIGHTS == 0 ? ((const float*)from)[i] : WEIGHTS == 1 ? half_to_float(((const u16*)from)[i]) : low_bf16(((const u16*)from)[i]);
      if (!here(v)) w[v] = 0.f;
    }
#endif
  }

  DEV Grid begin(const Problem& q) {
    float ends[2] = {-__int_as_float(0x7f800000), -__int_as_float(0x7f800000)};  // of -w and of w
    bool strange = false;
#pragma unroll
    for (int v = 0; v < V; v++)
      if (here(v)) ends[0] = fmaxf(ends[0], -w[v]), ends[1] = fmaxf(ends[1], w[v]), strange |= !finite(w[v]);
    if (strange) ends[0] = ends[1] = __int_as_float(0x7f800000);  // NaN would be passed over
    over_group(ends, turn, Most());
    float low = -ends[0], high = ends[1];
    const float most = fmaxf(fabsf(low), fabsf(high));
#if VALUES
    return {most / q.most_value, 0.f};
#elif !HAS_ZERO
    return {most / (q.steps / 2.f), 0.f};
#elif INTEGER_ZERO
    low = fminf(low, 0.f), high = fmaxf(high, 0.f);
    const float scale = (high - low) / q.steps;
    return {scale, scale > 0.f ? fminf(fmaxf(rintf(-low / scale), 0.f), q.steps) : 0.f};
#else
    const float least = most / q.most_zero;  // the step below which the zero point could not be stored well enough
    const bool flat = high - low <= least / 2.f;
    if (flat) low = fminf(low, 0.f), high = fmaxf(high, 0.f);
    float scale = (high - low) / q.steps;
    if (!flat && !(scale >= least)) scale = __uint_as_float(((__float_as_uint(least) >> 23) + 1) << 23);  // a power of two above
    return {scale, scale > 0.f ? -low / scale : -low};
#endif
  }

  DEV void measure() {
    float sum[1] = {0.f};
#pragma unroll
    for (int v = 0; v < V; v++) sum[0] += fabsf(w[v]);
    over_group(sum, turn, Sum());
    per_mean = 1.f / fmaxf(sum[0] / K, 1e-38f);
  }

  template <int N> DEV void losses(const Problem& q, const Grid (&tried)[N], float first, float (&loss)[N]) {
    float inverse[N];
#pragma unroll
    for (int c = 0; c < N; c++) inverse[c] = 1.f / tried[c].scale, loss[c] = 0.f;
#pragma unroll
    for (int v = 0; v < V; v++) {
      const float n = counts(v);
#pragma unroll
      for (int c = 0; c < N; c++) {
        const float at = __fmaf_rn(w[v], inverse[c], tried[c].zero), error = snap(q, at) - at;
        loss[c] = __fmaf_rn(error * error, n, loss[c]);
      }
    }
    over_group(loss, turn, Sum());
#pragma unroll
    for (int c = 0; c < N; c++) {
      const float ratio = tried[c].scale / first;
      loss[c] *= ratio * ratio;
    }
  }

  DEV float norm(const Problem& q, Grid grid, float first) {
    const float inverse = 1.f / grid.scale;
    float sum[1] = {0.f};
#pragma unroll
    for (int v = 0; v < V; v++) {
      const float at = __fmaf_rn(w[v], inverse, grid.zero), part = power(fabsf(snap(q, at) - at), q.p);
      sum[0] += here(v) ? part : 0.f;
    }
    over_group(sum, turn, Sum());
    return sum[0] * power(grid.scale / first, q.p);
  }

  // A slope no larger than a half either way; 0 where all codes are one.
  DEV static float quotient(float covariance, float variance) {
    return variance > 1e-6f ? fminf(fmaxf(covariance / variance, -0.5f), 0.5f) : 0.f;
  }
  // The grid of least loss for the codes of the best, once the large errors are left out: its scale and the weight of code 0.
  DEV Grid closed_form(const Problem& q, Grid best) {
    const float inverse = 1.f / best.scale, origin = SLIDES ? 0.f : best.zero;
    float sums[5] = {0.f, 0.f, 0.f, 0.f, 0.f};  // of counts, values, errors, their products, squares
#pragma unroll
    for (int v = 0; v < V; v++) {
      const float n = counts(v), at = __fmaf_rn(w[v], inverse, best.zero), near = snap(q, at), value = near - origin, nv = n * value;
      float error = near - at;
      if (NORM && fabsf(error) > q.threshold)
        error = copysignf(power(fabsf(error), q.p - 1.f) * power(q.threshold, 2.f - q.p), error);
      sums[0] += n, sums[1] += nv, sums[2] = __fmaf_rn(n, error, sums[2]);
      sums[3] = __fmaf_rn(nv, error, sums[3]), sums[4] = __fmaf_rn(nv, value, sums[4]);
    }
    over_group(sums, turn, Sum());
    if (!SLIDES) return {best.scale * (1.f - quotient(sums[3], sums[4])), -best.zero * best.scale};
    const float mean_v = sums[1] / sums[0], mean_e = sums[2] / sums[0];
    const float a = quotient(sums[3] / sums[0] - mean_v * mean_e, sums[4] / sums[0] - mean_v * mean_v), b = mean_e - a * mean_v;
    return {best.scale * (1.f - a), -(best.zero + b) * best.scale};
  }
};

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
  const float first = best.scale;
  if (COUNTED) g.measure();
  g.losses(q, one, first, least);
  if (NORM) ceiling = g.norm(q, best, first);
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
      tried[4] = turn > 1 ? g.closed_form(q, best) : tried[0];
    }
#pragma unroll
    for (int c = 0; c < TRIED; c++) tried[c] = stored(q, tried[c]);
    g.losses(q, tried, first, loss);
    Grid found = tried[0];
    float smallest = __int_as_float(0x7f800000);
#pragma unroll
    for (int c = 0; c < TRIED; c++)
      if (loss[c] < smallest) smallest = loss[c], found = tried[c];
    bool better = smallest < least[0];
    if (NORM && (WIDE ? better : __any_sync(~0u, better))) better = g.norm(q, found, first) <= ceiling && better;
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
