// The kernels, in the words of vec_*.h: V is one set of instructions. Nothing here may be shared between translation
// units that are compiled for different machines, so all is a template of V or static, and no standard header is used.
#pragma once
#include "activations.h"
#include "block.h"

namespace fewbits {

// What turns the sum of a group into numbers: (sum - zero * sum of x) * scale.
template <class V, bool HALF>
struct Meta {
    const Weight& w;
    float zero_shift, factor;

    Meta(const Weight& weight, bool integers) : w(weight), zero_shift(0), factor(1) {
        if (integers && w.bits == 8) zero_shift = V::OFFSET8;
        if (integers && w.is_codebook) zero_shift = 128 * V::OFFSET8 - 16384, factor = w.peak / 16383;
    }
    // Of a group, counted over all tiles.
    typename V::Floats scale(int64_t at) const {
        auto s = V::read(static_cast<const uint8_t*>(w.scale) + at * w.scale_stride, 0, HALF ? int32_t(F16) : w.scale_type);
        return w.is_codebook ? V::mul(s, V::all(factor)) : s;
    }
    typename V::Floats zero(int64_t at) const {
        const auto* from = static_cast<const uint8_t*>(w.zero) + at * w.zero_stride;
        auto z = w.zero_type == NONE ? V::all(w.zero_value) : V::read(from, 0, HALF ? int32_t(F16) : w.zero_type);
        return zero_shift == 0 ? z : V::add(z, V::all(-zero_shift));
    }
};

// out[m, 16 outputs] + bias, in the type of x; the last tile may have fewer outputs.
template <class V>
static __attribute__((noinline)) void finish(const Weight& w, const Product& p, int64_t m, int64_t tile, typename V::Floats v) {
    int64_t first = tile * TILE, count = w.rows - first;
    if (count >= TILE) {
        if (p.bias) v = V::add(v, V::read(p.bias, first, p.type));
        return V::write(p.out, m * w.rows + first, p.type, v);
    }
    int size = p.type == F32 ? 4 : 2;
    uint8_t bias[TILE * 4] = {}, out[TILE * 4];
    if (p.bias) {
        __builtin_memcpy(bias, static_cast<const uint8_t*>(p.bias) + first * size, count * size);
        v = V::add(v, V::read(bias, 0, p.type));
    }
    V::write(out, 0, p.type, v);
    __builtin_memcpy(static_cast<uint8_t*>(p.out) + (m * w.rows + first) * size, out, count * size);
}

static inline bool has_half_meta(const Weight& w) { return w.scale_type == F16 && (w.zero_type == F16 || w.zero_type == NONE); }

constexpr int AHEAD = 4096;  // bytes of codes that are asked for before they are needed: past the end of a page

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
    either<in_place, InPlace<V, BITS>, Block<V, BITS, ROWS, BOOK>> block(w);
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

// The same with the activations as they are.
template <class V, int BITS, int ROWS, bool BOOK>
static FEWBITS_FLAT void multiply_exactly(const Weight& w, const Product& p, const Activations& a, int64_t tile, int64_t m0) {
    const uint8_t* lines = w.codes + tile * tile_bytes(w);
    const float *x = a.values + m0 * a.stride, *sums = a.sums + m0;
    typename V::Floats out[ROWS], part[ROWS];
    const Meta<V, false> meta(w, false);
    const auto values = V::values(w.values);
    unrolled<ROWS>([&](auto m) { out[m.value] = V::zero(); });
    for (int g = 0; g < a.groups; ++g) {
        unrolled<ROWS>([&](auto m) { part[m.value] = V::zero(); });
        for (int c = 0; c < w.group / CHUNK; ++c, lines += BITS * LINE, x += CHUNK) {
            unrolled<8>([&](auto step) {
                auto codes = codes_at<V, BITS, step.value>(lines);
                unrolled<4>([&](auto j) {
                    auto ints = V::template byte<j.value>(codes);
                    typename V::Floats weight;
                    if constexpr (BOOK) weight = V::pick(values, ints); else weight = V::floats(ints);
                    unrolled<ROWS>([&](auto m) {
                        auto v = V::all(x[m.value * a.stride + 4 * step.value + j.value]);
                        part[m.value] = V::fma(weight, v, part[m.value]);
                    });
                });
            });
        }
        const int64_t at = tile * a.groups + g;
        auto scale = meta.scale(at), zero = meta.zero(at);
        lines += w.gap;
        unrolled<ROWS>([&](auto m) {
            auto sum = V::fnma(zero, V::all(sums[g * a.rows + m.value]), part[m.value]);
            out[m.value] = V::fma(scale, sum, out[m.value]);
        });
    }
    unrolled<ROWS>([&](auto m) { finish<V>(w, p, m0 + m.value, tile, out[m.value]); });
}

// All rows of x, as many at a time as there are registers for.
template <class V, int BITS, bool BOOK, int ROWS>
static void some_rows(const Weight& w, const Product& p, const Activations& a, int64_t tile, int64_t m0) {
    const bool half = ROWS == 1 && has_half_meta(w);
    for (; p.m - m0 >= ROWS; m0 += ROWS) {
        if (half) multiply_tile<V, BITS, ROWS, BOOK, ROWS == 1>(w, p, a, tile, m0);
        else multiply_tile<V, BITS, ROWS, BOOK, false>(w, p, a, tile, m0);
    }
    if constexpr (ROWS > 1) some_rows<V, BITS, BOOK, ROWS / 2>(w, p, a, tile, m0);
}

template <class V, int BITS, bool BOOK>
static void some_rows_exactly(const Weight& w, const Product& p, const Activations& a, int64_t tile) {
    int64_t m0 = 0;
    for (; p.m - m0 >= 4; m0 += 4) multiply_exactly<V, BITS, 4, BOOK>(w, p, a, tile, m0);
    for (; m0 < p.m; ++m0) multiply_exactly<V, BITS, 1, BOOK>(w, p, a, tile, m0);
}

// The steps of one chunk of two tiles, whose activations are read once for both. No lambdas: GCC keeps what they hold in memory.
template <class V, int BITS, int S = 0>
static FEWBITS_INLINE inline void two_chunks(typename V::Sum& one, typename V::Sum& two, const uint8_t* lines, int64_t far,
                                             const int8_t* x) {
    if constexpr (S < CHUNK / 4) {
        V::template dot<BITS>(one, codes_at<V, BITS, S>(lines), x + 4 * S);
        V::template dot<BITS>(two, codes_at<V, BITS, S>(lines + far), x + 4 * S);
        two_chunks<V, BITS, S + 1>(one, two, lines, far, x);
    } else {
        V::template end_chunk<BITS>(one);
        V::template end_chunk<BITS>(two);
    }
}

// Add the products of one block of two tiles and one row of x, times the step of these inputs, to `part`. A function of its own:
// it takes all registers that AVX2 has.
template <class V, int BITS, bool BOOK>
static FEWBITS_FLAT __attribute__((noinline)) void add_blocks(const Weight& w, const uint8_t* lines, int64_t far, const int8_t* x,
                                                              float step, typename V::Floats* part) {
    if constexpr (BOOK) {
        for (int s = 0; s < 2; ++s, lines += far) {
            Block<V, BITS, 1, BOOK> block(w);
            block.clear();
            block.chunk(lines, x);
            if (w.block > CHUNK) block.chunk(lines + BITS * LINE, x + CHUNK);
            part[s] = V::fma(V::all(step), V::floats(block.total(0)), part[s]);
        }
    } else {
        typename V::Sum one = V::none(), two = V::none();
        two_chunks<V, BITS>(one, two, lines, far, x);
        if (w.block > CHUNK) two_chunks<V, BITS>(one, two, lines + BITS * LINE, far, x + CHUNK);
        part[0] = V::fma(V::all(step), V::floats(V::template total<BITS>(one)), part[0]);
        part[1] = V::fma(V::all(step), V::floats(V::template total<BITS>(two)), part[1]);
    }
}

// Several tiles, `apart` from one to the next, by one row of x. Memory is read in as many streams, each of which the processor
// asks for beforehand: one thread of an EPYC 7003 reads 15 GB/s in one stream and 20 in four.
template <class V, int BITS, bool BOOK, bool HALF>
static void multiply_streams(const Weight& w, const Product& p, const Activations& a, int64_t tile, int64_t apart) {
    const int64_t far = apart * tile_bytes(w), bytes = int64_t(w.block) / CHUNK * BITS * LINE;
    const uint8_t* lines = w.codes + tile * tile_bytes(w);
    const int8_t* x = a.codes;
    const float *steps = a.steps, *sums = a.sums;
    const int per_group = w.group / w.block;
    typename V::Floats out[V::STREAMS], part[V::STREAMS];
    const Meta<V, HALF> meta(w, true);
    for (auto& o : out) o = V::zero();
    for (int g = 0; g < a.groups; ++g, sums += a.rows, lines += w.gap) {
        for (auto& o : part) o = V::zero();
        for (int i = 0; i < per_group; ++i, steps += a.rows, lines += bytes, x += w.block) {
            for (int s = 0; s < V::STREAMS; s += 2) add_blocks<V, BITS, BOOK>(w, lines + s * far, far, x, *steps, part + s);
        }
        for (int s = 0; s < V::STREAMS; ++s) {
            const int64_t at = (tile + s * apart) * a.groups + g;
            out[s] = V::fma(meta.scale(at), V::fnma(meta.zero(at), V::all(*sums), part[s]), out[s]);
        }
    }
    for (int s = 0; s < V::STREAMS; ++s) finish<V>(w, p, 0, tile + s * apart, out[s]);
}

// As many of the tiles as make full sets of streams; returns the first that is left.
template <class V, int BITS, bool BOOK>
static int64_t in_streams(const Weight& w, const Product& p, const Activations& a, int64_t first, int64_t last) {
    if constexpr (V::STREAMS > 1) {
        const bool one_stream_a_tile = w.gap > 0 || a.groups == 1;  // else scales and zero points would be streams too: too many
        if (p.m > 1 || p.exact || !one_stream_a_tile) return first;
        const int64_t apart = (last - first) / V::STREAMS;
        for (int64_t t = first; t < first + apart; ++t) {
            if (has_half_meta(w)) multiply_streams<V, BITS, BOOK, true>(w, p, a, t, apart);
            else multiply_streams<V, BITS, BOOK, false>(w, p, a, t, apart);
        }
        return first + V::STREAMS * apart;
    }
    return first;
}

template <class V, int BITS, bool BOOK>
static void tiles(const Weight& w, const Product& p, const Activations& a, int64_t first, int64_t last) {
    for (int64_t t = in_streams<V, BITS, BOOK>(w, p, a, first, last); t < last; ++t) {
        if (p.exact) some_rows_exactly<V, BITS, BOOK>(w, p, a, t);
        else some_rows<V, BITS, BOOK, V::MOST_ROWS>(w, p, a, t, 0);
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
static void multiply(const Weight& w, const Product& p, const Activations& a, int64_t first, int64_t last) {
    by_width(w, [&](auto bits, auto book) { tiles<V, bits.value, bool(book.value)>(w, p, a, first, last); });
}

}  // namespace fewbits
