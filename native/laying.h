// Groups laid side by side, one in each lane, and the smallest and the largest weight of each.
#pragma once
#include <cstring>

#include "begin.h"
#include "lanes.h"

namespace fewbits {
namespace {

// Of each group; and 0 as long as all of it is finite, else NaN.
struct Ends {
    Lanes low, high, fine;
    explicit Ends(Lanes first) : low(first), high(first), fine(Lanes::all(0)) {}
    void take(Lanes w) { low = min(low, w), high = max(high, w), fine = fused(w, Lanes::all(0), fine); }
};

inline size_t size_of(int32_t type) { return type == F32 ? 4 : 2; }

inline const void* at(const void* values, int32_t type, int64_t i) {
    return static_cast<const char*>(values) + i * int64_t(size_of(type));
}

inline Lanes load_as(int32_t type, const void* from) {
    if (type == F32) return Lanes::load(static_cast<const float*>(from));
    const uint16_t* halves = static_cast<const uint16_t*>(from);
    return type == F16 ? from_f16(halves) : from_bf16(halves);
}

// The first of so many lanes, fewer than all; the last is repeated.
inline Lanes load_some(int32_t type, const void* from, int64_t count) {
    alignas(64) char copy[SIDE * sizeof(float)];
    const size_t size = size_of(type);
    for (int64_t lane = 0; lane < SIDE; ++lane)
        std::memcpy(copy + lane * size, at(from, type, lane < count ? lane : count - 1), size);
    return load_as(type, copy);
}

inline Lanes load_up_to(int32_t type, const void* from, int64_t count) {
    return count >= SIDE ? load_as(type, from) : load_some(type, from, count);
}

inline void store_up_to(Lanes values, float* to, int64_t count) {
    if (count >= SIDE) return values.store(to);
    float copy[SIDE];
    values.store(copy);
    std::memcpy(to, copy, size_t(count) * sizeof(float));
}

inline void widen(int32_t type, const void* from, int64_t count, float* to) {
    for (int64_t i = 0; i < count; i += SIDE) store_up_to(load_up_to(type, at(from, type, i), count - i), to + i, count - i);
}

// Eight rows of eight to eight columns, `stride` apart.
inline void transpose(const __m256 (&r)[8], float* to, int64_t stride) {
    __m256 pairs[8], fours[8];
    for (int i = 0; i < 8; i += 2) pairs[i] = _mm256_unpacklo_ps(r[i], r[i + 1]), pairs[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    for (int i = 0; i < 8; i += 4) {
        for (int j = 0; j < 2; ++j) {
            fours[i + 2 * j] = _mm256_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0x44);
            fours[i + 2 * j + 1] = _mm256_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0xee);
        }
    }
    for (int i = 0; i < 4; ++i) {
        _mm256_storeu_ps(to + i * stride, _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20));
        _mm256_storeu_ps(to + (i + 4) * stride, _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31));
    }
}

using Rows = const float* [SIDE];  // where each lane's group begins; the last is repeated where there are fewer

inline void lay_side_by_side(const Rows& rows, int64_t k, float* to) {
    for (int lane = 0; lane < SIDE; lane += 8) {
        int64_t i = 0;
        for (; i + 8 <= k; i += 8) {
            __m256 eight[8];
            for (int j = 0; j < 8; ++j) eight[j] = _mm256_loadu_ps(rows[lane + j] + i);
            transpose(eight, to + i * SIDE + lane, SIDE);
        }
        for (; i < k; ++i)
            for (int j = 0; j < 8; ++j) to[i * SIDE + lane + j] = rows[lane + j][i];
    }
}

// Of k rows `stride` apart the first so many columns.
inline void lay_columns(int32_t type, const void* from, int64_t stride, int64_t count, int64_t k, float* to) {
    for (int64_t i = 0; i < k; ++i) load_up_to(type, at(from, type, i * stride), count).store(to + i * SIDE);
}

inline Ends ends_of(const float* laid, int64_t k) {
    Ends ends(Lanes::load(laid));
    for (int64_t i = 0; i < k; ++i) ends.take(Lanes::load(laid + i * SIDE));
    return ends;
}

// The same of rows as they are, of eight weights or more: only what is left of each row at its end is laid out.
inline Ends ends_of_rows(const Rows& rows, int64_t k) {
    float parts[3][8 * SIDE];  // low, high, fine
    for (int lane = 0; lane < SIDE; lane += 8) {
        __m256 low[8], high[8], fine[8];
        for (int j = 0; j < 8; ++j) {
            const float* row = rows[lane + j];
            low[j] = high[j] = _mm256_loadu_ps(row + k - 8), fine[j] = _mm256_mul_ps(low[j], _mm256_setzero_ps());
            for (int64_t i = 0; i + 8 <= k; i += 8) {
                const __m256 w = _mm256_loadu_ps(row + i);
                low[j] = _mm256_min_ps(low[j], w), high[j] = _mm256_max_ps(high[j], w);
                fine[j] = _mm256_fmadd_ps(w, _mm256_setzero_ps(), fine[j]);
            }
        }
        transpose(low, parts[0] + lane, SIDE), transpose(high, parts[1] + lane, SIDE), transpose(fine, parts[2] + lane, SIDE);
    }
    Ends ends(Lanes::load(parts[0]));
    ends.high = Lanes::load(parts[1]);
    for (int i = 0; i < 8; ++i) {
        ends.low = min(ends.low, Lanes::load(parts[0] + i * SIDE)), ends.high = max(ends.high, Lanes::load(parts[1] + i * SIDE));
        ends.fine = ends.fine + Lanes::load(parts[2] + i * SIDE);
    }
    return ends;
}

}  // namespace
}  // namespace fewbits
