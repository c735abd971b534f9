// Weights to the nearest codes, in the order of operations of src/fewbits/methods/base.py (`encode`): it decides on which side
// a weight half way between two codes falls.
#pragma once
#include "lanes.h"
#include "solve.h"

namespace fewbits {
namespace {

struct Block {
    Lanes scale, inverse, zero;
};

template <int ORDER>
inline Lanes code(const Rounding& r, const Block& b, Lanes w) {
    const Lanes zero = Lanes::all(0), most = Lanes::all(r.steps);
    if (ORDER == AFTER) return clamp(rounded(w / b.scale) + b.zero, zero, most);
    if (ORDER == HALF) {
        const Lanes middle = Lanes::all(r.middle_code);
        return clamp(rounded(w / b.scale + (b.zero - middle)) + middle, zero, most);
    }
    if (ORDER == BEFORE) return clamp(rounded(w / b.scale + b.zero), zero, most);
    const Lanes at = w * b.inverse;
    Lanes out = Lanes::all(r.code_of[0]);
    for (int i = 1; i < r.values; ++i) out = pick(less(Lanes::all(r.middle[i - 1]), at), Lanes::all(r.code_of[i]), out);
    return out;
}

template <int ORDER>
inline void round_row(const Rounding& r, const Block& b, const float* w, uint8_t* to) {
    constexpr int N = Lanes::WIDTH;
    int64_t i = 0;
    for (; i + N <= r.c; i += N) store_bytes(code<ORDER>(r, b, Lanes::load(w + i)), to + i);
    if (i == r.c) return;
    float rest[N] = {};
    uint8_t bytes[N];
    for (int64_t j = i; j < r.c; ++j) rest[j - i] = w[j];
    store_bytes(code<ORDER>(r, b, Lanes::load(rest)), bytes);
    for (int64_t j = i; j < r.c; ++j) to[j] = bytes[j - i];
}

template <int ORDER>
inline void round_all(const Rounding& r) {
    for (int64_t y = 0; y < r.height; ++y) {
        const int64_t line = y / r.r * r.scale_stride;
        for (int64_t x = 0; x < r.width / r.c; ++x) {
            const float scale = r.scale[line + x], zero = r.zero ? r.zero[line + x] : 0;
            const Block block{Lanes::all(scale), Lanes::all(1 / (scale > 1e-38f ? scale : 1e-38f)), Lanes::all(zero)};
            round_row<ORDER>(r, block, r.weights + y * r.width + x * r.c, r.codes + y * r.codes_stride + x * r.c);
        }
    }
}

inline void round(const Rounding& r) {
    switch (r.order) {
        case BEFORE: return round_all<BEFORE>(r);
        case AFTER: return round_all<AFTER>(r);
        case HALF: return round_all<HALF>(r);
        default: return round_all<CODEBOOK>(r);
    }
}

}  // namespace
}  // namespace fewbits
