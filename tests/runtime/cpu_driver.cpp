// Every kernel against plain loops, on buffers of exactly the size that is needed: for the sanitizers.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "fewbits.h"

using fewbits::Weight;

extern "C" {
int32_t fewbits_best_level();
int32_t fewbits_set_level(int32_t);
void fewbits_pack(const uint8_t*, uint8_t*, int64_t, int64_t, int64_t, int32_t, int64_t, int64_t, int32_t);
void fewbits_unpack(const uint8_t*, uint8_t*, int64_t, int64_t, int64_t, int32_t, int64_t, int64_t);
int32_t fewbits_linear(const Weight*, const void*, void*, const void*, int64_t, int64_t, int32_t, int32_t, int32_t, int32_t);
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
    }
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

int main() {
    int done = 0;
    for (int level = 1; level <= fewbits_best_level(); ++level) {
        fewbits_set_level(level);
        for (int bits : {3, 4, 8}) {  // those that a build for the sanitizers has
            for (int book = 0; book <= (bits == 4); ++book) {
                for (int m : {1, 3, 9, 16, 37}) {
                    const int threads = 1 + done % 8;
                    const bool inside = done % 2;  // scales and zero points behind the codes of their group
                    if (!one(bits, book, 33, 192, 64, m, threads, m == 3, inside)) return 1;
                    if (!one(bits, book, 16, 96, 32, m, threads, m == 9, !inside)) return 1;
                    if (!one(bits, book, 5, 45, 0, m, threads, false, false)) return 1;
                    if (m == 1 && !one(bits, book, 700, 256, 128, m, threads, false, inside)) return 1;
                    if (m == 1 && !one(bits, book, 300, 128, 64, m, 1, false, !inside)) return 1;
                    done += 3;
                }
            }
        }
    }
    std::printf("%d products are right\n", done);
}
