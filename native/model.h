// A whole model's weights, packed for reading ids.
#pragma once
#include <stdlib.h>

#include "recurrence.h"

namespace {

const int64_t TABLE = 1 << 24;  // floats of the largest table of first-layer drives; beyond, they are made for the ids read
const int64_t ENOUGH = 100000;  // multiply-adds of a step that are worth a barrier; and of a call, worth waking a thread
const int64_t AWAKE = 4000000;

struct Model {
    int cell, threads, V, E, L, F, widest;
    bool summed;
    int *hidden;
    Packed *layers;
    float *embeddings, *table;  // (V + 1, E); (V + 1, GATES * H') or null
    float *head, *head_bias;    // packed for (F,) -> V; padded
    float *zeros;
    void *memory;
    void *work;  // grows
    int64_t work_size;

    int inputs(int layer) const { return layer ? hidden[layer - 1] : E; }

    template <typename Cell> void lay_out(Cell, Arena &arena, const int *sizes) {
        hidden = arena.take<int>(L);
        layers = arena.take<Packed>(L);
        if (hidden) memcpy(hidden, sizes, L * sizeof(int));
        F = widest = 0;
        summed = true;
        for (int layer = 0; layer < L; layer++) {
            const Packed packed = Packed::take<Cell>(arena, layer ? sizes[layer - 1] : E, sizes[layer]);
            if (layers) layers[layer] = packed;
            if (sizes[layer] > widest) widest = sizes[layer];
            if (sizes[layer] != sizes[0]) summed = false;
            F += sizes[layer];
        }
        if (summed) F = sizes[0];
        const int64_t gates = (int64_t)Cell::GATES * padded(sizes[0]);
        embeddings = arena.take<float>((int64_t)(V + 1) * E);
        table = (V + 1) * gates <= TABLE ? arena.take<float>((V + 1) * gates) : nullptr;
        head = arena.take<float>((int64_t)places(F) * padded(V));
        head_bias = arena.take<float>(padded(V));
        zeros = arena.take<float>(padded(widest));
    }

    // Threads that a call pays for: no result depends on it.
    int team(int batch, int steps) const {
        int64_t step = 0;
        for (int layer = 0; layer < L; layer++) step += (int64_t)hidden[layer] * (inputs(layer) + hidden[layer]);
        step *= batch * (cell == CHARRNN_GRU ? 3 : cell == CHARRNN_LSTM ? 4 : 1);
        return step < ENOUGH || step * steps < AWAKE ? 1 : threads;
    }

    void *grown(int64_t size) {
        if (size > work_size) {
            free(work);
            work = nullptr;
            work_size = 0;
            if (posix_memalign(&work, 64, size)) return work = nullptr;
            work_size = size;
        }
        return work;
    }
};

void model_free(Model *model) {
    if (!model) return;
    free(model->work);
    free(model->memory);
    free(model);
}

Model *model_new(int cell, int threads, int vocabulary, int embedding, int layers, const int *hidden, const float *embeddings,
                 const charrnn_weights *weights, const float *head_weight, const float *head_bias) {
    Model *model = static_cast<Model *>(calloc(1, sizeof(Model)));
    if (!model) return nullptr;
    model->cell = cell;
    model->threads = threads;
    model->V = vocabulary;
    model->E = embedding;
    model->L = layers;
    Arena measure(nullptr);
    with_cell(cell, [&](auto kind) { model->lay_out(kind, measure, hidden); });
    if (posix_memalign(&model->memory, 64, measure.used())) {
        free(model);
        return nullptr;
    }
    Arena arena(model->memory);
    with_cell(cell, [&](auto kind) { model->lay_out(kind, arena, hidden); });
    memset(model->zeros, 0, padded(model->widest) * sizeof(float));
    memcpy(model->embeddings, embeddings, (int64_t)(vocabulary + 1) * embedding * sizeof(float));
    memset(model->head_bias, 0, padded(vocabulary) * sizeof(float));
    memcpy(model->head_bias, head_bias, vocabulary * sizeof(float));
    float *lowering = static_cast<float *>(model->grown(lowered_size(vocabulary + 1, embedding) * (int64_t)sizeof(float)));
    if (lowered_size(vocabulary + 1, embedding) && !lowering) {
        model_free(model);
        return nullptr;
    }
    in_team(threads, [&](Team &team) {
        const Flush flush;
        pack_rows<1>(team, head_weight, vocabulary, model->F, model->head);
        with_cell(cell, [&](auto kind) {
            using Cell = decltype(kind);
            for (int layer = 0; layer < layers; layer++)
                model->layers[layer].template pack<Cell>(team, model->inputs(layer), hidden[layer], weights[layer]);
            team.barrier();
            const int64_t gates = (int64_t)Cell::GATES * padded(hidden[0]);
            if (model->table)
                multiply_rows(team, vocabulary + 1, (int)gates, embedding, {model->embeddings, embedding},
                              model->layers[0].input, model->layers[0].bias, model->table, gates, lowering);
        });
    });
    return model;
}

}  // namespace
