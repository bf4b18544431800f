// What the cells compute in a step, and its gradients. The equations are those of charrnn/engines/reference.py; the gates of
// weights stand in PyTorch's order.
#pragma once
#include "charrnn.h"
#include "simd.h"

namespace {

// A cell says how many GATES weights have; what SLOTS of H' numbers a step's row keeps from forward to backward, where
// it then leaves their gradients; gate[s], the gate in slot s, for those that the input drives; and where
// the slots that the state drives begin, which are gates 0, 1, ... in order.
//
// forward(): `sums` come in as `begin` gave them plus the product, gate by gate.
// backward(): `dh` is the loss's derivative by this step's h; it returns what of it goes to the step before directly, not
// through the product.

struct Gru {
    static constexpr int GATES = 3, SLOTS = 4, RECURRENT = 1;
    static constexpr int gate[GATES] = {2, 0, 1};  // n, r, z; slot 3 is the product inside n
    enum { N, R, Z, M };

    static INLINE void begin(Vector (&sums)[GATES], const float *drive, int units, const float *bias) {
        sums[0] = load(drive + R * units);
        sums[1] = load(drive + Z * units);
        sums[2] = load(bias);
    }

    static INLINE void forward(int, const Vector (&sums)[GATES], const float *drive, float *slots, int units,
                               const float *before, float *after, const float *, float *) {
        const Vector r = sigmoid(sums[0]), z = sigmoid(sums[1]), m = sums[2];
        const Vector n = tanh(madd(r, m, load(drive + N * units)));
        store(after, madd(z, load(before) - n, n));
        if (slots) {
            store(slots + N * units, n);
            store(slots + R * units, r);
            store(slots + Z * units, z);
            store(slots + M * units, m);
        }
    }

    static INLINE Vector backward(int, Vector dh, float *slots, int units, const float *before, const float *,
                                  const float *, const float *, float *, Vector (&gradients)[SLOTS]) {
        const Vector one = all(1.0f);
        const Vector n = load(slots + N * units), r = load(slots + R * units);
        const Vector z = load(slots + Z * units), m = load(slots + M * units);
        const Vector dn = dh * (one - z) * (one - n * n);
        gradients[N] = dn;
        gradients[R] = dn * m * r * (one - r);
        gradients[Z] = dh * (load(before) - n) * z * (one - z);
        gradients[M] = dn * r;
        return dh * z;
    }
};

struct Lstm {
    static constexpr int GATES = 4, SLOTS = 4, RECURRENT = 0;
    static constexpr int gate[GATES] = {0, 1, 2, 3};
    enum { I, F, G, O };

    static INLINE void begin(Vector (&sums)[GATES], const float *drive, int units, const float *) {
        for (int g = 0; g < GATES; g++) sums[g] = load(drive + g * units);
    }

    static INLINE void forward(int, const Vector (&sums)[GATES], const float *, float *slots, int units, const float *,
                               float *after, const float *cell_before, float *cell) {
        const Vector i = sigmoid(sums[I]), f = sigmoid(sums[F]), g = tanh(sums[G]), o = sigmoid(sums[O]);
        const Vector c = madd(f, load(cell_before), i * g);
        store(cell, c);
        store(after, o * tanh(c));
        if (slots) {
            store(slots + I * units, i);
            store(slots + F * units, f);
            store(slots + G * units, g);
            store(slots + O * units, o);
        }
    }

    static INLINE Vector backward(int, Vector dh, float *slots, int units, const float *, const float *,
                                  const float *cell_before, const float *cell, float *dc, Vector (&gradients)[SLOTS]) {
        const Vector one = all(1.0f);
        const Vector i = load(slots + I * units), f = load(slots + F * units);
        const Vector g = load(slots + G * units), o = load(slots + O * units);
        const Vector c = tanh(load(cell));
        const Vector d = madd(dh * o, one - c * c, load(dc));
        gradients[I] = d * g * i * (one - i);
        gradients[F] = d * load(cell_before) * f * (one - f);
        gradients[G] = d * i * (one - g * g);
        gradients[O] = dh * c * o * (one - o);
        store(dc, d * f);
        return Vector{};
    }
};

struct Rnn {
    static constexpr int GATES = 1, SLOTS = 1, RECURRENT = 0;
    static constexpr int gate[GATES] = {0};

    static INLINE void begin(Vector (&sums)[GATES], const float *drive, int, const float *) { sums[0] = load(drive); }

    static INLINE void forward(int cell, const Vector (&sums)[GATES], const float *, float *, int, const float *,
                               float *after, const float *, float *) {
        const Vector a = sums[0];
        store(after, cell == CHARRNN_RNN_RELU ? at_least(a, 0.0f) : cell == CHARRNN_RNN_TANH ? tanh(a) : sigmoid(a));
    }

    static INLINE Vector backward(int cell, Vector dh, float *, int, const float *, const float *after, const float *,
                                  const float *, float *, Vector (&gradients)[SLOTS]) {
        const Vector one = all(1.0f), zero{}, h = load(after);
        gradients[0] = cell == CHARRNN_RNN_RELU   ? (h > zero ? dh : zero)
                       : cell == CHARRNN_RNN_TANH ? dh * (one - h * h)
                                                  : dh * h * (one - h);
        return zero;
    }
};

template <typename Use> INLINE auto with_cell(int cell, Use &&use) {
    switch (cell) {
        case CHARRNN_GRU: return use(Gru());
        case CHARRNN_LSTM: return use(Lstm());
        default: return use(Rnn());
    }
}

}  // namespace
