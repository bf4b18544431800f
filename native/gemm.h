// GEMM: products of packed matrices. Each number of a result is one chain of multiply-adds over k = 0, 1, 2, ..., whose
// first addend is the bias or what the result held before. So a row does not depend on its neighbours, nor on the number
// of threads.
#pragma once
#include "quantize.h"
#include "thread_pool.h"
#include "tiles.h"

namespace {

FORCE_INLINE int64_t panel_size(int K, int G) { return (int64_t)packed_depth(K) * G * LANES; }

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

// How the operands of products are packed, and the products: those that this file is compiled for, or int8.
struct Products {
    const TileProducts *tiles;
    bool int8;

    bool packs_lhs() const { return int8 || K_PACK > 1; }
    int64_t lhs_size(int K) const { return int8 ? int8_lhs_size(K) : packed_lhs_size(K); }
    int64_t panel_size(int K, int G) const { return int8 ? int8_panel_size(K, G) : ::panel_size(K, G); }
};

constexpr Products own_products = {&tile_products, false};

// Pack `count` rows of K numbers, from row `first` on, for the left-hand side; `to` has count * lhs_size(K) floats.
FORCE_INLINE RowView pack_lhs(const RowView &rows, int64_t first, int64_t count, int K, float *to,
                              const Products &products = own_products) {
    if (!products.packs_lhs()) return rows;
    const int64_t size = products.lhs_size(K);
    for (int64_t row = 0; row < count; row++)
        if (products.int8)
            pack_int8_row(rows[first + row], K, to + row * size);
        else
            pack_lhs_row(rows[first + row], K, to + row * size);
    return {to - first * size, size};
}

// Rows `row` to row + rows, and column blocks `block` to block + blocks.
struct Tile {
    int row, rows, block, blocks;
};

// Cut column blocks into strips of `width`, then narrower ones; call use(width, first block) for each.
template <typename Use> FORCE_INLINE void for_each_strip(int width, Range columns, Use &&use) {
    for (int block = columns.begin; width; width = narrower(width))
        for (; block + width <= columns.end; block += width) use(width, block);
}

// Cut rows and column blocks of G vectors each into tiles that fill the registers: call use(tile) for each. Tiles are of
// nearly equal height.
template <typename Use> FORCE_INLINE void for_each_tile(int G, int rows, Range columns, Use &&use) {
    const int most = tile_rows(G), count = (rows + most - 1) / most;
    if (!count) return;
    for_each_strip(tile_blocks((rows + count - 1) / count, G), columns, [&](int width, int block) {
        for (int n = 0; n < count; n++) {
            const int first = (int)((int64_t)rows * n / count), next = (int)((int64_t)rows * (n + 1) / count);
            use(Tile{first, next - first, block, width});
        }
    });
}

template <int... FROM> FORCE_INLINE Vector shuffle(Vector a, Vector b) {
#if defined(__clang__)
    return __builtin_shufflevector(a, b, FROM...);
#else
    return __builtin_shuffle(a, b, IntVector{FROM...});
#endif
}

// Swap the two blocks of S x S numbers beside the diagonal of a square of twice that size, of which a and b have a row each.
template <int S, int... LANE> FORCE_INLINE void swap_blocks(Vector &a, Vector &b, std::integer_sequence<int, LANE...>) {
    const Vector upper = shuffle<(LANE & S ? LANES + LANE - S : LANE)...>(a, b);
    b = shuffle<(LANE & S ? LANES + LANE : LANE + S)...>(a, b);
    a = upper;
}

// Transpose a square: single numbers change places, then pairs, and so on (Eklundh 1972).
template <int S = 1> FORCE_INLINE void transpose(Vector (&rows)[LANES]) {
#pragma GCC unroll 32
    for (int row = 0; row < LANES; row++)
        if (!(row & S)) swap_blocks<S>(rows[row], rows[row + S], std::make_integer_sequence<int, LANES>());
    if constexpr (2 * S < LANES) transpose<2 * S>(rows);
}

// Pack the transpose of w as the right-hand side: w is G matrices (N, K) one after another, and column n of the product is
// row n of each. The team shares the column blocks, those of the padding among them.
NOINLINE void pack_transposed(ThreadTeam &team, int G, const float *w, int N, int K, float *to,
                              const Products &products = own_products) {
    if (products.int8) return pack_int8_transposed(team, G, w, N, K, to);
    const Range range = team.range(padded(N) / LANES);
    for (int block = range.begin; block < range.end; block++) {
        float *panel = to + block * panel_size(K, G);
        const int columns = N - block * LANES;
        for (int g = 0; g < G; g++) {
            const float *from = w + ((int64_t)g * N + block * LANES) * K;
            for (int k0 = 0; k0 < K; k0 += LANES) {
                Vector rows[LANES];
                for (int lane = 0; lane < LANES; lane++)
                    rows[lane] = lane < columns ? load(from + (int64_t)lane * K + k0, K - k0) : Vector{};
                transpose(rows);
                for (int k = 0; k < LANES && k0 + k < K; k += K_PACK)
                    store(panel + ((int64_t)(k0 + k) / K_PACK * G + g) * LANES, pack_pair(rows[k], rows[k + K_PACK - 1]));
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
// is zero; stride: floats from one row of out to the next; index: which of them each row is, NULL: its own.
NOINLINE void gemm(Range rows, Range columns, int N, int K, const RowView &a, const float *panels, const float *bias,
                   float *out, int64_t stride, const int32_t *index = nullptr,
                   const Products &products = own_products) {
    const int64_t panel = products.panel_size(K, 1);
    for_each_tile(1, rows.end - rows.begin, columns, [&](const Tile &tile) {
        const int64_t row = rows.begin + tile.row;
        const float *lhs[MAX_TILE_ROWS];
        float *to[MAX_TILE_ROWS];
        Vector sums[ACCUMULATORS];
        for (int r = 0; r < tile.rows; r++) {
            lhs[r] = a[row + r];
            to[r] = out + (index ? index[row + r] : row + r) * stride;
        }
        for (int p = 0; p < tile.blocks; p++) {
            const int n = (tile.block + p) * LANES;
            const Vector start = bias ? load(bias + n, N - n) : Vector{};
            for (int r = 0; r < tile.rows; r++) {
                sums[r * tile.blocks + p] = start;
                PREFETCH(to[r] + n);
            }
        }
        products.tiles->get(tile.rows, tile.blocks, 1)(lhs, panels + tile.block * panel, panel, K, 1, sums);
        for (int r = 0; r < tile.rows; r++)
            for (int p = 0; p < tile.blocks; p++) {
                const int n = (tile.block + p) * LANES;
                store(to[r] + n, sums[r * tile.blocks + p], N - n);
            }
    });
}

// The same for M rows that are not packed yet, and all columns; the team shares the rows, or the columns where there are
// few rows. work: M * lhs_size(K) floats.
FORCE_INLINE void gemm(ThreadTeam &team, int M, int N, int K, const RowView &a, const float *panels, const float *bias,
                       float *out, int64_t stride, float *work, const int32_t *index = nullptr,
                       const Products &products = own_products) {
    const Range range = team.range(M);
    const int64_t size = products.lhs_size(K);
    pack_lhs(a, range.begin, range.end - range.begin, K, work + range.begin * size, products);
    const RowView lhs = products.packs_lhs() ? RowView{work, size} : a;
    if (products.packs_lhs()) team.barrier();
    if (M >= team.size * tile_rows(1))
        gemm(range, Range{0, column_blocks(N)}, N, K, lhs, panels, bias, out, stride, index, products);
    else
        gemm(Range{0, M}, team.range(column_blocks(N)), N, K, lhs, panels, bias, out, stride, index, products);
}

}  // namespace
