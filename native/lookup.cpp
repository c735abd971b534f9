// Some rows of a stored weight as floats, as an embedding looks them up: 4 us for a row of 2,048, where PyTorch's operators
// take 360. The arithmetic is that of src/fewbits/tensor.py, step by step, so that the floats are the same to the last bit.
#include <immintrin.h>

#include "check.h"

FEWBITS_API int32_t fewbits_level();

namespace fewbits {

// Scales or zero points, one a block of the grid.
struct Grid {
    const void* values;  // F32, F16 or BF16; U8: codes of `bits` bits one behind the other
    const float* steps;  // where it is there, `values` are bytes, and these a step and a base for each `shared` of them
    int32_t type;        // Real; NONE: `all` for every block
    int32_t bits, shared;
    float all;
};

struct Table {
    const uint8_t* codes;  // [rows * cols * bits] bits
    const float* book;     // values of the codes, or null
    int64_t rows, cols, bytes;
    int64_t block_rows, block_cols;  // weights that share a scale
    int32_t bits;
    Grid scale, zero;
};

namespace {

uint32_t code_at(const uint8_t* codes, int64_t index, int bits) {
    const int64_t bit = index * bits, at = bit / 8;
    const uint32_t word = codes[at] | uint32_t(bit % 8 + bits > 8 ? codes[at + 1] : 0) << 8;  // there may be no next byte
    return word >> bit % 8 & ((1u << bits) - 1);
}

float value_of(const Grid& grid, int64_t at) {
    if (grid.steps) {
        const float *step = grid.steps + at / grid.shared * 2, code = static_cast<const uint8_t*>(grid.values)[at];
        return code * step[0] + step[1];
    }
    const uint16_t half = grid.type == F16 || grid.type == BF16 ? static_cast<const uint16_t*>(grid.values)[at] : 0;
    switch (grid.type) {
        case F32: return static_cast<const float*>(grid.values)[at];
        case F16: return _cvtsh_ss(half);
        case BF16: return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(int(uint32_t(half) << 16))));
        case U8: return float(code_at(static_cast<const uint8_t*>(grid.values), at, grid.bits));
        default: return grid.all;
    }
}

// Eight codes that begin with a byte, one in each lane.
__m256i eight_codes(const Table& t, int64_t index) {
    const int64_t at = index * t.bits / 8;
    uint64_t word = 0;
    if (at + 8 <= t.bytes) __builtin_memcpy(&word, t.codes + at, 8);
    else __builtin_memcpy(&word, t.codes + at, size_t(t.bits));
    const __m128i low = _mm_set1_epi32(int(uint32_t(word))), high = _mm_set1_epi32(int(uint32_t(word >> 4 * t.bits)));
    const __m128i shifts = _mm_setr_epi32(0, t.bits, 2 * t.bits, 3 * t.bits);
    const __m256i all = _mm256_set_m128i(_mm_srlv_epi32(high, shifts), _mm_srlv_epi32(low, shifts));
    return _mm256_and_si256(all, _mm256_set1_epi32((1 << t.bits) - 1));
}

// `count` weights from number `index` on, which share a scale.
void run(const Table& t, int64_t index, int64_t count, float scale, float zero, float* out) {
    const __m256 scales = _mm256_set1_ps(scale), zeros = _mm256_set1_ps(zero);
    for (int64_t i = 0; i < count;) {
        if (i + 8 <= count && (index + i) * t.bits % 8 == 0) {
            const __m256i codes = eight_codes(t, index + i);
            const __m256 value = t.book ? _mm256_i32gather_ps(t.book, codes, 4) : _mm256_sub_ps(_mm256_cvtepi32_ps(codes), zeros);
            _mm256_storeu_ps(out + i, _mm256_mul_ps(value, scales));
            i += 8;
        } else {
            const uint32_t code = code_at(t.codes, index + i, t.bits);
            out[i++] = (t.book ? t.book[code] : float(code) - zero) * scale;
        }
    }
}

struct Call {
    const Table* table;
    const int64_t* ids;
    float* out;
};

void look_up(void* c, int64_t i) {
    const Call& call = *static_cast<Call*>(c);
    const Table& t = *call.table;
    const int64_t row = call.ids[i], blocks = t.cols / t.block_cols;
    for (int64_t b = 0; b < blocks; ++b) {
        const int64_t at = row / t.block_rows * blocks + b, col = b * t.block_cols;
        const float zero = t.book ? 0 : value_of(t.zero, at);
        run(t, row * t.cols + col, t.block_cols, value_of(t.scale, at), zero, call.out + i * t.cols + col);
    }
}

constexpr int64_t WORTH_A_THREAD = 1 << 15;  // weights

bool is_grid(const Grid& g) {
    if (g.steps) return g.values != nullptr && g.shared > 0;
    if (g.type == NONE) return true;
    return g.values != nullptr && (is_float(g.type) || (g.type == U8 && g.bits >= 1 && g.bits <= 8));
}

bool is_table(const Table* table) {
    if (table == nullptr) return false;
    const Table& t = *table;
    if (t.codes == nullptr || t.rows < 1 || t.cols < 1 || t.bits < 1 || t.bits > 8 || !is_size(t.rows, t.cols)) return false;
    if (t.bytes < (t.rows * t.cols * t.bits + 7) / 8) return false;
    if (t.block_rows < 1 || t.block_cols < 1 || t.rows % t.block_rows != 0 || t.cols % t.block_cols != 0) return false;
    return is_grid(t.scale) && is_grid(t.zero);
}

}  // namespace
}  // namespace fewbits

// out[n][cols]. Returns a Status.
FEWBITS_API int32_t fewbits_lookup(const fewbits::Table* table, const int64_t* ids, int64_t n, float* out, int32_t threads) {
    using namespace fewbits;
    if (fewbits_level() == 0) return NO_KERNEL;
    if (!is_table(table) || !is_size(n, table->cols) || (n > 0 && (ids == nullptr || out == nullptr))) return BAD_ARGUMENT;
    for (int64_t i = 0; i < n; ++i) if (ids[i] < 0 || ids[i] >= table->rows) return NO_SUCH_ROW;
    Call call{table, ids, out};
    parallel(look_up, &call, n, n * table->cols < WORTH_A_THREAD ? 1 : threads);
    return DONE;
}

// So that the other side can check that it means the same structure.
FEWBITS_API int64_t fewbits_table_size() { return sizeof(fewbits::Table); }
