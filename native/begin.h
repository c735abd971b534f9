// Grids: where the search of a group begins (src/fewbits/methods/_affine.py, `fit_range`, in its order of operations, so that
// both come to the same bits), and what a grid is once it is stored.
#pragma once
#include <cmath>

#include "lanes.h"
#include "solve.h"

namespace fewbits {
namespace {

constexpr int SIDE = Lanes::WIDTH;  // groups side by side

struct Grid {
    Lanes scale, zero;
};

inline Grid picked(Mask m, const Grid& yes, const Grid& no) { return {pick(m, yes.scale, no.scale), pick(m, yes.zero, no.zero)}; }

inline Lanes as_type(int32_t type, Lanes x) { return type == F16 ? to_f16_and_back(x) : type == BF16 ? to_bf16_and_back(x) : x; }

// Scale and zero point as they will be read back, of a scale and the weight that code 0 stands for.
inline Grid stored(const Search& s, const Grid& g) {
    const Lanes scale = as_type(s.type, max(g.scale, Lanes::all(s.least)));
    if (!s.has_zero) return {scale, Lanes::all(s.implied_zero)};
    const Lanes zero = (Lanes::all(0) - g.zero) / scale;
    if (s.integer_zero) return {scale, clamp(rounded(zero), Lanes::all(0), Lanes::all(s.steps))};
    return {scale, as_type(s.type, zero)};
}

inline Lanes negative(Lanes x) { return x * Lanes::all(-1); }  // 0 - x would make 0 of -0
inline Lanes divisor(Lanes scale) { return pick(less(Lanes::all(0), scale), scale, Lanes::all(1)); }

// A step that every type stores exactly. Few groups need one: lane by lane.
inline Lanes power_of_two_above(Lanes x) {
    float values[SIDE];
    x.store(values);
    for (float& value : values) {
        int exponent;
        std::frexp(value, &exponent);
        value = std::ldexp(1.0f, exponent);
    }
    return Lanes::load(values);
}

// The zero point is free: a range far from 0 takes a step with which it can be stored.
inline Grid free_range(const Search& s, Lanes low, Lanes high, Lanes most) {
    const Lanes least = most / Lanes::all(s.most_zero), zero = Lanes::all(0);
    const Mask flat = at_most(high - low, least / Lanes::all(2));
    low = pick(flat, min(low, zero), low), high = pick(flat, max(high, zero), high);
    Lanes scale = (high - low) / Lanes::all(s.steps);
    const Mask fine = either(flat, at_most(least, scale));
    if (!every(fine)) scale = pick(fine, scale, power_of_two_above(least));
    return {scale, negative(low) / divisor(scale)};
}

// The grid that spans each group, of its smallest and its largest weight.
inline Grid begin(const Search& s, Lanes low, Lanes high) {
    const Lanes most = max(magnitude(low), magnitude(high)), zero = Lanes::all(0);
    low = low + zero;  // 0 of -0: which of the two is the smallest would hang on their order
    if (s.values) return {most / Lanes::all(s.most_value), zero};
    if (!s.has_zero) return {most / Lanes::all(s.steps / 2), Lanes::all(s.implied_zero)};
    if (!s.integer_zero) return free_range(s, low, high, most);
    low = min(low, zero), high = max(high, zero);
    const Lanes scale = (high - low) / Lanes::all(s.steps);
    return {scale, clamp(rounded(negative(low) / divisor(scale)), zero, Lanes::all(s.steps))};
}

}  // namespace
}  // namespace fewbits
