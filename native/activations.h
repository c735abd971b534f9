// Activations to what the kernels multiply by: codes of 8 bits with a step for each block, or floats.
#pragma once
#include "block.h"

namespace fewbits {

// 16 inputs of a row from input k on; zeros after the last.
template <class V>
static inline typename V::Floats inputs(const Product& p, int64_t row, int64_t k, int64_t cols) {
    int size = p.type == F32 ? 4 : 2;
    if (p.only) row = p.only[row];
    if (k + TILE <= cols) return V::read(p.x, row * p.stride + k, p.type);
    uint8_t rest[TILE * 4] = {};
    if (k < cols) __builtin_memcpy(rest, static_cast<const uint8_t*>(p.x) + (row * p.stride + k) * size, (cols - k) * size);
    return V::read(rest, 0, p.type);
}

// The step of inputs of which `top` is the largest magnitude. Rows with a block beyond these limits are multiplied in float.
static inline float step_of_top(float top) { return top >= 1e-30f && top <= 1e15f ? top / 127 : 0; }
static inline bool is_extreme(float top) { return top != 0 && !(top >= 1e-30f && top <= 1e15f); }

// Rounding adds an error of step**2 / 12 to the square of each input, and the outputs of random weights are as far off, by
// comparison, as the sums of error and of input, each weighted with its column's energy. Where all columns have the same
// energy, this ratio is at most 64 / 12 / 127**2 = 0.0003 whatever the inputs are (one of them fills the block's range), and
// some 0.00005 for normal ones. Larger ratios arise where inputs that are large have small weights.
constexpr float MOST_NOISE = 0.0005f;

// What is summed up over the blocks of a row to find its hazard.
template <class V>
struct Watch {
    typename V::Floats signal = V::zero();
    float noise = 0, top = 0;
    bool extreme = false;

    void take(float block_top, float step, float block_energy) {
        top = block_top > top ? block_top : top;
        extreme |= is_extreme(block_top);
        noise += step * step * block_energy;
    }
    Hazard hazard(bool compared) const {
        if (extreme || (top > 0 && top < 1e-15f)) return EXTREME;
        return compared && noise > 12 * MOST_NOISE * V::sum(signal) ? OUTLIERS : NO_HAZARD;
    }
};

// The step of a whole row.
template <class V>
static float step_of_row(const Weight& w, const Product& p, int64_t row) {
    auto most = V::zero();
    for (int64_t k = 0; k < w.padded; k += TILE) most = V::most(most, inputs<V>(p, row, k, w.cols));
    return step_of_top(V::top(most));
}

// Rows of x are taken in lots: the first row and the size of the lot of a row.
struct Lot { int64_t first, size; };

constexpr int smaller(int a, int b) { return a < b ? a : b; }

// In panels lots are as even as they go, and as few.
template <class V>
static inline int64_t even_lot(const Weight& w, int64_t m) { return ceil_div(m, ceil_div(m, V::most_rows(w.bits, w.is_codebook != 0))); }

// Else `most_rows` at a time, then half as many, and so on.
template <class V>
static inline Lot lot_of(const Weight& w, int64_t row, int64_t m) {
    int64_t first = 0, most = V::most_rows(w.bits, w.is_codebook != 0);
    if (w.group < CHUNK) most = smaller(most, V::SMALL_GROUP_ROWS);
    else if (V::few_rows(w.bits) > 0) {
        const int64_t size = even_lot<V>(w, m);
        first = row / size * size;
        return {first, m - first < size ? m - first : size};
    }
    for (int64_t size = most; size > 1; size /= 2) {
        int64_t end = first + (m - first) / size * size;
        if (row < end) return {row - (row - first) % size, size};
        first = end;
    }
    return {row, 1};
}

// The inputs of one block of a row.
template <class V>
struct BlockOfX {
    typename V::Floats v[2 * CHUNK / TILE];

    BlockOfX(const Weight& w, const Product& p, int64_t row, int64_t from) {
        const bool two = w.block > CHUNK, plain = p.type == F32 && from + w.block <= w.cols;
        const float* x = static_cast<const float*>(p.x) + row * p.stride + from;
        unrolled<4>([&](auto i) {
            constexpr int at = TILE * i.value;
            if (i.value >= 2 && !two) v[i.value] = V::zero();
            else v[i.value] = plain ? V::load(x + at) : inputs<V>(p, row, from + at, w.cols);
        });
    }
    float top() const { return V::top(V::most(V::most(V::most(V::most(V::zero(), v[0]), v[1]), v[2]), v[3])); }
    // Add the squares, weighted with the energies of their columns.
    typename V::Floats add_signal(typename V::Floats sum, const float* energy, int count) const {
        unrolled<4>([&](auto i) {
            if (TILE * i.value < count) sum = V::fma(V::mul(v[i.value], v[i.value]), V::load(energy + TILE * i.value), sum);
        });
        return sum;
    }
    // Write the codes, 4 after 4, `between` bytes from one four to the next; returns their sum.
    int32_t round(float step, int count, int8_t* codes, int64_t between) const {
        const auto inverse = V::all(step > 0 ? 1 / step : 0);
        auto sum = V::no_ints();
        unrolled<4>([&](auto i) {
            if (TILE * i.value >= count) return;
            auto code = V::round(V::mul(v[i.value], inverse));
            sum = V::plus(sum, code);
            int8_t bytes[TILE];
            V::store8(bytes, code);
            for (int j = 0; j < 4; ++j, codes += between) __builtin_memcpy(codes, bytes + 4 * j, 4);
        });
        return V::sum(sum);
    }
};

constexpr int ABREAST = 4;  // rows whose codes are written together: one at a time would go through a whole lot in the cache

// Where the codes of a row lie: that of input k, a multiple of the block, at `start + k * spread`, and from one four to the next
// of the block it is `between` bytes.
struct Place { int64_t start, spread, between; };

static inline Place in_lot(const Activations& a, const Lot& lot, int64_t row) {
    return {lot.first * a.stride + (row - lot.first) * 4, lot.size, 4 * lot.size};
}

static inline Place in_tile(const Weight& w, const Activations& a, int64_t row) {
    return {row / 16 * 16 * a.stride + row % 16 * w.block, 16, 4};
}

// The codes, steps and sums of some rows from `row` on; those of the rows after the first lie 4 bytes on each.
template <class V>
static void quantize_rows(const Weight& w, const Product& p, const Activations& a, const Place& place, int64_t row, int64_t count) {
    float row_step[ABREAST], group_sum[ABREAST];
    Watch<V> watch[ABREAST];
    const bool compared = w.energy && !p.one_step;
    for (int64_t r = 0; r < count; ++r) row_step[r] = p.one_step ? step_of_row<V>(w, p, row + r) : 0;
    for (int g = 0, b = 0; g < a.groups; ++g) {
        for (int64_t r = 0; r < count; ++r) group_sum[r] = 0;
        for (int i = 0; i < w.group / w.block; ++i, ++b) {
            const int64_t from = int64_t(b) * w.block;
            int8_t* codes = a.codes + place.start + from * place.spread;
            for (int64_t r = 0; r < count; ++r) {
                const BlockOfX<V> x(w, p, row + r, from);
                const float top = x.top(), step = p.one_step ? row_step[r] : step_of_top(top);
                watch[r].take(top, step, compared ? w.energy[w.padded + b] : 0);
                if (compared) watch[r].signal = x.add_signal(watch[r].signal, w.energy + from, w.block);
                group_sum[r] += step * float(x.round(step, w.block, codes + 4 * r, place.between));
                a.steps[b * a.rows + row + r] = step;
            }
        }
        for (int64_t r = 0; r < count; ++r) a.sums[g * a.rows + row + r] = group_sum[r];
    }
    for (int64_t r = 0; r < count; ++r) a.hazards[row + r] = watch[r].hazard(compared);
}

// The same where a block has several groups: it is a chunk then.
template <class V>
static void quantize_small_groups(const Weight& w, const Product& p, const Activations& a, const Place& place, int64_t row, int64_t count) {
    for (int64_t r = 0; r < count; ++r) {
        const float row_step = p.one_step ? step_of_row<V>(w, p, row + r) : 0;
        const bool compared = w.energy && !p.one_step;
        Watch<V> watch;
        for (int b = 0, g = 0; b < a.blocks; ++b) {
            const int64_t from = int64_t(b) * CHUNK;
            int8_t* codes = a.codes + place.start + from * place.spread + 4 * r;
            const BlockOfX<V> x(w, p, row + r, from);
            const float top = x.top(), step = a.steps[b * a.rows + row + r] = p.one_step ? row_step : step_of_top(top);
            watch.take(top, step, compared ? w.energy[w.padded + b] : 0);
            if (compared) watch.signal = x.add_signal(watch.signal, w.energy + from, CHUNK);
            x.round(step, CHUNK, codes, place.between);
            for (int k = 0; k < CHUNK; ++g) {
                int sum = 0;
                for (const int end = k + w.group; k < end; ++k) sum += codes[k / 4 * place.between + k % 4];
                a.sums[g * a.rows + row + r] = step * float(sum);
            }
        }
        a.hazards[row + r] = watch.hazard(compared);
    }
}

// Called for every row; in a lot, the first of some does the others too.
template <class V>
static void quantize(const Weight& w, const Product& p, const Activations& a, int64_t row) {
    if (a.tiled) return quantize_rows<V>(w, p, a, in_tile(w, a, row), row, 1);
    const Lot lot = lot_of<V>(w, row, p.m);
    const int64_t rest = lot.first + lot.size - row, count = rest < ABREAST ? rest : ABREAST;
    if ((row - lot.first) % ABREAST != 0) return;
    if (w.group < CHUNK) quantize_small_groups<V>(w, p, a, in_lot(a, lot, row), row, count);
    else quantize_rows<V>(w, p, a, in_lot(a, lot, row), row, count);
}

// The sum of each group of a row's values.
static inline void sum_groups(const Weight& w, const Activations& a, int64_t row) {
    const float* values = a.values + row * a.stride;
    for (int64_t g = 0, k = 0; g < a.groups; ++g) {
        float sum = 0;
        for (const int64_t end = k + w.group; k < end; ++k) sum += values[k];
        a.sums[g * a.rows + row] = sum;
    }
}

// The inputs of a row as they are: where a row shares a step (`a8`), the layer has rounded them.
template <class V>
static void take(const Weight& w, const Product& p, const Activations& a, int64_t row) {
    auto most = V::zero();
    for (int64_t k = 0; k < w.padded; k += TILE) {
        const auto x = inputs<V>(p, row, k, w.cols);
        V::store(a.values + row * a.stride + k, x);
        most = V::most(most, x);
    }
    a.hazards[row] = is_extreme(V::top(most)) ? EXTREME : NO_HAZARD;
    if (p.m == 1) sum_groups(w, a, row);
}

template <class V>
static void prepare(const Weight& w, const Product& p, const Activations& a, int64_t row) {
    if (a.in_float) take<V>(w, p, a, row);
    else quantize<V>(w, p, a, row);
}

}  // namespace fewbits
