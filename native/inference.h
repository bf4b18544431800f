// A whole model that reads ids: what each cost, or the logits after it.
#pragma once
#include "model.h"
#include "softmax_xent.h"

namespace {

const int ROWS = 512;  // read between two looks at the softmax

// Buffers for some steps of all layers.
struct Reading {
    float **h, **c;  // of each layer ((T + 1) * B, H'); c is null but for LSTM
    float *drives, *features, *logits, *lowered;
    unsigned char *resets;
    int32_t *ids;

    template <typename Cell> Reading(Cell, Arena &arena, const Model &model, int batch, int steps, int threads) {
        const int64_t rows = (int64_t)batch * steps;
        h = arena.take<float *>(model.L);
        c = arena.take<float *>(model.L);
        for (int layer = 0; layer < model.L; layer++) {
            const int H = padded(model.hidden[layer]);
            float *hs = arena.take<float>((rows + batch) * H);
            float *cs = model.cell == CHARRNN_LSTM ? arena.take<float>((rows + batch) * H) : nullptr;
            if (h) h[layer] = hs, c[layer] = cs;
        }
        drives = model.table && model.L == 1 ? nullptr : arena.take<float>(rows * Cell::GATES * padded(model.widest));
        features = model.L == 1 ? nullptr : arena.take<float>(rows * padded(model.F));
        logits = arena.take<float>((int64_t)threads * rows_at_a_time(model.V) * padded(model.V));
        const int most = model.widest > model.E ? model.widest : model.E;
        const int64_t high = rows > threads * (int64_t)batch ? rows : threads * (int64_t)batch;
        lowered = arena.take<float>(lowered_size(high, most > model.F ? most : model.F));
        resets = arena.take<unsigned char>(rows);
        ids = arena.take<int32_t>(rows);
    }
};

// All layers read `steps` ids a row; ids, resets and the states before are in place.
template <typename Cell>
void read(Cell, Team &team, const Model &model, const Reading &reading, int batch, int steps, bool any_reset) {
    const int rows = batch * steps;
    for (int layer = 0; layer < model.L; layer++) {
        const int H = padded(model.hidden[layer]), inputs = model.inputs(layer);
        const int64_t gates = (int64_t)Cell::GATES * H;
        const Packed &packed = model.layers[layer];
        const bool chosen = layer == 0 && model.table;
        if (!chosen) {
            const Rows below = layer ? Rows{reading.h[layer - 1] + (int64_t)batch * padded(inputs), padded(inputs)}
                                     : Rows{model.embeddings, inputs, reading.ids};
            multiply_rows(team, rows, (int)gates, inputs, below, packed.input, packed.bias, reading.drives, gates,
                          reading.lowered);
            team.barrier();
        }
        const Chunk chunk{batch, steps, model.hidden[layer], any_reset ? reading.resets : nullptr,
                          reading.h[layer], reading.c[layer], model.zeros};
        const Rows drive = chosen ? Rows{model.table, gates, reading.ids} : Rows{reading.drives, gates};
        run_forward<Cell>(team, model.cell, chunk, packed, drive, nullptr, reading.lowered);
    }
}

// What the head reads: the sum of the layers' h, or one beside the other. Makes rows begin to end, counted from `first`.
INLINE Rows feature_rows(const Model &model, const Reading &reading, int64_t first, Share rows) {
    if (model.L == 1) return {reading.h[0] + first * padded(model.hidden[0]), padded(model.hidden[0])};
    const int64_t width = padded(model.F);
    for (int row = rows.begin; row < rows.end; row++) {
        float *to = reading.features + row * width;
        for (int layer = 0; layer < model.L; layer++) {
            const int H = model.hidden[layer];
            const float *from = reading.h[layer] + (first + row) * padded(H);
            if (!model.summed) {
                memcpy(to, from, H * sizeof(float));
                to += H;
            } else if (layer == 0) {
                memcpy(to, from, padded(H) * sizeof(float));
            } else {
                for (int unit = 0; unit < padded(H); unit += LANES) store(to + unit, load(to + unit) + load(from + unit));
            }
        }
    }
    return {reading.features, width};
}

INLINE void load_state(const Model &model, const Reading &reading, int batch, float *const *state) {
    for (int layer = 0; layer < model.L; layer++) {
        spread(state[layer], batch, model.hidden[layer], reading.h[layer]);
        if (reading.c[layer])
            spread(state[layer] + (int64_t)batch * model.hidden[layer], batch, model.hidden[layer], reading.c[layer]);
    }
}

INLINE void save_state(const Model &model, const Reading &reading, int batch, int steps, float *const *state) {
    for (int layer = 0; layer < model.L; layer++) {
        const int hidden = model.hidden[layer];
        const int64_t last = (int64_t)steps * batch * padded(hidden);
        gather(reading.h[layer] + last, batch, hidden, state[layer]);
        if (reading.c[layer]) gather(reading.c[layer] + last, batch, hidden, state[layer] + (int64_t)batch * hidden);
    }
}

template <typename Cell>
int score(Cell cell, Model &model, const int32_t *ids, int batch, int steps, float *const *state, double *nats) {
    const int some = ROWS / batch < 1 ? 1 : ROWS / batch < steps ? ROWS / batch : steps;
    const int threads = model.team(batch, steps);
    Arena measure(nullptr);
    Reading(cell, measure, model, batch, some, threads);
    void *memory = model.grown(measure.used());
    if (!memory) return -1;
    Arena arena(memory);
    const Reading reading(cell, arena, model, batch, some, threads);
    load_state(model, reading, batch, state);
    in_team(threads, [&](Team &team) {
        const Flush flush;
        for (int first = 0; first < steps; first += some) {
            const int count = steps - first < some ? steps - first : some, rows = count * batch;
            const Share mine = team.share(rows);
            bool any_reset = false;  // each thread looks for itself
            for (int row = 0; row < rows; row++) {
                const int id = ids[(int64_t)(row % batch) * steps + first + row / batch];
                any_reset |= id == model.V;
                if (row < mine.begin || row >= mine.end) continue;
                reading.ids[row] = id;
                reading.resets[row] = id == model.V;
            }
            if (first && team.number == 0)  // goes on from where it was
                for (int layer = 0; layer < model.L; layer++) {
                    const int64_t H = padded(model.hidden[layer]), size = batch * H * sizeof(float);
                    memmove(reading.h[layer], reading.h[layer] + some * batch * H, size);
                    if (reading.c[layer]) memmove(reading.c[layer], reading.c[layer] + some * batch * H, size);
                }
            team.barrier();
            read(cell, team, model, reading, batch, count, any_reset);
            const Rows features = feature_rows(model, reading, 0, mine);
            const int group = rows_at_a_time(model.V);
            float *logits = reading.logits + (int64_t)team.number * group * padded(model.V);
            for (int begin = mine.begin; begin < mine.end; begin += group) {
                const Share here{begin, begin + group < mine.end ? begin + group : mine.end};
                const Rows left = lowered(features, begin, here.end - begin, model.F,
                                          reading.lowered + lowered_size(begin, model.F));
                multiply_rows(here, Share{0, blocks(model.V)}, padded(model.V), model.F, left, model.head, model.head_bias,
                              logits - begin * (int64_t)padded(model.V), padded(model.V));
                for (int m = here.begin; m < here.end; m++) {
                    double total, &to = nats[(int64_t)(m % batch) * steps + first + m / batch];
                    to = reading.resets[m] ? 0.0
                                           : cost(logits + (int64_t)(m - begin) * padded(model.V), model.V, reading.ids[m], total);
                }
            }
            team.barrier();
        }
    });
    const int rest = steps % some ? steps % some : some;
    save_state(model, reading, batch, rest, state);
    return 0;
}

template <typename Cell>
int step(Cell cell, Model &model, const int32_t *ids, int batch, float *const *state, float *logits) {
    const int threads = model.team(batch, 1);
    Arena measure(nullptr);
    Reading(cell, measure, model, batch, 1, threads);
    void *memory = model.grown(measure.used());
    if (!memory) return -1;
    Arena arena(memory);
    const Reading reading(cell, arena, model, batch, 1, threads);
    load_state(model, reading, batch, state);
    bool any_reset = false;
    for (int row = 0; row < batch; row++) {
        reading.ids[row] = ids[row];
        reading.resets[row] = ids[row] == model.V;
        any_reset |= ids[row] == model.V;
    }
    in_team(threads, [&](Team &team) {
        const Flush flush;
        read(cell, team, model, reading, batch, 1, any_reset);
        const Rows features = feature_rows(model, reading, batch, Share{0, team.number == 0 ? batch : 0});
        team.barrier();
        multiply_rows(team, batch, model.V, model.F, features, model.head, model.head_bias, logits, model.V,
                      reading.lowered);
    });
    save_state(model, reading, batch, 1, state);
    return 0;
}

}  // namespace
