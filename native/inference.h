// Inference by a whole model: nats of ids, log-probabilities of all that could stand in their place, logits of the next id.
#pragma once
#include "model.h"

namespace {

const int ROWS = 512;  // batch rows times time steps that the layers run before the softmax

// Activations of some time steps in all layers.
struct InferenceBuffers {
    float **h, **c;  // of each layer ((T + 1) * B, H'); c NULL where the cell has none
    float *projections, *features, *logits;
    float *work;   // for the left-hand sides of the products, and for time steps
    float *slots;  // of one time step, where a step has two halves; else NULL
    unsigned char *resets;
    int32_t *ids, *targets;  // what is read, and what is scored before that
    int32_t *missing;        // ids of which this call makes the table's rows before
    int *missing_count;
    int32_t *targeting;      // rows whose targets are in a level of the head

    InferenceBuffers(Arena &arena, const Model &model, int batch, int steps, int threads) {
        const int64_t rows = (int64_t)batch * steps;
        h = arena.take<float *>(model.L);
        c = arena.take<float *>(model.L);
        for (int layer = 0; layer < model.L; layer++) {
            const int H = padded(model.hidden[layer]);
            float *layer_h = arena.take<float>((rows + batch) * H);
            float *layer_c = model.cell->states > 1 ? arena.take<float>((rows + batch) * H) : nullptr;
            if (h) h[layer] = layer_h, c[layer] = layer_c;
        }
        const bool only_table = model.table && model.L == 1;
        projections = only_table ? nullptr : arena.take<float>(rows * model.cell->gates * padded(model.max_hidden));
        slots = model.cell->matmuls[1] ? arena.take<float>(batch * activation_stride(*model.cell, model.max_hidden)) : nullptr;
        features = model.L == 1 ? nullptr : arena.take<float>(rows * padded(model.F));
        const int64_t groups = threads * model.head.group_size(), of_step = steps == 1 ? batch * model.head.width : 0;
        logits = arena.take<float>(groups > of_step ? groups : of_step);
        const int inputs = model.max_hidden > model.E ? model.max_hidden : model.E;
        const int64_t lhs = rows * model.products.lhs_size(inputs > model.F ? inputs : model.F);
        const int64_t step = threads * StepWork::size(batch, model.max_hidden, model.products);
        work = arena.take<float>(lhs > step ? lhs : step);
        resets = arena.take<unsigned char>(rows);
        ids = arena.take<int32_t>(rows);
        targets = arena.take<int32_t>(rows);
        targeting = arena.take<int32_t>(rows);
        missing = arena.take<int32_t>(rows);
        missing_count = arena.take<int>(1);
    }

    // Take charge of the rows that the table lacks of those that are read next. One thread does so for all of the team.
    template <typename IdOf> void begin_missing_rows(const Model &model, int rows, IdOf &&id_of) const {
        *missing_count = 0;
        for (int row = 0; row < rows && model.table; row++)
            if (model.table.try_begin(id_of(row))) missing[(*missing_count)++] = id_of(row);
    }
};

// Make the rows of the table that this team has taken charge of, and wait for those that another one makes.
void complete_table(ThreadTeam &team, const Model &model, const InferenceBuffers &buffers, int rows) {
    const int count = *buffers.missing_count;
    const Table &table = model.table;
    if (count) {
        gemm(team, count, (int)table.width, model.E, {model.embeddings, model.E, buffers.missing}, model.layers[0].weight_ih,
             model.layers[0].bias, table.rows, table.width, buffers.work, buffers.missing);
        team.barrier();
        for (int n = 0; n < count && team.rank == 0; n++) table.publish(buffers.missing[n]);
    }
    for (int row = 0; row < rows; row++) table.wait_for(buffers.ids[row]);
}

// Run all layers over `steps` ids of each row; ids, resets, the states before, and which rows of the table are to be made, are
// in the buffers.
void run_layers(ThreadTeam &team, const Model &model, const InferenceBuffers &buffers, int batch, int steps,
                bool any_reset) {
    const Cell &cell = *model.cell;
    const int rows = batch * steps;
    if (model.table) complete_table(team, model, buffers, rows);
    for (int layer = 0; layer < model.L; layer++) {
        const int H = padded(model.hidden[layer]), inputs = model.inputs(layer);
        const int64_t gates = (int64_t)cell.gates * H;
        const PackedLayer &packed = model.layers[layer];
        const bool from_table = layer == 0 && model.table;
        if (!from_table) {
            const RowView x = layer ? RowView{buffers.h[layer - 1] + (int64_t)batch * padded(inputs), padded(inputs)}
                                    : RowView{model.embeddings, inputs, buffers.ids};
            gemm(team, rows, (int)gates, inputs, x, packed.weight_ih, packed.bias, buffers.projections, gates,
                 buffers.work, nullptr, *packed.input);
            team.barrier();
        }
        const Sequence sequence{batch, steps, model.hidden[layer], any_reset ? buffers.resets : nullptr,
                                buffers.h[layer], buffers.c[layer], model.zeros};
        const RowView projection =
            from_table ? RowView{model.table.rows, gates, buffers.ids} : RowView{buffers.projections, gates};
        const Slots slots{buffers.slots, activation_stride(cell, model.hidden[layer]), 0};
        run_forward(cell, team, sequence, packed, projection, slots, buffers.work);
    }
}

// The input of the softmax layer: the sum of the layers' h, or their concatenation. Fills the given rows, counted from row
// `first` of h.
FORCE_INLINE RowView head_input(const Model &model, const InferenceBuffers &buffers, int64_t first, Range rows) {
    if (model.L == 1) return {buffers.h[0] + first * padded(model.hidden[0]), padded(model.hidden[0])};
    const int64_t width = padded(model.F);
    for (int row = rows.begin; row < rows.end; row++) {
        float *to = buffers.features + row * width;
        for (int layer = 0; layer < model.L; layer++) {
            const int H = model.hidden[layer];
            const float *from = buffers.h[layer] + (first + row) * padded(H);
            if (!model.sums_layers) {
                memcpy(to, from, H * sizeof(float));
                to += H;
            } else if (layer == 0) {
                memcpy(to, from, padded(H) * sizeof(float));
            } else {
                for (int unit = 0; unit < padded(H); unit += LANES)
                    store(to + unit, load(to + unit) + load(from + unit));
            }
        }
    }
    return {buffers.features, width};
}

FORCE_INLINE void load_state(const Model &model, const InferenceBuffers &buffers, int batch, float *const *state) {
    for (int layer = 0; layer < model.L; layer++) {
        pad_state(state[layer], batch, model.hidden[layer], buffers.h[layer]);
        if (buffers.c[layer])
            pad_state(state[layer] + (int64_t)batch * model.hidden[layer], batch, model.hidden[layer], buffers.c[layer]);
    }
}

FORCE_INLINE void save_state(const Model &model, const InferenceBuffers &buffers, int batch, int steps,
                             float *const *state) {
    for (int layer = 0; layer < model.L; layer++) {
        const int hidden = model.hidden[layer];
        const int64_t last = (int64_t)steps * batch * padded(hidden);
        unpad_state(buffers.h[layer] + last, batch, hidden, state[layer]);
        if (buffers.c[layer]) unpad_state(buffers.c[layer] + last, batch, hidden, state[layer] + (int64_t)batch * hidden);
    }
}

// Where the results of a row of a block of time steps go.
struct ScorePlaces {
    int batch, steps, first;  // rows side by side; time steps of the call; the first one of the block

    int64_t operator[](int row) const { return (int64_t)(row % batch) * steps + first + row / batch; }
};

// Write -ln p of the targets of a thread's rows.
FORCE_INLINE void score_targets(const Model &model, const InferenceBuffers &buffers, Range range, const RowView &features,
                                float *logits, const ScorePlaces &places, double *nats) {
    const Head &head = model.head;
    for (int m = range.begin; m < range.end; m++) nats[places[m]] = 0;  // nothing predicts BOS
    for (int l = 0; l < head.levels; l++) {
        int end = range.begin;
        for (int m = range.begin; m < range.end; m++)
            if (buffers.targets[m] < model.V && head.has(l, buffers.targets[m])) buffers.targeting[end++] = m;
        const RowView rows{features.base, features.stride, buffers.targeting};
        const int size = head.level[l].size, group_rows = logit_rows(size);
        for (int begin = range.begin; begin < end; begin += group_rows) {
            const Range group{begin, begin + group_rows < end ? begin + group_rows : end};
            const RowView lhs = pack_lhs(rows, begin, group.end - begin, model.F,
                                         buffers.work + begin * model.products.lhs_size(model.F), model.products);
            head.logits(group, l, lhs, logits);
            for (int n = group.begin; n < group.end; n++) {
                const int m = buffers.targeting[n];
                double total;
                nats[places[m]] += negative_log_likelihood(logits + (int64_t)(n - begin) * padded(size), size,
                                                           head.place(l, buffers.targets[m]), total);
            }
        }
    }
}

// Write ln p of all ids that could stand in a thread's rows; and -ln p of the targets, unless nats is NULL.
FORCE_INLINE void score_all(const Model &model, const InferenceBuffers &buffers, Range range, const RowView &features,
                            float *logits, const ScorePlaces &places, double *nats, float *ln_p) {
    const Head &head = model.head;
    const int width = (int)head.width, group_rows = logit_rows(width);
    for (int begin = range.begin; begin < range.end; begin += group_rows) {
        const Range group{begin, begin + group_rows < range.end ? begin + group_rows : range.end};
        const RowView lhs = pack_lhs(features, begin, group.end - begin, model.F,
                                     buffers.work + begin * model.products.lhs_size(model.F), model.products);
        gemm(group, Range{0, width / LANES}, width, model.F, lhs, head.weight, head.bias, logits - begin * head.width,
             width, nullptr, model.products);
        for (int m = group.begin; m < group.end; m++) {
            float *const place_ln_p = ln_p + places[m] * model.V;
            double place_nats = 0;
            if (buffers.targets[m] < model.V)
                place_nats = head.log_probabilities(logits + (m - begin) * head.width, place_ln_p, buffers.targets[m]);
            else  // nothing predicts BOS
                memset(place_ln_p, 0, model.V * sizeof(float));
            if (nats) nats[places[m]] = place_nats;
        }
    }
}

int score(Model &model, const int32_t *ids, int batch, int steps, float *const *state, double *nats,
          float *ln_p) {
    const int block = ROWS / batch < 1 ? 1 : ROWS / batch < steps ? ROWS / batch : steps;
    const int threads = model.useful_threads(batch, steps);
    Arena measure(nullptr);
    InferenceBuffers(measure, model, batch, block, threads);
    void *memory = model.reserve(measure.used());
    if (!memory) return -1;
    Arena arena(memory);
    const InferenceBuffers buffers(arena, model, batch, block, threads);
    load_state(model, buffers, batch, state);
    run_parallel(threads, [&](ThreadTeam &team) {
        const ScopedFlushToZero flush;
        for (int first = 0; first < steps; first += block) {
            const int count = steps - first < block ? steps - first : block, rows = count * batch;
            const Range range = team.range(rows);
            const auto id_of = [=](int row) { return ids[(int64_t)(row % batch) * steps + first + row / batch]; };
            bool any_reset = false;  // each thread finds out for itself
            for (int row = 0; row < rows; row++) {
                const int id = id_of(row);
                any_reset |= id >= model.V;
                if (row < range.begin || row >= range.end) continue;
                buffers.resets[row] = id >= model.V;
                buffers.ids[row] = id < model.V ? id : model.V;
                buffers.targets[row] = id <= model.V ? id : id - model.V - 1;
            }
            if (team.rank == 0)
                buffers.begin_missing_rows(model, rows, [&](int row) { return id_of(row) < model.V ? id_of(row) : model.V; });
            if (first && team.rank == 0)  // from the state after the previous block
                for (int layer = 0; layer < model.L; layer++) {
                    const int64_t H = padded(model.hidden[layer]), size = batch * H * sizeof(float);
                    memmove(buffers.h[layer], buffers.h[layer] + block * batch * H, size);
                    if (buffers.c[layer]) memmove(buffers.c[layer], buffers.c[layer] + block * batch * H, size);
                }
            team.barrier();
            run_layers(team, model, buffers, batch, count, any_reset);
            const RowView features = head_input(model, buffers, 0, range);
            float *logits = buffers.logits + team.rank * model.head.group_size();
            const ScorePlaces places{batch, steps, first};
            if (ln_p)
                score_all(model, buffers, range, features, logits, places, nats, ln_p);
            else
                score_targets(model, buffers, range, features, logits, places, nats);
            team.barrier();
        }
    });
    const int last_steps = steps % block ? steps % block : block;
    save_state(model, buffers, batch, last_steps, state);
    return 0;
}

int step(Model &model, const int32_t *ids, int batch, float *const *state, float *logits) {
    const int threads = model.useful_threads(batch, 1);
    Arena measure(nullptr);
    InferenceBuffers(measure, model, batch, 1, threads);
    void *memory = model.reserve(measure.used());
    if (!memory) return -1;
    Arena arena(memory);
    const InferenceBuffers buffers(arena, model, batch, 1, threads);
    load_state(model, buffers, batch, state);
    bool any_reset = false;
    for (int row = 0; row < batch; row++) {
        buffers.ids[row] = ids[row];
        buffers.resets[row] = ids[row] == model.V;
        any_reset |= ids[row] == model.V;
    }
    buffers.begin_missing_rows(model, batch, [&](int row) { return ids[row]; });
    run_parallel(threads, [&](ThreadTeam &team) {
        const ScopedFlushToZero flush;
        run_layers(team, model, buffers, batch, 1, any_reset);
        const RowView features = head_input(model, buffers, batch, Range{0, team.rank == 0 ? batch : 0});
        team.barrier();
        const Head &head = model.head;
        if (head.levels == 1)
            return gemm(team, batch, model.V, model.F, features, head.weight, head.bias, logits, model.V, buffers.work,
                        nullptr, model.products);
        head.logits(team, batch, features, buffers.logits, buffers.work);
        team.barrier();
        const Range range = team.range(batch);
        for (int row = range.begin; row < range.end; row++)
            head.log_probabilities(buffers.logits + row * head.width, logits + (int64_t)row * model.V, -1);
    });
    save_state(model, buffers, batch, 1, state);
    return 0;
}

}  // namespace
