// What every kernel does with a group's sum and with a tile's answer.
#pragma once
#include "block.h"

namespace fewbits {

// What turns the sum of a group into numbers: (sum - zero * sum of x) * scale.
template <class V, bool HALF>
struct Meta {
    const Weight& w;
    float zero_shift, factor;

    Meta(const Weight& weight, bool integers) : w(weight), zero_shift(0), factor(1) {
        if (integers && w.bits == 8) zero_shift = V::OFFSET8;
        if (integers && w.is_codebook) {
            if (V::EXACT_BYTES) zero_shift = 128 * V::OFFSET8 - 16384, factor = w.peak / 16383;
            else factor = w.byte_step;
        }
    }
    // Of a group, counted over all tiles.
    typename V::Floats scale(int64_t at) const {
        auto s = V::read(static_cast<const uint8_t*>(w.scale) + at * w.scale_stride, 0, HALF ? int32_t(F16) : w.scale_type);
        return w.is_codebook ? V::mul(s, V::all(factor)) : s;
    }
    typename V::Floats zero(int64_t at) const {
        const auto* from = static_cast<const uint8_t*>(w.zero) + at * w.zero_stride;
        auto z = w.zero_type == NONE ? V::all(w.zero_value) : V::read(from, 0, HALF ? int32_t(F16) : w.zero_type);
        return zero_shift == 0 ? z : V::add(z, V::all(-zero_shift));
    }
};

// out[m, 16 outputs] + bias, in the type of x; the last tile may have fewer outputs.
template <class V>
static __attribute__((noinline)) void finish(const Weight& w, const Product& p, int64_t m, int64_t tile, typename V::Floats v) {
    int64_t first = tile * TILE, count = w.rows - first;
    if (p.only) m = p.only[m];
    if (count >= TILE) {
        if (p.bias) v = V::add(v, V::read(p.bias, first, p.type));
        return V::write(p.out, m * w.rows + first, p.type, v);
    }
    int size = p.type == F32 ? 4 : 2;
    uint8_t bias[TILE * 4] = {}, out[TILE * 4];
    if (p.bias) {
        __builtin_memcpy(bias, static_cast<const uint8_t*>(p.bias) + first * size, count * size);
        v = V::add(v, V::read(bias, 0, p.type));
    }
    V::write(out, 0, p.type, v);
    __builtin_memcpy(static_cast<uint8_t*>(p.out) + (m * w.rows + first) * size, out, count * size);
}

static inline bool has_half_meta(const Weight& w) { return w.scale_type == F16 && (w.zero_type == F16 || w.zero_type == NONE); }

}  // namespace fewbits
