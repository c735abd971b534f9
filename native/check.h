// Arguments of the library's functions, checked: what is wrong is refused with BAD_ARGUMENT instead of being computed with.
// Whether memory is as large as the numbers say cannot be seen from here: the Python side checks that.
#pragma once
#include "fewbits.h"

namespace fewbits {

constexpr int64_t MOST_NUMBERS = int64_t(1) << 47;  // in one tensor: products of sizes then stay below 2**63

// Whether a * b numbers are few enough. Neither may be negative.
static inline bool is_size(int64_t a, int64_t b) { return a >= 0 && b >= 0 && (b == 0 || a <= MOST_NUMBERS / b); }
static inline bool is_float(int32_t type) { return type == F32 || type == F16 || type == BF16; }

// Groups below a chunk: src/fewbits/runtime/cpu/pack.py knows them too.
constexpr bool has_small_groups(int bits, bool book) { return bits == 4 || (!book && (bits == 2 || bits == 3 || bits == 8)); }

static inline bool is_group(const Weight& w) {
    if (w.group >= CHUNK) return w.block >= CHUNK && w.group % w.block == 0 && w.padded % w.group == 0;
    const bool small = w.group == 4 || w.group == 8 || w.group == 16;
    return small && w.block == CHUNK && has_small_groups(w.bits, w.is_codebook != 0);
}

static inline bool is_weight(const Weight* weight) {
    if (weight == nullptr) return false;
    const Weight& w = *weight;
    const bool book = w.is_codebook != 0;
    if (w.rows < 0 || w.cols < 1 || w.padded < w.cols || !is_size(w.rows, w.padded)) return false;
    if (w.is_codebook < 0 || w.is_codebook > 1 || w.bits < (book ? 2 : 1) || w.bits > (book ? 4 : 8)) return false;
    if ((w.block != CHUNK && w.block != 2 * CHUNK) || w.padded % w.block != 0 || !is_group(w)) return false;
    if (!is_float(w.scale_type) || !(is_float(w.zero_type) || w.zero_type == U8 || w.zero_type == NONE)) return false;
    if (w.gap < 0 || w.gap > 16 * LINE || w.scale_stride < 0 || w.zero_stride < 0) return false;
    return w.codes != nullptr && w.scale != nullptr && (w.zero != nullptr || w.zero_type == NONE);
}

static inline bool is_product(const Weight& w, const Product& p) {
    if (p.m < 0 || p.m > INT32_MAX || p.stride < 0 || !is_float(p.type)) return false;
    if (!is_size(p.m, w.padded) || !is_size(p.m, w.rows) || !is_size(p.m, p.stride)) return false;
    return p.m == 0 || w.rows == 0 || (p.x != nullptr && p.out != nullptr);
}

}  // namespace fewbits
