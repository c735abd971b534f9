// The words that the kernels are written in, for AVX2 with FMA and F16C: 16 outputs are two registers.
// With FEWBITS_AVXVNNI, products are added by VPDPBUSD; else by pairs in 16 bits, which must not overflow:
// 2 * 127 * 127 < 2**15 for codes below 128, 8 * 2 * 15 * 127 < 2**15 for a whole chunk of codes below 16, and
// 16 * 2 * 7 * 127 < 2**15 for a whole block of codes below 8.
#pragma once
#include <immintrin.h>

#include "fewbits.h"

namespace fewbits {
#ifdef FEWBITS_AVXVNNI
namespace avxvnni {
#else
namespace avx2 {
#endif

struct V {
    // Rows of x at a time: their sums must find room in 16 registers. Sums in 16 bits leave them once or twice in a block, and
    // so one row less is 8 % faster.
    static constexpr int most_rows([[maybe_unused]] int bits, [[maybe_unused]] bool book) {
#ifdef FEWBITS_AVXVNNI
        return FEWBITS_SANITIZED ? 2 : 4;
#else
        return FEWBITS_SANITIZED ? 2 : bits == 8 ? 4 : bits > 4 || book ? 6 : 5;
#endif
    }
    // More rows than that are multiplied in panels; 0: never. Codes of 8 bits need not be taken apart.
    static constexpr int few_rows([[maybe_unused]] int bits) {
#ifdef FEWBITS_AVXVNNI
        return 0;
#else
        return bits == 8 ? 0 : FEWBITS_SANITIZED ? 1 : 4;
#endif
    }
    static constexpr int SMALL_GROUP_ROWS = FEWBITS_SANITIZED ? 2 : 4, FLOAT_ROWS = FEWBITS_SANITIZED ? 2 : 6;
    static constexpr int STREAMS = 4;
#ifdef FEWBITS_AVXVNNI
    static constexpr bool EXACT_BYTES = true;  // dot<8> takes all bytes, and loses nothing
    static constexpr float OFFSET8 = 0;
#else
    static constexpr bool EXACT_BYTES = false;
    static constexpr float OFFSET8 = 128;  // codes of 8 bits are multiplied as code - 128
#endif
    struct Bytes { __m256i a, b; };
    using Ints = Bytes;
    struct Floats { __m256 a, b; };
#ifdef FEWBITS_AVXVNNI
    using Sum = Bytes;
#else
    struct Sum { __m256i a, b, a16, b16; };
#endif
    template <class F> static Bytes each(Bytes v, F f) { return {f(v.a), f(v.b)}; }
    template <class F> static Floats each(Floats v, F f) { return {f(v.a), f(v.b)}; }

    static __m256i load32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
    static Bytes load(const uint8_t* p) { return {load32(p), load32(p + 32)}; }
    static void store_bytes(uint8_t* p, Bytes v) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v.a), _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 32), v.b);
    }
    static Bytes bits(Bytes v, int right, int mask) {
        __m256i keep = _mm256_set1_epi8(char(mask));
        return each(v, [=](__m256i h) {
            __m256i moved = right > 0 ? _mm256_srli_epi16(h, right) : right < 0 ? _mm256_slli_epi16(h, -right) : h;
            return _mm256_and_si256(moved, keep);
        });
    }
    static Bytes both(Bytes a, Bytes b) { return {_mm256_or_si256(a.a, b.a), _mm256_or_si256(a.b, b.b)}; }
    static Bytes table(const uint8_t* entries) {
        __m256i v = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(entries)));
        return {v, v};
    }
    static Bytes lookup(Bytes t, Bytes i) { return {_mm256_shuffle_epi8(t.a, i.a), _mm256_shuffle_epi8(t.b, i.b)}; }

    static __m256i four(const int8_t* x) {
        int32_t v;
        __builtin_memcpy(&v, x, 4);
        return _mm256_set1_epi32(v);
    }
#ifdef FEWBITS_AVXVNNI
    static Sum none() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
    template <int BITS>
    static void dot(Sum& sum, Bytes codes, const int8_t* x) {
        __m256i v = four(x);
        sum = {_mm256_dpbusd_avx_epi32(sum.a, codes.a, v), _mm256_dpbusd_avx_epi32(sum.b, codes.b, v)};
    }
    template <int BITS> static void end_chunk(Sum&) {}
    template <int BITS> static Ints total(Sum sum) { return sum; }
#else
    static Sum none() {
        __m256i o = _mm256_setzero_si256();
        return {o, o, o, o};
    }
    // Else GCC makes all products first, and 16 registers do not hold them.
    static void in_order(__m256i& a, __m256i& b) { __asm__ volatile("" : "+x"(a), "+x"(b)); }
    static __m256i pairs(__m256i v) { return _mm256_madd_epi16(v, _mm256_set1_epi16(1)); }
    static __m256i signed_product(__m256i codes, __m256i x) {  // (code - 128) * x, in pairs; |x| < 128
        __m256i c = _mm256_xor_si256(codes, _mm256_set1_epi8(char(128)));
        return _mm256_maddubs_epi16(_mm256_abs_epi8(c), _mm256_sign_epi8(x, c));
    }
    template <int BITS>
    static void dot(Sum& sum, Bytes codes, const int8_t* x) {
        __m256i v = four(x);
        __m256i a = BITS == 8 ? signed_product(codes.a, v) : _mm256_maddubs_epi16(codes.a, v);
        __m256i b = BITS == 8 ? signed_product(codes.b, v) : _mm256_maddubs_epi16(codes.b, v);
        if (BITS <= 4) {
            sum.a16 = _mm256_add_epi16(sum.a16, a), sum.b16 = _mm256_add_epi16(sum.b16, b);
            in_order(sum.a16, sum.b16);
        } else {
            sum.a = _mm256_add_epi32(sum.a, pairs(a)), sum.b = _mm256_add_epi32(sum.b, pairs(b));
            in_order(sum.a, sum.b);
        }
    }
    template <int BITS>
    static void end_chunk(Sum& sum) {
        if (BITS != 4) return;
        __m256i o = _mm256_setzero_si256();
        sum = {_mm256_add_epi32(sum.a, pairs(sum.a16)), _mm256_add_epi32(sum.b, pairs(sum.b16)), o, o};
    }
    template <int BITS>
    static Ints total(Sum sum) { return BITS < 4 ? Ints{pairs(sum.a16), pairs(sum.b16)} : Ints{sum.a, sum.b}; }
#endif
    template <int N> static Ints down(Ints v) {
        return each(v, [](__m256i h) { return _mm256_srai_epi32(h, N); });
    }
    static Ints plus(Ints x, Ints y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
    static Ints weigh(Ints high, Ints low) {
        return plus(each(high, [](__m256i h) { return _mm256_slli_epi32(h, 7); }), low);
    }

    static Floats all(float v) { return {_mm256_set1_ps(v), _mm256_set1_ps(v)}; }
    static Floats zero() { return all(0); }
    static Floats floats(Ints v) { return {_mm256_cvtepi32_ps(v.a), _mm256_cvtepi32_ps(v.b)}; }
    static Floats mul(Floats x, Floats y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
    static Floats add(Floats x, Floats y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
    static Floats sub(Floats x, Floats y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
    static Floats fma(Floats x, Floats y, Floats z) {
        return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
    }
    static Floats fnma(Floats x, Floats y, Floats z) {
        return {_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
    }
    template <int J>
    static Ints byte(Bytes v) {
        return each(v, [](__m256i h) {
            __m256i moved = _mm256_srli_epi32(h, 8 * J);
            return J == 3 ? moved : _mm256_and_si256(moved, _mm256_set1_epi32(255));
        });
    }
    struct Values { __m256 low, high; };
    static Values values(const float* e) { return {_mm256_loadu_ps(e), _mm256_loadu_ps(e + 8)}; }
    static __m256 pick(Values t, __m256i i) {
        __m256 low = _mm256_permutevar8x32_ps(t.low, i), high = _mm256_permutevar8x32_ps(t.high, i);
        return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(i, 28)));
    }
    static Floats pick(Values t, Ints i) { return {pick(t, i.a), pick(t, i.b)}; }

    static Floats load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
    static void store(float* p, Floats v) { _mm256_storeu_ps(p, v.a), _mm256_storeu_ps(p + 8, v.b); }
    static __m128i half(const uint16_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
    static __m256 widen(__m128i v) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16)); }
    static __m256 of_u8(const uint8_t* p) {
        return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
    }
    static Floats read(const void* p, int64_t i, int32_t type) {
        const auto* halves = static_cast<const uint16_t*>(p) + i;
        const auto* bytes = static_cast<const uint8_t*>(p) + i;
        switch (type) {
            case F16: return {_mm256_cvtph_ps(half(halves)), _mm256_cvtph_ps(half(halves + 8))};
            case BF16: return {widen(half(halves)), widen(half(halves + 8))};
            case U8: return {of_u8(bytes), of_u8(bytes + 8)};
            default: return load(static_cast<const float*>(p) + i);
        }
    }
    static __m128i to_bf16(__m256 v) {  // to the nearest, ties to even; NaN stays NaN
        __m256i u = _mm256_castps_si256(v);
        __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
        __m256i near = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
        near = _mm256_srli_epi32(_mm256_blendv_epi8(near, _mm256_or_si256(u, _mm256_set1_epi32(0x400000)), nan), 16);
        return _mm_packus_epi32(_mm256_castsi256_si128(near), _mm256_extracti128_si256(near, 1));
    }
    static void write(void* p, int64_t i, int32_t type, Floats v) {
        if (type == F32) return store(static_cast<float*>(p) + i, v);
        auto* to = reinterpret_cast<__m128i*>(static_cast<uint16_t*>(p) + i);
        _mm_storeu_si128(to, type == F16 ? _mm256_cvtps_ph(v.a, 0) : to_bf16(v.a));
        _mm_storeu_si128(to + 1, type == F16 ? _mm256_cvtps_ph(v.b, 0) : to_bf16(v.b));
    }

    // The larger magnitude. As whole numbers, the bits of floats without a sign are in order, and NaN is above infinity.
    static __m256 larger(__m256 x, __m256 y) {
        return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(x), _mm256_castps_si256(y)));
    }
    static Floats most(Floats x, Floats y) {
        __m256 keep = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
        return {larger(x.a, _mm256_and_ps(y.a, keep)), larger(x.b, _mm256_and_ps(y.b, keep))};
    }
    static float top(Floats v) {
        __m256 eight = larger(v.a, v.b);
        __m256 four = larger(eight, _mm256_permute2f128_ps(eight, eight, 1));
        __m256 two = larger(four, _mm256_permute_ps(four, 0x4e));
        return _mm256_cvtss_f32(larger(two, _mm256_permute_ps(two, 0xb1)));
    }
    static Ints round(Floats v) { return {_mm256_cvtps_epi32(v.a), _mm256_cvtps_epi32(v.b)}; }
    static Ints no_ints() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
    static int32_t sum(Ints v) {
        int32_t all[8], out = 0;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(all), _mm256_add_epi32(v.a, v.b));
        for (int32_t x : all) out += x;
        return out;
    }
    static float sum(Floats v) {
        float all[8], out = 0;
        _mm256_storeu_ps(all, _mm256_add_ps(v.a, v.b));
        for (float x : all) out += x;
        return out;
    }
    static void store8(int8_t* p, Ints v) {
        __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(v.a, v.b), 0xd8);
        __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
    }
};

}
}  // namespace fewbits
