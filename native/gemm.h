// Products of matrices. What they have in common: each number of the result is one chain of multiply-adds over
// k = 0, 1, 2, ..., begun with what the result held before. So a row of it does not depend on its neighbours.
#pragma once
#include "operands.h"
#include "thread_pool.h"

namespace {

// Columns are handled in blocks of LANES. A packed matrix is a sequence of panels, one a block of columns:
// [K][G][LANES], G being the number of gates whose same columns are needed together; beyond N it has zeros. Of bfloat16
// two follow one another in k wherever float32 has one number.
INLINE int blocks(int columns) { return (columns + LANES - 1) / LANES; }

// Rows are padded to a number of columns that is whole vectors whatever the instruction set.
INLINE int padded(int size) { return (size + 15) / 16 * 16; }

INLINE int64_t panel_size(int K, int G) { return (int64_t)places(K) * G * LANES; }

// As many accumulators as leave registers for a factor and a column of the panel; where a multiply-add is a call, few.
const int ACCUMULATORS = REGISTERS == 32 ? 24 : REGISTERS == 16 ? 12 : 4;

// The most rows of a tile with G vectors a block, and the blocks of a tile that has R rows.
template <int G> constexpr int rows_of_tile() { return ACCUMULATORS / (G == 1 ? 2 : G); }
template <int R, int G> constexpr int blocks_of_tile() {
    return ACCUMULATORS / (R * G) < 1 ? 1 : ACCUMULATORS / (R * G) > 8 ? 8 : ACCUMULATORS / (R * G);
}

// sums[r][p][g] += sum over k of a(r, k) * panels[p][k][g], a(r, k) being where that begins; `apart` is how far the
// second of a pair is behind the first, where they are not one.
template <int R, int P, int G, typename Left>
INLINE void accumulate(Left &&a, int64_t apart, const float *panels, int64_t panel, int K, Vector (&sums)[R][P][G]) {
    Vector s[R][P][G];
#pragma GCC unroll 32
    for (int r = 0; r < R; r++)
#pragma GCC unroll 32
        for (int p = 0; p < P; p++)
#pragma GCC unroll 32
            for (int g = 0; g < G; g++) s[r][p][g] = sums[r][p][g];
    for (int k = 0, count = places(K); k < count; k++) {
        const float *here = panels + (int64_t)k * G * LANES;
        if constexpr (R < P * G) {  // the fewer factors wait in registers
            Factor x[R];
#pragma GCC unroll 32
            for (int r = 0; r < R; r++) x[r] = left_side(a(r, k * LEFT), apart);
#pragma GCC unroll 32
            for (int p = 0; p < P; p++)
#pragma GCC unroll 32
                for (int g = 0; g < G; g++) {
                    const Factor b = right_side(here + p * panel + g * LANES);
#pragma GCC unroll 32
                    for (int r = 0; r < R; r++) s[r][p][g] = multiply_add(x[r], b, s[r][p][g]);
                }
        } else {
            Factor b[P][G];
#pragma GCC unroll 32
            for (int p = 0; p < P; p++)
#pragma GCC unroll 32
                for (int g = 0; g < G; g++) b[p][g] = right_side(here + p * panel + g * LANES);
#pragma GCC unroll 32
            for (int r = 0; r < R; r++) {
                const Factor x = left_side(a(r, k * LEFT), apart);
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

// The same where a has R rows anywhere, lowered.
template <int R, int P, int G>
INLINE void multiply(const float *const (&a)[R], const float *panels, int64_t panel, int K, Vector (&sums)[R][P][G]) {
    const float *row[R];
#pragma GCC unroll 32
    for (int r = 0; r < R; r++) row[r] = a[r];
    accumulate([&](int r, int k) { return row[r] + k; }, 1, panels, panel, K, sums);
}

// Rows of numbers: `stride` apart, or chosen by an index, or all the same (stride 0); those that are skipped are zero.
struct Rows {
    const float *base;
    int64_t stride;
    const int32_t *index = nullptr;
    const unsigned char *skip = nullptr;
    const float *zeros = nullptr;

    INLINE const float *operator[](int64_t row) const {
        if (skip && skip[row]) return zeros;
        return base + (index ? index[row] : row) * stride;
    }
};

// Rows `first` on, of K numbers, as the left side of a product wants them; `to` has lowered_size(count, K) floats.
INLINE Rows lowered(const Rows &rows, int64_t first, int64_t count, int K, float *to) {
    if constexpr (PAIRED == 1) return rows;
    const int64_t size = lowered_size(K);
    for (int64_t row = 0; row < count; row++) lower(rows[first + row], K, to + row * size);
    return {to - first * size, size};
}

// A number known when compiling.
template <int N> struct Number {
    static constexpr int value = N;
};

template <int MOST, typename Body> INLINE void dispatch(int number, Body &&body) {
    if constexpr (MOST > 1) {
        if (number < MOST) return dispatch<MOST - 1>(number, body);
    }
    body(Number<MOST>());
}

template <int W, typename Column> INLINE void strips(int block, int end, Column &&column) {
    for (; block + W <= end; block += W) column(Number<W>(), block);
    if constexpr (W > 1) strips<W / 2>(block, end, column);
}

// Cuts rows and blocks of columns with G vectors each into tiles that fill the registers: calls
// tile(R, W, first row, first block), R and W being Numbers. Rows come in tiles of nearly equal height.
template <int G, typename Tile> INLINE void tiles(int rows, Share columns, Tile &&tile) {
    constexpr int MOST = rows_of_tile<G>();
    const int count = (rows + MOST - 1) / MOST;
    if (!count) return;
    dispatch<MOST>((rows + count - 1) / count, [&](auto top) {
        constexpr int TOP = decltype(top)::value;
        strips<blocks_of_tile<TOP, G>()>(columns.begin, columns.end, [&](auto width, int block) {
            for (int n = 0; n < count; n++) {
                const int first = (int)((int64_t)rows * n / count), next = (int)((int64_t)rows * (n + 1) / count);
                if constexpr (TOP > 1) {
                    if (next - first < TOP) {
                        tile(Number<TOP - 1>(), width, first, block);
                        continue;
                    }
                }
                tile(top, width, first, block);
            }
        });
    });
}

// Packs the transpose of w, G matrices (N, K) one after another: column n of the product's right side is row n of each.
// The team shares the blocks, those of the padding among them.
template <int G> void pack_rows(Team &team, const float *w, int N, int K, float *to) {
    const Share share = team.share(padded(N) / LANES);
    for (int block = share.begin; block < share.end; block++) {
        float *panel = to + block * panel_size(K, G);
        const int columns = N - block * LANES;
        for (int g = 0; g < G; g++) {
            const float *from = w + ((int64_t)g * N + block * LANES) * K;
            for (int k0 = 0; k0 < K; k0 += 16) {
                const int last = k0 + 16 < K ? k0 + 16 : K;
                for (int lane = 0; lane < LANES; lane++)
                    for (int k = k0; k < last; k += PAIRED) {
                        const float *here = from + (int64_t)lane * K + k;
                        float *place = panel + ((int64_t)(k / PAIRED) * G + g) * LANES + lane;
                        *place = lane < columns ? packed(here[0], PAIRED > 1 && k + 1 < K ? here[1] : 0) : 0;
                    }
            }
        }
    }
}

// Packs some blocks of a right side whose row k, of N columns, begins at row(k).
template <typename Row> void pack(Share share, Row &&row, int K, int N, float *to) {
    for (int k = 0; k < K; k += PAIRED) {
        const float *even = row(k), *odd = PAIRED > 1 && k + 1 < K ? row(k + 1) : nullptr;
        for (int block = share.begin; block < share.end; block++) {
            const int n = block * LANES;
            store(to + block * panel_size(K, 1) + (int64_t)(k / PAIRED) * LANES,
                  packed(load(even + n, N - n), odd ? load(odd + n, N - n) : Vector{}));
        }
    }
}

// out[m][n] = begin[n] + sum over k of a[m][k] * panels[k][n], for the rows and blocks of columns of a share; a, lowered;
// a row of out begins `stride` after the one before. No `begin` is zero.
__attribute__((noinline)) void multiply_rows(Share rows, Share columns, int N, int K, const Rows &a, const float *panels,
                                             const float *begin, float *out, int64_t stride) {
    const int64_t panel = panel_size(K, 1);
    tiles<1>(rows.end - rows.begin, columns, [&](auto height, auto width, int first, int block) APART {
        constexpr int R = decltype(height)::value, W = decltype(width)::value;
        const float *left[R];
        Vector sums[R][W][1];
        for (int r = 0; r < R; r++) left[r] = a[rows.begin + first + r];
        for (int p = 0; p < W; p++) {
            const int n = (block + p) * LANES;
            const Vector from = begin ? load(begin + n, N - n) : Vector{};
            for (int r = 0; r < R; r++) sums[r][p][0] = from;
        }
        multiply(left, panels + block * panel, panel, K, sums);
        for (int r = 0; r < R; r++)
            for (int p = 0; p < W; p++) {
                const int n = (block + p) * LANES;
                store(out + (rows.begin + first + r) * stride + n, sums[r][p][0], N - n);
            }
    });
}

// The same of M rows that are not lowered, and all columns; the team shares the rows, or the columns if there are few rows.
// work: lowered_size(M, K) floats.
INLINE void multiply_rows(Team &team, int M, int N, int K, const Rows &a, const float *panels, const float *begin,
                          float *out, int64_t stride, float *work) {
    const Share share = team.share(M);
    lowered(a, share.begin, share.end - share.begin, K, work + lowered_size(share.begin, K));
    const Rows left = PAIRED == 1 ? a : Rows{work, lowered_size(K)};
    if (PAIRED > 1) team.barrier();
    if (M >= team.count * rows_of_tile<1>())
        multiply_rows(share, Share{0, blocks(N)}, N, K, left, panels, begin, out, stride);
    else
        multiply_rows(Share{0, M}, team.share(blocks(N)), N, K, left, panels, begin, out, stride);
}

const int in_order[4] = {0, 1, 2, 3};

// The gradient of weights: out[order[group]][m][n] = sum over k of a[k][group * apart + m] * b[k][n], added to what is
// there unless `fresh`. The team shares the rows. Both sides are packed, DEPTH of k at a time, so that they stay in
// the cache.
const int DEPTH = 256;

INLINE int64_t outer_work(int groups, int M, int N) {
    const int tile = rows_of_tile<1>();
    return (int64_t)DEPTH * (blocks(N) * LANES + (int64_t)groups * ((M + tile - 1) / tile) * tile);
}

__attribute__((noinline)) void outer(Team &team, int groups, const int *order, int M, int N, int K, const Rows &a,
                                     int64_t apart, const Rows &b, float *out, bool fresh, float *work) {
    constexpr int MOST = rows_of_tile<1>(), P = blocks_of_tile<MOST, 1>();
    const int tall = (M + MOST - 1) / MOST;
    const Share mine = team.share(groups * tall), packed = team.share(blocks(N));
    float *panels = work, *left = work + (int64_t)DEPTH * blocks(N) * LANES + (int64_t)mine.begin * MOST * DEPTH;
    for (int k0 = 0; k0 < K; k0 += DEPTH) {
        const int depth = K - k0 < DEPTH ? K - k0 : DEPTH;
        team.barrier();  // everybody is done with what was packed before
        pack(packed, [&](int k) { return b[k0 + k]; }, depth, N, panels);
        for (int k8 = 0; k8 < depth; k8 += 8)  // few rows at a time: they may be a power of two apart
            for (int tile = mine.begin; tile < mine.end; tile++) {
                float *to = left + (int64_t)(tile - mine.begin) * MOST * DEPTH;
                const int m = tile % tall * MOST, last = k8 + 8 < depth ? k8 + 8 : depth;
                const int64_t column = tile / tall * apart + m;
                for (int k = k8; k < last; k += PAIRED) {
                    const float *even = a[k0 + k] + column;
                    const float *odd = PAIRED > 1 && k + 1 < last ? a[k0 + k + 1] + column : nullptr;
                    float *place = to + k / PAIRED * LEFT * MOST;
                    if (m + MOST <= M)
                        lower_place<MOST>(even, odd, MOST, place);
                    else
                        lower_place<MOST>(even, odd, M - m, place);
                }
            }
        team.barrier();
        const int64_t panel = panel_size(depth, 1);
        strips<P>(0, blocks(N), [&](auto width, int block) {
            constexpr int W = decltype(width)::value;
            for (int tile = mine.begin; tile < mine.end; tile++) {
                const int m = tile % tall * MOST, count = M - m < MOST ? M - m : MOST;
                float *to = out + ((int64_t)order[tile / tall] * M + m) * N;
                Vector sums[MOST][W][1];
#pragma GCC unroll 32
                for (int r = 0; r < MOST; r++)
#pragma GCC unroll 32
                    for (int p = 0; p < W; p++) {
                        const int n = (block + p) * LANES;
                        const bool there = r < count && (k0 || !fresh);
                        sums[r][p][0] = there ? load(to + (int64_t)r * N + n, N - n) : Vector{};
                    }
                const float *rows = left + (int64_t)(tile - mine.begin) * MOST * DEPTH;
                accumulate([=](int r, int k) { return rows + (int64_t)k * MOST + r; }, MOST, panels + block * panel, panel,
                           depth, sums);
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
