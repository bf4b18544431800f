// The GRU and its relatives.
#pragma once
#include "lstm.h"

namespace {

// r gates the state's product alone. CROSSED: it gates the input's, and 1 - z the state's.
template <bool CROSSED> struct Gru {
    enum { N, R, Z, M };  // slot M is m = W_hn h + b_hn

    static FORCE_INLINE void forward(const Vector *pre, const ForwardUnits &at) {
        const Vector one = broadcast(1.0f), r = sigmoid(pre[0]), z = sigmoid(pre[1]), m = pre[2];
        const Vector x = at.input(N);
        const Vector n = tanh(CROSSED ? fma(r, x, (one - z) * m) : fma(r, m, x));
        at.set_h(fma(z, at.h() - n, n));
        if (at.slots) at.save(N, CROSSED ? x : n), at.save(R, r), at.save(Z, z), at.save(M, m);
    }

    static FORCE_INLINE void backward(Vector dh, const BackwardUnits &at) {
        const Vector one = broadcast(1.0f), r = at.slot(R), z = at.slot(Z), m = at.slot(M), saved = at.slot(N);
        const Vector n = CROSSED ? tanh(fma(r, saved, (one - z) * m)) : saved;
        const Vector dn = dh * (one - z) * (one - n * n);
        Vector dz = dh * (at.h() - n);
        if constexpr (CROSSED) dz -= dn * m;
        const Vector dm = CROSSED ? dn * (one - z) : dn * r;
        at.put(N, CROSSED ? dn * r : dn);
        at.put(R, dn * (CROSSED ? saved : m) * r * (one - r));
        at.put(Z, dz * z * (one - z));
        at.save(M, dm);
        at.add(at.dbias_m, dm);
        at.set_direct(dh * z);
    }

    static constexpr Cell cell = {3, 4, 1, {2, 0, 1}, {3, 0}, 1, true, 0, {forward_tile<forward>}, {backward_tile<backward>}};
};

// The GRU as first published: r gates the state before the product.
struct GruV1 {
    enum { N, R, Z, GATED };

    static FORCE_INLINE void forward(const Vector *pre, const ForwardUnits &at) {
        const Vector r = sigmoid(pre[0]);
        at.save(R, r), at.save(Z, sigmoid(pre[1])), at.save(GATED, r * at.h());
    }

    static FORCE_INLINE void forward_second(const Vector *pre, const ForwardUnits &at) {
        const Vector n = tanh(pre[0]);
        at.set_h(fma(at.slot(Z), at.h() - n, n));
        at.save(N, n);
    }

    static FORCE_INLINE void backward(Vector dh, const BackwardUnits &at) {
        const Vector one = broadcast(1.0f), n = at.slot(N), z = at.slot(Z);
        at.put(N, dh * (one - z) * (one - n * n));
        at.put(Z, dh * (at.h() - n) * z * (one - z));
        at.set_direct(dh * z);
    }

    static FORCE_INLINE void backward_second(Vector dgated, const BackwardUnits &at) {
        const Vector one = broadcast(1.0f), r = at.slot(R);
        at.put(R, dgated * at.h() * r * (one - r));
        at.set_direct(fma(dgated, r, at.direct()));
    }

    static constexpr Cell cell = {
        3, 4, 1, {2, 0, 1}, {2, 1}, 1, false, 0, {forward_tile<forward>, forward_tile<forward_second>},
        {backward_tile<backward>, backward_tile<backward_second>}};
};

// The minimal gated unit: f in the place of both r and 1 - z.
struct Mgu {
    enum { N, F, GATED, PART };  // slot PART is in backward dh (n - h), the part of f's gradient that passes through no product

    static FORCE_INLINE void forward(const Vector *pre, const ForwardUnits &at) {
        const Vector f = sigmoid(pre[0]);
        at.save(F, f), at.save(GATED, f * at.h());
    }

    static FORCE_INLINE void forward_second(const Vector *pre, const ForwardUnits &at) {
        const Vector n = tanh(pre[0]), h = at.h();
        at.set_h(fma(at.slot(F), n - h, h));
        at.save(N, n);
    }

    static FORCE_INLINE void backward(Vector dh, const BackwardUnits &at) {
        const Vector one = broadcast(1.0f), n = at.slot(N), f = at.slot(F);
        at.put(N, dh * f * (one - n * n));
        at.save(PART, dh * (n - at.h()));
        at.set_direct(dh * (one - f));
    }

    static FORCE_INLINE void backward_second(Vector dgated, const BackwardUnits &at) {
        const Vector one = broadcast(1.0f), f = at.slot(F);
        at.put(F, fma(dgated, at.h(), at.slot(PART)) * f * (one - f));
        at.set_direct(fma(dgated, f, at.direct()));
    }

    static constexpr Cell cell = {
        2, 4, 1, {1, 0}, {1, 1}, 1, false, 0, {forward_tile<forward>, forward_tile<forward_second>},
        {backward_tile<backward>, backward_tile<backward_second>}};
};

// No gate reads the state: h = (1 - z) h + z g(n).
struct MinGru {
    enum { Z, N };

    static FORCE_INLINE void forward(const Vector *, const ForwardUnits &at) {
        const Vector z = sigmoid(at.input(Z)), n = positive(at.input(N));
        const Vector h = at.h();
        at.set_h(fma(z, n - h, h));
        if (at.slots) at.save(Z, z), at.save(N, n);
    }

    static FORCE_INLINE void backward(Vector dh, const BackwardUnits &at) {
        const Vector one = broadcast(1.0f), z = at.slot(Z), n = at.slot(N);
        at.put(Z, dh * (n - at.h()) * z * (one - z));
        at.put(N, backpropagate<positive>(dh * z, n));
        at.set_direct(dh * (one - z));
    }

    static constexpr Cell cell = {2, 2, 1, {0, 1}, {}, 0, false, 0, {forward_tile<forward>}, {backward_tile<backward>}};
};

}  // namespace
