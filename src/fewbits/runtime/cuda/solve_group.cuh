// A group of weights in registers, and how well a grid fits it: what solve_fit.cu, which says with what this is compiled, searches with.
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

DEV float as_stored(float x) { return META == 1 ? half_to_float(halves(x, 0.f)) : META == 2 ? low_bf16(bhalves(x, 0.f)) : x; }
DEV bool finite(float x) { return fabsf(x) <= 3.402823466e38f; }
DEV float power(float x, float p) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(fmaxf(x, 7.9e-31f)));
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(y * p));
  return y;
}
DEV float reciprocal(float x) {  // within a unit in the last place; a division takes the device ten times as long
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
struct Grid {
  float scale, zero;
};
// Where weights lie on a grid, in steps, and the nearest place that has a code.
struct Ruler {
  float inverse, zero, part, part_zero;  // of the whole length
  DEV Ruler() {}
  DEV Ruler(const Problem& q, Grid g) : inverse(reciprocal(g.scale)), zero(g.zero) {
    const float per_steps = reciprocal(q.steps);
    part = inverse * per_steps, part_zero = zero * per_steps;
  }
  DEV float at(float w) const { return __fmaf_rn(w, inverse, zero); }
  DEV float nearest(const Problem& q, float w) const {
#if VALUES
    const float at = this->at(w);
    float value = q.value[0];
#pragma unroll
    for (int i = 1; i < VALUES; i++) value = q.middle[i - 1] < at ? q.value[i] : value;
    return value;
#else  // 1.5 * 2^23: rounds to the nearest, ties to even; keeping a part of the length between 0 and 1 takes no instruction
    return __fmaf_rn(__saturatef(__fmaf_rn(w, part, part_zero)), q.steps, 12582912.f) - 12582912.f;
#endif
  }
};

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
  float w[V];
  float count[COUNTED ? V : 1];  // of each weight's error: a power takes the device as long as ten products
  int lane, turn;
  DEV int index(int v) const { return ((v >> 3) * L + lane) * 8 + (v & 7); }
  DEV bool here(int v) const { return EXACT || index(v) < K; }
  DEV float counts(int v) const { return COUNTED ? count[COUNTED ? v : 0] : here(v) ? 1.f : 0.f; }

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
    const float per_mean = 1.f / fmaxf(sum[0] / K, 1e-38f);
#pragma unroll
    for (int v = 0; v < (COUNTED ? V : 0); v++)
      count[v] = here(v) ? __powf(fabsf(w[v]) * per_mean, float(POWER)) + float(FLOOR) : 0.f;
  }

  template <int N> DEV void losses(const Problem& q, const Grid (&tried)[N], float per_first, float (&loss)[N]) {
    Ruler ruler[N];
#pragma unroll
    for (int c = 0; c < N; c++) ruler[c] = Ruler(q, tried[c]), loss[c] = 0.f;
#pragma unroll
    for (int v = 0; v < V; v++) {
      const float n = counts(v);
#pragma unroll
      for (int c = 0; c < N; c++) {
        const float error = ruler[c].nearest(q, w[v]) - ruler[c].at(w[v]);
        loss[c] = __fmaf_rn(error * error, n, loss[c]);
      }
    }
    over_group(loss, turn, Sum());
#pragma unroll
    for (int c = 0; c < N; c++) {
      const float ratio = tried[c].scale * per_first;
      loss[c] *= ratio * ratio;
    }
  }

  DEV float norm(const Problem& q, Grid grid, float per_first) {
    const Ruler ruler(q, grid);
    float sum[1] = {0.f};
#pragma unroll
    for (int v = 0; v < V; v++) {
      const float part = power(fabsf(ruler.nearest(q, w[v]) - ruler.at(w[v])), q.p);
      sum[0] += here(v) ? part : 0.f;
    }
    over_group(sum, turn, Sum());
    return sum[0] * power(grid.scale * per_first, q.p);
  }

  // A slope no larger than a half either way; 0 where all codes are one.
  DEV static float quotient(float covariance, float variance) {
    return variance > 1e-6f ? fminf(fmaxf(covariance / variance, -0.5f), 0.5f) : 0.f;
  }
  // The grid of least loss for the codes of the best, once the large errors are left out: its scale and the weight of code 0. `kept`: the
  // threshold to the power 2 - p.
  DEV Grid closed_form(const Problem& q, Grid best, float kept) {
    const Ruler ruler(q, best);
    const float origin = SLIDES ? 0.f : best.zero;
    float sums[5] = {0.f, 0.f, 0.f, 0.f, 0.f};  // of counts, values, errors, their products, squares
#pragma unroll
    for (int v = 0; v < V; v++) {
      const float n = counts(v), near = ruler.nearest(q, w[v]), value = near - origin, nv = n * value;
      float error = near - ruler.at(w[v]);
      if (NORM) error = copysignf(fminf(fabsf(error), power(fmaxf(fabsf(error), q.threshold), q.p - 1.f) * kept), error);
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
