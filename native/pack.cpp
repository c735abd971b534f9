// From the stored codes (a little-endian stream of bits, row by row) to the kernels' layout (fewbits.h), and back.
#include <cstring>
#include <vector>

#include "fewbits.h"

namespace fewbits {
namespace {

struct Repack {
    const uint8_t* stored;
    uint8_t* lines;
    int64_t rows, cols, padded;
    int bits;
    int64_t group, gap;  // `gap` bytes are left free after each group

    uint8_t* tile(int64_t t) const { return lines + t * (padded / CHUNK * bits * LINE + padded / group * gap); }
    int64_t step(int64_t k) const { return bits * LINE + ((k + CHUNK) % group == 0 ? gap : 0); }  // from the chunk of input k on
};

int code_at(const uint8_t* stream, int64_t index, int bits) {
    int64_t at = index * bits;
    int low = stream[at / 8] >> (at % 8);
    if (at % 8 + bits > 8) low |= stream[at / 8 + 1] << (8 - at % 8);
    return low & ((1 << bits) - 1);
}

// Eight codes are `bits` bytes: read as one word.
void read_row(const Repack& r, int64_t row, uint8_t* out) {
    int64_t first = row * r.cols, k = 0;
    const uint64_t mask = (1u << r.bits) - 1;
    if (first * r.bits % 8 == 0) {
        const uint8_t* from = r.stored + first * r.bits / 8;
        for (; k + 8 <= r.cols; k += 8, from += r.bits) {
            uint64_t word = 0;
            std::memcpy(&word, from, r.bits);
            for (int i = 0; i < 8; ++i) out[k + i] = uint8_t((word >> (i * r.bits)) & mask);
        }
    }
    for (; k < r.cols; ++k) out[k] = uint8_t(code_at(r.stored, first + k, r.bits));
    std::memset(out + k, 0, r.padded - k);
}

void write_row(const Repack& r, int64_t row, const uint8_t* codes, uint8_t* stored) {
    for (int64_t k = 0; k < r.cols; ++k) {
        int64_t at = (row * r.cols + k) * r.bits;
        int shifted = codes[k] << (at % 8);
        stored[at / 8] |= uint8_t(shifted);
        if (at % 8 + r.bits > 8) stored[at / 8 + 1] |= uint8_t(shifted >> 8);
    }
}

// Call f(line, plane's width, place of the plane in a code, step of 4 inputs, shift within the line's bytes).
template <class F>
void each_place(int bits, F f) {
    if (bits == 3) {  // as planes, three bits would take half as many instructions again
        for (int step = 0; step < 6; ++step) f(step / 2, 3, 0, step, 3 * (step % 2));
        for (int step : {6, 7}) f(step == 6 ? 0 : 2, 2, 0, step, 6), f(1, 1, 2, step, step);
        return;
    }
    int line = 0, place = bits;
    for (int width : {8, 4, 2, 1}) {
        if (!(bits & width)) continue;
        place -= width;
        int per_line = 8 / width;
        for (int step = 0; step < 8; ++step) f(line + step / per_line, width, place, step, width * (step % per_line));
        line += 8 / per_line;
    }
}

void pack_tile(void* data, int64_t tile) {
    const Repack& r = *static_cast<Repack*>(data);
    std::vector<uint8_t> codes(TILE * r.padded, 0);
    for (int64_t i = 0; i < TILE && tile * TILE + i < r.rows; ++i) read_row(r, tile * TILE + i, &codes[i * r.padded]);
    uint8_t* chunk = r.tile(tile);
    for (int64_t k = 0; k < r.padded; chunk += r.step(k), k += CHUNK) {
        std::memset(chunk, 0, r.bits * LINE);
        each_place(r.bits, [&](int line, int width, int place, int step, int shift) {
            const uint32_t mask = 0x01010101u * ((1u << width) - 1);
            for (int i = 0; i < TILE; ++i) {
                uint32_t four, held;
                std::memcpy(&four, &codes[i * r.padded + k + 4 * step], 4);
                std::memcpy(&held, chunk + line * LINE + 4 * i, 4);
                held |= ((four >> place) & mask) << shift;
                std::memcpy(chunk + line * LINE + 4 * i, &held, 4);
            }
        });
    }
}

void unpack_tile(const Repack& r, int64_t tile, uint8_t* stored) {
    std::vector<uint8_t> codes(TILE * r.padded, 0);
    const uint8_t* chunk = r.tile(tile);
    for (int64_t k = 0; k < r.padded; chunk += r.step(k), k += CHUNK) {
        each_place(r.bits, [&](int line, int width, int place, int step, int shift) {
            for (int i = 0; i < TILE; ++i) {
                for (int j = 0; j < 4; ++j) {
                    int part = (chunk[line * LINE + 4 * i + j] >> shift) & ((1 << width) - 1);
                    codes[i * r.padded + k + 4 * step + j] |= uint8_t(part << place);
                }
            }
        });
    }
    for (int64_t i = 0; i < TILE && tile * TILE + i < r.rows; ++i) write_row(r, tile * TILE + i, &codes[i * r.padded], stored);
}

}  // namespace
}  // namespace fewbits

// `lines` must hold, for every 16 rows, 16 * padded * bits / 8 bytes and a gap for each group.
FEWBITS_API void fewbits_pack(const uint8_t* stored, uint8_t* lines, int64_t rows, int64_t cols, int64_t padded, int32_t bits,
                             int64_t group, int64_t gap, int32_t threads) {
    fewbits::Repack r{stored, lines, rows, cols, padded, bits, group, gap};
    fewbits::parallel(fewbits::pack_tile, &r, fewbits::ceil_div(rows, fewbits::TILE), threads);
}

// `stored` must hold ceil(rows * cols * bits / 8) bytes.
FEWBITS_API void fewbits_unpack(const uint8_t* lines, uint8_t* stored, int64_t rows, int64_t cols, int64_t padded, int32_t bits,
                               int64_t group, int64_t gap) {
    fewbits::Repack r{nullptr, const_cast<uint8_t*>(lines), rows, cols, padded, bits, group, gap};
    std::memset(stored, 0, (rows * cols * bits + 7) / 8);
    for (int64_t t = 0; t < fewbits::ceil_div(rows, fewbits::TILE); ++t) fewbits::unpack_tile(r, t, stored);
}
