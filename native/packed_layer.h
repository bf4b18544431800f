// A layer's weights, packed for the forward pass; H' is the hidden size, padded.
#pragma once
#include "arena.h"
#include "cell.h"
#include "charrnn.h"

namespace {

struct PackedLayer {
    const Products *input, *recurrent;  // of the two weights that follow
    float *weight_ih;     // right-hand side (in, gates * H'), slot by slot
    float *weight_hh[2];  // of each half: right-hand sides (H, H') of gates_at_once() gates side by side, one after another
    float *bias;          // gates * H', in the order of slots: all that can be added before the product with h
    float *bias_m;        // H', the bias of a gate whose product stands apart
    float *weight_ch;     // peepholes * H'; NULL: there are none

    static PackedLayer take(const Cell &cell, Arena &arena, int inputs, int hidden, const Products &input = own_products,
                            const Products &recurrent = own_products) {
        const int64_t H = padded(hidden), gates = cell.gates, blocks = H / LANES;
        PackedLayer layer;
        layer.input = &input;
        layer.recurrent = &recurrent;
        layer.weight_ih = arena.take<float>(gates * blocks * input.panel_size(inputs, 1));
        for (int half = 0; half < 2; half++) {
            const int count = cell.matmuls[half], at_once = gates_at_once(count);
            layer.weight_hh[half] = arena.take<float>(count / at_once * blocks * recurrent.panel_size(hidden, at_once));
        }
        layer.bias = arena.take<float>(gates * H);
        layer.bias_m = arena.take<float>(H);
        layer.weight_ch = cell.peepholes ? arena.take<float>(cell.peepholes * H) : nullptr;
        return layer;
    }

    void pack(const Cell &cell, ThreadTeam &team, int inputs, int hidden, const charrnn_weights &weights) const {
        const int H = padded(hidden);
        for (int slot = 0; slot < cell.gates; slot++)
            pack_transposed(team, 1, weights.weight_ih + (int64_t)cell.gate[slot] * hidden * inputs, hidden, inputs,
                            weight_ih + slot * (H / LANES) * input->panel_size(inputs, 1), *input);
        const float *from = weights.weight_hh;
        for (int half = 0; half < 2; half++) {
            float *to = weight_hh[half];
            const int at_once = gates_at_once(cell.matmuls[half]);
            for (int gate = 0; gate < cell.matmuls[half]; gate += at_once) {
                pack_transposed(team, at_once, from, hidden, hidden, to, *recurrent);
                from += (int64_t)at_once * hidden * hidden;
                to += H / LANES * recurrent->panel_size(hidden, at_once);
            }
        }
        const Range range = team.range(H);
        for (int unit = range.begin; unit < range.end; unit++) {
            const bool real = unit < hidden;
            bias_m[unit] = real && cell.separate ? weights.bias_hh[(cell.gates - 1) * hidden + unit] : 0.0f;
            for (int slot = 0; slot < cell.gates; slot++) {
                const int at = cell.gate[slot] * hidden + unit;
                const bool apart = !cell.matmuls[0] || (cell.separate && slot == 0);
                bias[slot * H + unit] = !real ? 0.0f : apart ? weights.bias_ih[at] : weights.bias_ih[at] + weights.bias_hh[at];
            }
            for (int gate = 0; gate < cell.peepholes; gate++)
                weight_ch[gate * H + unit] = real ? weights.weight_ch[gate * hidden + unit] : 0.0f;
        }
    }
};

}  // namespace
