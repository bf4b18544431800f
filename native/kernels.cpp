// Compiled once for each instruction set, in float32 and with CHARRNN_HALF in bfloat16; KERNELS names the table that is
// filled. All but the table has internal linkage: were a template shared, the linker might keep the copy that this
// machine cannot run.
#include "dispatch.h"

#include "adamw.h"
#include "layer.h"
#include "sampler.h"

extern const Kernels KERNELS;

const Kernels KERNELS = {
    [](const charrnn_layer *layer) { return with_cell(layer->cell, [&](auto cell) { return layer_kept(cell, *layer); }); },
    [](const charrnn_layer *layer) { return with_cell(layer->cell, [&](auto cell) { return layer_work(cell, *layer); }); },
    [](const charrnn_layer *layer, float *state) {
        with_cell(layer->cell, [&](auto cell) { layer_forward(cell, *layer, state); });
    },
    [](const charrnn_layer *layer, const float *dh, int64_t distance, const float *after, float *dx, float *weight_ih,
       float *weight_hh, float *bias_ih, float *bias_hh, float *before) {
        with_cell(layer->cell, [&](auto cell) {
            layer_backward(cell, *layer, dh, distance, after, dx, weight_ih, weight_hh, bias_ih, bias_hh, before);
        });
    },
    head_work,
    head_loss,
    update_work,
    gradient_norm,
    adamw,
    [](int32_t cell, int32_t threads, int32_t vocabulary, int32_t embedding, int32_t layers, const int32_t *hidden,
       const float *embeddings, const charrnn_weights *weights, const float *head_weight, const float *head_bias) -> void * {
        return model_new(cell, threads, vocabulary, embedding, layers, hidden, embeddings, weights, head_weight, head_bias);
    },
    [](void *model) { model_free(static_cast<Model *>(model)); },
    [](void *model, const int32_t *ids, int32_t batch, int32_t steps, float *const *state, double *nats) {
        Model &known = *static_cast<Model *>(model);
        return with_cell(known.cell, [&](auto cell) { return score(cell, known, ids, batch, steps, state, nats); });
    },
    [](void *model, const int32_t *ids, int32_t batch, float *const *state, float *logits) {
        Model &known = *static_cast<Model *>(model);
        return with_cell(known.cell, [&](auto cell) { return step(cell, known, ids, batch, state, logits); });
    },
    [](void *model, const charrnn_writing *writing) -> void * { return writer_new(*static_cast<Model *>(model), *writing); },
    [](void *writer, int64_t nanoseconds, int64_t room, int64_t *texts, int32_t *ids, uint8_t *last) {
        Writer &known = *static_cast<Writer *>(writer);
        return with_cell(known.model->cell,
                         [&](auto cell) { return write(cell, known, nanoseconds, {texts, ids, last, room}); });
    },
    [](void *writer, int64_t text) { writer_finish(*static_cast<Writer *>(writer), text); },
};
