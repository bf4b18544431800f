// The recurrence of one layer: forward through time, and exact backpropagation through time.
//
// Time comes first: time step t of batch row b is row t * B + b of every array that has rows. Hidden sizes are padded to
// H' = padded(H), a whole number of vectors whatever the instruction set; the padding holds finite numbers.
#pragma once
#include "arena.h"
#include "cells.h"
#include "gemm.h"

namespace {

// A layer's weights, packed for the forward pass.
struct PackedLayer {
    float *weight_ih;  // right-hand side (in, GATES * H'), slot by slot
    float *weight_hh;  // right-hand side (H, H') with the GATES side by side
    float *bias;       // GATES * H', in the order of slots: all that can be added before the product with h
    float *bias_m;     // H', the bias that GRU's reset gate multiplies

    template <typename Cell> static PackedLayer take(Arena &arena, int inputs, int hidden) {
        const int64_t H = padded(hidden), gates = Cell::GATES;
        return {arena.take<float>(gates * H * packed_depth(inputs)), arena.take<float>(gates * H * packed_depth(hidden)),
                arena.take<float>(gates * H), arena.take<float>(H)};
    }

    template <typename Cell> void pack(ThreadTeam &team, int inputs, int hidden, const charrnn_weights &weights) const {
        const int H = padded(hidden);
        for (int slot = 0; slot < Cell::GATES; slot++)
            pack_transposed<1>(team, weights.weight_ih + (int64_t)Cell::gate[slot] * hidden * inputs, hidden, inputs,
                               weight_ih + (int64_t)slot * H * packed_depth(inputs));
        pack_transposed<Cell::GATES>(team, weights.weight_hh, hidden, hidden, weight_hh);
        const Range range = team.range(H);
        for (int unit = range.begin; unit < range.end; unit++) {
            const bool real = unit < hidden;
            bias_m[unit] = real && Cell::SLOTS > Cell::GATES ? weights.bias_hh[2 * hidden + unit] : 0.0f;
            for (int slot = 0; slot < Cell::GATES; slot++) {
                const int at = Cell::gate[slot] * hidden + unit;
                const bool separate = Cell::SLOTS > Cell::GATES && slot == 0;
                bias[slot * H + unit] =
                    !real ? 0.0f : separate ? weights.bias_ih[at] : weights.bias_ih[at] + weights.bias_hh[at];
            }
        }
    }
};

// T time steps of a batch of B rows, and the states.
struct Sequence {
    int B, T, hidden;
    const unsigned char *resets;  // (T * B), whether the state is zero before a step; NULL: never
    float *h, *c;                 // ((T + 1) * B, H'), the state before each step and after the last; c NULL but for LSTM
    const float *zeros;           // H'

    int H() const { return padded(hidden); }
    bool reset(int64_t row) const { return resets && resets[row]; }
    RowView previous_h() const { return {h, H(), nullptr, resets, zeros}; }
    const float *previous_c(int64_t row) const { return reset(row) ? zeros : c + row * H(); }
};

// States (B, H) to rows padded to H', and back.
FORCE_INLINE void pad_state(const float *from, int rows, int hidden, float *to) {
    const int H = padded(hidden);
    for (int row = 0; row < rows; row++)
        for (int unit = 0; unit < H; unit++)
            to[(int64_t)row * H + unit] = unit < hidden ? from[(int64_t)row * hidden + unit] : 0;
}

FORCE_INLINE void unpad_state(const float *from, int rows, int hidden, float *to) {
    for (int row = 0; row < rows; row++)
        memcpy(to + (int64_t)row * hidden, from + (int64_t)row * padded(hidden), hidden * sizeof(float));
}

// Floats from one row of saved slots to the next: a little more than the slots, since rows a power of two apart would share
// a few sets of the cache.
template <typename Cell> FORCE_INLINE int64_t activation_stride(int hidden) {
    return (int64_t)Cell::SLOTS * padded(hidden) + 16;
}

// Run all time steps. projection: W_ih x + biases, GATES * H' a row; slots: gets SLOTS * H' a row, unless it is NULL, and may
// be the same memory as the projection. work: packed_lhs_size(B, H) floats for each thread.
template <typename Cell>
void run_forward(ThreadTeam &team, int cell, const Sequence &sequence, const PackedLayer &packed,
                 const RowView &projection, float *slots, float *work) {
    constexpr int G = Cell::GATES;
    const int H = sequence.H(), B = sequence.B;
    const int64_t panel = panel_size(sequence.hidden, G);
    const bool has_c = sequence.c != nullptr;
    const Range range = team.range(H / LANES);
    const RowView previous = sequence.previous_h();
    work += team.rank * packed_lhs_size(B, sequence.hidden);
    for (int t = 0; t < sequence.T; t++) {
        const RowView lhs_rows = pack_lhs(previous, (int64_t)t * B, B, sequence.hidden, work);
        for_each_tile<G>(B, range, [&](auto height, auto width, int first, int block) NOINLINE {
            constexpr int R = decltype(height)::value, W = decltype(width)::value;
            const int64_t row = (int64_t)t * B + first;
            const float *h_prev[R], *lhs[R], *projected[R];
            Vector pre[R][W][G];
            for (int r = 0; r < R; r++) {
                h_prev[r] = previous[row + r];
                lhs[r] = lhs_rows[row + r];
                projected[r] = projection[row + r];
                for (int p = 0; p < W; p++) {
                    const int n = (block + p) * LANES;
                    Cell::init(pre[r][p], projected[r] + n, H, packed.bias_m + n);
                }
            }
            multiply_tile(lhs, packed.weight_hh + block * panel, panel, sequence.hidden, pre);
            for (int r = 0; r < R; r++)
                for (int p = 0; p < W; p++) {
                    const int n = (block + p) * LANES;
                    const int64_t to = (row + r + B) * H + n;
                    Cell::forward(cell, pre[r][p], projected[r] + n,
                                  slots ? slots + (row + r) * activation_stride<Cell>(sequence.hidden) + n : nullptr, H,
                                  h_prev[r] + n, sequence.h + to, has_c ? sequence.previous_c(row + r) + n : nullptr,
                                  has_c ? sequence.c + to : nullptr);
                }
        });
        team.barrier();
    }
}

// Run all time steps backward. `slots` come as the forward pass left them; their gradients (of the pre-activations) replace
// them. weight_hh: packed right-hand side (GATES * H', H).
//
// dh: the loss's gradient by the outputs, rows of H numbers `dh_stride` apart; dh_last, dc_last: by the state after the last step
// (B, H), or NULL. dh_direct, dc: workspaces (B, H'). dprojection: rows of GATES * H' numbers to which the gradients of the
// projections are added, row index[t * B + b], or a single row where `index` is NULL; dbias_m: H', likewise of GRU's bias_m.
// work: packed_lhs_size(B, GATES * H') floats for each thread.
template <typename Cell>
void run_backward(ThreadTeam &team, int cell, const Sequence &sequence, const float *weight_hh, const float *dh,
                  int64_t dh_stride, const float *dh_last, const float *dc_last, float *slots, float *dh_direct,
                  float *dc, float *dprojection, const int32_t *index, float *dbias_m, float *dh_first,
                  float *dc_first, float *work) {
    const int H = sequence.H(), B = sequence.B, K = Cell::GATES * H;
    const int64_t panel = panel_size(K, 1), stride = activation_stride<Cell>(sequence.hidden);
    const Range range = team.range(H / LANES);
    const RowView previous = sequence.previous_h(), dslots_rows{slots + Cell::RECURRENT * H, stride};
    work += team.rank * packed_lhs_size(B, K);
    for (int block = range.begin; block < range.end; block++) {
        const int n = block * LANES, left = sequence.hidden - n;
        store(dbias_m + n, Vector{});
        for (int b = 0; b < B && dc; b++)
            store(dc + (int64_t)b * H + n, dc_last ? load(dc_last + (int64_t)b * sequence.hidden + n, left) : Vector{});
    }
    for (int t = sequence.T - 1; t >= -1; t--) {
        const RowView lhs_rows = pack_lhs(dslots_rows, (int64_t)(t + 1) * B, t < sequence.T - 1 ? B : 0, K, work);
        for_each_tile<1>(B, range, [&](auto height, auto width, int first, int block) NOINLINE {
            constexpr int R = decltype(height)::value, W = decltype(width)::value;
            const int64_t row = (int64_t)t * B + first;
            Vector product[R][W][1];
#pragma GCC unroll 32
            for (int r = 0; r < R; r++)
#pragma GCC unroll 32
                for (int p = 0; p < W; p++) product[r][p][0] = Vector{};
            if (t < sequence.T - 1) {
                const float *lhs[R];
                for (int r = 0; r < R; r++) lhs[r] = lhs_rows[row + r + B];
                multiply_tile(lhs, weight_hh + block * panel, panel, K, product);
            }
            for (int p = 0; p < W; p++) {
                const int n = (block + p) * LANES, left = sequence.hidden - n;
                for (int r = 0; r < R; r++) {
                    const int64_t b = first + r;
                    float *dh_direct_row = dh_direct + b * H + n, *dc_row = dc ? dc + b * H + n : nullptr;
                    Vector dh_here{};
                    if (t == sequence.T - 1) {
                        if (dh_last) dh_here = load(dh_last + b * sequence.hidden + n, left);
                    } else if (!sequence.reset(row + r + B)) {
                        dh_here = product[r][p][0] + load(dh_direct_row);
                    } else if (dc) {
                        store(dc_row, Vector{});
                    }
                    if (t < 0) {
                        store(dh_first + b * sequence.hidden + n, dh_here, left);
                        if (dc) store(dc_first + b * sequence.hidden + n, load(dc_row), left);
                        continue;
                    }
                    if (dh) dh_here += load(dh + (row + r) * dh_stride + n, left);
                    float *slots_row = slots + (row + r) * stride + n;
                    float *dprojection_row = index ? dprojection + (int64_t)index[row + r] * K : dprojection;
                    const int64_t next = (row + r + B) * H + n;
                    Vector dslots[Cell::SLOTS];
                    store(dh_direct_row,
                          Cell::backward(cell, dh_here, slots_row, H, previous[row + r] + n, sequence.h + next,
                                         dc ? sequence.previous_c(row + r) + n : nullptr,
                                         dc ? sequence.c + next : nullptr, dc_row, dslots));
                    for (int slot = 0; slot < Cell::SLOTS; slot++) {
                        store(slots_row + slot * H, dslots[slot]);
                        float *sum = slot < Cell::GATES ? dprojection_row + slot * H + n : dbias_m + n;
                        store(sum, load(sum) + dslots[slot]);
                    }
                }
            }
        });
        team.barrier();
    }
}

}  // namespace
