// A layer's forward and backward pass on behalf of training: packing, the chunk, and gradients of weights.
#pragma once
#include "recurrence.h"

namespace {

// What the forward pass leaves for the backward pass.
struct Kept {
    float *h, *c, *slots;

    template <typename Cell> static Kept take(Cell, Arena &arena, const charrnn_layer &layer) {
        const int64_t H = padded(layer.hidden), rows = (int64_t)layer.steps * layer.batch;
        const bool lstm = layer.cell == CHARRNN_LSTM;
        return {arena.take<float>((rows + layer.batch) * H), lstm ? arena.take<float>((rows + layer.batch) * H) : nullptr,
                arena.take<float>(rows * row_size<Cell>(layer.hidden))};
    }

    Chunk chunk(const charrnn_layer &layer, const float *zeros) const {
        return {layer.batch, layer.steps, layer.hidden, layer.resets, h, c, zeros};
    }
};

template <typename Cell> struct ForwardWork {
    Packed packed;
    float *zeros, *drives;  // drives: GATES * H' for each row of x, where steps choose among them
    float *lowered;

    ForwardWork(Arena &arena, const charrnn_layer &layer) {
        packed = Packed::take<Cell>(arena, layer.inputs, layer.hidden);
        zeros = arena.take<float>(padded(layer.hidden));
        drives = layer.index ? arena.take<float>((int64_t)layer.rows * Cell::GATES * padded(layer.hidden)) : nullptr;
        const int64_t x = lowered_size(layer.rows, layer.inputs);
        const int64_t h = lowered_size((int64_t)layer.threads * layer.batch, layer.hidden);
        lowered = arena.take<float>(x > h ? x : h);
    }
};

template <typename Cell> void layer_forward(Cell cell, const charrnn_layer &layer, float *state) {
    Arena kept_arena(layer.kept), arena(layer.work);
    const Kept kept = Kept::take(cell, kept_arena, layer);
    const ForwardWork<Cell> work(arena, layer);
    const Chunk chunk = kept.chunk(layer, work.zeros);
    const int64_t H = chunk.H(), gates = Cell::GATES * H, units = (int64_t)layer.batch * layer.hidden;
    in_team(layer.threads, [&](Team &team) {
        const Flush flush;
        work.packed.template pack<Cell>(team, layer.inputs, layer.hidden, layer.weights);
        if (team.number == 0) {
            memset(work.zeros, 0, H * sizeof(float));
            spread(layer.state, layer.batch, layer.hidden, kept.h);
            if (kept.c) spread(layer.state + units, layer.batch, layer.hidden, kept.c);
        }
        team.barrier();
        float *drives = layer.index ? work.drives : kept.slots;
        const int64_t stride = layer.index ? gates : row_size<Cell>(layer.hidden);
        multiply_rows(team, layer.rows, (int)gates, layer.inputs, {layer.x, layer.inputs}, work.packed.input,
                      work.packed.bias, drives, stride, work.lowered);
        team.barrier();
        run_forward<Cell>(team, layer.cell, chunk, work.packed, {drives, stride, layer.index}, kept.slots, work.lowered);
    });
    const int64_t last = (int64_t)layer.steps * layer.batch * H;
    gather(kept.h + last, layer.batch, layer.hidden, state);
    if (kept.c) gather(kept.c + last, layer.batch, layer.hidden, state + units);
}

template <typename Cell> struct BackwardWork {
    float *recurrent, *input;  // packed for (GATES * H',) -> H and -> in
    float *zeros, *direct, *dc, *inner, *outer, *lowered;
    float *sums;  // gradients of drives, GATES * H': for each row of x that steps chose among, else of all rows together

    BackwardWork(Arena &arena, const charrnn_layer &layer) {
        const int64_t H = padded(layer.hidden), gates = Cell::GATES * H;
        recurrent = arena.take<float>(panel_size((int)gates, 1) * (H / LANES));
        input = arena.take<float>(panel_size((int)gates, 1) * blocks(layer.inputs));
        zeros = arena.take<float>(H > padded(layer.inputs) ? H : padded(layer.inputs));
        direct = arena.take<float>(layer.batch * H);
        dc = layer.cell == CHARRNN_LSTM ? arena.take<float>(layer.batch * H) : nullptr;
        inner = arena.take<float>(H);
        const int64_t by_state = outer_work(Cell::GATES, layer.hidden, layer.hidden);
        const int64_t by_input = outer_work(Cell::GATES, layer.hidden, layer.inputs);
        outer = arena.take<float>(by_state > by_input ? by_state : by_input);
        sums = arena.take<float>((layer.index ? layer.rows : 1) * gates);
        const int64_t steps = (int64_t)layer.threads * layer.batch;
        lowered = arena.take<float>(lowered_size(layer.rows > steps ? layer.rows : steps, (int)gates));
    }
};

template <typename Cell>
void layer_backward(Cell cell, const charrnn_layer &layer, const float *dh, int64_t distance, const float *after, float *dx,
                    float *weight_ih, float *weight_hh, float *bias_ih, float *bias_hh, float *before) {
    Arena kept_arena(layer.kept), arena(layer.work);
    const Kept kept = Kept::take(cell, kept_arena, layer);
    const BackwardWork<Cell> work(arena, layer);
    const Chunk chunk = kept.chunk(layer, work.zeros);
    const int hidden = layer.hidden, inputs = layer.inputs, rows = layer.steps * layer.batch;
    const int64_t H = chunk.H(), gates = Cell::GATES * H, stride = row_size<Cell>(hidden), units = (int64_t)layer.batch * hidden;
    in_team(layer.threads, [&](Team &team) {
        const Flush flush;
        if (team.number == 0) memset(work.zeros, 0, (H > padded(inputs) ? H : padded(inputs)) * sizeof(float));
        team.barrier();
        pack(
            team.share((int)(H / LANES)),
            [&](int k) {
                const int unit = (int)(k % H), gate = (int)(k / H);
                return unit < hidden ? layer.weights.weight_hh + ((int64_t)gate * hidden + unit) * hidden : work.zeros;
            },
            (int)gates, hidden, work.recurrent);
        pack(
            team.share(blocks(inputs)),
            [&](int k) {
                const int unit = (int)(k % H), gate = Cell::gate[k / H];
                return unit < hidden ? layer.weights.weight_ih + ((int64_t)gate * hidden + unit) * inputs : work.zeros;
            },
            (int)gates, inputs, work.input);
        const Share columns = team.share((int)H / LANES);
        const int summed = layer.index ? layer.rows : 1;
        for (int row = 0; row < summed; row++)
            for (int gate = 0; gate < Cell::GATES; gate++)
                for (int block = columns.begin; block < columns.end; block++)
                    store(work.sums + row * gates + gate * H + block * LANES, Vector{});
        team.barrier();
        run_backward<Cell>(team, layer.cell, chunk, work.recurrent, dh, distance, after, after ? after + units : nullptr,
                           kept.slots, work.direct, work.dc, work.sums, layer.index, work.inner, before, before + units, work.lowered);
        const Rows drives = layer.index ? Rows{work.sums, gates} : Rows{kept.slots, stride};
        multiply_rows(team, layer.rows, inputs, (int)gates, drives, work.input, nullptr, dx, inputs,
                      work.lowered);
        outer(team, Cell::GATES, Cell::gate, hidden, inputs, layer.rows, drives, H, {layer.x, inputs}, weight_ih, true,
              work.outer);
        outer(team, Cell::GATES, in_order, hidden, hidden, rows, {kept.slots + Cell::RECURRENT * H, stride}, H,
              chunk.before(), weight_hh, true, work.outer);
        const Share units_here = team.share(hidden);
        for (int slot = 0; slot < Cell::GATES; slot++)
            for (int unit = units_here.begin; unit < units_here.end; unit++) {
                float sum = 0;
                for (int row = 0; row < summed; row++) sum += work.sums[row * gates + slot * H + unit];
                const int at = Cell::gate[slot] * hidden + unit;
                bias_ih[at] = sum;
                bias_hh[at] = Cell::SLOTS > Cell::GATES && slot == 0 ? work.inner[unit] : sum;
            }
    });
}

template <typename Cell> int64_t layer_kept(Cell cell, const charrnn_layer &layer) {
    Arena arena(nullptr);
    Kept::take(cell, arena, layer);
    return arena.used();
}

template <typename Cell> int64_t layer_work(Cell, const charrnn_layer &layer) {
    Arena forward(nullptr), backward(nullptr);
    ForwardWork<Cell>(forward, layer);
    BackwardWork<Cell>(backward, layer);
    return forward.used() > backward.used() ? forward.used() : backward.used();
}

}  // namespace
