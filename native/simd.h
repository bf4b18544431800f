// Vectors of LANES floats, and the functions of gates on them. Whatever the instruction set, a lane holds
// the same bits: every multiply-add below is rounded once, and nothing is contracted or reordered.
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
#ifndef LANES  // a test asks for more, to have the tiles that a machine with longer vectors would have
#define LANES 4
#define REGISTERS 0
#endif
#endif

#define INLINE inline __attribute__((always_inline))
#define APART __attribute__((noinline))

namespace {

typedef float Vector __attribute__((vector_size(LANES * 4)));
typedef int32_t Integers __attribute__((vector_size(LANES * 4)));

INLINE Vector all(float value) { return value - Vector{}; }

INLINE Vector load(const float *from) {
    Vector v;
    memcpy(&v, from, sizeof v);
    return v;
}

INLINE void store(float *to, Vector v) { memcpy(to, &v, sizeof v); }

// The first `count` lanes.
INLINE Vector load(const float *from, int count) {
    if (count >= LANES) return load(from);
    Vector v{};
    for (int lane = 0; lane < count; lane++) v[lane] = from[lane];
    return v;
}

INLINE void store(float *to, Vector v, int count) {
    if (count >= LANES) return store(to, v);
    for (int lane = 0; lane < count; lane++) to[lane] = v[lane];
}

// a * b + c, rounded once.
INLINE Vector madd(Vector a, Vector b, Vector c) {
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

// A value that is not a number stays one.
INLINE Vector at_most(Vector x, float bound) { return x > all(bound) ? all(bound) : x; }
INLINE Vector at_least(Vector x, float bound) { return x < all(bound) ? all(bound) : x; }

// e^x - 1 = scale * (p + 1) - 1, where e^x = 2^n * e^r with |r| <= ln 2 / 2 and p = e^r - 1. The polynomial is a
// minimax fit of (e^r - 1 - r) / r^2; its relative error is 3e-9.
struct Power {
    Vector scale, p;
};

INLINE Power power(Vector x) {
    const float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves an integer in the lowest bits
    x = at_least(at_most(x, 88.0f), -87.0f);
    const Vector shifted = madd(x, all(1.44269504f), all(round));
    const Vector n = shifted - all(round);
    Vector r = madd(n, all(-0.693359375f), x);  // ln 2 in two parts, the first exact in few bits
    r = madd(n, all(2.12194440e-4f), r);
    Vector q = all(1.381459878757596e-3f);
    q = madd(q, r, all(8.368716575205326e-3f));
    q = madd(q, r, all(4.166838899254799e-2f));
    q = madd(q, r, all(1.666652113199234e-1f));
    q = madd(q, r, all(4.999999403953552e-1f));
    const Integers exponent = ((Integers)shifted + 127) << 23;
    return {(Vector)exponent, madd(q, r * r, r)};
}

INLINE Vector exponential(Vector x) {
    const Power e = power(x);
    return madd(e.scale, e.p, e.scale);
}

INLINE Vector sigmoid(Vector x) {
    const Vector one = all(1.0f);
    return one / (one + exponential(-x));
}

// (e^2x - 1) / (e^2x + 1), with no cancellation near zero.
INLINE Vector tanh(Vector x) {
    const Power e = power(x + x);
    const Vector above = madd(e.scale, e.p, e.scale - all(1.0f));
    return above / (above + all(2.0f));
}

// Sums over a row are taken in 16 lanes, then in a fixed order, so that they do not depend on LANES.
struct Sum {
    float lanes[16] = {};
    INLINE void add(int column, Vector v) {
        float *to = lanes + column % 16;
        store(to, load(to) + v);
    }
    INLINE float total() const {
        float sum[8];
        for (int lane = 0; lane < 8; lane++) sum[lane] = lanes[lane] + lanes[lane + 8];
        return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
    }
};

// Numbers too small to matter count as zero for as long as this lives: processors are slow at them.
class Flush {
  public:
#if defined(__x86_64__)
    Flush() : before_(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(before_ | 0x8040); }
    ~Flush() { __builtin_ia32_ldmxcsr(before_); }

  private:
    unsigned before_;
#elif defined(__aarch64__)
    Flush() {
        asm volatile("mrs %0, fpcr" : "=r"(before_));
        asm volatile("msr fpcr, %0" : : "r"(before_ | (1ull << 24)));
    }
    ~Flush() { asm volatile("msr fpcr, %0" : : "r"(before_)); }

  private:
    uint64_t before_;
#endif
};

}  // namespace
