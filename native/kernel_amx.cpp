// Batches by AMX: 16 rows of x, 64 inputs and 16 outputs at a time. A tile of the right operand is 16 lines of 4 inputs of
// 16 outputs each, which is how the codes lie here; they are unpacked to bytes once for up to 64 rows of x.
#include "kernel.h"
#include "vec_avx512.h"

namespace fewbits {
namespace {

using V = avx512::V;

struct alignas(64) Shape {  // what LDTILECFG reads
    uint8_t palette = 1, start = 0, unused[14] = {};
    uint16_t bytes[16] = {};
    uint8_t lines[16] = {};
};

// Tiles 0 to 3 hold sums, 4 and 5 codes, 6 activations. What was there before is set again at the end: some libraries
// configure a thread's tiles once and count on that.
class Tiles {
public:
    explicit Tiles(int block) {
        __asm__ volatile("sttilecfg %0" : "=m"(before_));
        Shape shape;
        for (int t = 0; t < 7; ++t) shape.bytes[t] = 64, shape.lines[t] = 16;
        shape.lines[4] = shape.lines[5] = uint8_t(block / 4);
        shape.bytes[6] = uint16_t(block);
        __asm__ volatile("ldtilecfg %0" ::"m"(shape));
    }
    ~Tiles() {
        if (before_.palette == 0) __asm__ volatile("tilerelease");
        else __asm__ volatile("ldtilecfg %0" ::"m"(before_));
    }

private:
    Shape before_;
};

template <int T> void load_tile(const void* p, int64_t stride) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(T) : "memory");
}
template <int T> void store_tile(void* p) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(int64_t(64)), "i"(T) : "memory");
}
template <int T> void clear_tile() { __asm__ volatile("tilezero %%tmm%c0" ::"i"(T)); }
template <int SUM, int X, int CODES> void multiply_tiles() {
    __asm__ volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(SUM), "i"(X), "i"(CODES));
}

struct alignas(64) Lines { uint8_t bytes[16 * LINE]; };
struct alignas(64) Sums { int32_t values[16][16]; };

// The codes of a block as bytes, or the two halves of what they stand for.
template <int BITS, bool BOOK>
void unpack(const Weight& w, const uint8_t* lines, Lines& high, Lines& low) {
    const auto high_table = V::table(w.high), low_table = V::table(w.low);
    for (int c = 0; c < w.block / CHUNK; ++c, lines += BITS * LINE) {
        unrolled<8>([&](auto step) {
            auto codes = codes_at<V, BITS, step.value>(lines);
            uint8_t* to = high.bytes + (8 * c + step.value) * LINE;
            _mm512_store_si512(to, BOOK ? V::lookup(high_table, codes) : codes);
            if (BOOK) _mm512_store_si512(low.bytes + (to - high.bytes), V::lookup(low_table, codes));
        });
    }
}

// What 16 rows have come to in a block: `part` sums the blocks of a group, `out` the groups.
template <bool BOOK>
struct Lot16 {
    Sums high, low;
    alignas(64) float part[16][16], out[16][16];

    V::Floats sum(int m, const float* steps) const {
        auto ints = _mm512_load_si512(high.values[m]);
        if (BOOK) ints = V::weigh(ints, _mm512_load_si512(low.values[m]));
        return V::mul(V::all(steps[m]), V::floats(ints));
    }
    void add_block(const float* steps, bool first) {
        if (first) unrolled<16>([&](auto m) { V::store(part[m.value], sum(m.value, steps)); });
        else unrolled<16>([&](auto m) { V::store(part[m.value], V::add(sum(m.value, steps), V::load(part[m.value]))); });
    }
    void add_group(const float* steps, const float* sums, V::Floats scale, V::Floats zero, bool only) {
        unrolled<16>([&](auto m) {
            auto all = sum(m.value, steps);
            if (!only) all = V::add(all, V::load(part[m.value]));
            all = V::fnma(zero, V::all(sums[m.value]), all);
            V::store(out[m.value], V::fma(scale, all, V::load(out[m.value])));
        });
    }
};

// LOTS times 16 rows of x by 16 outputs.
template <int BITS, int LOTS, bool BOOK>
FEWBITS_FLAT void multiply_lots(const Weight& w, const Product& p, const Activations& a, int64_t tile, int64_t m0) {
    const uint8_t* lines = w.codes + tile * tile_bytes(w);
    const int8_t* x = a.codes + m0 * a.stride;
    const float *steps = a.steps + m0, *group_sums = a.sums + m0;
    const int64_t rows = a.rows, lot_bytes = 16 * a.stride, block = w.block, line_bytes = BITS * block / CHUNK * LINE;
    const int groups = a.groups, per_group = w.group / w.block;
    const Meta<V, false> meta(w, true);
    Lines high, low;
    Lot16<BOOK> lots[LOTS];
    unrolled<LOTS * 16>([&](auto m) { V::store(lots[m.value / 16].out[m.value % 16], V::zero()); });
    for (int g = 0; g < groups; ++g, group_sums += rows) {
        const int64_t at = tile * groups + g;
        const auto scale = meta.scale(at), zero = meta.zero(at);
        for (int i = 0; i < per_group; ++i, steps += rows, lines += line_bytes, x += 16 * block) {
            unpack<BITS, BOOK>(w, lines, high, low);
            load_tile<4>(high.bytes, LINE);
            if constexpr (BOOK) load_tile<5>(low.bytes, LINE);
            unrolled<LOTS>([&](auto lot) {
                constexpr int first = BOOK ? 2 * lot.value : lot.value;
                load_tile<6>(x + lot.value * lot_bytes, block);
                clear_tile<first>();
                multiply_tiles<first, 6, 4>();
                store_tile<first>(lots[lot.value].high.values);
                if constexpr (BOOK) {
                    clear_tile<first + 1>();
                    multiply_tiles<first + 1, 6, 5>();
                    store_tile<first + 1>(lots[lot.value].low.values);
                }
            });
            for (int lot = 0; lot < LOTS; ++lot) {
                if (i + 1 < per_group) lots[lot].add_block(steps + 16 * lot, i == 0);
                else lots[lot].add_group(steps + 16 * lot, group_sums + 16 * lot, scale, zero, per_group == 1);
            }
        }
        lines += w.gap;
    }
    for (int m = 0; m < LOTS * 16 && m0 + m < p.m; ++m) finish<V>(w, p, m0 + m, tile, V::load(lots[m / 16].out[m % 16]));
}

template <int BITS, bool BOOK>
void each_tile(const Weight& w, const Product& p, const Activations& a, int64_t first, int64_t last) {
    constexpr int MOST = BOOK ? 2 : 4;
    for (int64_t t = first; t < last; ++t) {
        int64_t m = 0;
        for (; p.m - m > 16 * (MOST - 1); m += 16 * MOST) multiply_lots<BITS, MOST, BOOK>(w, p, a, t, m);
        if constexpr (!BOOK) {
            if (p.m - m > 16) multiply_lots<BITS, 2, BOOK>(w, p, a, t, m), m += 32;
        }
        for (; m < p.m; m += 16) multiply_lots<BITS, 1, BOOK>(w, p, a, t, m);
    }
}

void multiply_batch(const Weight& w, const Product& p, const Activations& a, int64_t first, int64_t last) {
    const Tiles tiles(w.block);
    by_width(w, [&](auto bits, auto book) { each_tile<bits.value, bool(book.value)>(w, p, a, first, last); });
}

}  // namespace

const Kernels* kernels_amx() {
    static const Kernels all = {prepare<V>, multiply_batch, energies<V>, true, V::SMALL_GROUP_ROWS};
    return &all;
}

}  // namespace fewbits
