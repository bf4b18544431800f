// What a product multiplies, and in which form. In float32 the left side is a number, the right side a vector of them.
// With CHARRNN_HALF both are bfloat16, rounded to nearest, in pairs that follow one another in k, and sums are float32; where
// the processor has no instruction for it a pair is two float32 multiply-adds.
#pragma once
#include "simd.h"

namespace {

#ifndef CHARRNN_HALF
const int PAIRED = 1;  // numbers of k in one place of a panel
const int LEFT = 1;    // floats that the left side needs for them

typedef Vector Factor;

INLINE Factor left_side(const float *from, int64_t) { return all(*from); }
INLINE Factor right_side(const float *from) { return load(from); }
INLINE Vector multiply_add(Factor a, Factor b, Vector c) { return madd(a, b, c); }

// What is packed, of one number or of those that follow one another in k.
INLINE Vector packed(Vector x, Vector) { return x; }

#else
const int PAIRED = 2;

typedef uint32_t Bits __attribute__((vector_size(LANES * 4)));

// The bits of a bfloat16 in the upper half of a float32's.
INLINE Bits rounded(Vector x) {
    const Bits bits = (Bits)x, nearest = bits + 0x7fff + (bits >> 16 & 1);
    return (x == x ? nearest : bits | 0x400000) & 0xffff0000;
}

INLINE Vector packed(Vector even, Vector odd) { return (Vector)(rounded(even) >> 16 | rounded(odd)); }

#if defined(__AVX512BF16__) || defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#define CHARRNN_DOT
const int LEFT = 1;

typedef Vector Factor;

INLINE Factor left_side(const float *from, int64_t) {
    uint32_t pair;
    memcpy(&pair, from, sizeof pair);
    return (Vector)(Bits{} + pair);
}

INLINE Factor right_side(const float *from) { return load(from); }

INLINE Vector multiply_add(Factor a, Factor b, Vector c) {
#if defined(__AVX512BF16__)
    return (Vector)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b);
#else
    return (Vector)vbfdotq_f32((float32x4_t)c, (bfloat16x8_t)a, (bfloat16x8_t)b);
#endif
}

#else
const int LEFT = 2;

struct Factor {
    Vector even, odd;
};

// The second of a pair is `apart` floats behind the first.
INLINE Factor left_side(const float *from, int64_t apart) { return {all(from[0]), all(from[apart])}; }

INLINE Factor right_side(const float *from) {
    const Bits pair = (Bits)load(from);
    return {(Vector)(pair << 16), (Vector)(pair & 0xffff0000)};
}

INLINE Vector multiply_add(Factor a, Factor b, Vector c) { return madd(a.odd, b.odd, madd(a.even, b.even, c)); }
#endif
#endif

INLINE float packed(float even, float odd) { return packed(all(even), all(odd))[0]; }

INLINE int places(int K) { return (K + PAIRED - 1) / PAIRED; }

// Floats that a row of the left side takes, and several; none in float32, where it is read as it stands.
INLINE int64_t lowered_size(int K) { return PAIRED == 1 ? 0 : (int64_t)(places(K) * LEFT + 15) / 16 * 16; }
INLINE int64_t lowered_size(int64_t rows, int K) { return rows * lowered_size(K); }

// A row of K numbers as the left side wants it.
INLINE void lower(const float *row, int K, float *to) {
#ifndef CHARRNN_HALF
    memcpy(to, row, K * sizeof(float));
#else
    for (int k = 0; k < places(K) * PAIRED; k += LANES) {
        const Bits bits = rounded(load(row + k, K - k));
#ifdef CHARRNN_DOT
        typedef uint16_t Halves __attribute__((vector_size(LANES * 2)));
        const Halves halves = __builtin_convertvector(bits >> 16, Halves);
        memcpy(reinterpret_cast<uint16_t *>(to) + k, &halves, sizeof halves);
#else
        store(to + k, (Vector)bits);
#endif
    }
#endif
}

// The left side's numbers of R rows for one place, which lie side by side, then zeros beyond `count`. odd: those of the
// following k, null where there is none.
template <int R> INLINE void lower_place(const float *even, const float *odd, int count, float *to) {
#ifndef CHARRNN_HALF
    (void)odd;
    if (count >= R) {
        memcpy(to, even, R * sizeof(float));
        return;
    }
    for (int r = 0; r < R; r++) to[r] = r < count ? even[r] : 0;
#else
    for (int r = 0; r < R; r += LANES) {
        const Vector x = load(even + r, count - r), y = odd ? load(odd + r, count - r) : Vector{};
        if (LEFT == 1) {
            store(to + r, packed(x, y), R - r);
        } else {
            store(to + r, (Vector)rounded(x), R - r);
            store(to + R + r, (Vector)rounded(y), R - r);
        }
    }
#endif
}

}  // namespace
