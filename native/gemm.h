// GEMM: products of packed matrices. Each number of a result is one chain of multiply-adds over k = 0, 1, 2, ..., whose
// first addend is the bias or what the result held before. So a row does not depend on its neighbours, nor on the number
// of threads.
#pragma once
#include "operands.h"
#include "thread_pool.h"

namespace {

// Columns are processed in blocks of LANES. A packed right-hand side is a sequence of panels, one per column block:
// [K][G][LANES], where G is the number of gates whose same columns are needed together; beyond column N it is zero. In
// bfloat16 two consecutive k stand where float32 has one number.
FORCE_INLINE int column_blocks(int columns) { return (columns + LANES - 1) / LANES; }

// Rows are padded to a length that is whole vectors whatever the instruction set.
FORCE_INLINE int padded(int size) { return (size + 15) / 16 * 16; }

FORCE_INLINE int64_t panel_size(int K, int G) { return (int64_t)packed_depth(K) * G * LANES; }

// As many accumulators as leave registers for the operands; few where a multiply-add is a function call.
const int ACCUMULATORS = REGISTERS == 32 ? 24 : REGISTERS == 16 ? 12 : 4;

// The most rows of a tile with G vectors per column block, and the column blocks of a tile of R rows.
template <int G> constexpr int tile_rows() { return ACCUMULATORS / (G == 1 ? 2 : G); }
template <int R, int G> constexpr int tile_blocks() {
    return ACCUMULATORS / (R * G) < 1 ? 1 : ACCUMULATORS / (R * G) > 8 ? 8 : ACCUMULATORS / (R * G);
}

// The micro-kernel: sums[r][p][g] += sum over k of a[r][k] * panels[p][k][g]. a(r, k): the address of a[r][k];
// pair_stride: see load_lhs; panel: floats from one panel to the next.
template <int R, int P, int G, typename Lhs>
FORCE_INLINE void accumulate_tile(Lhs &&a, int64_t pair_stride, const float *panels, int64_t panel, int K,
                                  Vector (&sums)[R][P][G]) {
    Vector s[R][P][G];
#pragma GCC unroll 32
    for (int r = 0; r < R; r++)
#pragma GCC unroll 32
        for (int p = 0; p < P; p++)
#pragma GCC unroll 32
            for (int g = 0; g < G; g++) s[r][p][g] = sums[r][p][g];
    for (int k = 0, count = packed_depth(K); k < count; k++) {
        const float *rhs = panels + (int64_t)k * G * LANES;
        if constexpr (R < P * G) {  // the fewer operands stay in registers
            Operand x[R];
#pragma GCC unroll 32
            for (int r = 0; r < R; r++) x[r] = load_lhs(a(r, k * LHS_WIDTH), pair_stride);
#pragma GCC unroll 32
            for (int p = 0; p < P; p++)
#pragma GCC unroll 32
                for (int g = 0; g < G; g++) {
                    const Operand b = load_rhs(rhs + p * panel + g * LANES);
#pragma GCC unroll 32
                    for (int r = 0; r < R; r++) s[r][p][g] = multiply_add(x[r], b, s[r][p][g]);
                }
        } else {
            Operand b[P][G];
#pragma GCC unroll 32
            for (int p = 0; p < P; p++)
#pragma GCC unroll 32
                for (int g = 0; g < G; g++) b[p][g] = load_rhs(rhs + p * panel + g * LANES);
#pragma GCC unroll 32
            for (int r = 0; r < R; r++) {
                const Operand x = load_lhs(a(r, k * LHS_WIDTH), pair_stride);
#pragma GCC unroll 32
                for (int p = 0; p < P; p++)
#pragma GCC unroll 32
                    for (int g = 0; g < G; g++) s[r][p][g] = multiply_add(x, b[p][g], s[r][p][g]);
            }
        }
    }
#pragma GCC unroll 32
    for (int r = 0; r < R; r++)
#pragma GCC unroll 32
        for (int p = 0; p < P; p++)
#pragma GCC unroll 32
            for (int g = 0; g < G; g++) sums[r][p][g] = s[r][p][g];
}

// The same for R packed rows, given by their addresses.
template <int R, int P, int G>
FORCE_INLINE void multiply_tile(const float *const (&a)[R], const float *panels, int64_t panel, int K,
                                Vector (&sums)[R][P][G]) {
    const float *row[R];
#pragma GCC unroll 32
    for (int r = 0; r < R; r++) row[r] = a[r];
    accumulate_tile([&](int r, int k) { return row[r] + k; }, 1, panels, panel, K, sums);
}

// Rows of a matrix, `stride` floats apart (0: all the same one). index: which row of the matrix each row is; masked: the
// rows that read as zeros.
struct RowView {
    const float *base;
    int64_t stride;
    const int32_t *index = nullptr;
    const unsigned char *masked = nullptr;
    const float *zeros = nullptr;

    FORCE_INLINE const float *operator[](int64_t row) const {
        if (masked && masked[row]) return zeros;
        return base + (index ? index[row] : row) * stride;
    }
};

// Pack `count` rows of K numbers, from row `first` on, for the left-hand side; `to` has packed_lhs_size(count, K) floats.
FORCE_INLINE RowView pack_lhs(const RowView &rows, int64_t first, int64_t count, int K, float *to) {
    if constexpr (K_PACK == 1) return rows;
    const int64_t size = packed_lhs_size(K);
    for (int64_t row = 0; row < count; row++) pack_lhs_row(rows[first + row], K, to + row * size);
    return {to - first * size, size};
}

// A compile-time constant that can be passed to a lambda.
template <int N> struct Constant {
    static constexpr int value = N;
};

// Call body(Constant<number>), 1 <= number <= MAX.
template <int MAX, typename Body> FORCE_INLINE void with_constant(int number, Body &&body) {
    if constexpr (MAX > 1) {
        if (number < MAX) return with_constant<MAX - 1>(number, body);
    }
    body(Constant<MAX>());
}

// Cut column blocks into strips of W, then W / 2 and so on; call use(Constant<width>, first block) for each.
template <int W, typename Use> FORCE_INLINE void for_each_strip(int block, int end, Use &&use) {
    for (; block + W <= end; block += W) use(Constant<W>(), block);
    if constexpr (W > 1) for_each_strip<W / 2>(block, end, use);
}

// Cut rows and column blocks of G vectors each into tiles that fill the registers: call
// tile(Constant<rows>, Constant<blocks>, first row, first block). Tiles are of nearly equal height.
template <int G, typename Tile> FORCE_INLINE void for_each_tile(int rows, Range columns, Tile &&tile) {
    constexpr int MAX_ROWS = tile_rows<G>();
    const int count = (rows + MAX_ROWS - 1) / MAX_ROWS;
    if (!count) return;
    with_constant<MAX_ROWS>((rows + count - 1) / count, [&](auto height) {
        constexpr int R = decltype(height)::value;
        for_each_strip<tile_blocks<R, G>()>(columns.begin, columns.end, [&](auto width, int block) {
            for (int n = 0; n < count; n++) {
                const int first = (int)((int64_t)rows * n / count), next = (int)((int64_t)rows * (n + 1) / count);
                if constexpr (R > 1) {
                    if (next - first < R) {
                        tile(Constant<R - 1>(), width, first, block);
                        continue;
                    }
                }
                tile(height, width, first, block);
            }
        });
    });
}

// Pack the transpose of w as the right-hand side: w is G matrices (N, K) one after another, and column n of the product is
// row n of each. The team shares the column blocks, those of the padding among them.
template <int G> void pack_transposed(ThreadTeam &team, const float *w, int N, int K, float *to) {
    const Range range = team.range(padded(N) / LANES);
    for (int block = range.begin; block < range.end; block++) {
        float *panel = to + block * panel_size(K, G);
        const int columns = N - block * LANES;
        for (int g = 0; g < G; g++) {
            const float *from = w + ((int64_t)g * N + block * LANES) * K;
            for (int k0 = 0; k0 < K; k0 += 16) {
                const int last = k0 + 16 < K ? k0 + 16 : K;
                for (int lane = 0; lane < LANES; lane++)
                    for (int k = k0; k < last; k += K_PACK) {
                        const float *pair = from + (int64_t)lane * K + k;
                        float *packed = panel + ((int64_t)(k / K_PACK) * G + g) * LANES + lane;
                        *packed = lane < columns ? pack_pair(pair[0], K_PACK > 1 && k + 1 < K ? pair[1] : 0) : 0;
                    }
            }
        }
    }
}

// Pack some column blocks of a right-hand side whose row k, of N columns, begins at row(k).
template <typename Row> void pack_rhs(Range range, Row &&row, int K, int N, float *to) {
    for (int k = 0; k < K; k += K_PACK) {
        const float *even = row(k), *odd = K_PACK > 1 && k + 1 < K ? row(k + 1) : nullptr;
        for (int block = range.begin; block < range.end; block++) {
            const int n = block * LANES;
            store(to + block * panel_size(K, 1) + (int64_t)(k / K_PACK) * LANES,
                  pack_pair(load(even + n, N - n), odd ? load(odd + n, N - n) : Vector{}));
        }
    }
}

// out[m][n] = bias[n] + sum over k of a[m][k] * panels[k][n] for the given rows and column blocks. a: packed; bias: NULL
// is zero; stride: floats from one row of out to the next.
NOINLINE void gemm(Range rows, Range columns, int N, int K, const RowView &a, const float *panels, const float *bias,
                   float *out, int64_t stride) {
    const int64_t panel = panel_size(K, 1);
    for_each_tile<1>(rows.end - rows.begin, columns, [&](auto height, auto width, int first, int block) NOINLINE {
        constexpr int R = decltype(height)::value, W = decltype(width)::value;
        const float *lhs[R];
        Vector sums[R][W][1];
        for (int r = 0; r < R; r++) lhs[r] = a[rows.begin + first + r];
        for (int p = 0; p < W; p++) {
            const int n = (block + p) * LANES;
            const Vector start = bias ? load(bias + n, N - n) : Vector{};
            for (int r = 0; r < R; r++) sums[r][p][0] = start;
        }
        multiply_tile(lhs, panels + block * panel, panel, K, sums);
        for (int r = 0; r < R; r++)
            for (int p = 0; p < W; p++) {
                const int n = (block + p) * LANES;
                store(out + (rows.begin + first + r) * stride + n, sums[r][p][0], N - n);
            }
    });
}

// The same for M rows that are not packed yet, and all columns; the team shares the rows, or the columns where there are
// few rows. work: packed_lhs_size(M, K) floats.
FORCE_INLINE void gemm(ThreadTeam &team, int M, int N, int K, const RowView &a, const float *panels, const float *bias,
                       float *out, int64_t stride, float *work) {
    const Range range = team.range(M);
    pack_lhs(a, range.begin, range.end - range.begin, K, work + packed_lhs_size(range.begin, K));
    const RowView lhs = K_PACK == 1 ? a : RowView{work, packed_lhs_size(K)};
    if (K_PACK > 1) team.barrier();
    if (M >= team.size * tile_rows<1>())
        gemm(range, Range{0, column_blocks(N)}, N, K, lhs, panels, bias, out, stride);
    else
        gemm(Range{0, M}, team.range(column_blocks(N)), N, K, lhs, panels, bias, out, stride);
}

const int identity_order[4] = {0, 1, 2, 3};

// The gradient of weights, a product A^T B: out[order[group]][m][n] = sum over k of
// a[k][group * group_stride + m] * b[k][n], added to what is there unless `overwrite`. The team shares the rows of out. Both
// sides are packed, K_BLOCK of k at a time, so that they stay in the cache.
const int K_BLOCK = 256;

FORCE_INLINE int64_t weight_gradient_work(int groups, int M, int N) {
    const int tile = tile_rows<1>();
    return (int64_t)K_BLOCK * (column_blocks(N) * LANES + (int64_t)groups * ((M + tile - 1) / tile) * tile);
}

NOINLINE void weight_gradient(ThreadTeam &team, int groups, const int *order, int M, int N, int K, const RowView &a,
                              int64_t group_stride, const RowView &b, float *out, bool overwrite, float *work) {
    constexpr int R = tile_rows<1>(), P = tile_blocks<R, 1>();
    const int group_tiles = (M + R - 1) / R;
    const Range tiles = team.range(groups * group_tiles), columns = team.range(column_blocks(N));
    float *panels = work, *lhs = work + (int64_t)K_BLOCK * column_blocks(N) * LANES + (int64_t)tiles.begin * R * K_BLOCK;
    for (int k0 = 0; k0 < K; k0 += K_BLOCK) {
        const int depth = K - k0 < K_BLOCK ? K - k0 : K_BLOCK;
        team.barrier();  // all have used what was packed before
        pack_rhs(columns, [&](int k) { return b[k0 + k]; }, depth, N, panels);
        for (int k8 = 0; k8 < depth; k8 += 8)  // few rows at a time: they may be a power of two apart
            for (int tile = tiles.begin; tile < tiles.end; tile++) {
                float *to = lhs + (int64_t)(tile - tiles.begin) * R * K_BLOCK;
                const int m = tile % group_tiles * R, last = k8 + 8 < depth ? k8 + 8 : depth;
                const int64_t column = tile / group_tiles * group_stride + m;
                for (int k = k8; k < last; k += K_PACK) {
                    const float *even = a[k0 + k] + column;
                    const float *odd = K_PACK > 1 && k + 1 < last ? a[k0 + k + 1] + column : nullptr;
                    float *packed = to + k / K_PACK * LHS_WIDTH * R;
                    if (m + R <= M)
                        pack_lhs_block<R>(even, odd, R, packed);
                    else
                        pack_lhs_block<R>(even, odd, M - m, packed);
                }
            }
        team.barrier();
        const int64_t panel = panel_size(depth, 1);
        for_each_strip<P>(0, column_blocks(N), [&](auto width, int block) {
            constexpr int W = decltype(width)::value;
            for (int tile = tiles.begin; tile < tiles.end; tile++) {
                const int m = tile % group_tiles * R, count = M - m < R ? M - m : R;
                float *to = out + ((int64_t)order[tile / group_tiles] * M + m) * N;
                Vector sums[R][W][1];
#pragma GCC unroll 32
                for (int r = 0; r < R; r++)
#pragma GCC unroll 32
                    for (int p = 0; p < W; p++) {
                        const int n = (block + p) * LANES;
                        const bool accumulate = r < count && (k0 || !overwrite);
                        sums[r][p][0] = accumulate ? load(to + (int64_t)r * N + n, N - n) : Vector{};
                    }
                const float *rows = lhs + (int64_t)(tile - tiles.begin) * R * K_BLOCK;
                accumulate_tile([=](int r, int k) { return rows + (int64_t)k * R + r; }, R, panels + block * panel,
                                panel, depth, sums);
                for (int r = 0; r < count; r++)
                    for (int p = 0; p < W; p++) {
                        const int n = (block + p) * LANES;
                        store(to + (int64_t)r * N + n, sums[r][p][0], N - n);
                    }
            }
        });
    }
}

}  // namespace
