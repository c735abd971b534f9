// Codes, a byte each, to the stream of their `bits` low bits one behind the other, as src/fewbits/packing.py has it.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace fewbits {
namespace {

// Eight codes: pairs, then pairs of pairs, then both halves.
template <int BITS>
inline uint64_t eight(uint64_t codes) {
    constexpr int GAP = 8 - BITS;
    constexpr uint64_t LOW = 0x00ff00ff00ff00ff, FOURS = 0x0000ffff0000ffff, HALF = 0x00000000ffffffff;
    codes = (codes & LOW) | ((codes & ~LOW) >> GAP);
    codes = (codes & FOURS) | ((codes & ~FOURS) >> 2 * GAP);
    return (codes & HALF) | ((codes & ~HALF) >> 4 * GAP);
}

template <int BITS>
inline void to_stream(const uint8_t* codes, uint8_t* stream, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8, stream += BITS) {
        uint64_t word;
        std::memcpy(&word, codes + i, 8);
        word = eight<BITS>(word);
        std::memcpy(stream, &word, BITS);
    }
    if (i == n) return;
    uint64_t word = 0;
    std::memcpy(&word, codes + i, size_t(n - i));
    word = eight<BITS>(word);
    std::memcpy(stream, &word, size_t(((n - i) * BITS + 7) / 8));
}

inline void to_stream(int32_t bits, const uint8_t* codes, uint8_t* stream, int64_t n) {
    switch (bits) {
        case 1: return to_stream<1>(codes, stream, n);
        case 2: return to_stream<2>(codes, stream, n);
        case 3: return to_stream<3>(codes, stream, n);
        case 4: return to_stream<4>(codes, stream, n);
        case 5: return to_stream<5>(codes, stream, n);
        case 6: return to_stream<6>(codes, stream, n);
        case 7: return to_stream<7>(codes, stream, n);
        default: std::memcpy(stream, codes, size_t(n));
    }
}

}  // namespace
}  // namespace fewbits
