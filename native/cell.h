// What a recurrent cell is: its gates, its products, and functions that run a time step of some of its units.
//
// A cell's vectors of H' numbers a row stand in slots: one for each gate of weights, which W_ih x + biases feeds, then what
// else backward needs. Forward saves the slots; backward replaces them by the loss's gradients by what fed them.
#pragma once
#include "gemm.h"

namespace {

// LANES units of a row in one time step, from unit n on. Addresses are the row's; the next slot or gate is H numbers on.
struct ForwardUnits {
    int64_t H, n;
    const float *projection;  // the slots that the input feeds
    const float *h_prev, *c_prev, *weight_ch;
    float *slots;  // NULL: nothing is saved
    float *h_next, *c_next;

    FORCE_INLINE Vector input(int slot) const { return load(projection + slot * H + n); }
    FORCE_INLINE Vector slot(int number) const { return load(slots + number * H + n); }
    FORCE_INLINE Vector h() const { return load(h_prev + n); }
    FORCE_INLINE Vector c() const { return load(c_prev + n); }
    FORCE_INLINE Vector peephole(int gate) const { return load(weight_ch + gate * H + n); }
    FORCE_INLINE void save(int slot, Vector v) const { store(slots + slot * H + n, v); }
    FORCE_INLINE void set_h(Vector v) const { store(h_next + n, v); }
    FORCE_INLINE void set_c(Vector v) const { store(c_next + n, v); }
};

struct BackwardUnits {
    int64_t H, n;
    float *slots;
    const float *h_prev, *h_next, *c_prev, *c_next, *weight_ch;
    float *dprojection, *dbias_m, *dweight_ch;  // sums over rows
    float *dh_direct, *dc;  // the gradients by the state before that do not pass through a product

    FORCE_INLINE Vector slot(int number) const { return load(slots + number * H + n); }
    FORCE_INLINE Vector h() const { return load(h_prev + n); }
    FORCE_INLINE Vector c() const { return load(c_prev + n); }
    FORCE_INLINE Vector peephole(int gate) const { return load(weight_ch + gate * H + n); }
    FORCE_INLINE Vector direct() const { return load(dh_direct + n); }
    FORCE_INLINE void set_direct(Vector v) const { store(dh_direct + n, v); }
    FORCE_INLINE void save(int slot, Vector v) const { store(slots + slot * H + n, v); }

    // A gradient of a slot that the input feeds.
    FORCE_INLINE void put(int slot, Vector gradient) const {
        save(slot, gradient);
        add(dprojection + slot * H, gradient);
    }
    FORCE_INLINE void put_peephole(int gate, Vector gradient) const { add(dweight_ch + gate * H, gradient); }
    FORCE_INLINE void add(float *sum, Vector v) const { store(sum + n, load(sum + n) + v); }
};

// What a product gives to the units of a tile, and these rows' addresses.
struct ForwardTile {
    Tile tile;
    int gates;
    const Vector *sums;  // [rows][blocks][gates]
    const ForwardUnits *rows;
};

struct BackwardTile {
    Tile tile;
    const Vector *dh;  // [rows][blocks]: the loss's gradient by h or, in the second half of a step, by the gated state
    const BackwardUnits *rows;
};

// A cell runs a step in one half, or in two with a barrier between: the second product reads what the first half has made.
struct Cell {
    int gates, slots, states;
    int gate[MAX_GATES];  // the gate of weights in each of the first slots
    int matmuls[2];       // gates that the products of each half with W_hh serve, from the first gate on; 0: there is none
    int recurrent;        // the first slot that the first half's products feed; the second's feed slot 0
    bool separate;        // the last gate's product is in slot `gates`, apart from slot 0, where its input is
    int peepholes;
    void (*forward[2])(const ForwardTile &);
    void (*backward[2])(const BackwardTile &);

    int recurrent_gates() const { return matmuls[0] + matmuls[1]; }
    int gated() const { return gates; }  // the slot of what the second product reads: state times gate
};

typedef void ForwardFunction(const Vector *sums, const ForwardUnits &at);
typedef void BackwardFunction(Vector dh, const BackwardUnits &at);

// Run a function for LANES units on all units of a tile.
template <ForwardFunction &function> void forward_tile(const ForwardTile &of) {
    const Vector *sums = of.sums;
    for (int r = 0; r < of.tile.rows; r++) {
        ForwardUnits at = of.rows[r];
        at.n = of.tile.block * LANES;
        for (int p = 0; p < of.tile.blocks; p++, at.n += LANES, sums += of.gates) function(sums, at);
    }
}

template <BackwardFunction &function> void backward_tile(const BackwardTile &of) {
    const Vector *dh = of.dh;
    for (int r = 0; r < of.tile.rows; r++) {
        BackwardUnits at = of.rows[r];
        at.n = of.tile.block * LANES;
        for (int p = 0; p < of.tile.blocks; p++, at.n += LANES) function(*dh++, at);
    }
}

}  // namespace
