// All cells, by number. The equations are those of charrnn/engines/reference.py; the gates of weights stand in PyTorch's
// order.
#pragma once
#include "charrnn.h"
#include "gru.h"
#include "lstm.h"

namespace {

template <Activation &ACTIVATION> struct Rnn {
    static FORCE_INLINE void forward(const Vector *pre, const ForwardUnits &at) { at.set_h(ACTIVATION(pre[0])); }

    static FORCE_INLINE void backward(Vector dh, const BackwardUnits &at) {
        at.put(0, backpropagate<ACTIVATION>(dh, load(at.h_next + at.n)));
        at.set_direct(Vector{});
    }

    static constexpr Cell cell = {1, 1, 1, {0}, {1, 0}, 0, false, 0, {forward_tile<forward>}, {backward_tile<backward>}};
};

FORCE_INLINE const Cell &cell_of(int number) {
    switch (number) {
        case CHARRNN_RNN_RELU: return Rnn<relu>::cell;
        case CHARRNN_RNN_SIGMOID: return Rnn<sigmoid>::cell;
        case CHARRNN_LSTM: return Lstm<tanh, tanh, NO_PEEPHOLES>::cell;
        case CHARRNN_GRU: return Gru<false>::cell;
        case CHARRNN_LSTM_PEEPHOLE: return Lstm<tanh, tanh, OUTPUT_READS_NEW_C>::cell;
        case CHARRNN_GRU_V1: return GruV1::cell;
        case CHARRNN_MGU: return Mgu::cell;
        case CHARRNN_MINGRU: return MinGru::cell;
        case CHARRNN_MINLSTM: return MinLstm::cell;
        case CHARRNN_LSTM_SIGMOID: return Lstm<sigmoid, tanh, NO_PEEPHOLES>::cell;
        case CHARRNN_LSTM_SIGMOID_PEEPHOLE: return Lstm<sigmoid, tanh, OUTPUT_READS_OLD_C>::cell;
        case CHARRNN_LSTM_RELU: return Lstm<relu, relu, NO_PEEPHOLES>::cell;
        case CHARRNN_LSTM_CELLLESS: return Cellless::cell;
        case CHARRNN_GRU_CROSSED: return Gru<true>::cell;
        default: return Rnn<tanh>::cell;
    }
}

}  // namespace
