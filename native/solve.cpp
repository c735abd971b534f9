// The entry points of the solvers, and codes to the stream of bits that is stored. Each call works on the calling thread: who
// calls has cut the weight into pieces for several.
#include "solve.h"

#include <cstring>

FEWBITS_API int32_t fewbits_level();

namespace {

constexpr int32_t AVX512 = 3;  // from which level on there is AVX-512

const fewbits::Solvers* solvers() {
    const int32_t level = fewbits_level();
    if (level == 0) return nullptr;
    return level >= AVX512 && fewbits::solvers_avx512 ? fewbits::solvers_avx512() : fewbits::solvers_avx2();
}

// Eight codes, a byte each, to their `bits` low bits one behind the other: pairs, then pairs of pairs, then both halves.
uint64_t eight(uint64_t codes, int bits) {
    uint64_t pairs = 0, fours = 0;
    const int gap = 8 - bits;
    const uint64_t two = (uint64_t(1) << 2 * bits) - 1, four = (uint64_t(1) << 4 * bits) - 1;
    const uint64_t low = 0x00ff00ff00ff00ff;
    pairs = (codes & low) | ((codes & ~low) >> gap);
    fours = (pairs & two) | (pairs >> 2 * gap & two << 2 * bits) | (pairs & two << 32) | (pairs >> 2 * gap & two << (32 + 2 * bits));
    return (fours & four) | (fours >> 4 * gap & four << 4 * bits);
}

}  // namespace

// 0: done; 1: this machine has no solver; 2: out of memory.
FEWBITS_API int32_t fewbits_search(const fewbits::Search* search, const fewbits::Groups* groups) {
    const fewbits::Solvers* with = solvers();
    if (with == nullptr) return 1;
    return with->search(*search, *groups) ? 0 : 2;
}

FEWBITS_API int32_t fewbits_round(const fewbits::Rounding* rounding) {
    const fewbits::Solvers* with = solvers();
    if (with == nullptr) return 1;
    with->round(*rounding);
    return 0;
}

// n codes below 2**bits to ceil(n * bits / 8) bytes.
FEWBITS_API void fewbits_to_stream(const uint8_t* codes, uint8_t* stream, int64_t n, int32_t bits) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8, stream += bits) {
        uint64_t word;
        std::memcpy(&word, codes + i, 8);
        word = eight(word, bits);
        std::memcpy(stream, &word, size_t(bits));
    }
    if (i == n) return;
    uint64_t word = 0;
    std::memcpy(&word, codes + i, size_t(n - i));
    word = eight(word, bits);
    std::memcpy(stream, &word, size_t(((n - i) * bits + 7) / 8));
}

// So that the other side can check that it means the same structures.
FEWBITS_API int64_t fewbits_search_size() { return sizeof(fewbits::Search); }
FEWBITS_API int64_t fewbits_rounding_size() { return sizeof(fewbits::Rounding); }
