// What the Python side and the kernels agree on. Plain C types only: the library is loaded through ctypes and knows
// nothing of PyTorch.
#pragma once
#include <cstddef>
#include <cstdint>

#define FEWBITS_API extern "C" __attribute__((visibility("default")))

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(FEWBITS_SANITIZE)
#define FEWBITS_SANITIZED 1  // all widths inlined and watched take a compiler ten minutes: some, not inlined
#define FEWBITS_FLAT
#define FEWBITS_INLINE
#else
#define FEWBITS_SANITIZED 0
#define FEWBITS_FLAT __attribute__((flatten))
#define FEWBITS_INLINE __attribute__((always_inline))
#endif

namespace fewbits {

constexpr int TILE = 16;   // outputs that are computed side by side: 16 lanes of 32 bits, one cache line of bytes
constexpr int CHUNK = 32;  // inputs that are stored together: `bits` lines of 64 bytes hold 16 x 32 codes exactly
constexpr int LINE = 64;   // bytes
constexpr int FLOAT_SLICE = 256;  // inputs that are dequantized at a time: 16 KiB

enum Real : int32_t { F32 = 0, F16 = 1, BF16 = 2, U8 = 3, NONE = 4 };

// What the functions of the library return.
enum Status : int32_t { DONE = 0, NO_KERNEL = 1, OUT_OF_MEMORY = 2, NO_SUCH_ROW = 3, BAD_ARGUMENT = 4 };

// A weight in the kernels' layout. Codes: [tiles][cols / 32][bits] lines; a line holds, for each of 16 outputs, 4 bytes that
// belong to 4 consecutive inputs. The planes of a chunk follow one another, widest first: 7 bits are 4 + 2 + 1, so 4 lines,
// 2 lines and 1 line. Only 3 bits stand two to a byte, and a quarter of them in the bits that are left over (pack.cpp).
// Scales and zero points: [tiles][groups][16], `scale_stride` and `zero_stride` bytes from one group to the next. They may stand
// right behind the codes of their group, in a gap of so many bytes: memory is then read in one stream.
struct Weight {
    int32_t rows;        // outputs
    int32_t cols;        // inputs
    int32_t padded;      // inputs, filled up to a multiple of `block`
    int32_t bits;        // of a code
    int32_t group;       // inputs that share a scale: a multiple of `block`, at most `padded`; or 4, 8 or 16, with a block of 32
    int32_t block;       // inputs whose activations share a step: 32 or 64
    int32_t scale_type;  // Real
    int32_t zero_type;   // Real; NONE: `zero_value` for all
    float zero_value;
    int32_t is_codebook;
    const uint8_t* codes;
    const void* scale;
    const void* zero;
    int64_t scale_stride, zero_stride;
    int64_t gap;
    // A codebook's values, as 15 bits each: value ~ (128 * high + low - 16384) / 16383 * peak; as they are; and, where two
    // products would cost too much (AVX2), as bytes: value ~ (byte - 128) * byte_step.
    uint8_t high[16], low[16];
    float values[16];
    float peak;
    uint8_t byte[16];
    float byte_step;
    // Sum of squares of the weights of each input [padded], then of each block [padded / block]; or null. With them the
    // error of rounding the activations of a row is estimated, and a row for which it is too large is multiplied in float.
    const float* energy;
};

// One product: out[m, rows] = x[m, cols] . weight^T + bias.
struct Product {
    const void* x;
    void* out;
    const void* bias;  // of the same type as x, or null
    int64_t m;
    int64_t stride;  // of x, in elements
    int32_t type;    // Real of x, out and bias
    int32_t threads;
    int32_t one_step;  // the activations of a row share one step (`a8`), instead of one a block
    int32_t exact;     // multiply by the activations as they are, in float
    const int32_t* only = nullptr;  // the rows of x and out that are meant, `m` of them; null: the first `m`
};

// Why a row is not multiplied in 8 bits.
enum Hazard : uint8_t {
    NO_HAZARD = 0,
    OUTLIERS = 1,  // rounding would cost too much: inputs that are small beside the largest of their block matter
    EXTREME = 2,   // NaN, infinity, or magnitudes at which steps, squares or sums of products leave the range of f32
};

// Activations, quantized: x ~ step * codes, a step for each block of each row.
struct Activations {
    int8_t* codes;     // [m / rows at a time][stride / 4][rows at a time][4]
    float* steps;      // [blocks][rows]
    float* sums;       // [groups][rows]: sum of step * code over a group of inputs
    float* values;     // [m][stride]: as floats, where they are multiplied in float
    int64_t stride, rows;  // `rows`: m, filled up to a multiple of 16
    int32_t blocks, groups;
    uint8_t* hazards;  // [m]: Hazard of each row
    bool tiled;        // the codes lie as [m / 16][blocks][16][block], for AMX
    bool in_float;     // there are no codes: only values, and sums of one row
};

// What a set of instructions offers.
struct Kernels {
    void (*quantize)(const Weight&, const Product&, const Activations&, int64_t row);
    void (*multiply)(const Weight&, const Product&, const Activations&, int64_t first_tile, int64_t last_tile);
    void (*energies)(const Weight&, int64_t first_chunk, float* energy);  // of up to FLOAT_SLICE inputs from a chunk on
    bool tiled;  // how activations are to lie
    int64_t small_group_rows;  // with groups below a chunk, more rows than that are multiplied in float: that is faster
};

// Those that an older compiler cannot make are not there.
const Kernels* kernels_avx2();
__attribute__((weak)) const Kernels* kernels_avxvnni();
__attribute__((weak)) const Kernels* kernels_avx512();
__attribute__((weak)) const Kernels* kernels_amx();

// Call work(data, i) for every i < parts, on up to `threads` threads.
using Work = void (*)(void* data, int64_t part);
void parallel(Work work, void* data, int64_t parts, int threads);

static inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t tiles_of(const Weight& w) { return ceil_div(w.rows, TILE); }
static inline int64_t tile_bytes(const Weight& w) {
    return int64_t(w.padded) / CHUNK * w.bits * LINE + int64_t(w.padded) / w.group * w.gap;
}

}  // namespace fewbits
