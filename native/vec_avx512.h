// The words that the kernels are written in, for AVX-512 with VNNI: 16 outputs are one register.
#pragma once
#include <immintrin.h>

#include "fewbits.h"

namespace fewbits {
namespace avx512 {

struct V {
    // Rows of x at a time: sums, parts and answers of so many stay in registers.
    static constexpr int most_rows(int, bool) { return FEWBITS_SANITIZED ? 2 : 8; }
    static constexpr int STREAMS = 1;  // more were not measured with AVX-512 yet
    static constexpr int few_rows(int) { return 0; }  // no panels: measured with AVX2 alone
    static constexpr int SMALL_GROUP_ROWS = 1 << 30, FLOAT_ROWS = FEWBITS_SANITIZED ? 2 : 12;
    static constexpr bool EXACT_BYTES = true;  // dot<8> takes all bytes, and loses nothing
    static constexpr float OFFSET8 = 0;   // what dot<8> subtracts from a code
    using Bytes = __m512i;
    using Ints = __m512i;
    using Floats = __m512;
    using Sum = __m512i;

    static Bytes load(const uint8_t* p) { return _mm512_loadu_si512(p); }
    static Bytes bits(Bytes v, int right, int mask) {
        Bytes moved = right > 0 ? _mm512_srli_epi16(v, right) : right < 0 ? _mm512_slli_epi16(v, -right) : v;
        return _mm512_and_si512(moved, _mm512_set1_epi8(char(mask)));
    }
    static Bytes both(Bytes a, Bytes b) { return _mm512_or_si512(a, b); }
    static Bytes table(const uint8_t* entries) {
        return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(entries)));
    }
    static Bytes lookup(Bytes table, Bytes index) { return _mm512_shuffle_epi8(table, index); }

    static Sum none() { return _mm512_setzero_si512(); }
    // Add 4 products of codes (below 2**BITS) and activations to each output.
    template <int BITS>
    static void dot(Sum& sum, Bytes codes, const int8_t* x) {
#if FEWBITS_SANITIZED
        int32_t four;
        __builtin_memcpy(&four, x, 4);
        sum = _mm512_dpbusd_epi32(sum, codes, _mm512_set1_epi32(four));
#else  // GCC does not fold the broadcast into the instruction, and is then half as fast
        struct Four { int8_t bytes[4]; };
        __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(codes), "m"(*reinterpret_cast<const Four*>(x)));
#endif
    }
    template <int BITS>
    static void end_chunk(Sum&) {}
    template <int BITS> static Ints total(Sum sum) { return sum; }
    static Ints weigh(Ints high, Ints low) { return _mm512_add_epi32(_mm512_slli_epi32(high, 7), low); }

    static Floats zero() { return _mm512_setzero_ps(); }
    static Floats all(float v) { return _mm512_set1_ps(v); }
    static Floats floats(Ints v) { return _mm512_cvtepi32_ps(v); }
    static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
    static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
    static Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
    static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
    static Floats fnma(Floats a, Floats b, Floats c) { return _mm512_fnmadd_ps(a, b, c); }
    // Byte J of each output's four, as floats, or as what a codebook says.
    template <int J>
    static Ints byte(Bytes v) {
        return J == 3 ? _mm512_srli_epi32(v, 24) : _mm512_and_si512(_mm512_srli_epi32(v, 8 * J), _mm512_set1_epi32(255));
    }
    struct Values { __m512 v; };
    static Values values(const float* entries) { return {_mm512_loadu_ps(entries)}; }
    static Floats pick(Values table, Ints index) { return _mm512_permutexvar_ps(index, table.v); }

    static Floats load(const float* p) { return _mm512_loadu_ps(p); }
    static void store(float* p, Floats v) { _mm512_storeu_ps(p, v); }
    // 16 numbers of a type; `i` counts from the start of the array.
    static Floats read(const void* p, int64_t i, int32_t type) {
        const auto* halves = static_cast<const uint16_t*>(p) + i;
        switch (type) {
            case F16: return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves)));
            case BF16: {
                __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves));
                return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
            }
            case U8: {
                __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(static_cast<const uint8_t*>(p) + i));
                return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(v));
            }
            default: return _mm512_loadu_ps(static_cast<const float*>(p) + i);
        }
    }
    static void write(void* p, int64_t i, int32_t type, Floats v) {
        if (type == F32) {
            _mm512_storeu_ps(static_cast<float*>(p) + i, v);
            return;
        }
        __m256i halves = type == F16 ? _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC) : to_bf16(v);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(static_cast<uint16_t*>(p) + i), halves);
    }
    static __m256i to_bf16(Floats v) {  // to the nearest, ties to even; NaN stays NaN
        __m512i u = _mm512_castps_si512(v);
        __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
        __m512i near = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
        near = _mm512_mask_mov_epi32(near, nan, _mm512_or_si512(u, _mm512_set1_epi32(0x400000)));
        return _mm512_cvtepi32_epi16(_mm512_srli_epi32(near, 16));
    }

    // The larger magnitude. As whole numbers, the bits of floats without a sign are in order, and NaN is above infinity.
    static Floats most(Floats a, Floats b) {
        return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(a), _mm512_castps_si512(_mm512_abs_ps(b))));
    }
    static float top(Floats v) {
        int32_t bits = _mm512_reduce_max_epi32(_mm512_castps_si512(v));
        float out;
        __builtin_memcpy(&out, &bits, 4);
        return out;
    }
    static Ints round(Floats v) { return _mm512_cvtps_epi32(v); }
    template <int N> static Ints down(Ints v) { return _mm512_srai_epi32(v, N); }
    static Ints plus(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
    static Ints no_ints() { return _mm512_setzero_si512(); }
    static int32_t sum(Ints v) { return _mm512_reduce_add_epi32(v); }
    static float sum(Floats v) { return _mm512_reduce_add_ps(v); }
    static void store8(int8_t* p, Ints v) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v)); }
};

}  // namespace avx512
}  // namespace fewbits
