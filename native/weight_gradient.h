// The gradient of a layer's weights: a product over all rows of a batch and all time steps.
#pragma once
#include "gemm.h"

namespace {

const int identity_order[4] = {0, 1, 2, 3};

// The gradient of weights, a product A^T B: out[order[group]][m][n] = sum over k of
// a[k][group * group_stride + m] * b[k][n], added to what is there unless `overwrite`. The team shares the rows of out. Both
// sides are packed, K_BLOCK of k at a time, so that they stay in the cache.
const int K_BLOCK = 256;

FORCE_INLINE int64_t weight_gradient_work(int groups, int M, int N) {
    const int tile = tile_rows(1);
    return (int64_t)K_BLOCK * (column_blocks(N) * LANES + (int64_t)groups * ((M + tile - 1) / tile) * tile);
}

NOINLINE void weight_gradient(ThreadTeam &team, int groups, const int *order, int M, int N, int K, const RowView &a,
                              int64_t group_stride, const RowView &b, float *out, bool overwrite, float *work) {
    constexpr int R = tile_rows(1), P = tile_blocks(R, 1);
    static_assert(P == 2, "strips of P column blocks, then one of 1");
    const int group_tiles = (M + R - 1) / R;
    const Range tiles = team.range(groups * group_tiles), columns = team.range(column_blocks(N));
    float *panels = work, *lhs = work + (int64_t)K_BLOCK * column_blocks(N) * LANES + (int64_t)tiles.begin * R * K_BLOCK;
    for (int k0 = 0; k0 < K; k0 += K_BLOCK) {
        const int depth = K - k0 < K_BLOCK ? K - k0 : K_BLOCK;
        team.barrier();  // all have used what was packed before
        pack_rhs(columns, [&](int k) { return b[k0 + k]; }, depth, N, panels);
        constexpr int AT_ONCE = 8;  // few rows: they may be a power of two apart
        for (int first = 0; first < depth; first += AT_ONCE) {
            const int count = depth - first < AT_ONCE ? depth - first : AT_ONCE;
            const float *row[AT_ONCE], *next[AT_ONCE];  // next: to be packed after these
            for (int k = 0; k < count; k++) {
                const int number = k0 + first + k;
                row[k] = a[number];
                next[k] = number + AT_ONCE < K ? a[number + AT_ONCE] : row[k];
            }
            for (int tile = tiles.begin; tile < tiles.end; tile++) {
                const int m = tile % group_tiles * R;
                const int64_t column = tile / group_tiles * group_stride + m;
                float *to = lhs + ((int64_t)(tile - tiles.begin) * K_BLOCK + first / K_PACK * LHS_WIDTH) * R;
                for (int k = 0; k < count; k++) PREFETCH(next[k] + column);
                for (int k = 0; k < count; k += K_PACK, to += LHS_WIDTH * R)
                    pack_lhs_block<R>(row[k] + column, K_PACK > 1 && k + 1 < count ? row[k + 1] + column : nullptr, M - m, to);
            }
        }
        team.barrier();
        const int64_t panel = panel_size(depth, 1);
        const auto multiply_strip = [&](auto width, int block) {
            constexpr int W = decltype(width)::value;
            for (int tile = tiles.begin; tile < tiles.end; tile++) {
                const int m = tile % group_tiles * R, count = M - m < R ? M - m : R;
                float *to = out + ((int64_t)order[tile / group_tiles] * M + m) * N;
                Vector sums[R * W];
#pragma GCC unroll 32
                for (int r = 0; r < R; r++)
#pragma GCC unroll 32
                    for (int p = 0; p < W; p++) {
                        const int n = (block + p) * LANES;
                        const bool accumulate = r < count && (k0 || !overwrite);
                        sums[r * W + p] = accumulate ? load(to + (int64_t)r * N + n, N - n) : Vector{};
                    }
                const float *rows = lhs + (int64_t)(tile - tiles.begin) * R * K_BLOCK;
                accumulate_tile<R, W, 1>([=](int r, int k) { return rows + (int64_t)k * R + r; }, R, panels + block * panel,
                                         panel, depth, 1, sums);
#pragma GCC unroll 32
                for (int r = 0; r < R && r < count; r++)  // constant bounds: the sums stay in registers
#pragma GCC unroll 32
                    for (int p = 0; p < W; p++) {
                        const int n = (block + p) * LANES;
                        store(to + (int64_t)r * N + n, sums[r * W + p], N - n);
                    }
            }
        };
        int block = 0;
        for (; block + P <= column_blocks(N); block += P) multiply_strip(std::integral_constant<int, P>(), block);
        if (block < column_blocks(N)) multiply_strip(std::integral_constant<int, 1>(), block);
    }
}

}  // namespace
