// GEMM: products of packed matrices. Each number of a result is one chain of multiply-adds over k = 0, 1, 2, ..., whose
// first addend is the bias or what the result held before. So a row does not depend on its neighbours, nor on the number
// of threads.
#pragma once
#include <utility>

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

const int MAX_TILE_ROWS = ACCUMULATORS / 2, MAX_TILE_BLOCKS = 8, MAX_GATES = 4;

// The most rows of a tile with G vectors per column block, and the most column blocks of a tile of R rows.
constexpr int tile_rows(int G) { return ACCUMULATORS / (G == 1 ? 2 : G); }
constexpr int tile_blocks(int R, int G) {
    const int blocks = ACCUMULATORS / (R * G);
    return blocks < 1 ? 1 : blocks > MAX_TILE_BLOCKS ? MAX_TILE_BLOCKS : blocks;
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

// The product of a tile: sums[r][p][g] += sum over k of a[r][k] * panels[p][k][g], of packed rows given by their addresses.
typedef void TileProduct(const float *const *a, const float *panels, int64_t panel, int K, Vector *sums);

template <int R, int P, int G>
NOINLINE void multiply_tile(const float *const *a, const float *panels, int64_t panel, int K, Vector *sums) {
    const float *row[R];
#pragma GCC unroll 32
    for (int r = 0; r < R; r++) row[r] = a[r];
    accumulate_tile([&](int r, int k) { return row[r] + k; }, 1, panels, panel, K,
                    *reinterpret_cast<Vector(*)[R][P][G]>(sums));
}

// Strips of column blocks are as wide as tiles allow, then half as wide, rounded up, and so on.
constexpr int narrower(int width) { return width > 1 ? (width + 1) / 2 : 0; }

// Whether a strip of tiles of R rows is P wide.
constexpr bool has_strip(int R, int P, int G) {
    for (int width = tile_blocks(R, G); width; width = narrower(width))
        if (width == P) return true;
    return false;
}

// The products of tiles with G vectors per column block, by rows and column blocks; a tile may have a row less than the others
// of its strip.
template <int G> struct TileProducts {
    TileProduct *of[tile_rows(G)][MAX_TILE_BLOCKS] = {};

    constexpr TileProducts() { add_rows(std::make_integer_sequence<int, tile_rows(G)>()); }

  private:
    template <int... R> constexpr void add_rows(std::integer_sequence<int, R...>) {
        (add_blocks<R>(std::make_integer_sequence<int, MAX_TILE_BLOCKS>()), ...);
    }
    template <int R, int... P> constexpr void add_blocks(std::integer_sequence<int, P...>) { (add<R, P>(), ...); }
    template <int R, int P> constexpr void add() {
        if constexpr (has_strip(R + 1, P + 1, G) || (R + 1 < tile_rows(G) && has_strip(R + 2, P + 1, G)))
            of[R][P] = multiply_tile<R + 1, P + 1, G>;
    }
};

template <int G> constexpr TileProducts<G> tile_products;

FORCE_INLINE TileProduct *tile_product(int rows, int blocks, int G) {
    switch (G) {
        case 1: return tile_products<1>.of[rows - 1][blocks - 1];
        case 2: return tile_products<2>.of[rows - 1][blocks - 1];
        case 3: return tile_products<3>.of[rows - 1][blocks - 1];
        default: return tile_products<MAX_GATES>.of[rows - 1][blocks - 1];
    }
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
NOINLINE void pack_transposed(ThreadTeam &team, int G, const float *w, int N, int K, float *to) {
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
                   float *out, int64_t stride, const int32_t *index = nullptr) {
    const int64_t panel = panel_size(K, 1);
    for_each_tile(1, rows.end - rows.begin, columns, [&](const Tile &tile) {
        const int64_t row = rows.begin + tile.row;
        const float *lhs[MAX_TILE_ROWS];
        Vector sums[ACCUMULATORS];
        for (int r = 0; r < tile.rows; r++) lhs[r] = a[row + r];
        for (int p = 0; p < tile.blocks; p++) {
            const int n = (tile.block + p) * LANES;
            const Vector start = bias ? load(bias + n, N - n) : Vector{};
            for (int r = 0; r < tile.rows; r++) sums[r * tile.blocks + p] = start;
        }
        tile_product(tile.rows, tile.blocks, 1)(lhs, panels + tile.block * panel, panel, K, sums);
        for (int r = 0; r < tile.rows; r++) {
            float *const to = out + (index ? index[row + r] : row + r) * stride;
            for (int p = 0; p < tile.blocks; p++) {
                const int n = (tile.block + p) * LANES;
                store(to + n, sums[r * tile.blocks + p], N - n);
            }
        }
    });
}

// The same for M rows that are not packed yet, and all columns; the team shares the rows, or the columns where there are
// few rows. work: packed_lhs_size(M, K) floats.
FORCE_INLINE void gemm(ThreadTeam &team, int M, int N, int K, const RowView &a, const float *panels, const float *bias,
                       float *out, int64_t stride, float *work, const int32_t *index = nullptr) {
    const Range range = team.range(M);
    pack_lhs(a, range.begin, range.end - range.begin, K, work + packed_lhs_size(range.begin, K));
    const RowView lhs = K_PACK == 1 ? a : RowView{work, packed_lhs_size(K)};
    if (K_PACK > 1) team.barrier();
    if (M >= team.size * tile_rows(1))
        gemm(range, Range{0, column_blocks(N)}, N, K, lhs, panels, bias, out, stride, index);
    else
        gemm(Range{0, M}, team.range(column_blocks(N)), N, K, lhs, panels, bias, out, stride, index);
}

}  // namespace
