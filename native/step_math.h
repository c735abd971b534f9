// What stands between the products of a step, in the words of lanes.h.
#pragma once
#include "lanes.h"
#include "step.h"

namespace fewbits {
namespace {

constexpr int N = Lanes::WIDTH;

inline float total(Lanes a) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps(a.v);
#else
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
#endif
}

// a * 2**whole, where that is a normal number.
inline Lanes times_power_of_two(Lanes a, Lanes whole) {
#if defined(__AVX512F__)
    return {_mm512_scalef_ps(a.v, whole.v)};
#else
    return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a.v), _mm256_slli_epi32(_mm256_cvtps_epi32(whole.v), 23)))};
#endif
}

// The last numbers of a row, fewer than there are lanes; zeros behind them.
inline Lanes load_some(const float* p, int64_t count) {
    float copy[N] = {};
    for (int64_t i = 0; i < count; ++i) copy[i] = p[i];
    return Lanes::load(copy);
}

inline void store_some(Lanes a, float* p, int64_t count) {
    float copy[N];
    a.store(copy);
    for (int64_t i = 0; i < count; ++i) p[i] = copy[i];
}

// out[i] = f(a[i], b[i]) over a row; b may be null, and is then 0.
template <class F>
inline void map(const float* a, const float* b, int64_t n, float* out, F&& f) {
    int64_t i = 0;
    for (; i + N <= n; i += N) f(Lanes::load(a + i), b ? Lanes::load(b + i) : Lanes::all(0)).store(out + i);
    if (i < n) store_some(f(load_some(a + i, n - i), b ? load_some(b + i, n - i) : Lanes::all(0)), out + i, n - i);
}

inline float sum(const float* x, int64_t n) {
    Lanes s = Lanes::all(0);
    int64_t i = 0;
    for (; i + N <= n; i += N) s = s + Lanes::load(x + i);
    return total(s + load_some(x + i, n - i));
}

inline float dot(const float* a, const float* b, int64_t n) {
    Lanes s = Lanes::all(0);
    int64_t i = 0;
    for (; i + N <= n; i += N) s = fused(Lanes::load(a + i), Lanes::load(b + i), s);
    if (i < n) s = fused(load_some(a + i, n - i), load_some(b + i, n - i), s);
    return total(s);
}

// (x - mean) / sqrt(mean of squares + eps) * weight + bias; the mean only where the norm is centred.
inline void norm(const Norm& norm, const float* x, int64_t n, float eps, bool centred, float* out) {
    const Lanes mean = Lanes::all(centred ? sum(x, n) / float(n) : 0);
    map(x, nullptr, n, out, [&](Lanes v, Lanes) { return v - mean; });
    const Lanes factor = Lanes::all(1 / __builtin_sqrtf(dot(out, out, n) / float(n) + eps));
    map(out, norm.weight, n, out, [&](Lanes v, Lanes w) { return v * factor * w; });
    if (norm.bias) map(out, norm.bias, n, out, [](Lanes v, Lanes b) { return v + b; });
}

inline void add(float* to, const float* x, int64_t n) {
    map(to, x, n, to, [](Lanes a, Lanes b) { return a + b; });
}

// Rotary positions: each number of a half with the one at the same place of the other half.
inline void turn(float* head, const float* cos, const float* sin, int64_t n) {
    const int64_t half = n / 2;
    for (int64_t i = 0; i < half; ++i) {
        const float a = head[i], b = head[i + half];
        head[i] = a * cos[i] + b * sin[i];
        head[i + half] = b * cos[i + half] + a * sin[i + half];
    }
}

// e**x, 1e-7 of itself off: 2**t for -1/2 <= t <= 1/2 by its series; what is below 2**-126 counts as that.
inline Lanes exp_of(Lanes x) {
    const Lanes at = clamp(x * Lanes::all(1.44269504f), Lanes::all(-126), Lanes::all(126));
    const Lanes whole = rounded(at), t = at - whole;
    static constexpr float C[] = {1.52527338e-5f, 1.54035304e-4f, 1.33335581e-3f, 9.61812911e-3f,
                                  5.55041087e-2f, 0.240226507f,   0.693147181f,   1};
    Lanes s = Lanes::all(C[0]);
    for (int i = 1; i < int(sizeof C / sizeof *C); ++i) s = fused(s, t, Lanes::all(C[i]));
    return times_power_of_two(s, whole);
}

// x / (1 + e**(-factor)), of which nothing is left below -88: `exp_of` has an upper limit, x has none.
inline Lanes gated(Lanes x, Lanes factor) {
    const Lanes zero = Lanes::all(0);
    return pick(less(factor, Lanes::all(-88)), zero, x / (Lanes::all(1) + exp_of(zero - factor)));
}

inline Lanes activated(Lanes x, int32_t kind) {
    if (kind == RELU) return max(Lanes::all(0), x);  // in this order NaN stays NaN
    if (kind == SILU) return gated(x, x);
    const Lanes inner = x * fused(x * x, Lanes::all(0.044715f), Lanes::all(1));  // (1 + tanh u) / 2 = 1 / (1 + e**(-2u))
    return gated(x, inner * Lanes::all(2 * 0.797884561f));
}

inline void activate(float* gate, const float* up, int64_t n, int32_t kind) {
    if (up) map(gate, up, n, gate, [&](Lanes g, Lanes u) { return activated(g, kind) * u; });
    else map(gate, nullptr, n, gate, [&](Lanes g, Lanes) { return activated(g, kind); });
}

// scores[q][t] = scaling * query q . key t, for some queries: a key is read once for all of them.
template <int COUNT>
inline void score(const Attention& a, int first) {
    const int64_t d = a.head_dim;
    const float* queries = a.queries + first * d;
    for (int64_t t = 0; t < a.tokens; ++t) {
        const float* key = a.keys + t * d;
        Lanes s[COUNT];
        for (auto& q : s) q = Lanes::all(0);
        int64_t i = 0;
        for (; i + N <= d; i += N) {
            const Lanes k = Lanes::load(key + i);
            for (int q = 0; q < COUNT; ++q) s[q] = fused(Lanes::load(queries + q * d + i), k, s[q]);
        }
        if (i < d) {
            const Lanes k = load_some(key + i, d - i);
            for (int q = 0; q < COUNT; ++q) s[q] = fused(load_some(queries + q * d + i, d - i), k, s[q]);
        }
        for (int q = 0; q < COUNT; ++q) a.scores[(first + q) * a.tokens + t] = total(s[q]) * a.scaling;
    }
}

inline void softmax(float* scores, int64_t n) {
    float most = scores[0];
    for (int64_t t = 1; t < n; ++t) most = scores[t] > most ? scores[t] : most;
    map(scores, nullptr, n, scores, [&](Lanes s, Lanes) { return exp_of(s - Lanes::all(most)); });
    const Lanes inverse = Lanes::all(1 / sum(scores, n));
    map(scores, nullptr, n, scores, [&](Lanes s, Lanes) { return s * inverse; });
}

// out[q] = sum over t of scores[q][t] * value t: some numbers of each value at a time, for all tokens.
template <int COUNT>
inline void mix(const Attention& a, int first) {
    const int64_t d = a.head_dim;
    for (int64_t i = 0; i < d; i += N) {
        const int64_t rest = d - i;
        Lanes s[COUNT];
        for (auto& q : s) q = Lanes::all(0);
        for (int64_t t = 0; t < a.tokens; ++t) {
            const Lanes v = rest >= N ? Lanes::load(a.values + t * d + i) : load_some(a.values + t * d + i, rest);
            for (int q = 0; q < COUNT; ++q) s[q] = fused(Lanes::all(a.scores[(first + q) * a.tokens + t]), v, s[q]);
        }
        for (int q = 0; q < COUNT; ++q) {
            float* out = a.out + (first + q) * d + i;
            if (rest >= N) s[q].store(out);
            else store_some(s[q], out, rest);
        }
    }
}

template <int COUNT>
inline void attend_some(const Attention& a, int first) {
    for (; a.count - first >= COUNT; first += COUNT) {
        score<COUNT>(a, first);
        for (int q = first; q < first + COUNT; ++q) softmax(a.scores + q * a.tokens, a.tokens);
        mix<COUNT>(a, first);
    }
    if constexpr (COUNT > 1) attend_some<COUNT / 2>(a, first);
}

inline void attend(const Attention& a) { attend_some<4>(a, 0); }

}  // namespace
}  // namespace fewbits
