// Every kernel against plain loops, on buffers of exactly the size that is needed: for the sanitizers.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "solve.h"
#include "step.h"

using fewbits::Weight;

extern "C" {
int32_t fewbits_best_level();
int32_t fewbits_set_level(int32_t);
void fewbits_pack(const uint8_t*, uint8_t*, int64_t, int64_t, int64_t, int32_t, int64_t, int64_t, int32_t);
void fewbits_unpack(const uint8_t*, uint8_t*, int64_t, int64_t, int64_t, int32_t, int64_t, int64_t);
int32_t fewbits_solve(const fewbits::Search*, const fewbits::Rounding*, fewbits::Groups*);
int32_t fewbits_finite(const void*, int32_t, int64_t, int32_t);
int32_t fewbits_linear(const Weight*, const void*, void*, const void*, int64_t, int64_t, int32_t, int32_t, int32_t, int32_t);
int32_t fewbits_step(const fewbits::Decoder*, float*, float*, int64_t, int32_t, int32_t);
}

static std::mt19937 random_bits(1);
static float normal() { return std::normal_distribution<float>()(random_bits); }

template <class T>
struct Exact {  // a buffer that the address sanitizer watches to the byte
    std::unique_ptr<T[]> data;
    size_t size;
    explicit Exact(size_t n) : data(new T[n]()), size(n) {}
    T& operator[](size_t i) { return data[i]; }
};

static bool one(int bits, bool book, int rows, int cols, int group, int m, int threads, bool exact, bool inside) {
    const int padded = group ? cols : (cols + 31) / 32 * 32, groups = group ? cols / group : 1;
    const int tiles = (rows + 15) / 16;
    std::vector<int> codes(size_t(rows) * cols);
    Exact<uint8_t> stored((size_t(rows) * cols * bits + 7) / 8), back(stored.size);
    for (size_t i = 0; i < codes.size(); ++i) {
        codes[i] = int(random_bits() % (1u << bits));
        for (int b = 0; b < bits; ++b) stored[(i * bits + b) / 8] |= uint8_t((codes[i] >> b & 1) << ((i * bits + b) % 8));
    }
    const int width = padded / groups, behind = 16 * width * bits / 8, gap = inside ? 128 : 0;  // 16 scales and zeros in f32
    Exact<uint8_t> lines(size_t(tiles) * groups * (behind + gap));
    fewbits_pack(stored.data.get(), lines.data.get(), rows, cols, padded, bits, width, gap, threads);
    fewbits_unpack(lines.data.get(), back.data.get(), rows, cols, padded, bits, width, gap);
    if (std::memcmp(stored.data.get(), back.data.get(), stored.size) != 0) return std::puts("pack is not undone"), false;

    Exact<float> scale(size_t(tiles) * groups * 16), zero(scale.size), x(size_t(m) * cols), out(size_t(m) * rows), bias(rows);
    for (size_t i = 0; i < scale.size; ++i) scale[i] = 0.01f + 0.001f * float(i % 7), zero[i] = float(i % (1u << bits));
    for (size_t i = 0; i < x.size; ++i) x[i] = normal();
    for (int i = 0; i < rows; ++i) bias[i] = normal();
    Weight w{};
    w.rows = rows, w.cols = cols, w.padded = padded, w.bits = bits, w.group = padded / groups;
    w.block = w.group % 64 ? 32 : 64, w.scale_type = fewbits::F32, w.zero_type = book ? fewbits::NONE : fewbits::F32;
    w.is_codebook = book, w.peak = 1;
    w.codes = lines.data.get(), w.scale = scale.data.get(), w.zero = zero.data.get();
    w.scale_stride = w.zero_stride = 64;
    if (inside) {
        for (int g = 0; g < tiles * groups; ++g) {
            uint8_t* to = lines.data.get() + size_t(g) * (behind + gap) + behind;
            std::memcpy(to, &scale[size_t(g) * 16], 64), std::memcpy(to + 64, &zero[size_t(g) * 16], 64);
        }
        w.gap = gap, w.scale_stride = w.zero_stride = behind + gap;
        w.scale = w.codes + behind, w.zero = w.codes + behind + 64;
    }
    for (int i = 0; i < 16; ++i) {
        int step = 16384 + (i - 8) * 2000;
        w.high[i] = uint8_t(step >> 7), w.low[i] = uint8_t(step & 127), w.values[i] = float(step - 16384) / 16383;
        w.byte[i] = uint8_t(128 + 15 * (i - 8));
    }
    w.byte_step = 2000.0f / 16383 / 15;
    if (fewbits_linear(&w, x.data.get(), out.data.get(), bias.data.get(), m, cols, fewbits::F32, threads, 0, exact)) return false;
    for (int i = 0; i < m; ++i) {
        for (int r = 0; r < rows; ++r) {
            double sum = bias[r], bound = 1e-3;
            for (int k = 0; k < cols; ++k) {
                const size_t at = (size_t(r / 16) * groups + (group ? k / group : 0)) * 16 + r % 16;
                const int code = codes[size_t(r) * cols + k];
                const double weight = scale[at] * (book ? double(w.values[code]) : code - double(zero[at]));
                sum += weight * x[size_t(i) * cols + k];
                bound += exact ? 0 : std::fabs(weight) * 5 / 127 / 2;  // no input is beyond 5
            }
            if (!(std::fabs(out[size_t(i) * rows + r] - sum) <= bound)) {
                std::printf("bits %d book %d %dx%d g%d m%d: %g, not %g\n", bits, book, rows, cols, group, m,
                            double(out[size_t(i) * rows + r]), sum);
                return false;
            }
        }
    }
    return true;
}

// A layer's weight of 4 bits in one group a row, of random codes.
struct Random {
    Exact<uint8_t> codes;
    Exact<float> scale, bias;
    Weight w{};
    Random(int rows, int cols) : codes(size_t((rows + 15) / 16) * cols * 8), scale(size_t((rows + 15) / 16) * 16), bias(rows) {
        for (size_t i = 0; i < codes.size; ++i) codes[i] = uint8_t(random_bits());
        for (size_t i = 0; i < scale.size; ++i) scale[i] = 0.03f;
        w.rows = rows, w.cols = w.padded = w.group = cols, w.bits = 4, w.block = 32;
        w.scale_type = fewbits::F32, w.zero_type = fewbits::NONE, w.zero_value = 7.5f;
        w.codes = codes.data.get(), w.scale = scale.data.get(), w.scale_stride = 64;
    }
    fewbits::Linear linear() { return {&w, bias.data.get()}; }
};

// Steps of one layer: the same for any number of threads, and finite.
static bool steps(int heads, int kv_heads, int size, int inner, bool gated, bool turned) {
    constexpr int hidden = 96, words = 37, length = 7;
    Random q(heads * size, hidden), k(kv_heads * size, hidden), v(kv_heads * size, hidden), out(hidden, heads * size);
    Random gate(inner, hidden), up(inner, hidden), down(hidden, inner), head(words, hidden);
    Exact<float> keys(size_t(kv_heads) * length * size), values(keys.size), ones(hidden), cos(size_t(length) * size), sin(cos.size);
    for (int i = 0; i < hidden; ++i) ones[i] = 1;
    for (size_t i = 0; i < cos.size; ++i) cos[i] = std::cos(float(i)), sin[i] = std::sin(float(i));
    const fewbits::Norm norm{ones.data.get(), gated ? nullptr : ones.data.get()};
    const fewbits::Layer layer{norm, norm, {q.linear(), k.linear(), v.linear()}, out.linear(), gated ? gate.linear() : fewbits::Linear{},
                               up.linear(), down.linear(), keys.data.get(), values.data.get()};
    const fewbits::Decoder decoder{&layer, turned ? cos.data.get() : nullptr, sin.data.get(), norm, head.linear(), length, 1, hidden,
                                   inner, heads, kv_heads, size, !gated, 0, gated ? fewbits::SILU : fewbits::GELU_TANH, 1e-5f, 0.3f};
    for (int at = 0; at < length; ++at) {
        Exact<float> x(hidden), first(words), more(words);
        for (int threads = 1; threads < 5; ++threads) {
            for (int i = 0; i < hidden; ++i) x[i] = std::sin(float(i + at));
            if (fewbits_step(&decoder, x.data.get(), (threads > 1 ? more : first).data.get(), at, threads, 0)) return false;
            for (int i = 0; i < words; ++i) if (!std::isfinite(first[i]) || (threads > 1 && more[i] != first[i])) return false;
        }
    }
    return true;
}

// Groups of k weights, in lines or across so many columns: no weight may be further from its value than its grid allows.
static bool solved(int bits, int n, int k, int across, bool halves, bool searched, int threads) {
    const size_t count = size_t(n) * k;
    Exact<float> values(count), scale(n), zero(n);
    Exact<uint16_t> narrow(count);
    Exact<uint8_t> stream((count * bits + 7) / 8);
    for (size_t i = 0; i < count; ++i) {
        uint32_t word;
        values[i] = normal();
        std::memcpy(&word, &values[i], 4);
        narrow[i] = uint16_t(word >> 16), word &= halves ? 0xffff0000 : 0xffffffff;  // bf16
        std::memcpy(&values[i], &word, 4);
    }
    const float steps = float((1 << bits) - 1);
    fewbits::Search s{};
    s.steps = steps, s.least = 1e-30f, s.most_zero = 1 << 23, s.has_zero = 1, s.whole = 4, s.threshold = 0.5f, s.p = 0.7f;
    s.count_floor = 0.5f, s.count_power = 0.7f, s.shrinks = searched ? 2 : 0, s.lengths = searched ? 3 : 0;
    for (int i = 0; i < 3; ++i) s.shrink[i] = 0.1f * float(i + 1), s.length[i] = 0.5f / float(i + 1);
    fewbits::Rounding r{};
    r.steps = steps, r.bits = bits;
    fewbits::Groups g{};
    g.weights = halves ? static_cast<const void*>(narrow.data.get()) : values.data.get();
    g.scale = scale.data.get(), g.zero = zero.data.get(), g.stream = stream.data.get();
    g.n = n, g.k = k, g.across = across, g.type = halves ? fewbits::BF16 : fewbits::F32, g.threads = threads;
    if (fewbits_solve(&s, &r, &g) || g.said || fewbits_finite(g.weights, g.type, int64_t(count), threads) != 1) return false;
    for (size_t i = 0; i < count; ++i) {
        const size_t group = across ? i / across / k * across + i % across : i / k;
        int code = 0;
        for (int b = 0; b < bits; ++b) code |= (stream[(i * bits + b) / 8] >> ((i * bits + b) % 8) & 1) << b;
        const double off = std::fabs(values[i] - double(scale[group]) * (code - double(zero[group])));
        if (off > scale[group] * (searched ? 3.0 : 0.501) + 1e-5) return std::printf("solve: %d bits, off by %g\n", bits, off), false;
    }
    return true;
}

static bool all_solved() {
    for (int bits : {1, 3, 4, 8}) {
        for (int searched : {0, 1}) {
            for (int halves : {0, 1}) {
                const int threads = 1 + 3 * searched + 2 * halves;
                for (int k : {1, 5, 8, 19, 64}) {
                    if (!solved(bits, 21, k, 0, halves, searched, threads)) return false;
                    if (!solved(bits, 2 * 11, k, 11, halves, searched, threads)) return false;
                }
                if (!solved(bits, 1, 3, 0, halves, searched, threads)) return false;
                if (!searched && !solved(bits, 3000, 64, 0, halves, searched, threads)) return false;  // several parts
            }
        }
    }
    return true;
}

int main() {
    int done = 0;
    for (int level = 1; level <= fewbits_best_level(); ++level) {
        fewbits_set_level(level);
        if (!steps(6, 2, 32, 160, true, true) || !steps(8, 1, 12, 4128, false, false) || !steps(4, 4, 24, 32, true, true)) {
            return std::puts("a step differs from thread to thread"), 1;
        }
        if (!all_solved()) return 1;
        for (int bits : {3, 4, 8}) {  // those that a build for the sanitizers has
            for (int book = 0; book <= (bits == 4); ++book) {
                for (int m : {1, 3, 9, 16, 37}) {
                    const int threads = 1 + done % 8;
                    const bool inside = done % 2;  // scales and zero points behind the codes of their group
                    if (!one(bits, book, 33, 192, 64, m, threads, m == 3, inside)) return 1;
                    if (!one(bits, book, 16, 96, 32, m, threads, m == 9, !inside)) return 1;
                    if (!one(bits, book, 5, 45, 0, m, threads, false, false)) return 1;
                    if (!one(bits, book, 21, 96, m % 2 ? 8 : 16, m, threads, m == 9, false)) return 1;
                    if (m == 37 && !one(bits, book, 16, 576, 64, 67, threads, inside, inside)) return 1;  // more than a panel
                    if (m == 1 && !one(bits, book, 700, 256, 128, m, threads, false, inside)) return 1;
                    if (m == 1 && !one(bits, book, 300, 128, 64, m, 1, false, !inside)) return 1;
                    done += 4;
                }
            }
        }
    }
    std::printf("%d products are right\n", done);
}
