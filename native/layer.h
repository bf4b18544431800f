// A layer's forward and backward pass for training: packing, the recurrence, and the gradients of the weights.
#pragma once
#include "cells.h"
#include "recurrence.h"
#include "weight_gradient.h"

namespace {

// What the forward pass saves for the backward pass.
struct SavedActivations {
    float *h, *c, *slots;

    SavedActivations(const Cell &cell, Arena &arena, const charrnn_layer &layer) {
        const int64_t states = (int64_t)(layer.steps + 1) * layer.batch * padded(layer.hidden);
        h = arena.take<float>(states);
        c = cell.states > 1 ? arena.take<float>(states) : nullptr;
        slots = arena.take<float>((int64_t)layer.steps * layer.batch * activation_stride(cell, layer.hidden));
    }

    Sequence sequence(const charrnn_layer &layer, const float *zeros) const {
        return {layer.batch, layer.steps, layer.hidden, layer.resets, h, c, zeros};
    }
};

struct ForwardWorkspace {
    PackedLayer packed;
    float *zeros;
    float *projections;  // gates * H' for each row of x, where an index chooses among them; else they are in the slots
    float *work;         // for the left-hand sides of the products, and for time steps

    ForwardWorkspace(const Cell &cell, Arena &arena, const charrnn_layer &layer) {
        packed = PackedLayer::take(cell, arena, layer.inputs, layer.hidden);
        zeros = arena.take<float>(padded(layer.hidden));
        projections = layer.index ? arena.take<float>((int64_t)layer.rows * cell.gates * padded(layer.hidden)) : nullptr;
        const int64_t x = packed_lhs_size(layer.rows, layer.inputs);
        const int64_t h = layer.threads * StepWork::size(layer.batch, layer.hidden);
        work = arena.take<float>(x > h ? x : h);
    }
};

void layer_forward(const charrnn_layer &layer, float *state) {
    const Cell &cell = cell_of(layer.cell);
    Arena saved_arena(layer.saved), arena(layer.work);
    const SavedActivations saved(cell, saved_arena, layer);
    const ForwardWorkspace work(cell, arena, layer);
    const Sequence sequence = saved.sequence(layer, work.zeros);
    const int64_t H = sequence.H(), gates = cell.gates * H, units = (int64_t)layer.batch * layer.hidden;
    const Slots slots{saved.slots, activation_stride(cell, layer.hidden), layer.batch};
    run_parallel(layer.threads, [&](ThreadTeam &team) {
        const ScopedFlushToZero flush;
        work.packed.pack(cell, team, layer.inputs, layer.hidden, layer.weights);
        if (team.rank == 0) {
            memset(work.zeros, 0, H * sizeof(float));
            pad_state(layer.state, layer.batch, layer.hidden, saved.h);
            if (saved.c) pad_state(layer.state + units, layer.batch, layer.hidden, saved.c);
        }
        team.barrier();
        float *projections = layer.index ? work.projections : saved.slots;
        const int64_t stride = layer.index ? gates : slots.stride;
        gemm(team, layer.rows, (int)gates, layer.inputs, {layer.x, layer.inputs}, work.packed.weight_ih, work.packed.bias,
             projections, stride, work.work);
        team.barrier();
        run_forward(cell, team, sequence, work.packed, {projections, stride, layer.index}, slots, work.work);
    });
    const int64_t last = (int64_t)layer.steps * layer.batch * H;
    unpad_state(saved.h + last, layer.batch, layer.hidden, state);
    if (saved.c) unpad_state(saved.c + last, layer.batch, layer.hidden, state + units);
}

struct BackwardWorkspace {
    float *weight_ih;  // packed right-hand side (gates * H', in)
    float *zeros, *weight_gradient;
    BackwardBuffers recurrence;  // dprojection has a row for each row of x with an index, else one that sums all rows

    BackwardWorkspace(const Cell &cell, Arena &arena, const charrnn_layer &layer) {
        const int64_t H = padded(layer.hidden), gates = cell.gates * H;
        for (int product = 0; product < 2; product++)
            recurrence.weight_hh[product] = arena.take<float>(panel_size(cell.matmuls[product] * (int)H, 1) * (H / LANES));
        weight_ih = arena.take<float>(panel_size((int)gates, 1) * column_blocks(layer.inputs));
        zeros = arena.take<float>(H > padded(layer.inputs) ? H : padded(layer.inputs));
        recurrence.dh_direct = arena.take<float>(layer.batch * H);
        recurrence.dc = cell.states > 1 ? arena.take<float>(layer.batch * H) : nullptr;
        recurrence.dbias_m = arena.take<float>(H);
        recurrence.weight_ch = cell.peepholes ? arena.take<float>(cell.peepholes * H) : nullptr;
        recurrence.dweight_ch = cell.peepholes ? arena.take<float>(cell.peepholes * H) : nullptr;
        recurrence.dprojection = arena.take<float>((layer.index ? layer.rows : 1) * gates);
        recurrence.index = layer.index;
        const int64_t for_hh = weight_gradient_work(cell.gates, layer.hidden, layer.hidden);
        const int64_t for_ih = weight_gradient_work(cell.gates, layer.hidden, layer.inputs);
        weight_gradient = arena.take<float>(for_hh > for_ih ? for_hh : for_ih);
        const int64_t input = packed_lhs_size(layer.rows, (int)gates);
        const int64_t steps = layer.threads * StepWork::size(layer.batch, (int)gates);
        recurrence.work = arena.take<float>(input > steps ? input : steps);
    }

    // Pack column blocks of a weight of `gates` gates; order: the gate in each place of the right-hand side.
    void pack(Range blocks, const float *weight, int gates, const int *order, int hidden, int columns, float *to) const {
        const int H = padded(hidden);
        pack_rhs(
            blocks,
            [&](int k) {
                const int unit = k % H;
                return unit < hidden ? weight + ((int64_t)order[k / H] * hidden + unit) * columns : zeros;
            },
            gates * H, columns, to);
    }
};

void layer_backward(const charrnn_layer &layer, const float *dh, int64_t dh_stride, const float *dstate_after, float *dx,
                    float *dweight_ih, float *dweight_hh, float *dbias_ih, float *dbias_hh, float *dweight_ch,
                    float *dstate) {
    const Cell &cell = cell_of(layer.cell);
    Arena saved_arena(layer.saved), arena(layer.work);
    const SavedActivations saved(cell, saved_arena, layer);
    const BackwardWorkspace work(cell, arena, layer);
    const BackwardBuffers &buffers = work.recurrence;
    const Sequence sequence = saved.sequence(layer, work.zeros);
    const int hidden = layer.hidden, inputs = layer.inputs, rows = layer.steps * layer.batch;
    const int64_t H = sequence.H(), gates = cell.gates * H;
    const Slots slots{saved.slots, activation_stride(cell, hidden), layer.batch};
    run_parallel(layer.threads, [&](ThreadTeam &team) {
        const ScopedFlushToZero flush;
        if (team.rank == 0) memset(work.zeros, 0, (H > padded(inputs) ? H : padded(inputs)) * sizeof(float));
        team.barrier();
        const Range units = team.range((int)H), columns = team.range((int)H / LANES);
        for (int product = 0, first = 0; product < 2; first += cell.matmuls[product++])
            if (cell.matmuls[product])
                work.pack(columns, layer.weights.weight_hh + (int64_t)first * hidden * hidden, cell.matmuls[product],
                          identity_order, hidden, hidden, buffers.weight_hh[product]);
        work.pack(team.range(column_blocks(inputs)), layer.weights.weight_ih, cell.gates, cell.gate, hidden, inputs,
                  work.weight_ih);
        for (int gate = 0; gate < cell.peepholes; gate++)
            for (int unit = units.begin; unit < units.end; unit++)
                buffers.weight_ch[gate * H + unit] = unit < hidden ? layer.weights.weight_ch[gate * hidden + unit] : 0.0f;
        const int dprojection_rows = layer.index ? layer.rows : 1;
        for (int row = 0; row < dprojection_rows; row++)
            for (int gate = 0; gate < cell.gates; gate++)
                for (int block = columns.begin; block < columns.end; block++)
                    store(buffers.dprojection + row * gates + gate * H + block * LANES, Vector{});
        team.barrier();
        run_backward(cell, team, sequence, buffers, {dh, dh_stride, dstate_after, dstate}, slots);
        const RowView dprojections = layer.index ? RowView{buffers.dprojection, gates} : slots.rows(0, 0);
        gemm(team, layer.rows, inputs, (int)gates, dprojections, work.weight_ih, nullptr, dx, inputs, buffers.work);
        weight_gradient(team, cell.gates, cell.gate, hidden, inputs, layer.rows, dprojections, H, {layer.x, inputs},
                        dweight_ih, true, work.weight_gradient);
        if (cell.matmuls[0])
            weight_gradient(team, cell.matmuls[0], identity_order, hidden, hidden, rows, slots.rows(0, cell.recurrent * H),
                            H, sequence.previous_h(), dweight_hh, true, work.weight_gradient);
        if (cell.matmuls[1])
            weight_gradient(team, cell.matmuls[1], identity_order, hidden, hidden, rows, slots.rows(0, 0), H,
                            slots.rows(0, cell.gated() * H), dweight_hh + (int64_t)cell.matmuls[0] * hidden * hidden, true,
                            work.weight_gradient);
        const Range bias_units = team.range(hidden);
        for (int unit = bias_units.begin; unit < bias_units.end; unit++) {
            for (int slot = 0; slot < cell.gates; slot++) {
                float sum = 0;
                for (int row = 0; row < dprojection_rows; row++) sum += buffers.dprojection[row * gates + slot * H + unit];
                const int at = cell.gate[slot] * hidden + unit;
                dbias_ih[at] = sum;
                if (cell.matmuls[0]) dbias_hh[at] = cell.separate && slot == 0 ? buffers.dbias_m[unit] : sum;
            }
            for (int gate = 0; gate < cell.peepholes; gate++)
                dweight_ch[gate * hidden + unit] = buffers.dweight_ch[gate * H + unit];
        }
    });
}

int64_t layer_saved_size(const charrnn_layer &layer) {
    Arena arena(nullptr);
    SavedActivations(cell_of(layer.cell), arena, layer);
    return arena.used();
}

int64_t layer_work_size(const charrnn_layer &layer) {
    const Cell &cell = cell_of(layer.cell);
    Arena forward(nullptr), backward(nullptr);
    ForwardWorkspace(cell, forward, layer);
    BackwardWorkspace(cell, backward, layer);
    return forward.used() > backward.used() ? forward.used() : backward.used();
}

}  // namespace
