// A whole model for inference: its weights, packed, and the memory that calls work in.
#pragma once
#include <stdlib.h>

#include "cells.h"
#include "head.h"
#include "recurrence.h"
#include "table.h"

namespace {

const int64_t MIN_STEP_MADDS = 100000;    // multiply-adds of a time step that are worth a barrier; of int8, four times as many
const int64_t MIN_CALL_MADDS = 4000000;   // multiply-adds of a call that are worth waking a thread

struct Model {
    const Cell *cell;
    Products products;  // of all weights but the first layer's weight_ih, of which there is mostly a table
    int threads, V, E, L, F, max_hidden;
    bool sums_layers;
    int *hidden;
    PackedLayer *layers;
    float *embeddings;  // (V + 1, E)
    Table table;        // (V + 1, gates * H')
    Head head;
    float *zeros;
    void *memory;  // of all the above
    void *work;    // see reserve()
    int64_t work_size;

    int inputs(int layer) const { return layer ? hidden[layer - 1] : E; }

    // Take all parts from the arena; without memory, only count them.
    void allocate(Arena &arena, const int *sizes, const uint8_t *clusters) {
        hidden = arena.take<int>(L);
        layers = arena.take<PackedLayer>(L);
        if (hidden) memcpy(hidden, sizes, L * sizeof(int));
        F = max_hidden = 0;
        sums_layers = true;
        for (int layer = 0; layer < L; layer++) {
            const PackedLayer packed =
                layer ? PackedLayer::take(*cell, arena, sizes[layer - 1], sizes[layer], products, products)
                      : PackedLayer::take(*cell, arena, E, sizes[0], own_products, products);
            if (layers) layers[layer] = packed;
            if (sizes[layer] > max_hidden) max_hidden = sizes[layer];
            if (sizes[layer] != sizes[0]) sums_layers = false;
            F += sizes[layer];
        }
        if (sums_layers) F = sizes[0];
        embeddings = arena.take<float>((int64_t)(V + 1) * E);
        table = Table::take(arena, V + 1, (int64_t)cell->gates * padded(sizes[0]));
        head = Head::take(arena, products, V, F, clusters);
        zeros = arena.take<float>(padded(max_hidden));
    }

    // The threads that a call is worth: no result depends on it.
    int useful_threads(int batch, int steps) const {
        int64_t step = 0;
        for (int layer = 0; layer < L; layer++)
            step += (int64_t)hidden[layer] * (cell->gates * inputs(layer) + cell->recurrent_gates() * hidden[layer]);
        step *= batch;
        const int64_t least = products.int8 ? 4 * MIN_STEP_MADDS : MIN_STEP_MADDS;
        return step < least || step * steps < MIN_CALL_MADDS ? 1 : threads;
    }

    // At least so many bytes to work in, good until the next call; NULL where there is no memory.
    void *reserve(int64_t size) {
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

// int8: the products of int8 for this instruction set; NULL: not in int8.
Model *model_new(const TileProducts *int8, int cell, int threads, int vocabulary, int embedding, int layers,
                 const int *hidden, const float *embeddings, const charrnn_weights *weights, const float *head_weight,
                 const float *head_bias, const uint8_t *clusters) {
    Model *model = static_cast<Model *>(calloc(1, sizeof(Model)));
    if (!model) return nullptr;
    model->cell = &cell_of(cell);
    model->products = int8 ? Products{int8, true} : own_products;
    model->threads = threads;
    model->V = vocabulary;
    model->E = embedding;
    model->L = layers;
    Arena measure(nullptr);
    model->allocate(measure, hidden, clusters);
    if (posix_memalign(&model->memory, 64, measure.used())) {
        free(model);
        return nullptr;
    }
    Arena arena(model->memory);
    model->allocate(arena, hidden, clusters);
    memset(model->zeros, 0, padded(model->max_hidden) * sizeof(float));
    memcpy(model->embeddings, embeddings, (int64_t)(vocabulary + 1) * embedding * sizeof(float));
    model->head.copy(head_bias, clusters);
    if (model->table) memset(model->table.states, Table::MISSING, vocabulary + 1);
    run_parallel(threads, [&](ThreadTeam &team) {
        const ScopedFlushToZero flush;
        model->head.pack(team, head_weight);
        for (int layer = 0; layer < layers; layer++)
            model->layers[layer].pack(*model->cell, team, model->inputs(layer), hidden[layer], weights[layer]);
    });
    return model;
}

}  // namespace
