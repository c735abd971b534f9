// The search of src/fewbits/methods/_search.py for several groups at a time, one in each lane: nothing is summed across lanes.
#pragma once
#include <limits>

#include "begin.h"
#include "lanes.h"
#include "power.h"
#include "solve.h"

namespace fewbits {
namespace {

constexpr int MOST = 8;          // grids tried in one pass over the weights
constexpr int64_t PARTIAL = 256; // terms summed before they go to the total: 8,192 in a row would lose four more bits

// `COUNTED`: errors do not all count the same.
template <bool BOOK, bool COUNTED>
class SideBySide {
public:
    // `counts`: of each weight's error; `all`: their sum.
    SideBySide(const Search& s, const Powers& powers, const float* weights, const float* counts, Lanes all, int64_t k)
        : s_(s), powers_(powers), w_(weights), n_(counts), all_(all), k_(k) {}

    // Improve the grids of these groups.
    void run(Grid& best) {
        best_ = best, first_ = best.scale;
        loss_ = losses<1>(&best_);
        if (s_.p > 0) look<true, true>(best_, ceiling_, sums_);
        Grid tried[MOST];
        int count = 0;
        for (int i = 0; i < s_.shrinks; ++i) {
            const Lanes part = Lanes::all(s_.shrink[i] * s_.steps / 2);
            tried[count++] = drawn_in(part, part);
        }
        take(tried, count, s_.lengths < 2);
        for (int i = 0; i < s_.lengths; ++i) {
            count = moved(tried, s_.length[i]);
            if (i > 0) tried[count++] = closed_form();
            take(tried, count, i + 1 == s_.lengths);
        }
        best = best_;
    }

private:
    // Over a group, each weight's error counted: of codes (less an origin) and errors without what is large in these.
    struct Sums {
        Lanes v, e, ev, vv;
    };

    // The nearest value to a position, in steps.
    Lanes snap(Lanes at) const {
        if (!BOOK) return rounded(clamp(at, Lanes::all(0), Lanes::all(s_.steps)));
        Lanes value = Lanes::all(s_.value[0]);
        for (int i = 1; i < s_.values; ++i) value = pick(less(Lanes::all(s_.middle[i - 1]), at), Lanes::all(s_.value[i]), value);
        return value;
    }

    Lanes counts(int64_t i) const { return COUNTED ? Lanes::load(n_ + i * SIDE) : Lanes::all(1); }

    // Loss of some grids over the square of their first scale; the best is left in tried[0].
    template <int COUNT>
    Lanes losses(Grid* tried) const {
        Lanes inverse[COUNT], total[COUNT];
        for (int c = 0; c < COUNT; ++c) inverse[c] = Lanes::all(1) / tried[c].scale, total[c] = Lanes::all(0);
        for (int64_t start = 0; start < k_; start += PARTIAL) {
            Lanes sum[COUNT];
            for (int c = 0; c < COUNT; ++c) sum[c] = Lanes::all(0);
            const int64_t end = start + PARTIAL < k_ ? start + PARTIAL : k_;
#pragma GCC unroll 2
            for (int64_t i = start; i < end; ++i) {
                const Lanes w = Lanes::load(w_ + i * SIDE), n = counts(i);
                for (int c = 0; c < COUNT; ++c) {
                    const Lanes at = fused(w, inverse[c], tried[c].zero), error = snap(at) - at;
                    sum[c] = COUNTED ? fused(error * error, n, sum[c]) : fused(error, error, sum[c]);
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
            best = picked(better, tried[c], best);
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

    // In one pass over the weights, as its errors serve both: the lp norm to the power p of a grid, over that power of its first
    // scale, and the sums for the closed form.
    template <bool NORM, bool SUMS>
    void look(const Grid& grid, Lanes& norm, Sums& sums) const {
        const Lanes inverse = Lanes::all(1) / grid.scale, origin = slides() ? Lanes::all(0) : grid.zero, none = Lanes::all(0);
        Lanes total = none;
        sums = {none, none, none, none};
        for (int64_t start = 0; start < k_; start += PARTIAL) {
            const int64_t end = start + PARTIAL < k_ ? start + PARTIAL : k_;
            Lanes sum = none, v = none, e = none, ev = none, vv = none;
            for (int64_t i = start; i < end; ++i) {
                const Lanes at = fused(Lanes::load(w_ + i * SIDE), inverse, grid.zero), near = snap(at), error = near - at;
                if (NORM) sum = sum + power(powers_.norm, magnitude(error));
                if (!SUMS) continue;
                const Lanes value = near - origin, left = small(error), nv = COUNTED ? counts(i) * value : value;
                v = v + nv, ev = fused(nv, left, ev), vv = fused(nv, value, vv);
                e = COUNTED ? fused(counts(i), left, e) : e + left;
            }
            total = total + sum;
            sums = {sums.v + v, sums.e + e, sums.ev + ev, sums.vv + vv};
        }
        if (NORM) norm = total * power(powers_.norm, grid.scale / first_);
    }

    // What is left of an error above the threshold: t**(2 - p) |e|**(p - 1), with its sign.
    Lanes small(Lanes error) const {
        if (s_.p <= 0) return error;
        const Lanes size = magnitude(error), t = Lanes::all(s_.threshold);
        const Mask large = less(t, size);
        if (!any(large)) return error;
        return pick(large, with_sign(power(powers_.left, max(size, t)) * Lanes::all(powers_.kept), error), error);
    }

    // Keep the best of some grids (scale, and the weight of code 0 in the place of the zero point) where it is better.
    void take(Grid* tried, int count, bool last) {
        if (count == 0) return;
        for (int c = 0; c < count; ++c) tried[c] = stored(s_, tried[c]);
        const Lanes loss = losses(tried, count);
        Mask better = less(loss, loss_);
        if (!any(better)) return;
        if (s_.p > 0) {
            Lanes norm;
            Sums sums;
            if (last) look<true, false>(tried[0], norm, sums);
            else look<true, true>(tried[0], norm, sums);
            better = both(better, at_most(norm, ceiling_));
            sums_ = {pick(better, sums.v, sums_.v), pick(better, sums.e, sums_.e), pick(better, sums.ev, sums_.ev),
                     pick(better, sums.vv, sums_.vv)};
        }
        loss_ = pick(better, loss, loss_);
        best_ = picked(better, tried[0], best_);
    }

    // The best grid with its ends moved towards each other by numbers of steps.
    Grid drawn_in(Lanes first, Lanes last) const {
        return {best_.scale * (Lanes::all(1) - (first + last) / Lanes::all(s_.steps)), (first - best_.zero) * best_.scale};
    }

    // The best grid with one of its ends moved in or out; both together where there is no zero point.
    int moved(Grid* out, float length) const {
        const float part = s_.steps / s_.whole;
        const Lanes in = Lanes::all(length * (part < 1 ? part : 1)), back = Lanes::all(0) - in, still = Lanes::all(0);
        out[0] = drawn_in(in, still), out[1] = drawn_in(back, still);
        if (s_.has_zero) out[2] = drawn_in(still, in), out[3] = drawn_in(still, back);
        else out[2] = drawn_in(in + in, still), out[3] = drawn_in(back + back, still);
        return 4;
    }

    bool slides() const { return s_.has_zero && !s_.integer_zero; }

    // The grid of least loss for the codes of the best, once the large errors are left out.
    Grid closed_form() {
        Lanes unused;
        if (s_.p <= 0) look<false, true>(best_, unused, sums_);
        if (!slides()) {
            const Lanes a = quotient(sums_.ev, sums_.vv);
            return {best_.scale * (Lanes::all(1) - a), (Lanes::all(0) - best_.zero) * best_.scale};
        }
        const Lanes mean_v = sums_.v / all_, mean_e = sums_.e / all_;
        const Lanes a = quotient(sums_.ev / all_ - mean_v * mean_e, sums_.vv / all_ - mean_v * mean_v), b = mean_e - a * mean_v;
        return {best_.scale * (Lanes::all(1) - a), (Lanes::all(0) - (best_.zero + b)) * best_.scale};
    }

    // A slope no larger than a half either way; 0 where all codes are one.
    static Lanes quotient(Lanes covariance, Lanes variance) {
        const Mask varies = less(Lanes::all(1e-6f), variance);
        const Lanes slope = covariance / pick(varies, variance, Lanes::all(1));
        return pick(varies, clamp(slope, Lanes::all(-0.5f), Lanes::all(0.5f)), Lanes::all(0));
    }

    const Search& s_;
    const Powers& powers_;
    const float *w_, *n_;
    const Lanes all_;
    const int64_t k_;
    Grid best_;
    Lanes first_, loss_, ceiling_;
    Sums sums_;
};

// What each weight's error counts in its group; returns the sum.
inline Lanes count(const Search& s, const Powers& powers, const float* weights, int64_t k, float* counts) {
    Lanes sum = Lanes::all(0), all = sum;
    for (int64_t i = 0; i < k; ++i) sum = sum + magnitude(Lanes::load(weights + i * SIDE));
    const Lanes inverse = Lanes::all(float(k)) / max(sum, Lanes::all(1e-30f));  // of a group of zeros
    for (int64_t start = 0; start < k; start += PARTIAL) {
        Lanes part = Lanes::all(0);
        for (int64_t i = start; i < k && i < start + PARTIAL; ++i) {
            const Lanes size = magnitude(Lanes::load(weights + i * SIDE)) * inverse;
            const Lanes n = power(powers.count, size) + Lanes::all(s.count_floor);
            n.store(counts + i * SIDE), part = part + n;
        }
        all = all + part;
    }
    return all;
}

// The best grids found from these on for groups laid side by side.
inline Grid search(const Search& s, const Powers& powers, const float* weights, float* counts, int64_t k, Grid grid) {
    const bool counted = s.count_power > 0;
    const Lanes all = counted ? count(s, powers, weights, k, counts) : Lanes::all(float(k));
    if (s.values && counted) SideBySide<true, true>(s, powers, weights, counts, all, k).run(grid);
    else if (s.values) SideBySide<true, false>(s, powers, weights, counts, all, k).run(grid);
    else if (counted) SideBySide<false, true>(s, powers, weights, counts, all, k).run(grid);
    else SideBySide<false, false>(s, powers, weights, counts, all, k).run(grid);
    return grid;
}

}  // namespace
}  // namespace fewbits
