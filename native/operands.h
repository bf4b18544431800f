// The operands of a GEMM, and how they are packed. In float32 the left-hand side (LHS) is a number that is broadcast, the
// right-hand side (RHS) a vector. With CHARRNN_HALF both are bfloat16, rounded to nearest, in pairs of consecutive k, and
// sums are float32; where the processor has no instruction for it a pair is two float32 multiply-adds. With CHARRNN_BYTE
// both are integers: see int8_operands.h.
#pragma once
#include "simd.h"

#ifdef CHARRNN_BYTE
#include "int8_operands.h"
#else

namespace {

#ifndef CHARRNN_HALF
const int K_PACK = 1;     // consecutive k that are packed together
const int LHS_WIDTH = 1;  // floats that they take on the left-hand side

typedef Vector LhsOperand, RhsOperand;

FORCE_INLINE LhsOperand load_lhs(const float *from, int64_t) { return broadcast(*from); }
FORCE_INLINE RhsOperand load_rhs(const float *from) { return load(from); }
FORCE_INLINE Vector multiply_add(LhsOperand a, RhsOperand b, Vector c) { return fma(a, b, c); }

// K_PACK consecutive k, packed: here only the first.
FORCE_INLINE Vector pack_pair(Vector x, Vector) { return x; }

#else
const int K_PACK = 2;

typedef uint32_t Bits __attribute__((vector_size(LANES * 4)));

// The bits of a bfloat16 in the upper half of a float32's.
FORCE_INLINE Bits round_to_bfloat16(Vector x) {
    const Bits bits = (Bits)x, nearest = bits + 0x7fff + (bits >> 16 & 1);
    return (x == x ? nearest : bits | 0x400000) & 0xffff0000;
}

FORCE_INLINE Vector pack_pair(Vector even, Vector odd) {
    return (Vector)(round_to_bfloat16(even) >> 16 | round_to_bfloat16(odd));
}

#if defined(__AVX512BF16__) || defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#define CHARRNN_BF16_DOT
const int LHS_WIDTH = 1;

typedef Vector LhsOperand, RhsOperand;

FORCE_INLINE LhsOperand load_lhs(const float *from, int64_t) {
    uint32_t pair;
    memcpy(&pair, from, sizeof pair);
    return (Vector)(Bits{} + pair);
}

FORCE_INLINE RhsOperand load_rhs(const float *from) { return load(from); }

FORCE_INLINE Vector multiply_add(LhsOperand a, RhsOperand b, Vector c) {
#if defined(__AVX512BF16__)
    return (Vector)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b);
#else
    return (Vector)vbfdotq_f32((float32x4_t)c, (bfloat16x8_t)a, (bfloat16x8_t)b);
#endif
}

#else
const int LHS_WIDTH = 2;

struct LhsOperand {
    Vector even, odd;
};

typedef LhsOperand RhsOperand;

// The second of a pair is `pair_stride` floats behind the first.
FORCE_INLINE LhsOperand load_lhs(const float *from, int64_t pair_stride) {
    return {broadcast(from[0]), broadcast(from[pair_stride])};
}

FORCE_INLINE RhsOperand load_rhs(const float *from) {
    const Bits pair = (Bits)load(from);
    return {(Vector)(pair << 16), (Vector)(pair & 0xffff0000)};
}

FORCE_INLINE Vector multiply_add(LhsOperand a, RhsOperand b, Vector c) {
    return fma(a.odd, b.odd, fma(a.even, b.even, c));
}
#endif
#endif

// K in units of K_PACK, rounded up.
FORCE_INLINE int packed_depth(int K) { return (K + K_PACK - 1) / K_PACK; }

// Floats that a packed row of the left-hand side takes, and several rows; none in float32, where it needs no packing.
FORCE_INLINE int64_t packed_lhs_size(int K) {
    return K_PACK == 1 ? 0 : padded(packed_depth(K) * LHS_WIDTH);
}
FORCE_INLINE int64_t packed_lhs_size(int64_t rows, int K) { return rows * packed_lhs_size(K); }

// Pack a row of K numbers for the left-hand side.
FORCE_INLINE void pack_lhs_row(const float *row, int K, float *to) {
#ifndef CHARRNN_HALF
    memcpy(to, row, K * sizeof(float));
#else
    for (int k = 0; k < packed_depth(K) * K_PACK; k += LANES) {
        const Bits bits = round_to_bfloat16(load(row + k, K - k));
#ifdef CHARRNN_BF16_DOT
        typedef uint16_t Halves __attribute__((vector_size(LANES * 2)));
        const Halves halves = __builtin_convertvector(bits >> 16, Halves);
        memcpy(reinterpret_cast<uint16_t *>(to) + k, &halves, sizeof halves);
#else
        store(to + k, (Vector)bits);
#endif
    }
#endif
}

// Pack one k (`even`) and the next (`odd`, null where there is none) of R rows of the left-hand side, whose numbers lie side
// by side; rows beyond `count` are zero.
template <int R> FORCE_INLINE void pack_lhs_block(const float *even, const float *odd, int count, float *to) {
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
        if (LHS_WIDTH == 1) {
            store(to + r, pack_pair(x, y), R - r);
        } else {
            store(to + r, (Vector)round_to_bfloat16(x), R - r);
            store(to + R + r, (Vector)round_to_bfloat16(y), R - r);
        }
    }
#endif
}

}  // namespace

#endif
