// The search of src/fewbits/methods/_search.py for several groups at a time, one in each lane: nothing is summed across lanes.
#pragma once
#include <cstdlib>
#include <limits>

#include "lanes.h"
#include "solve.h"

namespace fewbits {
namespace {

constexpr int SIDE = Lanes::WIDTH;  // groups side by side
constexpr int MOST = 8;          // grids tried in one pass over the weights
constexpr int64_t PARTIAL = 256; // terms summed before they go to the total: 8,192 in a row would lose four more bits

struct Grid {
    Lanes scale, zero;
};

template <bool BOOK>
class SideBySide {
public:
    SideBySide(const Search& s, const float* weights, const float* counts, int64_t k) : s_(s), w_(weights), n_(counts), k_(k) {}

    // Improve the grids of these groups.
    void run(Grid& best) {
        best_ = best, first_ = best.scale;
        loss_ = losses<1>(&best_);
        ceiling_ = s_.p > 0 ? norm(best_) : Lanes::all(0);
        Grid tried[MOST];
        int count = 0;
        for (int i = 0; i < s_.shrinks; ++i) {
            const Lanes part = Lanes::all(s_.shrink[i] * s_.steps / 2);
            tried[count++] = drawn_in(part, part);
        }
        take(tried, count);
        for (int i = 0; i < s_.lengths; ++i) {
            count = moved(tried, s_.length[i]);
            if (i > 0) tried[count++] = closed_form();
            take(tried, count);
        }
        best = best_;
    }

private:
    // The nearest value to a position, in steps.
    Lanes snap(Lanes at) const {
        if (!BOOK) return rounded(clamp(at, Lanes::all(0), Lanes::all(s_.steps)));
        Lanes value = Lanes::all(s_.value[0]);
        for (int i = 1; i < s_.values; ++i) value = pick(less(Lanes::all(s_.middle[i - 1]), at), Lanes::all(s_.value[i]), value);
        return value;
    }

    // Loss of some grids over the square of their first scale; the best is left in tried[0].
    template <int COUNT>
    Lanes losses(Grid* tried) const {
        Lanes inverse[COUNT], total[COUNT];
        for (int c = 0; c < COUNT; ++c) inverse[c] = Lanes::all(1) / tried[c].scale, total[c] = Lanes::all(0);
        for (int64_t start = 0; start < k_; start += PARTIAL) {
            Lanes sum[COUNT];
            for (int c = 0; c < COUNT; ++c) sum[c] = Lanes::all(0);
            const int64_t end = start + PARTIAL < k_ ? start + PARTIAL : k_;
            for (int64_t i = start; i < end; ++i) {
                const Lanes w = Lanes::load(w_ + i * SIDE), n = n_ ? Lanes::load(n_ + i * SIDE) : Lanes::all(1);
                for (int c = 0; c < COUNT; ++c) {
                    const Lanes at = fused(w, inverse[c], tried[c].zero), error = snap(at) - at;
                    sum[c] = fused(error * error, n, sum[c]);
                }
            }
            for (int c = 0; c < COUNT; ++c) total[c] = total[c] + sum[c];
        }
        Lanes least = Lanes::all(std::numeric_limits<float>::infinity());
        Grid best = tried[0];
        for (int c = 0; c < COUNT; ++c) {
            const Lanes ratio = tried[c].scale / first_, loss = total[c] * (ratio * ratio);
            const Mask better = less(loss, least);
            least = pick(better, loss, least);
            best = {pick(better, tried[c].scale, best.scale), pick(better, tried[c].zero, best.zero)};
        }
        tried[0] = best;
        return least;
    }

    Lanes losses(Grid* tried, int count) const {
        switch (count) {
            case 1: return losses<1>(tried);
            case 2: return losses<2>(tried);
            case 3: return losses<3>(tried);
            case 4: return losses<4>(tried);
            case 5: return losses<5>(tried);
            case 6: return losses<6>(tried);
            case 7: return losses<7>(tried);
            default: return losses<8>(tried);
        }
    }

    // The lp norm to the power p of a grid, over that power of its first scale.
    Lanes norm(const Grid& grid) const {
        const Lanes inverse = Lanes::all(1) / grid.scale;
        Lanes total = Lanes::all(0);
        for (int64_t start = 0; start < k_; start += PARTIAL) {
            const int64_t end = start + PARTIAL < k_ ? start + PARTIAL : k_;
            Lanes sum = Lanes::all(0);
            for (int64_t i = start; i < end; ++i) {
                const Lanes at = fused(Lanes::load(w_ + i * SIDE), inverse, grid.zero);
                sum = sum + power(magnitude(snap(at) - at), s_.p);
            }
            total = total + sum;
        }
        return total * power(grid.scale / first_, s_.p);
    }

    // Keep the best of some grids (scale, and the weight of code 0 in the place of the zero point) where it is better.
    void take(Grid* tried, int count) {
        if (count == 0) return;
        for (int c = 0; c < count; ++c) tried[c] = stored(tried[c]);
        const Lanes loss = losses(tried, count);
        Mask better = less(loss, loss_);
        if (!any(better)) return;
        if (s_.p > 0) better = both(better, at_most(norm(tried[0]), ceiling_));
        loss_ = pick(better, loss, loss_);
        best_ = {pick(better, tried[0].scale, best_.scale), pick(better, tried[0].zero, best_.zero)};
    }

    Lanes as_stored(Lanes x) const {
        return s_.type == F16 ? to_f16_and_back(x) : s_.type == BF16 ? to_bf16_and_back(x) : x;
    }

    Grid stored(const Grid& g) const {
        const Lanes scale = as_stored(max(g.scale, Lanes::all(s_.least)));
        if (!s_.has_zero) return {scale, Lanes::all(s_.implied_zero)};
        const Lanes zero = (Lanes::all(0) - g.zero) / scale;
        if (s_.integer_zero) return {scale, clamp(rounded(zero), Lanes::all(0), Lanes::all(s_.steps))};
        return {scale, as_stored(zero)};
    }

    // The best grid with its ends moved towards each other by numbers of steps.
    Grid drawn_in(Lanes first, Lanes last) const {
        return {best_.scale * (Lanes::all(1) - (first + last) / Lanes::all(s_.steps)), (first - best_.zero) * best_.scale};
    }

    // The best grid with one of its ends moved in or out; both together where there is no zero point.
    int moved(Grid* out, float length) const {
        const float part = s_.steps / s_.whole;
        const Lanes in = Lanes::all(length * (part < 1 ? part : 1)), back = Lanes::all(0) - in, still = Lanes::all(0);
        if (!s_.has_zero) {
            out[0] = drawn_in(in, still), out[1] = drawn_in(back, still);
            out[2] = drawn_in(in + in, still), out[3] = drawn_in(back + back, still);
        } else {
            out[0] = drawn_in(in, still), out[1] = drawn_in(back, still);
            out[2] = drawn_in(still, in), out[3] = drawn_in(still, back);
        }
        return 4;
    }

    // What is left of an error above the threshold: t**(2 - p) |e|**(p - 1), with its sign.
    Lanes small(Lanes error) const {
        if (s_.p <= 0) return error;
        const Lanes size = magnitude(error), t = Lanes::all(s_.threshold);
        const Mask large = less(t, size);
        if (!any(large)) return error;
        const Lanes left = power(max(size, t), s_.p - 1) * power(t, 2 - s_.p);
        return pick(large, with_sign(left, error), error);
    }

    // The grid of least loss for the codes of the best, once the large errors are left out.
    Grid closed_form() const {
        const bool slides = s_.has_zero && !s_.integer_zero;
        const Lanes inverse = Lanes::all(1) / best_.scale, origin = slides ? Lanes::all(0) : best_.zero;
        Lanes count = Lanes::all(0), v = count, e = count, ev = count, vv = count;
        for (int64_t start = 0; start < k_; start += PARTIAL) {
            const int64_t end = start + PARTIAL < k_ ? start + PARTIAL : k_;
            Lanes c1 = Lanes::all(0), v1 = c1, e1 = c1, ev1 = c1, vv1 = c1;
            for (int64_t i = start; i < end; ++i) {
                const Lanes n = n_ ? Lanes::load(n_ + i * SIDE) : Lanes::all(1);
                const Lanes at = fused(Lanes::load(w_ + i * SIDE), inverse, best_.zero), near = snap(at);
                const Lanes value = near - origin, error = small(near - at), nv = n * value;
                c1 = c1 + n, v1 = v1 + nv, e1 = fused(n, error, e1), ev1 = fused(nv, error, ev1), vv1 = fused(nv, value, vv1);
            }
            count = count + c1, v = v + v1, e = e + e1, ev = ev + ev1, vv = vv + vv1;
        }
        if (!slides) {
            const Lanes a = quotient(ev, vv);
            return {best_.scale * (Lanes::all(1) - a), (Lanes::all(0) - best_.zero) * best_.scale};
        }
        const Lanes mean_v = v / count, mean_e = e / count;
        const Lanes a = quotient(ev / count - mean_v * mean_e, vv / count - mean_v * mean_v), b = mean_e - a * mean_v;
        return {best_.scale * (Lanes::all(1) - a), (Lanes::all(0) - (best_.zero + b)) * best_.scale};
    }

    // A slope no larger than a half either way; 0 where all codes are one.
    static Lanes quotient(Lanes covariance, Lanes variance) {
        const Mask varies = less(Lanes::all(1e-6f), variance);
        const Lanes slope = covariance / pick(varies, variance, Lanes::all(1));
        return pick(varies, clamp(slope, Lanes::all(-0.5f), Lanes::all(0.5f)), Lanes::all(0));
    }

    const Search& s_;
    const float *w_, *n_;
    const int64_t k_;
    Grid best_;
    Lanes first_, loss_, ceiling_;
};

// SideBySide groups side by side; the last is repeated where there are fewer.
inline void lay_out(const float* from, int64_t first, int64_t n, int64_t k, float* to) {
    for (int lane = 0; lane < SIDE; ++lane) {
        const int64_t group = first + lane < n ? first + lane : n - 1;
        const float* row = from + group * k;
        for (int64_t i = 0; i < k; ++i) to[i * SIDE + lane] = row[i];
    }
}

// What each weight's error counts in its group.
inline void count(const Search& s, const float* weights, int64_t k, float* counts) {
    Lanes sum = Lanes::all(0);
    for (int64_t i = 0; i < k; ++i) sum = sum + magnitude(Lanes::load(weights + i * SIDE));
    const Lanes inverse = Lanes::all(float(k)) / max(sum, Lanes::all(1e-30f));  // of a group of zeros
    for (int64_t i = 0; i < k; ++i) {
        const Lanes size = magnitude(Lanes::load(weights + i * SIDE)) * inverse;
        (power(size, s.count_power) + Lanes::all(s.count_floor)).store(counts + i * SIDE);
    }
}

inline Lanes of_lanes(const float* values, int64_t first, int64_t n) {
    float copy[SIDE];
    for (int lane = 0; lane < SIDE; ++lane) copy[lane] = values[first + lane < n ? first + lane : n - 1];
    return Lanes::load(copy);
}

inline void put(Lanes values, float* to, int64_t first, int64_t n) {
    float copy[SIDE];
    values.store(copy);
    for (int lane = 0; lane < SIDE && first + lane < n; ++lane) to[first + lane] = copy[lane];
}

inline bool search(const Search& s, const Groups& g) {
    const size_t room = size_t(g.k) * SIDE;
    float* memory = static_cast<float*>(std::aligned_alloc(64, room * 2 * sizeof(float)));
    if (memory == nullptr) return false;
    float* counts = s.count_power > 0 ? memory + room : nullptr;
    for (int64_t first = 0; first < g.n; first += SIDE) {
        lay_out(g.weights, first, g.n, g.k, memory);
        if (counts) count(s, memory, g.k, counts);
        Grid grid{of_lanes(g.scale, first, g.n), of_lanes(g.zero, first, g.n)};
        if (s.values) SideBySide<true>(s, memory, counts, g.k).run(grid);
        else SideBySide<false>(s, memory, counts, g.k).run(grid);
        put(grid.scale, g.scale, first, g.n);
        put(grid.zero, g.zero, first, g.n);
    }
    std::free(memory);
    return true;
}

}  // namespace
}  // namespace fewbits
