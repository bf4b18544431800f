// The LSTM and its relatives.
#pragma once
#include "cell.h"

namespace {

typedef Vector Activation(Vector);
FORCE_INLINE Vector relu(Vector x) { return max(x, 0.0f); }

// The loss's gradient by an activation's input, given that by its value, and the value.
template <Activation &activation> Vector backpropagate(Vector gradient, Vector value);
template <> FORCE_INLINE Vector backpropagate<tanh>(Vector gradient, Vector value) {
    return gradient * (broadcast(1.0f) - value * value);
}
template <> FORCE_INLINE Vector backpropagate<sigmoid>(Vector gradient, Vector value) {
    return gradient * value * (broadcast(1.0f) - value);
}
template <> FORCE_INLINE Vector backpropagate<relu>(Vector gradient, Vector value) {
    const Vector zero{};
    return value > zero ? gradient : zero;
}

// The same, added to another gradient.
template <Activation &activation> FORCE_INLINE Vector backpropagate(Vector gradient, Vector value, Vector other) {
    return backpropagate<activation>(gradient, value) + other;
}
template <> FORCE_INLINE Vector backpropagate<tanh>(Vector gradient, Vector value, Vector other) {
    return fma(gradient, broadcast(1.0f) - value * value, other);
}

enum Peepholes { NO_PEEPHOLES, OUTPUT_READS_NEW_C, OUTPUT_READS_OLD_C };

// CANDIDATE and OUTPUT: tanh as published.
template <Activation &CANDIDATE, Activation &OUTPUT, Peepholes PEEPHOLES> struct Lstm {
    enum { I, F, G, O };
    enum { P_I, P_F, P_O };

    static FORCE_INLINE void forward(const Vector *pre, const ForwardUnits &at) {
        const Vector c_prev = at.c();
        Vector pre_i = pre[I], pre_f = pre[F], pre_o = pre[O];
        if constexpr (PEEPHOLES != NO_PEEPHOLES) {
            pre_i = fma(at.peephole(P_I), c_prev, pre_i);
            pre_f = fma(at.peephole(P_F), c_prev, pre_f);
        }
        const Vector i = sigmoid(pre_i), f = sigmoid(pre_f), g = CANDIDATE(pre[G]);
        const Vector c = fma(f, c_prev, i * g);
        if constexpr (PEEPHOLES != NO_PEEPHOLES)
            pre_o = fma(at.peephole(P_O), PEEPHOLES == OUTPUT_READS_NEW_C ? c : c_prev, pre_o);
        const Vector o = sigmoid(pre_o);
        at.set_c(c);
        at.set_h(o * OUTPUT(c));
        if (at.slots) at.save(I, i), at.save(F, f), at.save(G, g), at.save(O, o);
    }

    static FORCE_INLINE void backward(Vector dh, const BackwardUnits &at) {
        const Vector one = broadcast(1.0f);
        const Vector i = at.slot(I), f = at.slot(F), g = at.slot(G), o = at.slot(O);
        const Vector c_prev = at.c(), c_next = load(at.c_next + at.n), c = OUTPUT(c_next);
        Vector dc = backpropagate<OUTPUT>(dh * o, c, load(at.dc + at.n));
        const Vector d_o = dh * c * o * (one - o);
        if constexpr (PEEPHOLES == OUTPUT_READS_NEW_C) dc = fma(d_o, at.peephole(P_O), dc);
        const Vector d_i = dc * g * i * (one - i), d_f = dc * c_prev * f * (one - f);
        Vector dc_prev = dc * f;
        if constexpr (PEEPHOLES != NO_PEEPHOLES) {
            dc_prev = fma(d_i, at.peephole(P_I), dc_prev);
            dc_prev = fma(d_f, at.peephole(P_F), dc_prev);
            at.put_peephole(P_I, d_i * c_prev);
            at.put_peephole(P_F, d_f * c_prev);
            at.put_peephole(P_O, d_o * (PEEPHOLES == OUTPUT_READS_NEW_C ? c_next : c_prev));
        }
        if constexpr (PEEPHOLES == OUTPUT_READS_OLD_C) dc_prev = fma(d_o, at.peephole(P_O), dc_prev);
        at.put(I, d_i);
        at.put(F, d_f);
        at.put(G, backpropagate<CANDIDATE>(dc * i, g));
        at.put(O, d_o);
        store(at.dc + at.n, dc_prev);
        at.set_direct(Vector{});
    }

    static constexpr Cell cell = {4,
                                  4,
                                  2,
                                  {0, 1, 2, 3},
                                  {4, 0},
                                  0,
                                  false,
                                  PEEPHOLES == NO_PEEPHOLES ? 0 : 3,
                                  {forward_tile<forward>},
                                  {backward_tile<backward>}};
};

// h in the place of c: h = i * n + o * h.
struct Cellless {
    enum { I, O, N };

    static FORCE_INLINE void forward(const Vector *pre, const ForwardUnits &at) {
        const Vector i = sigmoid(pre[I]), o = sigmoid(pre[O]), n = tanh(pre[N]);
        at.set_h(fma(o, at.h(), i * n));
        if (at.slots) at.save(I, i), at.save(O, o), at.save(N, n);
    }

    static FORCE_INLINE void backward(Vector dh, const BackwardUnits &at) {
        const Vector one = broadcast(1.0f), i = at.slot(I), o = at.slot(O), n = at.slot(N);
        at.put(I, dh * n * i * (one - i));
        at.put(O, dh * at.h() * o * (one - o));
        at.put(N, dh * i * (one - n * n));
        at.set_direct(dh * o);
    }

    static constexpr Cell cell = {3, 3, 1, {0, 1, 2}, {3, 0}, 0, false, 0, {forward_tile<forward>}, {backward_tile<backward>}};
};

// No gate reads the state: h = f' h + i' g(n), where f' + i' = 1, and g is `positive`.
FORCE_INLINE Vector positive(Vector x) { return x >= Vector{} ? x + broadcast(0.5f) : sigmoid(x); }

template <> FORCE_INLINE Vector backpropagate<positive>(Vector gradient, Vector value) {
    return value >= broadcast(0.5f) ? gradient : gradient * value * (broadcast(1.0f) - value);
}

struct MinLstm {
    enum { F, I, N };

    // f' = s(f) / (s(f) + s(i)) of two sigmoids that may both be next to 0, and 1 - s of each.
    struct Shares {
        Vector f, rest_f, rest_i;
        FORCE_INLINE Shares(Vector pre_f, Vector pre_i) {
            const Vector zero{}, larger = pre_f < pre_i ? -pre_f : -pre_i, shift = larger > zero ? larger : zero;
            const Vector unit = exp(-shift), exp_f = exp(-pre_f - shift), exp_i = exp(-pre_i - shift);
            f = (unit + exp_i) / (unit + exp_f + (unit + exp_i));
            rest_f = exp_f / (unit + exp_f);
            rest_i = exp_i / (unit + exp_i);
        }
    };

    static FORCE_INLINE void forward(const Vector *, const ForwardUnits &at) {
        const Vector pre_f = at.input(F), pre_i = at.input(I);
        const Vector n = positive(at.input(N));
        at.set_h(fma(Shares(pre_f, pre_i).f, at.h() - n, n));
        if (at.slots) at.save(F, pre_f), at.save(I, pre_i), at.save(N, n);
    }

    static FORCE_INLINE void backward(Vector dh, const BackwardUnits &at) {
        const Vector one = broadcast(1.0f), n = at.slot(N);
        const Shares shares(at.slot(F), at.slot(I));
        const Vector d_ln = dh * (at.h() - n) * shares.f * (one - shares.f);  // by ln s(f) - ln s(i)
        at.put(F, d_ln * shares.rest_f);
        at.put(I, -d_ln * shares.rest_i);
        at.put(N, backpropagate<positive>(dh * (one - shares.f), n));
        at.set_direct(dh * shares.f);
    }

    static constexpr Cell cell = {3, 3, 1, {0, 1, 2}, {}, 0, false, 0, {forward_tile<forward>}, {backward_tile<backward>}};
};

}  // namespace
