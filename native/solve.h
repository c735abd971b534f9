// Searching the grid of each group of weights, as src/fewbits/methods/_search.py describes it, and rounding to it.
#pragma once
#include "fewbits.h"

namespace fewbits {

// What is searched, and over which grids.
struct Search {
    float steps;         // length of a grid: 2**bits - 1, or 15 for a codebook
    float implied_zero;  // of formats without a zero point
    float least;         // smallest scale that can be stored
    float p;             // of the norm that may not rise; 0 for none
    float whole;         // steps from which on the ends move by their whole length
    float threshold;     // steps: an error above it was clipped
    float count_floor, count_power;  // an error counts floor + (|w| / mean |w|)**power times; once where the power is 0
    int32_t type;        // Real of scale and zero point
    int32_t has_zero, integer_zero;
    int32_t shrinks, lengths;  // how many there are of each, at most 8
    int32_t values;            // of the codebook; 0: the grid is whole numbers
    float shrink[8], length[8];
    float value[16], middle[16];  // of the codebook, ascending; and what lies between them
};

// n groups of k weights one after the other, and the grid of each: begun with, and improved.
struct Groups {
    const float* weights;
    float* scale;
    float* zero;
    int64_t n, k;
};

// A matrix in blocks of r x c with a scale (and perhaps a zero point) each, to one code a byte.
struct Rounding {
    const float* weights;  // [height][width]
    const float* scale;    // [height / r][scale_stride], of which width / c are used
    const float* zero;     // the same, or null
    uint8_t* codes;        // [height][codes_stride]
    int64_t height, width, r, c, scale_stride, codes_stride;
    float steps;
    float middle_code;  // integer zero points: half of the shift comes after rounding
    int32_t order;      // Order
    int32_t values;     // of the codebook
    float middle[16];
    uint8_t code_of[16];
};

// When the zero point is added: before rounding; after it (symmetric); half before and half after (integer).
enum Order : int32_t { BEFORE = 0, AFTER = 1, HALF = 2, CODEBOOK = 3 };

struct Solvers {
    bool (*search)(const Search&, const Groups&);  // false: out of memory
    void (*round)(const Rounding&);
};

const Solvers* solvers_avx2();
__attribute__((weak)) const Solvers* solvers_avx512();

}  // namespace fewbits
