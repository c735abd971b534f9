// Codes from their lines, and the sums of their products with one block of activations.
#pragma once
#include "fewbits.h"

namespace fewbits {

template <int I> struct Step { static constexpr int value = I; };

constexpr int STEPS = CHUNK / 4;  // of a chunk: 4 inputs each

// Call f(Step<0>), ..., f(Step<N - 1>), unrolled.
template <int N, int I = 0, class F>
static inline FEWBITS_INLINE void unrolled(F&& f) {
    if constexpr (I < N) {
        f(Step<I>{});
        unrolled<N, I + 1>(f);
    }
}

// std::conditional_t
template <bool, class A, class B> struct Either { using type = A; };
template <class A, class B> struct Either<false, A, B> { using type = B; };
template <bool YES, class A, class B> using either = typename Either<YES, A, B>::type;

// The codes of 16 outputs for inputs 4 S .. 4 S + 3 of a chunk.
template <class V, int BITS, int S>
static inline typename V::Bytes codes_at(const uint8_t* chunk) {
    if constexpr (BITS == 8) {
        return V::load(chunk + LINE * S);
    } else if constexpr (BITS == 3) {  // steps 0 to 5 lie whole, two in each line; of 6 and 7 the middle line has the high bits
        if constexpr (S < 6) return V::bits(V::load(chunk + LINE * (S / 2)), 3 * (S % 2), 7);
        auto low = V::bits(V::load(chunk + LINE * (S == 6 ? 0 : 2)), 6, 3);
        return V::both(low, V::bits(V::load(chunk + LINE), S - 2, 4));
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
    template <int S>
    void step(const uint8_t* lines, const int8_t* x) {
        auto codes = codes_at<V, BITS, S>(lines);
        unrolled<ROWS>([&](auto m) { V::template dot<BITS>(sums[m.value], codes, x + 4 * (ROWS * S + m.value)); });
    }
    void end() { unrolled<ROWS>([&](auto m) { V::template end_chunk<BITS>(sums[m.value]); }); }
    void chunk(const uint8_t* lines, const int8_t* x) {  // not by `step`: GCC then keeps sums in memory, half as fast
        unrolled<STEPS>([&](auto step) {
            auto codes = codes_at<V, BITS, step.value>(lines);
            unrolled<ROWS>([&](auto m) { V::template dot<BITS>(sums[m.value], codes, x + 4 * (ROWS * step.value + m.value)); });
        });
        unrolled<ROWS>([&](auto m) { V::template end_chunk<BITS>(sums[m.value]); });
    }
    typename V::Ints total(int m) { return V::template total<BITS>(sums[m]); }
};

// The same for one row, where bytes are multiplied exactly: codes of 1, 2 or 4 bits are left where they stand in a byte, and
// each place has a sum of its own, which is shifted at the end. A product needs two instructions then instead of three, and
// does not wait for the one before it.
template <class V, int BITS>
struct InPlace {
    static constexpr int PLACES = 8 / BITS;
    typename V::Sum sums[PLACES];

    explicit InPlace(const Weight&) {}
    void clear() { unrolled<PLACES>([&](auto i) { sums[i.value] = V::none(); }); }
    void chunk(const uint8_t* lines, const int8_t* x) {
        unrolled<BITS>([&](auto line) {
            auto bytes = V::load(lines + LINE * line.value);
            unrolled<PLACES>([&](auto i) {
                constexpr int place = BITS * i.value, mask = ((1 << BITS) - 1) << place;
                V::template dot<8>(sums[i.value], V::bits(bytes, 0, mask), x + 4 * (PLACES * line.value + i.value));
            });
        });
    }
    typename V::Ints total(int) {
        unrolled<PLACES - 1>([&](auto i) { sums[0] = V::plus(sums[0], V::template down<BITS * (i.value + 1)>(sums[i.value + 1])); });
        return V::template total<8>(sums[0]);
    }
};

// ... and codes that stand for the values of a codebook, as bytes ...
template <class V, int BITS, int ROWS>
struct ByteBook {
    typename V::Sum sums[ROWS];
    typename V::Bytes table;

    explicit ByteBook(const Weight& w) : table(V::table(w.byte)) {}
    void clear() { unrolled<ROWS>([&](auto m) { sums[m.value] = V::none(); }); }
    template <int S>
    void step(const uint8_t* lines, const int8_t* x) {
        auto values = V::lookup(table, codes_at<V, BITS, S>(lines));
        unrolled<ROWS>([&](auto m) { V::template dot<8>(sums[m.value], values, x + 4 * (ROWS * S + m.value)); });
    }
    void end() {}
    void chunk(const uint8_t* lines, const int8_t* x) {
        unrolled<STEPS>([&](auto step) {
            auto values = V::lookup(table, codes_at<V, BITS, step.value>(lines));
            unrolled<ROWS>([&](auto m) { V::template dot<8>(sums[m.value], values, x + 4 * (ROWS * step.value + m.value)); });
        });
    }
    typename V::Ints total(int m) { return V::template total<8>(sums[m]); }
};

// ... or multiplied in two halves.
template <class V, int BITS, int ROWS>
struct Block<V, BITS, ROWS, true> {
    typename V::Sum high[ROWS], low[ROWS];
    typename V::Bytes high_table, low_table;

    explicit Block(const Weight& w) : high_table(V::table(w.high)), low_table(V::table(w.low)) {}
    void clear() { unrolled<ROWS>([&](auto m) { high[m.value] = low[m.value] = V::none(); }); }
    template <int S>
    void step(const uint8_t* lines, const int8_t* x) {
        auto codes = codes_at<V, BITS, S>(lines);
        auto above = V::lookup(high_table, codes), below = V::lookup(low_table, codes);
        unrolled<ROWS>([&](auto m) {
            const int8_t* at = x + 4 * (ROWS * S + m.value);
            V::template dot<8>(high[m.value], above, at);
            V::template dot<7>(low[m.value], below, at);
        });
    }
    void end() {}
    void chunk(const uint8_t* lines, const int8_t* x) {
        unrolled<STEPS>([&](auto step) {
            auto codes = codes_at<V, BITS, step.value>(lines);
            auto above = V::lookup(high_table, codes), below = V::lookup(low_table, codes);
            unrolled<ROWS>([&](auto m) {
                const int8_t* at = x + 4 * (ROWS * step.value + m.value);
                V::template dot<8>(high[m.value], above, at);
                V::template dot<7>(low[m.value], below, at);
            });
        });
    }
    typename V::Ints total(int m) { return V::weigh(V::template total<8>(high[m]), V::template total<7>(low[m])); }
};

}  // namespace fewbits
