// Numbers as int8: a row of the left-hand side, or a column of the right-hand side, is its scale times integers from -127 to
// 127, rounded to nearest, of which the largest magnitude is 127. Both are packed for int8_operands.h: four consecutive k
// stand where float32 has one number.
#pragma once
#include "simd.h"
#include "thread_pool.h"

namespace {

const int INT8_PACK = 4;

// K in units of INT8_PACK, rounded up.
FORCE_INLINE int int8_depth(int K) { return (K + INT8_PACK - 1) / INT8_PACK; }

// Floats of a packed row: fours, then the scale.
FORCE_INLINE int64_t int8_lhs_size(int K) { return padded(int8_depth(K) + 1); }

// Floats of a panel: fours, then scales, then for products whose left-hand side is 128 too large what sums begin with.
FORCE_INLINE int64_t int8_panel_size(int K, int G) { return (int64_t)(int8_depth(K) + 2) * G * LANES; }

// The scale of K numbers. Where one is not finite, neither is the scale; where all are next to zero it is zero.
struct Quantizer {
    typedef int8_t Bytes __attribute__((vector_size(LANES)));

    float scale, inverse;

    FORCE_INLINE Quantizer(const float *numbers, int K) {
        Vector maxima{}, not_finite{};
        for (int k = 0; k < K; k += LANES) {
            const Vector x = load(numbers + k, K - k), magnitude = x < Vector{} ? -x : x;
            maxima = magnitude > maxima ? magnitude : maxima;
            not_finite += x - x;
        }
        float maximum = 0, nan = 0;
        for (int lane = 0; lane < LANES; lane++) {
            maximum = maxima[lane] > maximum ? maxima[lane] : maximum;
            nan += not_finite[lane];
        }
        const bool is_zero = maximum < 1e-30f;  // the inverse would overflow
        scale = (is_zero ? 0 : maximum / 127) + nan;
        inverse = is_zero ? 0 : 127 / maximum;
    }

    FORCE_INLINE IntVector operator()(Vector x) const {
        const float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the lowest bits
        return (IntVector)(x * broadcast(inverse) + broadcast(round)) - (IntVector)broadcast(round);
    }
};

FORCE_INLINE void pack_int8_row(const float *row, int K, float *to) {
    const Quantizer quantize(row, K);
    for (int k = 0; k < K; k += LANES) {
        const auto bytes = __builtin_convertvector(quantize(load(row + k, K - k)), Quantizer::Bytes);
        memcpy(reinterpret_cast<int8_t *>(to) + k, &bytes, sizeof bytes);
    }
    to[int8_depth(K)] = quantize.scale;
}

// As pack_transposed() of gemm.h.
NOINLINE void pack_int8_transposed(ThreadTeam &team, int G, const float *w, int N, int K, float *to) {
    const int depth = int8_depth(K);
    const int64_t stride = (int64_t)G * LANES;
    const Range range = team.range(padded(N) / LANES);
    for (int block = range.begin; block < range.end; block++) {
        float *panel = to + block * int8_panel_size(K, G);
        memset(panel, 0, int8_panel_size(K, G) * sizeof(float));
        for (int column = 0; column < LANES * G; column++) {
            const int g = column / LANES, n = block * LANES + column % LANES;
            if (n >= N) continue;
            const float *const from = w + ((int64_t)g * N + n) * K;
            const Quantizer quantize(from, K);
            IntVector sums{};
            for (int k = 0; k < K; k += LANES) {
                const IntVector numbers = quantize(load(from + k, K - k));
                const auto bytes = __builtin_convertvector(numbers, Quantizer::Bytes);
                sums += numbers;
                for (int four = 0; four < LANES / INT8_PACK && k / INT8_PACK + four < depth; four++)
                    memcpy(panel + (k / INT8_PACK + four) * stride + column,
                           reinterpret_cast<const int8_t *>(&bytes) + four * INT8_PACK, INT8_PACK);
            }
            int32_t sum = 0;
            for (int lane = 0; lane < LANES; lane++) sum += sums[lane];
            sum *= -128;
            panel[depth * stride + column] = quantize.scale;
            memcpy(panel + (depth + 1) * stride + column, &sum, sizeof sum);
        }
    }
}

}  // namespace
