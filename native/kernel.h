// The kernels, in the words of vec_*.h: V is one set of instructions. Nothing here may be shared between translation
// units that are compiled for different machines, so all is a template of V or static, and no standard header is used.
#pragma once
#include "activations.h"
#include "check.h"
#include "float_panel.h"
#include "streams.h"

namespace fewbits {

constexpr int AHEAD = 4096;  // bytes of codes that are asked for before they are needed: past the end of a page

template <class V, int BITS, int ROWS, bool BOOK>
using AnyBlock = either<BOOK && !V::EXACT_BYTES, ByteBook<V, BITS, ROWS>, Block<V, BITS, ROWS, BOOK>>;

// HALF: scales and zero points are F16, as they mostly are; for one row it pays not to ask each time.
template <class V, int BITS, int ROWS, bool BOOK, bool HALF>
static FEWBITS_FLAT void multiply_tile(const Weight& w, const Product& p, const Activations& a, int64_t tile, int64_t m0) {
    constexpr bool in_place = V::EXACT_BYTES && !BOOK && ROWS == 1 && (BITS == 1 || BITS == 2 || BITS == 4);
    constexpr bool fetch = BITS < 8 || ROWS > 2;  // else memory gives them as fast as it can without being asked
    const uint8_t* lines = w.codes + tile * tile_bytes(w);
    const int8_t* x = a.codes + m0 * a.stride;
    const float *steps = a.steps + m0, *sums = a.sums + m0;
    const int per_group = w.group / w.block;
    const bool two = w.block > CHUNK;
    typename V::Floats out[ROWS], part[ROWS];
    const Meta<V, HALF> meta(w, true);
    either<in_place, InPlace<V, BITS>, AnyBlock<V, BITS, ROWS, BOOK>> block(w);
    auto chunk = [&] {
        if constexpr (fetch) unrolled<BITS>([&](auto l) { __builtin_prefetch(lines + AHEAD + LINE * l.value); });
        block.chunk(lines, x);
        lines += BITS * LINE, x += CHUNK * ROWS;
    };
    auto dot = [&] {
        block.clear();
        chunk();
        if (two) chunk();
    };
    auto add_group = [&](int g, auto&& part_of) {
        const int64_t at = tile * a.groups + g;
        auto scale = meta.scale(at), zero = meta.zero(at);
        if constexpr (fetch) if (w.gap > 0) __builtin_prefetch(lines + AHEAD);
        lines += w.gap;
        unrolled<ROWS>([&](auto m) {
            out[m.value] = V::fma(scale, V::fnma(zero, V::all(sums[m.value]), part_of(m)), out[m.value]);
        });
    };
    unrolled<ROWS>([&](auto m) { out[m.value] = V::zero(); });
    if (w.group == w.block) {
        for (int g = 0; g < a.groups; ++g, sums += a.rows, steps += a.rows) {
            dot();
            add_group(g, [&](auto m) { return V::mul(V::all(steps[m.value]), V::floats(block.total(m.value))); });
        }
    } else {
        for (int g = 0; g < a.groups; ++g, sums += a.rows) {
            unrolled<ROWS>([&](auto m) { part[m.value] = V::zero(); });
            for (int i = 0; i < per_group; ++i, steps += a.rows) {
                dot();
                unrolled<ROWS>([&](auto m) {
                    part[m.value] = V::fma(V::all(steps[m.value]), V::floats(block.total(m.value)), part[m.value]);
                });
            }
            add_group(g, [&](auto m) { return part[m.value]; });
        }
    }
    unrolled<ROWS>([&](auto m) { finish<V>(w, p, m0 + m.value, tile, out[m.value]); });
}

// The same with one row of activations as they are.
template <class V, int BITS, bool BOOK>
static FEWBITS_FLAT void multiply_exactly(const Weight& w, const Product& p, const Activations& a, int64_t tile) {
    const uint8_t* lines = w.codes + tile * tile_bytes(w);
    const float* x = a.values;
    const Meta<V, false> meta(w, false);
    const auto values = V::values(w.values);
    auto out = V::zero();
    for (int g = 0; g < a.groups; ++g, lines += w.gap) {
        auto part = V::zero();
        for (int c = 0; c < w.group / CHUNK; ++c, lines += BITS * LINE, x += CHUNK) {
            unrolled<STEPS>([&](auto step) {
                auto codes = codes_at<V, BITS, step.value>(lines);
                unrolled<4>([&](auto j) {
                    auto ints = V::template byte<j.value>(codes);
                    typename V::Floats weight;
                    if constexpr (BOOK) weight = V::pick(values, ints); else weight = V::floats(ints);
                    part = V::fma(weight, V::all(x[4 * step.value + j.value]), part);
                });
            });
        }
        const int64_t at = tile * a.groups + g;
        out = V::fma(meta.scale(at), V::fnma(meta.zero(at), V::all(a.sums[g]), part), out);
    }
    finish<V>(w, p, 0, tile, out);
}

// Both for groups of 4, 8 or 16 inputs: a chunk has several scales.
template <class V, int BITS, int ROWS, bool BOOK>
static FEWBITS_FLAT void multiply_small_groups(const Weight& w, const Product& p, const Activations& a, int64_t tile, int64_t m0) {
    const uint8_t* lines = w.codes + tile * tile_bytes(w);
    const int8_t* x = a.codes + m0 * a.stride;
    const float *steps = a.steps + m0, *sums = a.sums + m0;
    const int quads = w.group / 4;
    int64_t at = tile * a.groups;
    typename V::Floats out[ROWS];
    const Meta<V, false> meta(w, true);
    AnyBlock<V, BITS, ROWS, BOOK> block(w);
    unrolled<ROWS>([&](auto m) { out[m.value] = V::zero(); });
    block.clear();
    for (int c = 0; c < a.blocks; ++c, lines += BITS * LINE, x += CHUNK * ROWS, steps += a.rows) {
        unrolled<STEPS>([&](auto s) {
            block.template step<s.value>(lines, x);
            if ((s.value + 1) % quads != 0) return;
            block.end();
            const auto scale = meta.scale(at), zero = meta.zero(at);
            unrolled<ROWS>([&](auto m) {
                const auto part = V::mul(V::all(steps[m.value]), V::floats(block.total(m.value)));
                out[m.value] = V::fma(scale, V::fnma(zero, V::all(sums[m.value]), part), out[m.value]);
            });
            block.clear();
            ++at, sums += a.rows;
        });
    }
    unrolled<ROWS>([&](auto m) { finish<V>(w, p, m0 + m.value, tile, out[m.value]); });
}

template <class V, int BITS, bool BOOK>
static FEWBITS_FLAT void multiply_small_groups_exactly(const Weight& w, const Product& p, const Activations& a, int64_t tile) {
    const uint8_t* lines = w.codes + tile * tile_bytes(w);
    const float* x = a.values;
    const int quads = w.group / 4;
    int64_t g = 0;
    const Meta<V, false> meta(w, false);
    const auto values = V::values(w.values);
    auto out = V::zero(), part = V::zero();
    for (int c = 0; c < a.blocks; ++c, lines += BITS * LINE, x += CHUNK) {
        unrolled<STEPS>([&](auto s) {
            auto codes = codes_at<V, BITS, s.value>(lines);
            unrolled<4>([&](auto j) {
                auto ints = V::template byte<j.value>(codes);
                typename V::Floats weight;
                if constexpr (BOOK) weight = V::pick(values, ints); else weight = V::floats(ints);
                part = V::fma(weight, V::all(x[4 * s.value + j.value]), part);
            });
            if ((s.value + 1) % quads != 0) return;
            const int64_t at = tile * a.groups + g;
            out = V::fma(meta.scale(at), V::fnma(meta.zero(at), V::all(a.sums[g]), part), out);
            part = V::zero(), ++g;
        });
    }
    finish<V>(w, p, 0, tile, out);
}

// All rows of x, as many at a time as there are registers for, then half as many, and so on ...
template <class V, int BITS, bool BOOK, int ROWS, bool SMALL>
static void some_rows(const Weight& w, const Product& p, const Activations& a, int64_t tile, int64_t m0) {
    const bool half = ROWS == 1 && has_half_meta(w);
    for (; p.m - m0 >= ROWS; m0 += ROWS) {
        if constexpr (SMALL) multiply_small_groups<V, BITS, ROWS, BOOK>(w, p, a, tile, m0);
        else if (half) multiply_tile<V, BITS, ROWS, BOOK, ROWS == 1>(w, p, a, tile, m0);
        else multiply_tile<V, BITS, ROWS, BOOK, false>(w, p, a, tile, m0);
    }
    if constexpr (ROWS > 1) some_rows<V, BITS, BOOK, ROWS / 2, SMALL>(w, p, a, tile, m0);
}

// ... or up to ROWS at once.
template <class V, int BITS, bool BOOK, int ROWS>
static void few_rows(const Weight& w, const Product& p, const Activations& a, int64_t tile) {
    if (ROWS == 1 || p.m == ROWS) some_rows<V, BITS, BOOK, ROWS, false>(w, p, a, tile, 0);
    else few_rows<V, BITS, BOOK, ROWS == 1 ? 1 : ROWS - 1>(w, p, a, tile);
}

template <class V, int BITS, bool BOOK>
static void all_rows(const Weight& w, const Product& p, const Activations& a, int64_t tile) {
    constexpr int few = V::few_rows(BITS), most = V::most_rows(BITS, BOOK);
    if (w.group < CHUNK) {
        if constexpr (has_small_groups(BITS, BOOK)) {
            some_rows<V, BITS, BOOK, smaller(most, V::SMALL_GROUP_ROWS), true>(w, p, a, tile, 0);
        }
    } else if constexpr (few == 0) {
        some_rows<V, BITS, BOOK, most, false>(w, p, a, tile, 0);
    } else {
        if (p.m > few) in_panels<V, BITS, BOOK>(w, p, a, tile);
        else few_rows<V, BITS, BOOK, few>(w, p, a, tile);
    }
}

template <class V, int BITS, bool BOOK>
static void all_rows_exactly(const Weight& w, const Product& p, const Activations& a, int64_t tile) {
    if (p.m > 1 || a.hazards[0] == EXTREME) return in_float_panels<V, BITS, BOOK>(w, p, a, tile);
    if (w.group >= CHUNK) return multiply_exactly<V, BITS, BOOK>(w, p, a, tile);
    if constexpr (has_small_groups(BITS, BOOK)) multiply_small_groups_exactly<V, BITS, BOOK>(w, p, a, tile);
}

template <class V, int BITS, bool BOOK>
static void tiles(const Weight& w, const Product& p, const Activations& a, int64_t first, int64_t last) {
    for (int64_t t = in_streams<V, BITS, BOOK>(w, p, a, first, last); t < last; ++t) {
        if (a.in_float) all_rows_exactly<V, BITS, BOOK>(w, p, a, t);
        else all_rows<V, BITS, BOOK>(w, p, a, t);
    }
}

// Call f(bits, whether a codebook) with what the weight has as constants.
template <class F>
static inline void by_width(const Weight& w, F&& f) {
    switch (w.bits + 16 * w.is_codebook) {
        case 3: return f(Step<3>{}, Step<0>{});
        case 4: return f(Step<4>{}, Step<0>{});
        case 8: return f(Step<8>{}, Step<0>{});
        case 20: return f(Step<4>{}, Step<1>{});
#if !FEWBITS_SANITIZED
        case 1: return f(Step<1>{}, Step<0>{});
        case 2: return f(Step<2>{}, Step<0>{});
        case 5: return f(Step<5>{}, Step<0>{});
        case 6: return f(Step<6>{}, Step<0>{});
        case 7: return f(Step<7>{}, Step<0>{});
        case 18: return f(Step<2>{}, Step<1>{});
        case 19: return f(Step<3>{}, Step<1>{});
#endif
    }
}

template <class V>
static void energies(const Weight& w, int64_t first_chunk, float* energy) {
    by_width(w, [&](auto bits, auto book) { panel_energies<V, bits.value, bool(book.value)>(w, first_chunk, energy); });
}

template <class V>
static void multiply(const Weight& w, const Product& p, const Activations& a, int64_t first, int64_t last) {
    by_width(w, [&](auto bits, auto book) { tiles<V, bits.value, bool(book.value)>(w, p, a, first, last); });
}

}  // namespace fewbits
