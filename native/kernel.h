// The kernels, in the words of vec_*.h: V is one set of instructions. Nothing here may be shared between translation
// units that are compiled for different machines, so all is a template of V or static, and no standard header is used.
#pragma once
#include "fewbits.h"

namespace fewbits {

template <int I> struct Step { static constexpr int value = I; };

// Call f(Step<0>), ..., f(Step<N - 1>), unrolled.
template <int N, int I = 0, class F>
static inline FEWBITS_INLINE void unrolled(F&& f) {
    if constexpr (I < N) {
        f(Step<I>{});
        unrolled<N, I + 1>(f);
    }
}

// The codes of 16 outputs for inputs 4 S .. 4 S + 3 of a chunk.
template <class V, int BITS, int S>
static inline typename V::Bytes codes_at(const uint8_t* chunk) {
    if constexpr (BITS == 8) {
        return V::load(chunk + LINE * S);
    } else {
        constexpr int low4 = BITS & 3, low2 = BITS & 1;  // where the planes of 4 and of 2 bits stand in the code
        constexpr int lines4 = BITS & 4 ? 4 : 0, lines2 = BITS & 2 ? 2 : 0;
        typename V::Bytes out;
        if constexpr (bool(BITS & 4)) out = V::bits(V::load(chunk + LINE * (S / 2)), 4 * (S % 2) - low4, 15 << low4);
        if constexpr (bool(BITS & 2)) {
            auto two = V::bits(V::load(chunk + LINE * (lines4 + S / 4)), 2 * (S % 4) - low2, 3 << low2);
            if constexpr (bool(BITS & 4)) out = V::both(out, two); else out = two;
        }
        if constexpr (bool(BITS & 1)) {
            auto one = V::bits(V::load(chunk + LINE * (lines4 + lines2)), S, 1);
            if constexpr (BITS > 1) out = V::both(out, one); else out = one;
        }
        return out;
    }
}

// Sums of products over one block, for ROWS rows of x: codes of BITS bits ...
template <class V, int BITS, int ROWS, bool BOOK>
struct Block {
    typename V::Sum sums[ROWS];

    explicit Block(const Weight&) {}
    void clear() { unrolled<ROWS>([&](auto m) { sums[m.value] = V::none(); }); }
    void chunk(const uint8_t* lines, const int8_t* x) {
        unrolled<8>([&](auto step) {
            auto codes = codes_at<V, BITS, step.value>(lines);
            unrolled<ROWS>([&](auto m) { V::template dot<BITS>(sums[m.value], codes, x + 4 * (ROWS * step.value + m.value)); });
        });
        unrolled<ROWS>([&](auto m) { V::template end_chunk<BITS>(sums[m.value]); });
    }
    typename V::Ints total(int m) { return V::total(sums[m]); }
};

// ... and codes that stand for the values of a codebook, which are multiplied in two halves.
template <class V, int BITS, int ROWS>
struct Block<V, BITS, ROWS, true> {
    typename V::Sum high[ROWS], low[ROWS];
    typename V::Bytes high_table, low_table;

    explicit Block(const Weight& w) : high_table(V::table(w.high)), low_table(V::table(w.low)) {}
    void clear() { unrolled<ROWS>([&](auto m) { high[m.value] = low[m.value] = V::none(); }); }
    void chunk(const uint8_t* lines, const int8_t* x) {
        unrolled<8>([&](auto step) {
            auto codes = codes_at<V, BITS, step.value>(lines);
            auto above = V::lookup(high_table, codes), below = V::lookup(low_table, codes);
            unrolled<ROWS>([&](auto m) {
                const int8_t* at = x + 4 * (ROWS * step.value + m.value);
                V::template dot<8>(high[m.value], above, at);
                V::template dot<7>(low[m.value], below, at);
            });
        });
    }
    typename V::Ints total(int m) { return V::weigh(V::total(high[m]), V::total(low[m])); }
};

// What turns the sum of a group into numbers: (sum - zero * sum of x) * scale.
template <class V>
struct Meta {
    const Weight& w;
    float zero_shift, factor;

    Meta(const Weight& weight, bool integers) : w(weight), zero_shift(0), factor(1) {
        if (integers && w.bits == 8) zero_shift = V::OFFSET8;
        if (integers && w.is_codebook) zero_shift = 128 * V::OFFSET8 - 16384, factor = w.peak / 16383;
    }
    typename V::Floats scale(int64_t at) const {
        auto s = V::read(w.scale, at, w.scale_type);
        return w.is_codebook ? V::mul(s, V::all(factor)) : s;
    }
    typename V::Floats zero(int64_t at) const {
        auto z = w.zero_type == NONE ? V::all(w.zero_value) : V::read(w.zero, at, w.zero_type);
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

constexpr int AHEAD = 2048;  // bytes of codes that are asked for before they are needed: past the end of a page

template <class V, int BITS, int ROWS, bool BOOK>
static FEWBITS_FLAT void multiply_tile(const Weight& w, const Product& p, const Activations& a, int64_t tile, int64_t m0) {
    const uint8_t* lines = w.codes + tile * tile_bytes(w);
    const int8_t* x = a.codes + m0 * a.stride;
    const float *steps = a.steps + m0, *sums = a.sums + m0;
    const int per_group = w.group / w.block, chunks = w.block / CHUNK;
    typename V::Floats out[ROWS], part[ROWS];
    const Meta<V> meta(w, true);
    Block<V, BITS, ROWS, BOOK> block(w);
    unrolled<ROWS>([&](auto m) { out[m.value] = V::zero(); });
    for (int g = 0, b = 0; g < a.groups; ++g) {
        unrolled<ROWS>([&](auto m) { part[m.value] = V::zero(); });
        for (int i = 0; i < per_group; ++i, ++b) {
            block.clear();
            for (int c = 0; c < chunks; ++c, lines += BITS * LINE, x += CHUNK * ROWS) {
                if constexpr (ROWS <= 2) unrolled<BITS>([&](auto l) { __builtin_prefetch(lines + AHEAD + LINE * l.value); });
                block.chunk(lines, x);
            }
            unrolled<ROWS>([&](auto m) {
                auto sum = V::floats(block.total(m.value));
                part[m.value] = V::fma(V::all(steps[b * a.rows + m.value]), sum, part[m.value]);
            });
        }
        const int64_t at = (tile * a.groups + g) * TILE;
        auto scale = meta.scale(at), zero = meta.zero(at);
        unrolled<ROWS>([&](auto m) {
            auto sum = V::fnma(zero, V::all(sums[g * a.rows + m.value]), part[m.value]);
            out[m.value] = V::fma(scale, sum, out[m.value]);
        });
    }
    unrolled<ROWS>([&](auto m) { finish<V>(w, p, m0 + m.value, tile, out[m.value]); });
}

// The same with the activations as they are.
template <class V, int BITS, int ROWS, bool BOOK>
static FEWBITS_FLAT void multiply_exactly(const Weight& w, const Product& p, const Activations& a, int64_t tile, int64_t m0) {
    const uint8_t* lines = w.codes + tile * tile_bytes(w);
    const float *x = a.values + m0 * a.stride, *sums = a.sums + m0;
    typename V::Floats out[ROWS], part[ROWS];
    const Meta<V> meta(w, false);
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
        const int64_t at = (tile * a.groups + g) * TILE;
        auto scale = meta.scale(at), zero = meta.zero(at);
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
    for (; p.m - m0 >= ROWS; m0 += ROWS) multiply_tile<V, BITS, ROWS, BOOK>(w, p, a, tile, m0);
    if constexpr (ROWS > 1) some_rows<V, BITS, BOOK, ROWS / 2>(w, p, a, tile, m0);
}

template <class V, int BITS, bool BOOK>
static void some_rows_exactly(const Weight& w, const Product& p, const Activations& a, int64_t tile) {
    int64_t m0 = 0;
    for (; p.m - m0 >= 4; m0 += 4) multiply_exactly<V, BITS, 4, BOOK>(w, p, a, tile, m0);
    for (; m0 < p.m; ++m0) multiply_exactly<V, BITS, 1, BOOK>(w, p, a, tile, m0);
}

template <class V, int BITS, bool BOOK>
static void tiles(const Weight& w, const Product& p, const Activations& a, int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
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

// 16 inputs of a row from input k on; zeros after the last.
template <class V>
static inline typename V::Floats inputs(const Product& p, int64_t row, int64_t k, int64_t cols) {
    int size = p.type == F32 ? 4 : 2;
    if (k + TILE <= cols) return V::read(p.x, row * p.stride + k, p.type);
    uint8_t rest[TILE * 4] = {};
    if (k < cols) __builtin_memcpy(rest, static_cast<const uint8_t*>(p.x) + (row * p.stride + k) * size, (cols - k) * size);
    return V::read(rest, 0, p.type);
}

// The step of inputs `from` to `to`: the largest / 127. NaN where one of them is not finite, and so is then the product.
template <class V>
static float step_of(const Weight& w, const Product& p, int64_t row, int64_t from, int64_t to) {
    auto most = V::zero(), poison = V::zero();
    for (int64_t k = from; k < to; k += TILE) {
        auto v = inputs<V>(p, row, k, w.cols);
        most = V::most(most, v);
        poison = V::fma(v, V::zero(), poison);
    }
    float top = V::top(most);
    return (top > 1e-35f ? top / 127 : 0) + V::sum(poison);
}

// Rows of x are taken MOST_ROWS at a time, then half as many, and so on: the first row and the size of the lot of a row.
struct Lot { int64_t first, size; };
template <class V>
static inline Lot lot_of(int64_t row, int64_t m) {
    int64_t first = 0;
    for (int64_t size = V::MOST_ROWS; size > 1; size /= 2) {
        int64_t end = first + (m - first) / size * size;
        if (row < end) return {row - (row - first) % size, size};
        first = end;
    }
    return {row, 1};
}

// The codes of one row. Those of a lot are interleaved: 4 inputs of each of its rows, then the next 4.
template <class V>
static void quantize(const Weight& w, const Product& p, const Activations& a, int64_t row) {
    const Lot lot = a.tiled ? Lot{row / 16 * 16, 1} : lot_of<V>(row, p.m);
    const int64_t within = (row - lot.first) * (a.tiled ? w.block : 4), spread = a.tiled ? 16 : lot.size;
    const float row_step = p.one_step ? step_of<V>(w, p, row, 0, w.padded) : 0;
    for (int g = 0, b = 0; g < a.groups; ++g) {
        float group_sum = 0;
        for (int i = 0; i < w.group / w.block; ++i, ++b) {
            const int64_t from = int64_t(b) * w.block, to = from + w.block;
            const float step = p.one_step ? row_step : step_of<V>(w, p, row, from, to);
            const auto inverse = V::all(step > 0 ? 1 / step : 0);
            int8_t* codes = a.codes + lot.first * a.stride + from * spread + within;
            auto sum = V::no_ints();
            for (int64_t k = from; k < to; k += TILE) {
                auto code = V::round(V::mul(inputs<V>(p, row, k, w.cols), inverse));
                sum = V::plus(sum, code);
                int8_t bytes[TILE];
                V::store8(bytes, code);
                for (int j = 0; j < TILE; j += 4) __builtin_memcpy(codes + (k - from + j) * lot.size, bytes + j, 4);
            }
            a.steps[b * a.rows + row] = step;
            group_sum += step * float(V::sum(sum));
        }
        a.sums[g * a.rows + row] = group_sum;
    }
}

template <class V>
static void prepare(const Weight& w, const Product& p, const Activations& a, int64_t row) {
    if (!p.exact) return quantize<V>(w, p, a, row);
    for (int g = 0; g < a.groups; ++g) {
        auto sum = V::zero();
        for (int64_t k = int64_t(g) * w.group; k < int64_t(g + 1) * w.group; k += TILE) {
            auto v = inputs<V>(p, row, k, w.cols);
            V::store(a.values + row * a.stride + k, v);
            sum = V::add(sum, v);
        }
        a.sums[g * a.rows + row] = V::sum(sum);
    }
}

}  // namespace fewbits
