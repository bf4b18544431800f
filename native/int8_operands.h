// Operands of products in int8: integers from -127 to 127, in fours of consecutive k, whose sums are exact in int32 up to
// K = 2^31 / 127^2. So they are the same on every processor, whatever it adds first. quantize.h packs them.
#pragma once
#include "simd.h"

namespace {

const int K_PACK = 4, LHS_WIDTH = 1;

typedef int32_t Word;

FORCE_INLINE int packed_depth(int K) { return (K + K_PACK - 1) / K_PACK; }

FORCE_INLINE Word load_word(const float *from) {
    Word four;
    memcpy(&four, from, sizeof four);
    return four;
}

typedef IntVector RhsOperand;

FORCE_INLINE RhsOperand load_rhs(const float *from) { return (IntVector)load(from); }

FORCE_INLINE Vector to_float(IntVector v) { return __builtin_convertvector(v, Vector); }

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
// The left-hand side is unsigned: 128 more than it is, for which sums begin with the offset that is packed.
typedef IntVector LhsOperand;

FORCE_INLINE LhsOperand load_lhs(const float *from, int64_t) { return IntVector{} + (Word)(load_word(from) ^ 0x80808080); }
FORCE_INLINE Vector first_sum(const float *offset) { return load(offset); }

FORCE_INLINE Vector multiply_add(LhsOperand a, RhsOperand b, Vector c) {
#if LANES == 16
    return (Vector)_mm512_dpbusd_epi32((__m512i)c, (__m512i)a, (__m512i)b);
#else
    return (Vector)_mm256_dpbusd_avx_epi32((__m256i)c, (__m256i)a, (__m256i)b);
#endif
}

#else
FORCE_INLINE Vector first_sum(const float *) { return Vector{}; }

#if defined(__AVX512BW__)
// Pairs of products of a magnitude and a number with the other's sign fit into 16 bits: 2 * 127^2 < 2^15.
struct LhsOperand {
    __m512i magnitude;
    __mmask64 negative;
};

FORCE_INLINE LhsOperand load_lhs(const float *from, int64_t) {
    const __m512i four = _mm512_set1_epi32(load_word(from));
    return {_mm512_abs_epi8(four), _mm512_movepi8_mask(four)};
}

FORCE_INLINE Vector multiply_add(LhsOperand a, RhsOperand b, Vector c) {
    const __m512i number = (__m512i)b;
    const __m512i with_sign = _mm512_mask_sub_epi8(number, a.negative, _mm512_setzero_si512(), number);
    const __m512i pairs = _mm512_maddubs_epi16(a.magnitude, with_sign);
    return (Vector)_mm512_add_epi32((__m512i)c, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

#elif defined(__AVX2__)
// Pairs of products of a magnitude and a number with the other's sign fit into 16 bits: 2 * 127^2 < 2^15.
struct LhsOperand {
    __m256i four, magnitude;
};

FORCE_INLINE LhsOperand load_lhs(const float *from, int64_t) {
    const __m256i four = _mm256_set1_epi32(load_word(from));
    return {four, _mm256_abs_epi8(four)};
}

FORCE_INLINE Vector multiply_add(LhsOperand a, RhsOperand b, Vector c) {
    const __m256i pairs = _mm256_maddubs_epi16(a.magnitude, _mm256_sign_epi8((__m256i)b, a.four));
    return (Vector)_mm256_add_epi32((__m256i)c, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#elif defined(__ARM_NEON)
typedef int8x16_t LhsOperand;

FORCE_INLINE LhsOperand load_lhs(const float *from, int64_t) { return vreinterpretq_s8_s32(vdupq_n_s32(load_word(from))); }

FORCE_INLINE Vector multiply_add(LhsOperand a, RhsOperand b, Vector c) {
    const int8x16_t fours = (int8x16_t)b;
#if defined(__ARM_FEATURE_DOTPROD)
    return (Vector)vdotq_s32((int32x4_t)c, fours, a);
#else
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(fours), vget_low_s8(a)));
    const int32x4_t high = vpaddlq_s16(vmull_s8(vget_high_s8(fours), vget_high_s8(a)));
    return (Vector)vaddq_s32((int32x4_t)c, vpaddq_s32(low, high));
#endif
}

#else
struct LhsOperand {
    Word numbers[K_PACK];
};

FORCE_INLINE LhsOperand load_lhs(const float *from, int64_t) {
    int8_t four[K_PACK];
    memcpy(four, from, sizeof four);
    return {{four[0], four[1], four[2], four[3]}};
}

FORCE_INLINE Vector multiply_add(LhsOperand a, RhsOperand b, Vector c) {
    return (Vector)((IntVector)c + (b << 24 >> 24) * a.numbers[0] + (b << 16 >> 24) * a.numbers[1] +
                    (b << 8 >> 24) * a.numbers[2] + (b >> 24) * a.numbers[3]);
}
#endif
#endif

}  // namespace
