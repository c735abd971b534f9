// A weight quantized: the grid of each group found (src/fewbits/methods/_affine.py and _search.py describe how), every weight
// rounded to its nearest code, the codes packed into the stream that is stored.
#pragma once
#include <atomic>

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
    float most_zero;     // largest zero point that can be stored well enough
    float most_value;    // of the codebook, by magnitude
    int32_t type;        // Real of scale and zero point
    int32_t has_zero, integer_zero;
    int32_t shrinks, lengths;  // how many there are of each, at most 8; none: nothing is searched
    int32_t values;            // of the codebook; 0: the grid is whole numbers
    float shrink[8], length[8];
    float value[16], middle[16];  // of the codebook, ascending; and what lies between them
};

// How weights become codes.
struct Rounding {
    float steps;
    float middle_code;   // integer zero points: half of the shift comes after rounding
    float implied_zero;
    float least;         // a scale below it is stored as it
    int32_t type;        // Real that scale and zero point are stored as
    int32_t order;       // Order
    int32_t bits;
    int32_t values;      // of the codebook
    int32_t read_back;   // scale and zero point are what was stored, and taken as they are
    float middle[16];
    uint8_t code_of[16];
};

// When the zero point is added: before rounding; after it (symmetric); half before and half after (integer).
enum Order : int32_t { BEFORE = 0, AFTER = 1, HALF = 2, CODEBOOK = 3 };

// n groups of k weights. They lie one behind the other; or, where `across` is the number of columns of a matrix, k below each other.
struct Groups {
    const void* weights;
    float* scale;        // of each group; written where there is a search
    float* zero;         // the same, or null
    uint8_t* stream;     // of codes; written where there is a rounding
    int64_t n, k, across;
    int32_t type;        // Real of the weights
    int32_t one_scale;   // all groups share the first scale and zero point
    int32_t threads;
    int32_t said;        // Said, after the call
};

// What came up: NaN or infinity; a scale of 0, as it is or once it is stored, though the weights are not; no memory.
enum Said : int32_t { NOT_FINITE = 1, FAINT = 2, NO_MEMORY = 4 };

// x**p (power.h) for -1 <= p < 1. The polynomial is 2e-5 of the power off where p is above 0, 2e-4 below.
struct Power {
    static constexpr int DEGREE = 4;
    float low[16], high[16], mantissa[DEGREE + 1];
};
Power power_of(double p);

// Those that a search takes.
struct Powers {
    explicit Powers(const Search& s);
    Power norm, left, count;
    float kept;  // threshold**(2 - p)
};

struct Task {
    const Search* search;      // null: the grids are given
    const Powers* powers;      // null: nothing is searched
    const Rounding* rounding;  // null: no codes are wanted
    const Groups& groups;
    std::atomic<int32_t> said{0};
    void say(int32_t what) {
        if (what) said.fetch_or(what, std::memory_order_relaxed);
    }
};

struct Solvers {
    int64_t side;  // groups that are searched side by side
    void (*lines)(Task&, int64_t first, int64_t last);    // these groups: find and round
    void (*columns)(Task&, int64_t first, int64_t last);  // these strips of `side` columns: find
    void (*rows)(Task&, int64_t first, int64_t last);     // these rows of groups that go across: round
    bool (*finite)(const void* values, int32_t type, int64_t first, int64_t last);
};

const Solvers* solvers_avx2();
__attribute__((weak)) const Solvers* solvers_avx512();

}  // namespace fewbits
