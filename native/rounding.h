// Weights to the nearest codes, in the order of operations of src/fewbits/methods/base.py (`encode`): it decides on which side
// a weight half way between two codes falls.
#pragma once
#include "laying.h"

namespace fewbits {
namespace {

// Scales and zero points as they will be read back.
struct Block {
    Lanes scale, inverse, zero;
    Block(const Rounding& r, Lanes found, const Lanes* shift) {
        if (!r.read_back) found = divisor(found);  // of a group of zeros: any will do
        scale = as_type(r.type, max(found, Lanes::all(r.least)));
        inverse = Lanes::all(1) / max(scale, Lanes::all(1e-38f));
        zero = shift ? as_type(r.type, *shift) : Lanes::all(r.implied_zero);
    }
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

inline void store_up_to(Lanes codes, uint8_t* to, int64_t count) {
    if (count >= SIDE) return store_bytes(codes, to);
    uint8_t bytes[SIDE];
    store_bytes(codes, bytes);
    std::memcpy(to, bytes, size_t(count));
}

// A group that lies in a line.
template <int ORDER>
inline void round_line(const Rounding& r, const Block& b, const float* w, int64_t k, uint8_t* to) {
    int64_t i = 0;
    for (; i + SIDE <= k; i += SIDE) store_bytes(code<ORDER>(r, b, Lanes::load(w + i)), to + i);
    if (i < k) store_up_to(code<ORDER>(r, b, load_some(F32, w + i, k - i)), to + i, k - i);
}

inline void round_line(const Rounding& r, const Block& b, const float* w, int64_t k, uint8_t* to) {
    switch (r.order) {
        case BEFORE: return round_line<BEFORE>(r, b, w, k, to);
        case AFTER: return round_line<AFTER>(r, b, w, k, to);
        case HALF: return round_line<HALF>(r, b, w, k, to);
        default: return round_line<CODEBOOK>(r, b, w, k, to);
    }
}

// A row of a matrix whose columns have grids of their own, from this group on.
template <int ORDER>
inline void round_row(const Rounding& r, const Groups& g, int64_t group, const void* row, uint8_t* to) {
    for (int64_t i = 0; i < g.across; i += SIDE) {
        const int64_t left = g.across - i;
        const Lanes w = load_up_to(g.type, at(row, g.type, i), left), scale = load_up_to(F32, g.scale + group + i, left);
        const Lanes zero = g.zero ? load_up_to(F32, g.zero + group + i, left) : scale;
        store_up_to(code<ORDER>(r, Block(r, scale, g.zero ? &zero : nullptr), w), to + i, left);
    }
}

inline void round_row(const Rounding& r, const Groups& g, int64_t group, const void* row, uint8_t* to) {
    switch (r.order) {
        case BEFORE: return round_row<BEFORE>(r, g, group, row, to);
        case AFTER: return round_row<AFTER>(r, g, group, row, to);
        case HALF: return round_row<HALF>(r, g, group, row, to);
        default: return round_row<CODEBOOK>(r, g, group, row, to);
    }
}

}  // namespace
}  // namespace fewbits
