// A layer's forward and backward pass for training: packing, the recurrence, and the gradients of the weights.
#pragma once
#include "recurrence.h"

namespace {

// What the forward pass saves for the backward pass.
struct SavedActivations {
    float *h, *c, *slots;

    template <typename Cell> static SavedActivations take(Cell, Arena &arena, const charrnn_layer &layer) {
        const int64_t H = padded(layer.hidden), rows = (int64_t)layer.steps * layer.batch;
        const bool lstm = layer.cell == CHARRNN_LSTM;
        return {arena.take<float>((rows + layer.batch) * H), lstm ? arena.take<float>((rows + layer.batch) * H) : nullptr,
                arena.take<float>(rows * activation_stride<Cell>(layer.hidden))};
    }

    Sequence sequence(const charrnn_layer &layer, const float *zeros) const {
        return {layer.batch, layer.steps, layer.hidden, layer.resets, h, c, zeros};
    }
};

template <typename Cell> struct ForwardWorkspace {
    PackedLayer packed;
    float *zeros;
    float *projections;  // GATES * H' for each row of x, where an index chooses among them; else they are in the slots
    float *packed_lhs;

    ForwardWorkspace(Arena &arena, const charrnn_layer &layer) {
        packed = PackedLayer::take<Cell>(arena, layer.inputs, layer.hidden);
        zeros = arena.take<float>(padded(layer.hidden));
        projections = layer.index ? arena.take<float>((int64_t)layer.rows * Cell::GATES * padded(layer.hidden)) : nullptr;
        const int64_t x = packed_lhs_size(layer.rows, layer.inputs);
        const int64_t h = packed_lhs_size((int64_t)layer.threads * layer.batch, layer.hidden);
        packed_lhs = arena.take<float>(x > h ? x : h);
    }
};

template <typename Cell> void layer_forward(Cell cell, const charrnn_layer &layer, float *state) {
    Arena saved_arena(layer.saved), arena(layer.work);
    const SavedActivations saved = SavedActivations::take(cell, saved_arena, layer);
    const ForwardWorkspace<Cell> work(arena, layer);
    const Sequence sequence = saved.sequence(layer, work.zeros);
    const int64_t H = sequence.H(), gates = Cell::GATES * H, units = (int64_t)layer.batch * layer.hidden;
    run_parallel(layer.threads, [&](ThreadTeam &team) {
        const ScopedFlushToZero flush;
        work.packed.template pack<Cell>(team, layer.inputs, layer.hidden, layer.weights);
        if (team.rank == 0) {
            memset(work.zeros, 0, H * sizeof(float));
            pad_state(layer.state, layer.batch, layer.hidden, saved.h);
            if (saved.c) pad_state(layer.state + units, layer.batch, layer.hidden, saved.c);
        }
        team.barrier();
        float *projections = layer.index ? work.projections : saved.slots;
        const int64_t stride = layer.index ? gates : activation_stride<Cell>(layer.hidden);
        gemm(team, layer.rows, (int)gates, layer.inputs, {layer.x, layer.inputs}, work.packed.weight_ih, work.packed.bias,
             projections, stride, work.packed_lhs);
        team.barrier();
        run_forward<Cell>(team, layer.cell, sequence, work.packed, {projections, stride, layer.index}, saved.slots,
                          work.packed_lhs);
    });
    const int64_t last = (int64_t)layer.steps * layer.batch * H;
    unpad_state(saved.h + last, layer.batch, layer.hidden, state);
    if (saved.c) unpad_state(saved.c + last, layer.batch, layer.hidden, state + units);
}

template <typename Cell> struct BackwardWorkspace {
    float *weight_hh, *weight_ih;  // packed right-hand sides (GATES * H', H) and (GATES * H', in)
    float *zeros, *dh_direct, *dc, *dbias_m, *weight_gradient, *packed_lhs;
    float *dprojection;  // gradients of the projections, GATES * H': for each row of x with an index, else summed over all rows

    BackwardWorkspace(Arena &arena, const charrnn_layer &layer) {
        const int64_t H = padded(layer.hidden), gates = Cell::GATES * H;
        weight_hh = arena.take<float>(panel_size((int)gates, 1) * (H / LANES));
        weight_ih = arena.take<float>(panel_size((int)gates, 1) * column_blocks(layer.inputs));
        zeros = arena.take<float>(H > padded(layer.inputs) ? H : padded(layer.inputs));
        dh_direct = arena.take<float>(layer.batch * H);
        dc = layer.cell == CHARRNN_LSTM ? arena.take<float>(layer.batch * H) : nullptr;
        dbias_m = arena.take<float>(H);
        const int64_t for_hh = weight_gradient_work(Cell::GATES, layer.hidden, layer.hidden);
        const int64_t for_ih = weight_gradient_work(Cell::GATES, layer.hidden, layer.inputs);
        weight_gradient = arena.take<float>(for_hh > for_ih ? for_hh : for_ih);
        dprojection = arena.take<float>((layer.index ? layer.rows : 1) * gates);
        const int64_t steps = (int64_t)layer.threads * layer.batch;
        packed_lhs = arena.take<float>(packed_lhs_size(layer.rows > steps ? layer.rows : steps, (int)gates));
    }
};

template <typename Cell>
void layer_backward(Cell cell, const charrnn_layer &layer, const float *dh, int64_t dh_stride, const float *dstate_after,
                    float *dx, float *dweight_ih, float *dweight_hh, float *dbias_ih, float *dbias_hh, float *dstate) {
    Arena saved_arena(layer.saved), arena(layer.work);
    const SavedActivations saved = SavedActivations::take(cell, saved_arena, layer);
    const BackwardWorkspace<Cell> work(arena, layer);
    const Sequence sequence = saved.sequence(layer, work.zeros);
    const int hidden = layer.hidden, inputs = layer.inputs, rows = layer.steps * layer.batch;
    const int64_t H = sequence.H(), gates = Cell::GATES * H, stride = activation_stride<Cell>(hidden);
    const int64_t units = (int64_t)layer.batch * hidden;
    run_parallel(layer.threads, [&](ThreadTeam &team) {
        const ScopedFlushToZero flush;
        if (team.rank == 0) memset(work.zeros, 0, (H > padded(inputs) ? H : padded(inputs)) * sizeof(float));
        team.barrier();
        pack_rhs(
            team.range((int)(H / LANES)),
            [&](int k) {
                const int unit = (int)(k % H), gate = (int)(k / H);
                return unit < hidden ? layer.weights.weight_hh + ((int64_t)gate * hidden + unit) * hidden : work.zeros;
            },
            (int)gates, hidden, work.weight_hh);
        pack_rhs(
            team.range(column_blocks(inputs)),
            [&](int k) {
                const int unit = (int)(k % H), gate = Cell::gate[k / H];
                return unit < hidden ? layer.weights.weight_ih + ((int64_t)gate * hidden + unit) * inputs : work.zeros;
            },
            (int)gates, inputs, work.weight_ih);
        const Range columns = team.range((int)H / LANES);
        const int dprojection_rows = layer.index ? layer.rows : 1;
        for (int row = 0; row < dprojection_rows; row++)
            for (int gate = 0; gate < Cell::GATES; gate++)
                for (int block = columns.begin; block < columns.end; block++)
                    store(work.dprojection + row * gates + gate * H + block * LANES, Vector{});
        team.barrier();
        run_backward<Cell>(team, layer.cell, sequence, work.weight_hh, dh, dh_stride, dstate_after,
                           dstate_after ? dstate_after + units : nullptr, saved.slots, work.dh_direct, work.dc,
                           work.dprojection, layer.index, work.dbias_m, dstate, dstate + units, work.packed_lhs);
        const RowView dprojections = layer.index ? RowView{work.dprojection, gates} : RowView{saved.slots, stride};
        gemm(team, layer.rows, inputs, (int)gates, dprojections, work.weight_ih, nullptr, dx, inputs, work.packed_lhs);
        weight_gradient(team, Cell::GATES, Cell::gate, hidden, inputs, layer.rows, dprojections, H, {layer.x, inputs},
                        dweight_ih, true, work.weight_gradient);
        weight_gradient(team, Cell::GATES, identity_order, hidden, hidden, rows,
                        {saved.slots + Cell::RECURRENT * H, stride}, H, sequence.previous_h(), dweight_hh, true,
                        work.weight_gradient);
        const Range bias_units = team.range(hidden);
        for (int slot = 0; slot < Cell::GATES; slot++)
            for (int unit = bias_units.begin; unit < bias_units.end; unit++) {
                float sum = 0;
                for (int row = 0; row < dprojection_rows; row++) sum += work.dprojection[row * gates + slot * H + unit];
                const int at = Cell::gate[slot] * hidden + unit;
                dbias_ih[at] = sum;
                dbias_hh[at] = Cell::SLOTS > Cell::GATES && slot == 0 ? work.dbias_m[unit] : sum;
            }
    });
}

template <typename Cell> int64_t layer_saved_size(Cell cell, const charrnn_layer &layer) {
    Arena arena(nullptr);
    SavedActivations::take(cell, arena, layer);
    return arena.used();
}

template <typename Cell> int64_t layer_work_size(Cell, const charrnn_layer &layer) {
    Arena forward(nullptr), backward(nullptr);
    ForwardWorkspace<Cell>(forward, layer);
    BackwardWorkspace<Cell>(backward, layer);
    return forward.used() > backward.used() ? forward.used() : backward.used();
}

}  // namespace
