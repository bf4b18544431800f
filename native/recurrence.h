// One recurrent layer: forward through time, and exact backpropagation through time.
//
// Time comes first: step t of row b is row t * B + b of everything that has rows. Units are padded to H' =
// padded(H), a whole number of vectors whatever the instruction set; what stands in the padding is finite.
#pragma once
#include "arena.h"
#include "cells.h"
#include "gemm.h"

namespace {

// A layer's weights as the forward pass reads them.
struct Packed {
    float *input;      // (in,) -> GATES * H', a panel for each slot
    float *recurrent;  // (H,) -> blocks of H' with their GATES side by side
    float *bias;       // GATES * H', in the order of slots: all that can be added before the product
    float *inner;      // H', the bias that GRU's reset gate multiplies

    template <typename Cell> static Packed take(Arena &arena, int inputs, int hidden) {
        const int64_t H = padded(hidden), gates = Cell::GATES;
        return {arena.take<float>(gates * H * places(inputs)), arena.take<float>(gates * H * places(hidden)),
                arena.take<float>(gates * H), arena.take<float>(H)};
    }

    template <typename Cell> void pack(Team &team, int inputs, int hidden, const charrnn_weights &weights) const {
        const int H = padded(hidden);
        for (int slot = 0; slot < Cell::GATES; slot++)
            pack_rows<1>(team, weights.weight_ih + (int64_t)Cell::gate[slot] * hidden * inputs, hidden, inputs,
                         input + (int64_t)slot * H * places(inputs));
        pack_rows<Cell::GATES>(team, weights.weight_hh, hidden, hidden, recurrent);
        const Share share = team.share(H);
        for (int unit = share.begin; unit < share.end; unit++) {
            const bool real = unit < hidden;
            inner[unit] = real && Cell::SLOTS > Cell::GATES ? weights.bias_hh[2 * hidden + unit] : 0.0f;
            for (int slot = 0; slot < Cell::GATES; slot++) {
                const int at = Cell::gate[slot] * hidden + unit;
                const bool apart = Cell::SLOTS > Cell::GATES && slot == 0;
                bias[slot * H + unit] =
                    !real ? 0.0f : apart ? weights.bias_ih[at] : weights.bias_ih[at] + weights.bias_hh[at];
            }
        }
    }
};

// What a chunk's rows are, whichever way they are run.
struct Chunk {
    int B, T, hidden;
    const unsigned char *resets;  // (T * B), or null
    float *h, *c;                 // ((T + 1) * B, H'), the state before each step and the last; c for LSTM alone
    const float *zeros;           // H'

    int H() const { return padded(hidden); }
    bool reset(int64_t row) const { return resets && resets[row]; }
    Rows before() const { return {h, H(), nullptr, resets, zeros}; }
    const float *cell_before(int64_t row) const { return reset(row) ? zeros : c + row * H(); }
};

// States (B, H) to rows of H' and back.
INLINE void spread(const float *from, int rows, int hidden, float *to) {
    const int H = padded(hidden);
    for (int row = 0; row < rows; row++)
        for (int unit = 0; unit < H; unit++) to[(int64_t)row * H + unit] = unit < hidden ? from[(int64_t)row * hidden + unit] : 0;
}

INLINE void gather(const float *from, int rows, int hidden, float *to) {
    for (int row = 0; row < rows; row++)
        memcpy(to + (int64_t)row * hidden, from + (int64_t)row * padded(hidden), hidden * sizeof(float));
}

// What a row keeps is a little longer than its slots: rows a power of two apart would fall into the same few
// places of the cache.
template <typename Cell> INLINE int64_t row_size(int hidden) { return (int64_t)Cell::SLOTS * padded(hidden) + 16; }

// Runs the steps of a chunk. drive: the input's products with their biases, GATES * H' a row; `slots`, if not null, gets
// SLOTS * H' a row, and may be where the drive is. work: lowered_size(B, H) floats for each thread.
template <typename Cell>
void run_forward(Team &team, int cell, const Chunk &chunk, const Packed &packed, const Rows &drive, float *slots,
                 float *work) {
    constexpr int G = Cell::GATES;
    const int H = chunk.H(), B = chunk.B;
    const int64_t panel = panel_size(chunk.hidden, G);
    const bool has_c = chunk.c != nullptr;
    const Share share = team.share(H / LANES);
    const Rows previous = chunk.before();
    work += team.number * lowered_size(B, chunk.hidden);
    for (int t = 0; t < chunk.T; t++) {
        const Rows factors = lowered(previous, (int64_t)t * B, B, chunk.hidden, work);
        tiles<G>(B, share, [&](auto height, auto width, int first, int block) APART {
            constexpr int R = decltype(height)::value, W = decltype(width)::value;
            const int64_t row = (int64_t)t * B + first;
            const float *before[R], *factor[R], *driven[R];
            Vector sums[R][W][G];
            for (int r = 0; r < R; r++) {
                before[r] = previous[row + r];
                factor[r] = factors[row + r];
                driven[r] = drive[row + r];
                for (int p = 0; p < W; p++) {
                    const int n = (block + p) * LANES;
                    Cell::begin(sums[r][p], driven[r] + n, H, packed.inner + n);
                }
            }
            multiply(factor, packed.recurrent + block * panel, panel, chunk.hidden, sums);
            for (int r = 0; r < R; r++)
                for (int p = 0; p < W; p++) {
                    const int n = (block + p) * LANES;
                    const int64_t to = (row + r + B) * H + n;
                    Cell::forward(cell, sums[r][p], driven[r] + n,
                                  slots ? slots + (row + r) * row_size<Cell>(chunk.hidden) + n : nullptr, H,
                                  before[r] + n,
                                  chunk.h + to, has_c ? chunk.cell_before(row + r) + n : nullptr,
                                  has_c ? chunk.c + to : nullptr);
                }
        });
        team.barrier();
    }
}

// Runs the steps back. `slots` come in as the forward pass left them and end as gradients of what went into
// each slot. `recurrent` is packed for (GATES * H',) -> H.
//
// dh: the loss's derivative by the outputs, rows of H at a distance of `ld`; dh_last, dc_last: by the state at the end (B, H), or null.
// direct, dc: (B, H') each, to work in. sums: rows of GATES * H' numbers to which the gradients of what the input drives
// are added, chosen by `index`, or one row where that is null; inner: H', likewise of GRU's product inside n.
// work: lowered_size(B, GATES * H') floats for each thread.
template <typename Cell>
void run_backward(Team &team, int cell, const Chunk &chunk, const float *recurrent, const float *dh, int64_t ld,
                  const float *dh_last, const float *dc_last, float *slots, float *direct, float *dc,
                  float *sums, const int32_t *index, float *inner, float *dh_first, float *dc_first, float *work) {
    const int H = chunk.H(), B = chunk.B, K = Cell::GATES * H;
    const int64_t panel = panel_size(K, 1), stride = row_size<Cell>(chunk.hidden);
    const Share share = team.share(H / LANES);
    const Rows previous = chunk.before(), gradients{slots + Cell::RECURRENT * H, stride};
    work += team.number * lowered_size(B, K);
    for (int block = share.begin; block < share.end; block++) {
        const int n = block * LANES, left = chunk.hidden - n;
        store(inner + n, Vector{});
        for (int b = 0; b < B && dc; b++)
            store(dc + (int64_t)b * H + n, dc_last ? load(dc_last + (int64_t)b * chunk.hidden + n, left) : Vector{});
    }
    for (int t = chunk.T - 1; t >= -1; t--) {
        const Rows factors = lowered(gradients, (int64_t)(t + 1) * B, t < chunk.T - 1 ? B : 0, K, work);
        tiles<1>(B, share, [&](auto height, auto width, int first, int block) APART {
            constexpr int R = decltype(height)::value, W = decltype(width)::value;
            const int64_t row = (int64_t)t * B + first;
            Vector product[R][W][1];
#pragma GCC unroll 32
            for (int r = 0; r < R; r++)
#pragma GCC unroll 32
                for (int p = 0; p < W; p++) product[r][p][0] = Vector{};
            if (t < chunk.T - 1) {
                const float *later[R];
                for (int r = 0; r < R; r++) later[r] = factors[row + r + B];
                multiply(later, recurrent + block * panel, panel, K, product);
            }
            for (int p = 0; p < W; p++) {
                const int n = (block + p) * LANES, left = chunk.hidden - n;
                for (int r = 0; r < R; r++) {
                    const int64_t b = first + r;
                    float *direct_here = direct + b * H + n, *dc_here = dc ? dc + b * H + n : nullptr;
                    Vector sum{};
                    if (t == chunk.T - 1) {
                        if (dh_last) sum = load(dh_last + b * chunk.hidden + n, left);
                    } else if (!chunk.reset(row + r + B)) {
                        sum = product[r][p][0] + load(direct_here);
                    } else if (dc) {
                        store(dc_here, Vector{});
                    }
                    if (t < 0) {
                        store(dh_first + b * chunk.hidden + n, sum, left);
                        if (dc) store(dc_first + b * chunk.hidden + n, load(dc_here), left);
                        continue;
                    }
                    if (dh) sum += load(dh + (row + r) * ld + n, left);
                    float *here = slots + (row + r) * stride + n;
                    float *sums_here = index ? sums + (int64_t)index[row + r] * K : sums;
                    const int64_t after = (row + r + B) * H + n;
                    Vector gradients[Cell::SLOTS];
                    store(direct_here, Cell::backward(cell, sum, here, H, previous[row + r] + n, chunk.h + after,
                                                      dc ? chunk.cell_before(row + r) + n : nullptr,
                                                      dc ? chunk.c + after : nullptr, dc_here, gradients));
                    for (int slot = 0; slot < Cell::SLOTS; slot++) {
                        store(here + slot * H, gradients[slot]);
                        float *sum_here = slot < Cell::GATES ? sums_here + slot * H + n : inner + n;
                        store(sum_here, load(sum_here) + gradients[slot]);
                    }
                }
            }
        });
        team.barrier();
    }
}

}  // namespace
