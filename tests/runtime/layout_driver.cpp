// Where rounded activations lie, row by row: in lots, and in the tiles of AMX, for machines that have none.
#include <cmath>
#include <cstdio>
#include <vector>

#include "activations.h"
#include "vec_avx2.h"

using V = fewbits::avx2::V;

// Input k of a row, as native/fewbits.h tells it.
static size_t place(const fewbits::Weight& w, const fewbits::Activations& a, int64_t m, int64_t row, int64_t k) {
    if (a.tiled) return row / 16 * 16 * a.stride + (k / w.block * 16 + row % 16) * w.block + k % w.block;
    const fewbits::Lot lot = fewbits::lot_of<V>(w, row, m);
    return lot.first * a.stride + (k / 4 * lot.size + row - lot.first) * 4 + k % 4;
}

static bool right(int bits, int block, int group, int64_t m, bool tiled, bool one_step) {
    const int cols = 3 * 64 - 5, padded = 3 * 64;
    fewbits::Weight w{};
    w.rows = 16, w.cols = cols, w.padded = padded, w.bits = bits, w.group = group, w.block = block;
    std::vector<float> x(m * cols);
    for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(float(i)) * float(1 + i % 7);
    const fewbits::Product p{x.data(), nullptr, nullptr, m, cols, fewbits::F32, 1, one_step, 0};
    fewbits::Activations a{};
    a.tiled = tiled, a.rows = tiled ? (m + 15) / 16 * 16 : m, a.stride = padded, a.blocks = padded / block, a.groups = padded / group;
    std::vector<int8_t> codes(a.rows * a.stride, -128);  // no code is -128
    std::vector<float> steps(a.rows * a.blocks, -1), sums(a.rows * a.groups, 1e9f);
    std::vector<uint8_t> hazards(a.rows);
    a.codes = codes.data(), a.steps = steps.data(), a.sums = sums.data(), a.hazards = hazards.data();
    for (int64_t row = 0; row < m; ++row) fewbits::prepare<V>(w, p, a, row);
    for (int64_t row = 0; row < m; ++row) {
        for (int g = 0; g < a.groups; ++g) {
            double sum = 0;
            for (int k = g * group; k < (g + 1) * group; ++k) {
                const float step = steps[k / block * a.rows + row], value = k < cols ? x[row * cols + k] : 0;
                const int code = codes[place(w, a, m, row, k)];
                if (!(step > 0) || code == -128 || std::fabs(value - step * float(code)) > step * 0.5001f) return false;
                sum += double(step) * code;
            }
            if (std::fabs(sum - sums[g * a.rows + row]) > 1e-3) return false;
        }
    }
    return true;
}

int main() {
    for (int bits : {4, 8}) for (int64_t m : {1, 2, 3, 5, 7, 16, 21, 64}) for (bool one_step : {false, true}) {
        for (int group : {32, 64, 192}) for (int block : {32, 64}) {
            if (group % block != 0) continue;
            for (bool tiled : {false, true}) {
                if (right(bits, block, group, m, tiled, one_step)) continue;
                return std::printf("%d bits, %d rows, block %d, group %d, tiled %d\n", bits, int(m), block, group, tiled), 1;
            }
        }
        for (int group : {4, 8, 16}) if (!right(bits, 32, group, m, false, one_step)) return std::printf("groups of %d\n", group), 1;
    }
}
