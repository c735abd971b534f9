// One row of x where registers are few: tiles far from each other are read at once, two of them by the same activations.
#pragma once
#include "tile.h"

namespace fewbits {

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
template <class V, int BITS>
static FEWBITS_FLAT __attribute__((noinline)) void add_blocks(const Weight& w, const uint8_t* lines, int64_t far, const int8_t* x,
                                                              float step, typename V::Floats* part) {
    typename V::Sum one = V::none(), two = V::none();
    two_chunks<V, BITS>(one, two, lines, far, x);
    if (w.block > CHUNK) two_chunks<V, BITS>(one, two, lines + BITS * LINE, far, x + CHUNK);
    part[0] = V::fma(V::all(step), V::floats(V::template total<BITS>(one)), part[0]);
    part[1] = V::fma(V::all(step), V::floats(V::template total<BITS>(two)), part[1]);
}

// Several tiles, `apart` from one to the next, by one row of x. Memory is read in as many streams, each of which the processor
// asks for beforehand: one thread of an EPYC 7003 reads 15 GB/s in one stream and 20 in four.
template <class V, int BITS, bool HALF>
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
            for (int s = 0; s < V::STREAMS; s += 2) add_blocks<V, BITS>(w, lines + s * far, far, x, *steps, part + s);
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
    if constexpr (V::STREAMS > 1 && !BOOK) {  // codebooks wait for their look-ups, not for memory
        const bool one_stream_a_tile = w.gap > 0 || a.groups == 1;  // else scales and zero points would be streams too: too many
        if (p.m > 1 || a.in_float || w.group < CHUNK || !one_stream_a_tile) return first;
        const int64_t apart = (last - first) / V::STREAMS;
        for (int64_t t = first; t < first + apart; ++t) {
            if (has_half_meta(w)) multiply_streams<V, BITS, true>(w, p, a, t, apart);
            else multiply_streams<V, BITS, false>(w, p, a, t, apart);
        }
        return first + V::STREAMS * apart;
    }
    return first;
}

}  // namespace fewbits
