// SIMD vectors of LANES floats, and the activation functions on them. A lane holds the same bits whatever the
// instruction set: every fused multiply-add is rounded once, and nothing is contracted or reordered.
#pragma once
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#define LANES 16
#define REGISTERS 32
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#define LANES 8
#define REGISTERS 16
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#define LANES 4
#define REGISTERS 32
#else
#include <math.h>
#ifndef LANES  // a test defines more lanes, for the tile shapes of machines with longer vectors
#define LANES 4
#define REGISTERS 0
#endif
#endif

#define FORCE_INLINE inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))

namespace {

// Rows are padded to a length that is whole vectors whatever the instruction set.
FORCE_INLINE int padded(int size) { return (size + 15) / 16 * 16; }

typedef float Vector __attribute__((vector_size(LANES * 4)));
typedef int32_t IntVector __attribute__((vector_size(LANES * 4)));

FORCE_INLINE Vector broadcast(float value) { return value - Vector{}; }

FORCE_INLINE Vector load(const float *from) {
    Vector v;
    memcpy(&v, from, sizeof v);
    return v;
}

FORCE_INLINE void store(float *to, Vector v) { memcpy(to, &v, sizeof v); }

// The first `count` lanes.
FORCE_INLINE Vector load(const float *from, int count) {
    if (count >= LANES) return load(from);
    Vector v{};
    for (int lane = 0; lane < count; lane++) v[lane] = from[lane];
    return v;
}

FORCE_INLINE void store(float *to, Vector v, int count) {
    if (count >= LANES) return store(to, v);
    for (int lane = 0; lane < count; lane++) to[lane] = v[lane];
}

// Ask for the cache line of an address that is read or written later. A macro: GCC may take a function that does nothing
// else for one without effect, and leave its calls out.
#define PREFETCH(address) __builtin_prefetch(address)

// a * b + c, rounded once.
FORCE_INLINE Vector fma(Vector a, Vector b, Vector c) {
#if defined(__AVX512F__)
    return (Vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__) && defined(__FMA__)
    return (Vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON)
    return (Vector)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    Vector v;
    for (int lane = 0; lane < LANES; lane++) v[lane] = fmaf(a[lane], b[lane], c[lane]);
    return v;
#endif
}

// NaN stays NaN; x is no denormal, or its sign alone matters. Compilers make two instructions of the choice. (GCC 12 warns
// of the forms without a mask.)
FORCE_INLINE Vector min(Vector x, float bound) {
#if defined(__AVX512F__)
    return (Vector)_mm512_maskz_min_ps(0xffff, (__m512)broadcast(bound), (__m512)x);
#elif defined(__AVX2__) && defined(__FMA__)
    return (Vector)_mm256_min_ps((__m256)broadcast(bound), (__m256)x);
#else
    return x > broadcast(bound) ? broadcast(bound) : x;
#endif
}

FORCE_INLINE Vector max(Vector x, float bound) {
#if defined(__AVX512F__)
    return (Vector)_mm512_maskz_max_ps(0xffff, (__m512)broadcast(bound), (__m512)x);
#elif defined(__AVX2__) && defined(__FMA__)
    return (Vector)_mm256_max_ps((__m256)broadcast(bound), (__m256)x);
#else
    return x < broadcast(bound) ? broadcast(bound) : x;
#endif
}

// e^x = scale * (p + 1), where e^x = 2^n * e^r with |r| <= ln 2 / 2, scale = 2^n and p = e^r - 1. The polynomial is a
// minimax fit of (e^r - 1 - r) / r^2; its relative error is 3e-9.
struct ExpParts {
    Vector scale, p;
};

FORCE_INLINE ExpParts exp_parts(Vector x) {
    const float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the lowest bits
    x = max(min(x, 88.0f), -87.0f);
    const Vector shifted = fma(x, broadcast(1.44269504f), broadcast(round));
    const Vector n = shifted - broadcast(round);
    Vector r = fma(n, broadcast(-0.693359375f), x);  // ln 2 in two parts, the first exact in few bits
    r = fma(n, broadcast(2.12194440e-4f), r);
    Vector q = broadcast(1.381459878757596e-3f);
    q = fma(q, r, broadcast(8.368716575205326e-3f));
    q = fma(q, r, broadcast(4.166838899254799e-2f));
    q = fma(q, r, broadcast(1.666652113199234e-1f));
    q = fma(q, r, broadcast(4.999999403953552e-1f));
    const IntVector exponent = ((IntVector)shifted + 127) << 23;
    return {(Vector)exponent, fma(q, r * r, r)};
}

FORCE_INLINE Vector exp(Vector x) {
    const ExpParts e = exp_parts(x);
    return fma(e.scale, e.p, e.scale);
}

FORCE_INLINE Vector sigmoid(Vector x) {
    const Vector one = broadcast(1.0f);
    return one / (one + exp(-x));
}

// (e^2x - 1) / (e^2x + 1), without cancellation near zero.
FORCE_INLINE Vector tanh(Vector x) {
    const ExpParts e = exp_parts(x + x);
    const Vector expm1 = fma(e.scale, e.p, e.scale - broadcast(1.0f));
    return expm1 / (expm1 + broadcast(2.0f));
}

// The sum over a row: in 16 lanes, then over these in a fixed order, so that it does not depend on LANES.
struct LaneSum {
    float partial_sums[16] = {};
    FORCE_INLINE void add(int column, Vector v) {
        float *to = partial_sums + column % 16;
        store(to, load(to) + v);
    }
    FORCE_INLINE float total() const {
        float sum[8];
        for (int lane = 0; lane < 8; lane++) sum[lane] = partial_sums[lane] + partial_sums[lane + 8];
        return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
    }
};

// While this lives, denormal numbers are flushed to zero: processors are slow at them.
class ScopedFlushToZero {
  public:
#if defined(__x86_64__)
    ScopedFlushToZero() : saved_(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(saved_ | 0x8040); }
    ~ScopedFlushToZero() { __builtin_ia32_ldmxcsr(saved_); }

  private:
    unsigned saved_;
#elif defined(__aarch64__)
    ScopedFlushToZero() {
        asm volatile("mrs %0, fpcr" : "=r"(saved_));
        asm volatile("msr fpcr, %0" : : "r"(saved_ | (1ull << 24)));
    }
    ~ScopedFlushToZero() { asm volatile("msr fpcr, %0" : : "r"(saved_)); }

  private:
    uint64_t saved_;
#endif
};

}  // namespace
