// Several rows of x as they are, in float: a tile is dequantized once for all rows, into a panel that stays in the cache.
#pragma once
#include "panel.h"

namespace fewbits {

template <class V>
struct FloatPanel {
    alignas(LINE) float weight[FLOAT_SLICE][TILE];
    alignas(LINE) float out[PANEL_ROWS][TILE];
    int first, last;  // chunks
};

// Fill a panel with its chunks of a tile.
template <class V, int BITS, bool BOOK>
static FEWBITS_FLAT void dequantize(FloatPanel<V>& panel, const Weight& w, int64_t tile) {
    const Meta<V, false> meta(w, false);
    const auto values = V::values(w.values);
    const int quads = w.group < CHUNK ? w.group / 4 : STEPS;  // that share a scale within a chunk
    const int64_t groups = w.padded / w.group;
    float(*to)[TILE] = panel.weight;
    for (int c = panel.first; c < panel.last; ++c) {
        const int64_t g = int64_t(c) * CHUNK / w.group;
        const uint8_t* lines = w.codes + tile * tile_bytes(w) + int64_t(c) * BITS * LINE + g * w.gap;
        int64_t at = tile * groups + g;
        auto scale = meta.scale(at), zero = meta.zero(at);
        unrolled<STEPS>([&](auto s) {
            if (s.value > 0 && s.value % quads == 0) ++at, scale = meta.scale(at), zero = meta.zero(at);
            const auto codes = codes_at<V, BITS, s.value>(lines);
            unrolled<4>([&](auto j) {
                const auto ints = V::template byte<j.value>(codes);
                typename V::Floats value;
                if constexpr (BOOK) value = V::pick(values, ints); else value = V::floats(ints);
                V::store(to[j.value], V::mul(V::sub(value, zero), scale));  // in this order the reference's weight, bit for bit
            });
            to += 4;
        });
    }
}

// Add the products of a panel and ROWS rows, `row` on in the panel, to their answers.
template <class V, int ROWS>
static FEWBITS_FLAT __attribute__((noinline)) void multiply_floats(FloatPanel<V>& panel, const Activations& a, int64_t m, int64_t row) {
    const float* x = a.values + m * a.stride + int64_t(panel.first) * CHUNK;
    const int count = (panel.last - panel.first) * CHUNK;
    typename V::Floats sums[ROWS];
    unrolled<ROWS>([&](auto r) { sums[r.value] = V::zero(); });
    for (int k = 0; k < count; k += 2) {
        unrolled<2>([&](auto i) {
            const auto weight = V::load(panel.weight[k + i.value]);
            unrolled<ROWS>([&](auto r) { sums[r.value] = V::fma(weight, V::all(x[r.value * a.stride + k + i.value]), sums[r.value]); });
        });
    }
    unrolled<ROWS>([&](auto r) {
        float* out = panel.out[row + r.value];
        V::store(out, V::add(V::load(out), sums[r.value]));
    });
}

// `count` rows, at most ROWS.
template <class V, int ROWS>
static void multiply_some_floats(FloatPanel<V>& panel, const Activations& a, int64_t m, int64_t row, int64_t count) {
    if (count == ROWS) multiply_floats<V, ROWS>(panel, a, m, row);
    else if constexpr (ROWS > 1) multiply_some_floats<V, ROWS - 1>(panel, a, m, row, count);
}

template <class V, int BITS, bool BOOK>
static void in_float_panels(const Weight& w, const Product& p, const Activations& a, int64_t tile) {
    FloatPanel<V> panel;
    constexpr int most = V::FLOAT_ROWS, most_chunks = FLOAT_SLICE / CHUNK;
    const int chunks = w.padded / CHUNK;
    for (int64_t m0 = 0; m0 < p.m; m0 += PANEL_ROWS) {
        const int64_t end = m0 + PANEL_ROWS < p.m ? m0 + PANEL_ROWS : p.m;
        for (int64_t m = m0; m < end; ++m) V::store(panel.out[m - m0], V::zero());
        for (panel.first = 0; panel.first < chunks; panel.first = panel.last) {
            panel.last = panel.first + most_chunks < chunks ? panel.first + most_chunks : chunks;
            dequantize<V, BITS, BOOK>(panel, w, tile);
            for (int64_t m = m0; m < end; m += most) multiply_some_floats<V, most>(panel, a, m, m - m0, end - m < most ? end - m : most);
        }
        for (int64_t m = m0; m < end; ++m) finish<V>(w, p, m, tile, V::load(panel.out[m - m0]));
    }
}

// The energies of the inputs of one panel, over all tiles.
template <class V, int BITS, bool BOOK>
static void panel_energies(const Weight& w, int64_t first_chunk, float* energy) {
    FloatPanel<V> panel;
    const int64_t chunks = w.padded / CHUNK, most = first_chunk + FLOAT_SLICE / CHUNK;
    panel.first = int(first_chunk), panel.last = int(most < chunks ? most : chunks);
    const int64_t from = first_chunk * CHUNK, count = (panel.last - panel.first) * CHUNK;
    alignas(LINE) float sums[FLOAT_SLICE][TILE];
    for (int64_t k = 0; k < count; ++k) V::store(sums[k], V::zero());
    for (int64_t tile = 0; tile < tiles_of(w); ++tile) {
        dequantize<V, BITS, BOOK>(panel, w, tile);
        for (int64_t k = 0; k < count; ++k) {
            const auto weight = V::load(panel.weight[k]);
            V::store(sums[k], V::fma(weight, weight, V::load(sums[k])));
        }
    }
    for (int64_t k = 0; k < count; ++k) energy[from + k] = from + k < w.cols ? V::sum(V::load(sums[k])) : 0;
}

}  // namespace fewbits
