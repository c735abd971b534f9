// Several rows of x where registers are few. The codes of a tile are taken apart once for all rows, into a panel that stays in
// the cache, a byte each: what is left to do for each row is to multiply. Taken apart for each lot of rows again, four rows and
// more took 1.1 to 1.25 times as long (EPYC 7003).
#pragma once
#include "tile.h"

namespace fewbits {

constexpr int SLICE = 512;      // inputs of a panel: 8 KiB of bytes
constexpr int PANEL_ROWS = 60;  // whose answers stand beside it, 4 KiB: a multiple of all sizes of lots

template <class V>
struct Panel {
    alignas(LINE) uint8_t bytes[SLICE / 4 * LINE];
    alignas(LINE) float scale[SLICE / CHUNK][TILE], zero[SLICE / CHUNK][TILE];  // of each block; zero: times the scale
    alignas(LINE) float out[PANEL_ROWS][TILE];
    int first, last;  // blocks
};

// The bytes of a panel are multiplied as if they were codes of so many bits: what counts is how large they may be.
constexpr int bits_of_bytes(int bits, bool book) { return book || bits == 8 ? 8 : bits > 4 ? 7 : bits == 4 ? 4 : 3; }

// Fill a panel with its blocks of a tile, and ask for the blocks that come next.
template <class V, int BITS, bool BOOK>
static FEWBITS_FLAT void take_apart(Panel<V>& panel, const Weight& w, int64_t tile) {
    const Meta<V, false> meta(w, true);
    const auto table = V::table(w.byte);
    const int chunks = w.block / CHUNK, per_group = w.group / w.block;
    const int64_t bytes = int64_t(chunks) * BITS * LINE, ahead = SLICE / w.block * bytes, groups = w.padded / w.group;
    uint8_t* to = panel.bytes;
    for (int b = panel.first; b < panel.last; ++b) {
        const int64_t g = b / per_group, at = tile * groups + g;
        const uint8_t* lines = w.codes + tile * tile_bytes(w) + b * bytes + g * w.gap;
        for (int c = 0; c < chunks; ++c, lines += BITS * LINE, to += STEPS * LINE) {
            unrolled<BITS>([&](auto l) { __builtin_prefetch(lines + ahead + LINE * l.value, 0, 2); });
            unrolled<STEPS>([&](auto s) {
                auto codes = codes_at<V, BITS, s.value>(lines);
                if constexpr (BOOK) codes = V::lookup(table, codes);
                V::store_bytes(to + LINE * s.value, codes);
            });
        }
        const auto scale = meta.scale(at);
        V::store(panel.scale[b - panel.first], scale);
        V::store(panel.zero[b - panel.first], V::mul(scale, meta.zero(at)));
    }
}

// Add the products of a panel and a lot of rows, `row` on in the panel, to their answers.
template <class V, int BITS, int ROWS>
static FEWBITS_FLAT __attribute__((noinline)) void multiply_panel(Panel<V>& panel, const Weight& w, const Activations& a, int64_t m0,
                                                                  int64_t row) {
    const int per_group = w.group / w.block;
    const bool two = w.block > CHUNK;
    const uint8_t* bytes = panel.bytes;
    const int8_t* x = a.codes + m0 * a.stride + int64_t(panel.first) * w.block * ROWS;
    const float *steps = a.steps + panel.first * a.rows + m0, *group_sums = a.sums + panel.first / per_group * a.rows + m0;
    float* out = panel.out[row];
    typename V::Sum sums[ROWS];
    auto chunk = [&] {
        unrolled<STEPS>([&](auto step) {
            auto codes = V::load(bytes + LINE * step.value);
            unrolled<ROWS>([&](auto m) { V::template dot<BITS>(sums[m.value], codes, x + 4 * (ROWS * step.value + m.value)); });
        });
        unrolled<ROWS>([&](auto m) { V::template end_chunk<BITS>(sums[m.value]); });
        bytes += STEPS * LINE, x += CHUNK * ROWS;
    };
    auto add = [&](const float* scale, auto&& before) {
        unrolled<ROWS>([&](auto m) {
            const auto part = V::mul(V::load(scale), V::all(steps[m.value]));
            const auto total = V::floats(V::template total<BITS>(sums[m.value]));
            V::store(out + TILE * m.value, V::fma(part, total, before(m, V::load(out + TILE * m.value))));
        });
    };
    int left = per_group - panel.first % per_group;  // blocks of the group
    for (int n = 0; n < panel.last - panel.first; ++n, steps += a.rows) {
        unrolled<ROWS>([&](auto m) { sums[m.value] = V::none(); });
        chunk();
        if (two) chunk();
        if (--left > 0) {
            add(panel.scale[n], [](auto, auto o) { return o; });
            continue;
        }
        const auto zero = V::load(panel.zero[n]);
        add(panel.scale[n], [&](auto m, auto o) { return V::fnma(zero, V::all(group_sums[m.value]), o); });
        left = per_group, group_sums += a.rows;
    }
}

// `count` rows, at most ROWS.
template <class V, int BITS, int ROWS>
static void multiply_lot(Panel<V>& panel, const Weight& w, const Activations& a, int64_t m, int64_t row, int64_t count) {
    if (count == ROWS) multiply_panel<V, BITS, ROWS>(panel, w, a, m, row);
    else if constexpr (ROWS > 1) multiply_lot<V, BITS, ROWS - 1>(panel, w, a, m, row, count);
}

template <class V, int BITS, bool BOOK>
static void in_panels(const Weight& w, const Product& p, const Activations& a, int64_t tile) {
    constexpr int bits = bits_of_bytes(BITS, BOOK);
    const int64_t lot = even_lot<V>(w, p.m);
    const int most_blocks = SLICE / w.block;
    Panel<V> panel;
    for (int64_t m0 = 0; m0 < p.m; m0 += PANEL_ROWS) {
        const int64_t end = m0 + PANEL_ROWS < p.m ? m0 + PANEL_ROWS : p.m;
        for (int64_t m = m0; m < end; ++m) V::store(panel.out[m - m0], V::zero());
        for (panel.first = 0; panel.first < a.blocks; panel.first = panel.last) {
            panel.last = panel.first + most_blocks < a.blocks ? panel.first + most_blocks : a.blocks;
            take_apart<V, BITS, BOOK>(panel, w, tile);
            for (int64_t m = m0; m < end; m += lot) {
                multiply_lot<V, bits, V::most_rows(BITS, BOOK)>(panel, w, a, m, m - m0, end - m < lot ? end - m : lot);
            }
        }
        for (int64_t m = m0; m < end; ++m) finish<V>(w, p, m, tile, V::load(panel.out[m - m0]));
    }
}

}  // namespace fewbits
