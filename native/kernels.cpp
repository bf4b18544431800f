// The compute functions, compiled once for each instruction set, in float32 and with CHARRNN_HALF in bfloat16; KERNELS is the
// name of the table of them. Only the table has external linkage: were a template shared, the linker might keep the copy
// that this machine cannot run.
#include "dispatch.h"

#include "adamw.h"
#include "cpu.h"
#include "layer.h"
#include "peak.h"
#include "sampler.h"

extern const Kernels KERNELS;

constexpr Kernels KERNELS = {
    used_features(),
    multiply_adds,
    [](const charrnn_layer *layer) { return layer_saved_size(*layer); },
    [](const charrnn_layer *layer) { return layer_work_size(*layer); },
    [](const charrnn_layer *layer, float *state) { layer_forward(*layer, state); },
    [](const charrnn_layer *layer, const float *dh, int64_t dh_stride, const float *dstate_after, float *dx,
       float *dweight_ih, float *dweight_hh, float *dbias_ih, float *dbias_hh, float *dweight_ch, float *dstate) {
        layer_backward(*layer, dh, dh_stride, dstate_after, dx, dweight_ih, dweight_hh, dbias_ih, dbias_hh, dweight_ch,
                       dstate);
    },
    softmax_xent_work_size,
    softmax_xent_loss,
    optimizer_work_size,
    optimizer_gradient_norm,
    optimizer_adamw,
    [](const void *int8, int32_t cell, int32_t threads, int32_t vocabulary, int32_t embedding, int32_t layers,
       const int32_t *hidden, const float *embeddings, const charrnn_weights *weights, const float *head_weight,
       const float *head_bias, const uint8_t *clusters) -> void * {
        return model_new(static_cast<const TileProducts *>(int8), cell, threads, vocabulary, embedding, layers, hidden,
                         embeddings, weights, head_weight, head_bias, clusters);
    },
    [](void *model) { model_free(static_cast<Model *>(model)); },
    [](void *model, const int32_t *ids, int32_t batch, int32_t steps, float *const *state, double *nats, float *ln_p) {
        return score(*static_cast<Model *>(model), ids, batch, steps, state, nats, ln_p);
    },
    [](void *model, const int32_t *ids, int32_t batch, float *const *state, float *logits) {
        return step(*static_cast<Model *>(model), ids, batch, state, logits);
    },
    [](void *model, const charrnn_sampler_request *request) -> void * {
        return sampler_new(*static_cast<Model *>(model), *request);
    },
    [](void *sampler) { sampler_free(static_cast<Sampler *>(sampler)); },
    [](void *sampler, int64_t nanoseconds, int64_t capacity, int64_t *texts, int32_t *ids, double *nats,
       uint8_t *last) {
        return advance(*static_cast<Sampler *>(sampler), nanoseconds, {texts, ids, nats, last, capacity});
    },
    [](void *sampler, int64_t text) { sampler_finish(*static_cast<Sampler *>(sampler), text); },
};
