// Floats side by side, one for each of eight (AVX2) or sixteen (AVX-512) groups. The same operations in the same order on both,
// so that both find the same grids to the last bit; the build forbids the compiler to fuse others than those written so.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace fewbits {
namespace {

#if defined(__AVX512F__)
struct Lanes {
    static constexpr int WIDTH = 16;
    __m512 v;
    static Lanes all(float x) { return {_mm512_set1_ps(x)}; }
    static Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
    void store(float* p) const { _mm512_storeu_ps(p, v); }
};
using Mask = __mmask16;
inline Lanes operator+(Lanes a, Lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Lanes operator-(Lanes a, Lanes b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Lanes operator*(Lanes a, Lanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Lanes operator/(Lanes a, Lanes b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Lanes fused(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }  // a b + c
inline Lanes min(Lanes a, Lanes b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Lanes max(Lanes a, Lanes b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Lanes rounded(Lanes a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline Mask less(Lanes a, Lanes b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
inline Mask at_most(Lanes a, Lanes b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ); }
inline Mask both(Mask a, Mask b) { return a & b; }
inline Mask either(Mask a, Mask b) { return a | b; }
inline bool any(Mask m) { return m != 0; }
inline bool every(Mask m) { return m == 0xffff; }
inline Lanes pick(Mask m, Lanes yes, Lanes no) { return {_mm512_mask_blend_ps(m, no.v, yes.v)}; }
inline Lanes magnitude(Lanes a) { return {_mm512_abs_ps(a.v)}; }
inline Lanes with_sign(Lanes size, Lanes sign) {
    const __m512i bit = _mm512_set1_epi32(INT32_MIN);
    return {_mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(size.v), _mm512_and_si512(_mm512_castps_si512(sign.v), bit)))};
}
inline Lanes to_f16_and_back(Lanes a) { return {_mm512_cvtph_ps(_mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT))}; }
inline Lanes to_bf16_and_back(Lanes a) {
    const __m512i x = _mm512_castps_si512(a.v), odd = _mm512_and_si512(_mm512_srli_epi32(x, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(x, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    return {_mm512_castsi512_ps(_mm512_and_si512(up, _mm512_set1_epi32(int32_t(0xffff0000))))};
}
inline bool ordered(Lanes a) { return every(_mm512_cmp_ps_mask(a.v, a.v, _CMP_ORD_Q)); }  // no NaN among them
inline Lanes from_f16(const uint16_t* p) { return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))}; }
inline Lanes from_bf16(const uint16_t* p) {
    const __m512i x = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(x, 16))};
}
// a = 2**(bits - 127) * mantissa, 1 <= mantissa < 2, for a > 0
struct Parts {
    __m512i exponent;
    Lanes mantissa;
};
inline Parts parts_of(Lanes a) {
    const __m512i x = _mm512_castps_si512(a.v), fraction = _mm512_and_si512(x, _mm512_set1_epi32(0x7fffff));
    return {_mm512_srli_epi32(x, 23), {_mm512_castsi512_ps(_mm512_or_si512(fraction, _mm512_set1_epi32(0x3f800000)))}};
}
// Of 8 values, repeated, the one that three bits of the exponent name, from bit `shift` on.
template <int SHIFT>
inline Lanes look_up(const float* table, const Parts& a) {
    return {_mm512_permutexvar_ps(_mm512_srli_epi32(a.exponent, SHIFT), _mm512_loadu_ps(table))};
}
inline void store_bytes(Lanes a, uint8_t* p) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(a.v)));
}
#else
struct Lanes {
    static constexpr int WIDTH = 8;
    __m256 v;
    static Lanes all(float x) { return {_mm256_set1_ps(x)}; }
    static Lanes load(const float* p) { return {_mm256_loadu_ps(p)}; }
    void store(float* p) const { _mm256_storeu_ps(p, v); }
};
using Mask = Lanes;
inline Lanes operator+(Lanes a, Lanes b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Lanes operator-(Lanes a, Lanes b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Lanes operator*(Lanes a, Lanes b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Lanes operator/(Lanes a, Lanes b) { return {_mm256_div_ps(a.v, b.v)}; }
inline Lanes fused(Lanes a, Lanes b, Lanes c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }  // a b + c
inline Lanes min(Lanes a, Lanes b) { return {_mm256_min_ps(a.v, b.v)}; }
inline Lanes max(Lanes a, Lanes b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Lanes rounded(Lanes a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline Mask less(Lanes a, Lanes b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask at_most(Lanes a, Lanes b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
inline Mask both(Mask a, Mask b) { return {_mm256_and_ps(a.v, b.v)}; }
inline Mask either(Mask a, Mask b) { return {_mm256_or_ps(a.v, b.v)}; }
inline bool any(Mask m) { return _mm256_movemask_ps(m.v) != 0; }
inline bool every(Mask m) { return _mm256_movemask_ps(m.v) == 0xff; }
inline Lanes pick(Mask m, Lanes yes, Lanes no) { return {_mm256_blendv_ps(no.v, yes.v, m.v)}; }
inline Lanes magnitude(Lanes a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
inline Lanes with_sign(Lanes size, Lanes sign) {
    return {_mm256_or_ps(size.v, _mm256_and_ps(sign.v, _mm256_set1_ps(-0.0f)))};
}
inline Lanes to_f16_and_back(Lanes a) { return {_mm256_cvtph_ps(_mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT))}; }
inline Lanes to_bf16_and_back(Lanes a) {
    const __m256i x = _mm256_castps_si256(a.v), odd = _mm256_and_si256(_mm256_srli_epi32(x, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(x, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    return {_mm256_castsi256_ps(_mm256_and_si256(up, _mm256_set1_epi32(int32_t(0xffff0000))))};
}
inline bool ordered(Lanes a) { return every({_mm256_cmp_ps(a.v, a.v, _CMP_ORD_Q)}); }
inline Lanes from_f16(const uint16_t* p) { return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
inline Lanes from_bf16(const uint16_t* p) {
    const __m256i x = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(x, 16))};
}
struct Parts {
    __m256i exponent;
    Lanes mantissa;
};
inline Parts parts_of(Lanes a) {
    const __m256i x = _mm256_castps_si256(a.v), fraction = _mm256_and_si256(x, _mm256_set1_epi32(0x7fffff));
    return {_mm256_srli_epi32(x, 23), {_mm256_castsi256_ps(_mm256_or_si256(fraction, _mm256_set1_epi32(0x3f800000)))}};
}
template <int SHIFT>
inline Lanes look_up(const float* table, const Parts& a) {
    return {_mm256_permutevar8x32_ps(_mm256_loadu_ps(table), _mm256_srli_epi32(a.exponent, SHIFT))};
}
inline void store_bytes(Lanes a, uint8_t* p) {
    const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(a.v), _mm256_setzero_si256());  // 0-3 | 4-7
    const __m128i sorted = _mm256_castsi256_si128(_mm256_permute4x64_epi64(words, 0x08));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(sorted, sorted));
}
#endif

inline Lanes clamp(Lanes x, Lanes low, Lanes high) { return min(max(x, low), high); }

}  // namespace
}  // namespace fewbits
