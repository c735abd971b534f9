// From the stored codes (a little-endian stream of bits, row by row) to the kernels' layout (fewbits.h), and back.
#include <atomic>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <new>

#include "check.h"

namespace fewbits {
namespace {

struct Repack {
    const uint8_t* stored;
    uint8_t* lines;
    int64_t rows, cols, padded;
    int bits;
    int64_t group, gap;  // `gap` bytes are left free after each group
    std::atomic<bool> failed{false};

    // Memory for the codes of a tile, set to 0; null if there is none.
    std::unique_ptr<uint8_t[]> codes() const { return std::unique_ptr<uint8_t[]>(new (std::nothrow) uint8_t[size_t(TILE * padded)]()); }
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
    Repack& r = *static_cast<Repack*>(data);
    const auto codes = r.codes();
    if (codes == nullptr) return void(r.failed = true);
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

bool is_repack(const void* from, const void* to, int64_t rows, int64_t cols, int64_t padded, int bits, int64_t group, int64_t gap) {
    if (from == nullptr || to == nullptr || rows < 1 || cols < 1 || padded < cols || bits < 1 || bits > 8) return false;
    if (!is_size(rows, padded) || padded > INT32_MAX || padded % CHUNK != 0 || gap < 0 || gap > 16 * LINE) return false;
    if (group >= CHUNK) return group % CHUNK == 0 && padded % group == 0;
    return gap == 0 && group > 0;
}

bool unpack_tile(const Repack& r, int64_t tile, uint8_t* stored) {
    const auto codes = r.codes();
    if (codes == nullptr) return false;
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
    return true;
}

}  // namespace
}  // namespace fewbits

// `lines` must hold, for every 16 rows, 16 * padded * bits / 8 bytes and a gap for each group. Returns a Status.
FEWBITS_API int32_t fewbits_pack(const uint8_t* stored, uint8_t* lines, int64_t rows, int64_t cols, int64_t padded, int32_t bits,
                                int64_t group, int64_t gap, int32_t threads) {
    using namespace fewbits;
    if (!is_repack(stored, lines, rows, cols, padded, bits, group, gap)) return BAD_ARGUMENT;
    Repack r{stored, lines, rows, cols, padded, bits, group, gap};
    parallel(pack_tile, &r, ceil_div(rows, TILE), threads);
    return r.failed ? OUT_OF_MEMORY : DONE;
}

// `stored` must hold ceil(rows * cols * bits / 8) bytes. Returns a Status.
FEWBITS_API int32_t fewbits_unpack(const uint8_t* lines, uint8_t* stored, int64_t rows, int64_t cols, int64_t padded, int32_t bits,
                                  int64_t group, int64_t gap) {
    using namespace fewbits;
    if (!is_repack(lines, stored, rows, cols, padded, bits, group, gap)) return BAD_ARGUMENT;
    const Repack r{nullptr, const_cast<uint8_t*>(lines), rows, cols, padded, bits, group, gap};
    std::memset(stored, 0, size_t((rows * cols * bits + 7) / 8));
    for (int64_t t = 0; t < ceil_div(rows, TILE); ++t) if (!unpack_tile(r, t, stored)) return OUT_OF_MEMORY;
    return DONE;
}
