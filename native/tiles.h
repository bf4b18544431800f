// The products of tiles: a few packed rows times a few column blocks, whose sums stay in registers.
#pragma once
#include <utility>

#include "operands.h"

namespace {

// Columns are processed in blocks of LANES. A packed right-hand side is a sequence of panels, one per column block:
// [K][G][LANES], where G is the number of gates whose same columns are needed together; beyond column N it is zero. In
// bfloat16 two consecutive k stand where float32 has one number, in int8 four.
FORCE_INLINE int column_blocks(int columns) { return (columns + LANES - 1) / LANES; }

// As many accumulators as leave registers for the operands; few where a multiply-add is a function call.
const int ACCUMULATORS = REGISTERS == 32 ? 24 : REGISTERS == 16 ? 12 : 4;

const int MAX_TILE_ROWS = ACCUMULATORS / 2, MAX_TILE_BLOCKS = 8, MAX_GATES = 4;

// Of G gates, those that one product serves: on 16 registers four would leave three rows to a tile, so there are two products
// of two. 1 of none: tiles without a product have the shape of that.
constexpr int gates_at_once(int G) { return G < 1 ? 1 : REGISTERS == 16 && G == 4 ? 2 : G; }

// The most rows of a tile with G vectors per column block, and the most column blocks of a tile of R rows.
constexpr int tile_rows(int G) { return ACCUMULATORS / (G == 1 ? 2 : G); }
constexpr int tile_blocks(int R, int G) {
    const int blocks = ACCUMULATORS / (R * G);
    return blocks < 1 ? 1 : blocks > MAX_TILE_BLOCKS ? MAX_TILE_BLOCKS : blocks;
}

// The micro-kernel: sums[r][p][g] += sum over k of a[r][k] * panels[p][k][g]. a(r, k): the address of a[r][k];
// pair_stride: see load_lhs; panel: floats from one panel to the next; sums: [R][P][sums_stride], of which the first G.
template <int R, int P, int G, typename Lhs>
FORCE_INLINE void accumulate_tile(Lhs &&a, int64_t pair_stride, const float *panels, int64_t panel, int K,
                                  int sums_stride, Vector *sums) {
    Vector s[R][P][G];
#pragma GCC unroll 32
    for (int r = 0; r < R; r++)
#pragma GCC unroll 32
        for (int p = 0; p < P; p++)
#pragma GCC unroll 32
            for (int g = 0; g < G; g++) s[r][p][g] = sums[(r * P + p) * sums_stride + g];
    for (int k = 0, count = packed_depth(K); k < count; k++) {
        const float *rhs = panels + (int64_t)k * G * LANES;
        if constexpr (R < P * G) {  // the fewer operands stay in registers
            LhsOperand x[R];
#pragma GCC unroll 32
            for (int r = 0; r < R; r++) x[r] = load_lhs(a(r, k * LHS_WIDTH), pair_stride);
#pragma GCC unroll 32
            for (int p = 0; p < P; p++)
#pragma GCC unroll 32
                for (int g = 0; g < G; g++) {
                    const RhsOperand b = load_rhs(rhs + p * panel + g * LANES);
#pragma GCC unroll 32
                    for (int r = 0; r < R; r++) s[r][p][g] = multiply_add(x[r], b, s[r][p][g]);
                }
        } else {
            RhsOperand b[P][G];
#pragma GCC unroll 32
            for (int p = 0; p < P; p++)
#pragma GCC unroll 32
                for (int g = 0; g < G; g++) b[p][g] = load_rhs(rhs + p * panel + g * LANES);
#pragma GCC unroll 32
            for (int r = 0; r < R; r++) {
                const LhsOperand x = load_lhs(a(r, k * LHS_WIDTH), pair_stride);
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
            for (int g = 0; g < G; g++) sums[(r * P + p) * sums_stride + g] = s[r][p][g];
}

// The product of a tile, as accumulate_tile() computes it, of packed rows given by their addresses.
typedef void TileProduct(const float *const *a, const float *panels, int64_t panel, int K, int sums_stride, Vector *sums);

template <int R, int P, int G>
NOINLINE void multiply_tile(const float *const *a, const float *panels, int64_t panel, int K, int sums_stride, Vector *sums) {
    const float *row[R];
#pragma GCC unroll 32
    for (int r = 0; r < R; r++) row[r] = a[r];
    const auto lhs = [&](int r, int k) { return row[r] + k; };
#ifndef CHARRNN_BYTE
    accumulate_tile<R, P, G>(lhs, 1, panels, panel, K, sums_stride, sums);
#else  // the sums of integers are exact; then each is scaled, and added
    const float *const scales = panels + (int64_t)packed_depth(K) * G * LANES, *const offsets = scales + G * LANES;
    Vector totals[R * P * G];
#pragma GCC unroll 32
    for (int r = 0; r < R; r++)
#pragma GCC unroll 32
        for (int p = 0; p < P; p++)
#pragma GCC unroll 32
            for (int g = 0; g < G; g++) totals[(r * P + p) * G + g] = first_sum(offsets + p * panel + g * LANES);
    accumulate_tile<R, P, G>(lhs, 1, panels, panel, K, G, totals);
    for (int r = 0; r < R; r++) {
        const Vector row_scale = broadcast(row[r][packed_depth(K)]);
        for (int p = 0; p < P; p++)
            for (int g = 0; g < G; g++) {
                const Vector scale = load(scales + p * panel + g * LANES) * row_scale;
                Vector &sum = sums[(r * P + p) * sums_stride + g];
                sum = to_float((IntVector)totals[(r * P + p) * G + g]) * scale + sum;
            }
    }
#endif
}

// Strips of column blocks are as wide as tiles allow, then half as wide, rounded up, and so on.
constexpr int narrower(int width) { return width > 1 ? (width + 1) / 2 : 0; }

// Whether a strip of tiles of R rows is P wide.
constexpr bool has_strip(int R, int P, int G) {
    for (int width = tile_blocks(R, G); width; width = narrower(width))
        if (width == P) return true;
    return false;
}

// The products of tiles by gates (vectors per column block: what gates_at_once() gives), rows and column blocks; a tile may have
// a row less than the others of its strip.
struct TileProducts {
    TileProduct *of[MAX_GATES][MAX_TILE_ROWS][MAX_TILE_BLOCKS] = {};

    constexpr TileProducts() { add_gates(std::make_integer_sequence<int, MAX_GATES>()); }

    TileProduct *get(int rows, int blocks, int G) const { return of[G - 1][rows - 1][blocks - 1]; }

  private:
    template <int... G> constexpr void add_gates(std::integer_sequence<int, G...>) {
        (add_rows<gates_at_once(G + 1)>(std::make_integer_sequence<int, tile_rows(gates_at_once(G + 1))>()), ...);
    }
    template <int G, int... R> constexpr void add_rows(std::integer_sequence<int, R...>) {
        (add_blocks<G, R + 1>(std::make_integer_sequence<int, MAX_TILE_BLOCKS>()), ...);
    }
    template <int G, int R, int... P> constexpr void add_blocks(std::integer_sequence<int, P...>) {
        (add<G, R, P + 1>(), ...);
    }
    template <int G, int R, int P> constexpr void add() {
        if constexpr (has_strip(R, P, G) || (R < tile_rows(G) && has_strip(R + 1, P, G)))
            of[G - 1][R - 1][P - 1] = multiply_tile<R, P, G>;
    }
};

constexpr TileProducts tile_products;

}  // namespace
