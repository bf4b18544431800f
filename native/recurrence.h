// The recurrence of one layer: forward through time, and exact backpropagation through time.
//
// Time comes first: time step t of batch row b is row t * B + b of every array that has rows. Hidden sizes are padded to
// H' = padded(H), a whole number of vectors whatever the instruction set; the padding holds finite numbers.
#pragma once
#include "packed_layer.h"

namespace {

// T time steps of a batch of B rows, and the states.
struct Sequence {
    int B, T, hidden;
    const unsigned char *resets;  // (T * B), whether the state is zero before a step; NULL: never
    float *h, *c;                 // ((T + 1) * B, H'), the state before each step and after the last; c NULL where the cell has none
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
FORCE_INLINE int64_t activation_stride(const Cell &cell, int hidden) { return (int64_t)cell.slots * padded(hidden) + 16; }

// The slots of all rows; NULL: none are kept. One time step's rows may take the place of those of the step before.
struct Slots {
    float *base;
    int64_t stride, step;  // floats from a row to the next, and rows from a time step to the next: B or 0

    float *row(int64_t t, int64_t b) const { return base + (t * step + b) * stride; }
    RowView rows(int64_t t, int64_t offset) const { return {row(t, 0) + offset, stride}; }  // those of a time step
};

// A thread's memory for one time step of B rows.
struct StepWork {
    float *packed;      // for the left-hand side of the products, rows of up to K numbers
    const float **lhs;  // addresses of its rows
    void *units;        // of each row
    const Products &products;

    static int64_t units_size(int B) { return ((int64_t)B * (sizeof(BackwardUnits) + sizeof(float *)) + 63) / 64 * 16; }
    static int64_t size(int B, int K, const Products &products = own_products) {  // in floats
        return B * products.lhs_size(K) + units_size(B);
    }

    StepWork(float *base, const ThreadTeam &team, int B, int K, const Products &products = own_products)
        : packed(base + team.rank * size(B, K, products)), products(products) {
        float *rest = packed + B * products.lhs_size(K);
        units = rest;
        lhs = reinterpret_cast<const float **>(rest + B * sizeof(BackwardUnits) / sizeof(float));
    }

    // What a product reads: B rows, packed, from row `first` on.
    void pack(const RowView &rows, int64_t first, int B, int K) const {
        const RowView view = pack_lhs(rows, first, B, K, packed, products);
        for (int b = 0; b < B; b++) lhs[b] = view[first + b];
    }
};

// What a product adds to, [rows][blocks][G]: of each gate a vector `starts[g]` numbers behind the row's projection, but of the
// last the vector `last` where that is not NULL.
template <int G>
FORCE_INLINE void start_sums(const ForwardTile &of, const int64_t *starts, const float *last, Vector *sums) {
    const int64_t column = of.tile.block * LANES;
    for (int r = 0; r < of.tile.rows; r++) {
        const float *start[G];
        for (int g = 0; g < G; g++) start[g] = of.rows[r].projection + starts[g] + column;
        if (last) start[G - 1] = last + column;
        for (int p = 0; p < of.tile.blocks; p++)
            for (int g = 0; g < G; g++) *sums++ = load(start[g] + p * LANES);
    }
}

// Run all time steps. projection: W_ih x + biases, gates * H' a row; slots may be the same memory. work: StepWork::size(B, H)
// floats for each thread.
NOINLINE void run_forward(const Cell &cell, ThreadTeam &team, const Sequence &sequence, const PackedLayer &packed,
                          const RowView &projection, const Slots &slots, float *memory) {
    const int H = sequence.H(), B = sequence.B, hidden = sequence.hidden;
    const Range range = team.range(H / LANES);
    const RowView previous = sequence.previous_h();
    const Products &products = *packed.recurrent;
    const StepWork work(memory, team, B, hidden, products);
    ForwardUnits *const units = static_cast<ForwardUnits *>(work.units);
    const auto run_half = [&](int half) {
        const int G = cell.matmuls[half];
        const int at_once = gates_at_once(G);
        const int64_t panel = products.panel_size(hidden, at_once);
        const float *const last = cell.separate ? packed.bias_m : nullptr;
        int64_t starts[MAX_GATES];
        for (int g = 0; g < G; g++) starts[g] = half ? 0 : (cell.recurrent + g) * H;
        for_each_tile(at_once, B, range, [&](const Tile &tile) {
            Vector sums[2 * ACCUMULATORS];  // of two products at most
            const ForwardTile of{tile, G, sums, units + tile.row};
            // before the product: what is written after it, and what the next strip's is added to
            for (int r = tile.row; r < tile.row + tile.rows; r++)
                for (int64_t n = tile.block * LANES, end = n + tile.blocks * LANES; n < end; n += LANES) {
                    for (int slot = 0; slot < cell.gates; slot++)
                        PREFETCH(units[r].projection + slot * H + tile.blocks * LANES + n);
                    if (units[r].slots)
                        for (int slot = 0; slot < cell.slots; slot++) PREFETCH(units[r].slots + slot * H + n);
                    PREFETCH(units[r].h_next + n);
                    if (sequence.c) PREFETCH(units[r].c_next + n);
                }
            switch (G) {
                case 0: return cell.forward[half](of);
                case 1: start_sums<1>(of, starts, last, sums); break;
                case 2: start_sums<2>(of, starts, last, sums); break;
                case 3: start_sums<3>(of, starts, last, sums); break;
                default: start_sums<MAX_GATES>(of, starts, last, sums);
            }
            const float *weights = packed.weight_hh[half] + tile.block * panel;
            for (int g = 0; g < G; g += at_once, weights += H / LANES * panel)
                products.tiles->get(tile.rows, tile.blocks, at_once)(
                    work.lhs + tile.row, weights, panel, hidden, G, sums + g);
            cell.forward[half](of);
        });
    };
    for (int t = 0; t < sequence.T; t++) {
        const int64_t first = (int64_t)t * B;
        for (int b = 0; b < B; b++) {
            const int64_t row = first + b, next = (row + B) * H;
            units[b] = {H,
                        0,
                        projection[row],
                        previous[row],
                        sequence.c ? sequence.previous_c(row) : nullptr,
                        packed.weight_ch,
                        slots.base ? slots.row(t, b) : nullptr,
                        sequence.h + next,
                        sequence.c ? sequence.c + next : nullptr};
        }
        if (cell.matmuls[0]) work.pack(previous, first, B, hidden);
        run_half(0);
        if (!cell.matmuls[0]) continue;  // units read nothing of one another: no thread waits
        team.barrier();
        if (!cell.matmuls[1]) continue;
        work.pack(slots.rows(t, cell.gated() * H), 0, B, hidden);
        run_half(1);
        team.barrier();
    }
    if (!cell.matmuls[0]) team.barrier();
}

// What the backward pass reads and writes beside the sequence and its slots.
struct BackwardBuffers {
    float *weight_hh[2];  // of each product: packed right-hand side (its gates * H', H)
    float *dh_direct, *dc;  // (B, H'); dc NULL where the cell has no c
    float *dprojection;     // rows of gates * H', to which the gradients of the projections are added: row index[t * B + b]
    const int32_t *index;   // NULL: a single row
    float *dbias_m;               // H'
    float *weight_ch, *dweight_ch;  // peepholes * H'; NULL: there are none
    float *work;                  // StepWork::size(B, gates * H') floats for each thread
};

// The loss's gradients by the outputs, rows of H numbers `stride` apart, or NULL; by the state after the last step (S, B, H), or
// NULL; and, found here, by the state before the first.
struct OuterGradients {
    const float *dh;
    int64_t stride;
    const float *dstate_after;
    float *dstate;
};

// Run all time steps backward. `slots` come as the forward pass left them; their gradients replace them.
NOINLINE void run_backward(const Cell &cell, ThreadTeam &team, const Sequence &sequence, const BackwardBuffers &buffers,
                           const OuterGradients &outer, const Slots &slots) {
    const int H = sequence.H(), B = sequence.B, hidden = sequence.hidden, T = sequence.T;
    const Range range = team.range(H / LANES);
    const RowView previous = sequence.previous_h();
    float *const dh_direct = buffers.dh_direct, *const dc = buffers.dc;
    const int64_t units = (int64_t)B * hidden, gates = cell.gates * H;
    const float *dh_last = outer.dstate_after, *dc_last = dh_last ? dh_last + units : nullptr;
    const StepWork work(buffers.work, team, B, (int)gates);
    BackwardUnits *const rows = static_cast<BackwardUnits *>(work.units);
    for (int block = range.begin; block < range.end; block++) {
        const int n = block * LANES, left = hidden - n;
        store(buffers.dbias_m + n, Vector{});
        for (int gate = 0; gate < cell.peepholes; gate++) store(buffers.dweight_ch + gate * H + n, Vector{});
        for (int b = 0; b < B && dc; b++)
            store(dc + (int64_t)b * H + n, dc_last ? load(dc_last + (int64_t)b * hidden + n, left) : Vector{});
    }
    // The loss's gradient by h of step t, given what comes through the product from the step after it.
    const auto gradient = [&](int t, int64_t b, int n, Vector product) {
        const int64_t row = (int64_t)t * B + b;
        const int left = hidden - n;
        Vector dh{};
        if (t == T - 1) {
            if (dh_last) dh = load(dh_last + b * hidden + n, left);
        } else if (!sequence.reset(row + B)) {
            dh = product + load(dh_direct + b * H + n);
        } else if (dc) {
            store(dc + b * H + n, Vector{});
        }
        if (t >= 0) return outer.dh ? dh + load(outer.dh + row * outer.stride + n, left) : dh;
        store(outer.dstate + b * hidden + n, dh, left);
        if (dc) store(outer.dstate + units + b * hidden + n, load(dc + b * H + n), left);
        return dh;
    };
    const auto run_half = [&](int t, int half) {
        const int K = cell.matmuls[half] * H;
        const int64_t panel = panel_size(K, 1);
        for_each_tile(1, B, range, [&](const Tile &tile) {
            if (half == 0 && t >= 0)  // before the product: what is read after it
                for (int r = tile.row; r < tile.row + tile.rows; r++)
                    for (int64_t n = tile.block * LANES, end = n + tile.blocks * LANES; n < end; n += LANES) {
                        for (int slot = 0; slot < cell.slots; slot++) PREFETCH(rows[r].slots + slot * H + n);
                        PREFETCH((dc ? rows[r].c_prev : rows[r].h_prev) + n);
                        if (outer.dh) PREFETCH(outer.dh + ((int64_t)t * B + r) * outer.stride + n);
                    }
            Vector dh[ACCUMULATORS] = {};
            if (K && (half || t < T - 1))
                tile_products.get(tile.rows, tile.blocks, 1)(
                    work.lhs + tile.row, buffers.weight_hh[half] + tile.block * panel, panel, K, 1, dh);
            if (half == 0)
                for (int r = 0; r < tile.rows; r++)
                    for (int p = 0; p < tile.blocks; p++) {
                        Vector &here = dh[r * tile.blocks + p];
                        here = gradient(t, tile.row + r, (tile.block + p) * LANES, here);
                    }
            if (t >= 0) cell.backward[half]({tile, dh, rows + tile.row});
        });
    };
    for (int t = T - 1; t >= -1; t--) {
        for (int b = 0; b < B && t >= 0; b++) {
            const int64_t row = (int64_t)t * B + b, next = (row + B) * H;
            rows[b] = {H,
                       0,
                       slots.row(t, b),
                       previous[row],
                       sequence.h + next,
                       dc ? sequence.previous_c(row) : nullptr,
                       dc ? sequence.c + next : nullptr,
                       buffers.weight_ch,
                       buffers.dprojection + (buffers.index ? buffers.index[row] * gates : 0),
                       buffers.dbias_m,
                       buffers.dweight_ch,
                       dh_direct + b * H,
                       dc ? dc + b * H : nullptr};
        }
        if (cell.matmuls[0] && t < T - 1) work.pack(slots.rows(t + 1, cell.recurrent * H), 0, B, cell.matmuls[0] * H);
        run_half(t, 0);
        if (!cell.matmuls[0]) continue;
        team.barrier();
        if (t < 0 || !cell.matmuls[1]) continue;
        work.pack(slots.rows(t, 0), 0, B, cell.matmuls[1] * H);
        run_half(t, 1);
        team.barrier();
    }
    if (!cell.matmuls[0]) team.barrier();
}

}  // namespace
