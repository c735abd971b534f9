// The parts that a weight is worked on in. Nothing that one does depends on where others begin, so neither do the results.
#pragma once
#include <cstdlib>

#include "bits.h"
#include "rounding.h"
#include "search.h"

namespace fewbits {
namespace {

constexpr int64_t AT_ONCE = 8;  // rows whose codes begin and end with whole bytes

// Working memory of a part: null, and said so, where there is none.
class Room {
public:
    Room(Task& task, size_t bytes) : memory_(std::aligned_alloc(64, (bytes + 63) / 64 * 64)) {
        if (memory_ == nullptr) task.say(NO_MEMORY);
    }
    Room(const Room&) = delete;
    Room& operator=(const Room&) = delete;
    ~Room() { std::free(memory_); }
    explicit operator bool() const { return memory_ != nullptr; }
    float* floats(int64_t at = 0) const { return static_cast<float*>(memory_) + at; }
    uint8_t* bytes() const { return static_cast<uint8_t*>(memory_); }

private:
    void* memory_;
};

// The grids of `count` groups from `first` on. `laid` is null where only their ends are wanted.
inline void find(Task& t, const Ends& ends, const float* laid, float* counts, int64_t first, int64_t count) {
    const Search& s = *t.search;
    const Groups& g = t.groups;
    const Grid start = begin(s, ends.low, ends.high);
    const Lanes none = Lanes::all(0);
    Grid best = start;
    if (laid) {
        const Grid begun{as_type(s.type, max(start.scale, Lanes::all(s.least))), s.has_zero ? as_type(s.type, start.zero) : start.zero};
        const Grid found = search(s, *t.powers, laid, counts, g.k, begun);
        best = {pick(less(none, start.scale), found.scale, none), found.zero};
        if (!ordered(begun.scale * none + begun.zero * none)) best = start;  // cannot be stored: refused by whoever stores it
    }
    store_up_to(best.scale, g.scale + first, count);
    if (g.zero) store_up_to(best.zero, g.zero + first, count);
    const Lanes most = max(magnitude(ends.low), magnitude(ends.high));
    const Lanes kept = t.rounding ? as_type(t.rounding->type, max(best.scale, Lanes::all(t.rounding->least))) : best.scale;
    const bool faint = any(both(at_most(min(start.scale, kept), none), less(none, most)));
    t.say((ordered(ends.fine) ? 0 : NOT_FINITE) | (faint ? FAINT : 0));
}

inline void encode(const Task& t, const Rows& rows, int64_t first, int64_t count, uint8_t* codes) {
    const Rounding& r = *t.rounding;
    const Groups& g = t.groups;
    for (int64_t i = 0; i < count; ++i) {
        const int64_t group = g.one_scale ? 0 : first + i;
        const Lanes zero = Lanes::all(g.zero ? g.zero[group] : 0);
        round_line(r, Block(r, Lanes::all(g.scale[group]), g.zero ? &zero : nullptr), rows[i], g.k, codes + i * g.k);
    }
    to_stream(r.bits, codes, g.stream + first * g.k * r.bits / 8, count * g.k);  // `first` is a multiple of 8
}

inline void lines(Task& t, int64_t first, int64_t last) {
    const Groups& g = t.groups;
    const int64_t strip = g.k * SIDE;
    const bool laying = t.powers || g.k < 8;
    const Room room(t, size_t(strip) * (3 * sizeof(float) + 1));  // laid out, counts, widened, codes
    if (!room) return;
    for (int64_t at_group = first; at_group < last; at_group += SIDE) {
        const int64_t count = last - at_group < SIDE ? last - at_group : SIDE;
        const void* from = at(g.weights, g.type, at_group * g.k);
        if (g.type != F32) widen(g.type, from, count * g.k, room.floats(2 * strip));
        const float* values = g.type == F32 ? static_cast<const float*>(from) : room.floats(2 * strip);
        Rows rows;
        for (int64_t lane = 0; lane < SIDE; ++lane) rows[lane] = values + (lane < count ? lane : count - 1) * g.k;
        if (t.search && laying) lay_side_by_side(rows, g.k, room.floats());
        if (t.search) {
            const Ends ends = laying ? ends_of(room.floats(), g.k) : ends_of_rows(rows, g.k);
            find(t, ends, t.powers ? room.floats() : nullptr, room.floats(strip), at_group, count);
        }
        if (t.rounding) encode(t, rows, at_group, count, room.bytes() + strip * 3 * int64_t(sizeof(float)));
    }
}

inline void columns(Task& t, int64_t first, int64_t last) {
    const Groups& g = t.groups;
    const int64_t strips = ceil_div(g.across, SIDE);  // of one row of groups
    const Room room(t, size_t(g.k) * SIDE * 2 * sizeof(float));
    if (!room) return;
    for (int64_t strip = first; strip < last; ++strip) {
        const int64_t down = strip / strips, column = strip % strips * SIDE;
        const int64_t count = g.across - column < SIDE ? g.across - column : SIDE;
        lay_columns(g.type, at(g.weights, g.type, down * g.k * g.across + column), g.across, count, g.k, room.floats());
        const Ends ends = ends_of(room.floats(), g.k);
        find(t, ends, t.powers ? room.floats() : nullptr, room.floats(g.k * SIDE), down * g.across + column, count);
    }
}

inline void rows(Task& t, int64_t first, int64_t last) {
    const Groups& g = t.groups;
    const Room room(t, size_t(AT_ONCE * g.across));
    if (!room) return;
    for (int64_t row = first; row < last; row += AT_ONCE) {
        const int64_t count = last - row < AT_ONCE ? last - row : AT_ONCE;
        for (int64_t i = 0; i < count; ++i) {
            const void* from = at(g.weights, g.type, (row + i) * g.across);
            round_row(*t.rounding, g, (row + i) / g.k * g.across, from, room.bytes() + i * g.across);
        }
        to_stream(t.rounding->bits, room.bytes(), g.stream + row * g.across * t.rounding->bits / 8, count * g.across);
    }
}

inline bool finite(const void* values, int32_t type, int64_t first, int64_t last) {
    Lanes fine[4];
    for (Lanes& one : fine) one = Lanes::all(0);
    int64_t i = first;
    for (; i + 4 * SIDE <= last; i += 4 * SIDE)
        for (int j = 0; j < 4; ++j) fine[j] = fused(load_as(type, at(values, type, i + j * SIDE)), Lanes::all(0), fine[j]);
    for (; i < last; i += SIDE) fine[0] = fused(load_up_to(type, at(values, type, i), last - i), Lanes::all(0), fine[0]);
    return ordered(fine[0] + fine[1] + (fine[2] + fine[3]));
}

inline constexpr Solvers SOLVERS{SIDE, lines, columns, rows, finite};

}  // namespace
}  // namespace fewbits
