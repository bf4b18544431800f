// One time step of each cell, forward and backward. The equations are those of charrnn/engines/reference.py; the gates of
// weights stand in PyTorch's order.
#pragma once
#include "charrnn.h"
#include "simd.h"

namespace {

// A cell has:
// GATES: gates of its weights.
// SLOTS: vectors of H' numbers that a row saves from forward to backward; backward replaces them by their gradients.
// gate[slot]: the gate in a slot, for the GATES slots that the input feeds.
// RECURRENT: the first of the GATES slots that the state feeds; these are gates 0, 1, ... in order.
// init(): the pre-activations before W_hh h is added to them, gate by gate.
// forward(): pre-activations to h, and c of LSTM; saves the slots, unless they are null.
// backward(): dh, the loss's gradient by this step's h, to the gradients of the slots. Returns the part of the gradient by the
// previous h that does not pass through W_hh.

struct Gru {
    static constexpr int GATES = 3, SLOTS = 4, RECURRENT = 1;
    static constexpr int gate[GATES] = {2, 0, 1};  // n, r, z; slot 3 is m = W_hn h + b_hn, which r multiplies
    enum { N, R, Z, M };

    static FORCE_INLINE void init(Vector (&pre)[GATES], const float *projection, int H, const float *bias_m) {
        pre[0] = load(projection + R * H);
        pre[1] = load(projection + Z * H);
        pre[2] = load(bias_m);
    }

    static FORCE_INLINE void forward(int, const Vector (&pre)[GATES], const float *projection, float *slots, int H,
                                     const float *h_prev, float *h_next, const float *, float *) {
        const Vector r = sigmoid(pre[0]), z = sigmoid(pre[1]), m = pre[2];
        const Vector n = tanh(fma(r, m, load(projection + N * H)));
        store(h_next, fma(z, load(h_prev) - n, n));
        if (slots) {
            store(slots + N * H, n);
            store(slots + R * H, r);
            store(slots + Z * H, z);
            store(slots + M * H, m);
        }
    }

    static FORCE_INLINE Vector backward(int, Vector dh, float *slots, int H, const float *h_prev, const float *,
                                        const float *, const float *, float *, Vector (&dslots)[SLOTS]) {
        const Vector one = broadcast(1.0f);
        const Vector n = load(slots + N * H), r = load(slots + R * H);
        const Vector z = load(slots + Z * H), m = load(slots + M * H);
        const Vector dn = dh * (one - z) * (one - n * n);
        dslots[N] = dn;
        dslots[R] = dn * m * r * (one - r);
        dslots[Z] = dh * (load(h_prev) - n) * z * (one - z);
        dslots[M] = dn * r;
        return dh * z;
    }
};

struct Lstm {
    static constexpr int GATES = 4, SLOTS = 4, RECURRENT = 0;
    static constexpr int gate[GATES] = {0, 1, 2, 3};
    enum { I, F, G, O };

    static FORCE_INLINE void init(Vector (&pre)[GATES], const float *projection, int H, const float *) {
        for (int g = 0; g < GATES; g++) pre[g] = load(projection + g * H);
    }

    static FORCE_INLINE void forward(int, const Vector (&pre)[GATES], const float *, float *slots, int H, const float *,
                                     float *h_next, const float *c_prev, float *c_next) {
        const Vector i = sigmoid(pre[I]), f = sigmoid(pre[F]), g = tanh(pre[G]), o = sigmoid(pre[O]);
        const Vector c = fma(f, load(c_prev), i * g);
        store(c_next, c);
        store(h_next, o * tanh(c));
        if (slots) {
            store(slots + I * H, i);
            store(slots + F * H, f);
            store(slots + G * H, g);
            store(slots + O * H, o);
        }
    }

    static FORCE_INLINE Vector backward(int, Vector dh, float *slots, int H, const float *, const float *,
                                        const float *c_prev, const float *c_next, float *dc, Vector (&dslots)[SLOTS]) {
        const Vector one = broadcast(1.0f);
        const Vector i = load(slots + I * H), f = load(slots + F * H);
        const Vector g = load(slots + G * H), o = load(slots + O * H);
        const Vector c = tanh(load(c_next));
        const Vector d_c = fma(dh * o, one - c * c, load(dc));
        dslots[I] = d_c * g * i * (one - i);
        dslots[F] = d_c * load(c_prev) * f * (one - f);
        dslots[G] = d_c * i * (one - g * g);
        dslots[O] = dh * c * o * (one - o);
        store(dc, d_c * f);
        return Vector{};
    }
};

struct Rnn {
    static constexpr int GATES = 1, SLOTS = 1, RECURRENT = 0;
    static constexpr int gate[GATES] = {0};

    static FORCE_INLINE void init(Vector (&pre)[GATES], const float *projection, int, const float *) {
        pre[0] = load(projection);
    }

    static FORCE_INLINE void forward(int cell, const Vector (&pre)[GATES], const float *, float *, int, const float *,
                                     float *h_next, const float *, float *) {
        const Vector a = pre[0];
        store(h_next, cell == CHARRNN_RNN_RELU ? max(a, 0.0f) : cell == CHARRNN_RNN_TANH ? tanh(a) : sigmoid(a));
    }

    static FORCE_INLINE Vector backward(int cell, Vector dh, float *, int, const float *, const float *h_next,
                                        const float *, const float *, float *, Vector (&dslots)[SLOTS]) {
        const Vector one = broadcast(1.0f), zero{}, h = load(h_next);
        dslots[0] = cell == CHARRNN_RNN_RELU   ? (h > zero ? dh : zero)
                    : cell == CHARRNN_RNN_TANH ? dh * (one - h * h)
                                               : dh * h * (one - h);
        return zero;
    }
};

// Call use with the cell's type.
template <typename Use> FORCE_INLINE auto with_cell(int cell, Use &&use) {
    switch (cell) {
        case CHARRNN_GRU: return use(Gru());
        case CHARRNN_LSTM: return use(Lstm());
        default: return use(Rnn());
    }
}

}  // namespace
