// The C API: passes calls on to the functions of the instruction set chosen.
#include <stdlib.h>

#include "dispatch.h"

namespace {

// The functions for the precision of a layer, a model and so on.
template <typename Call> const Kernels &of(const Call *call) { return kernels_of(call->precision); }

}  // namespace

struct charrnn_model {
    int32_t precision;
    void *model;
};

struct charrnn_writer {
    int32_t precision;
    void *sampler;
};

int32_t charrnn_interface(void) { return CHARRNN_INTERFACE; }

int64_t charrnn_layer_kept(const charrnn_layer *layer) { return of(layer).layer_saved_size(layer); }
int64_t charrnn_layer_work(const charrnn_layer *layer) { return of(layer).layer_work_size(layer); }

void charrnn_layer_forward(const charrnn_layer *layer, float *state) { of(layer).layer_forward(layer, state); }

void charrnn_layer_backward(const charrnn_layer *layer, const float *dh, int64_t distance, const float *dstate_after,
                            float *dx, float *weight_ih, float *weight_hh, float *bias_ih, float *bias_hh,
                            float *dstate) {
    of(layer).layer_backward(layer, dh, distance, dstate_after, dx, weight_ih, weight_hh, bias_ih, bias_hh, dstate);
}

int64_t charrnn_head_work(const charrnn_head *head) { return of(head).softmax_xent_work_size(head); }

double charrnn_head_loss(const charrnn_head *head, float *dx, int64_t distance, float *weight, float *bias) {
    return of(head).softmax_xent_loss(head, dx, distance, weight, bias);
}

int64_t charrnn_update_work(const charrnn_update *update) { return kernels_of(CHARRNN_FLOAT32).optimizer_work_size(update); }

double charrnn_gradient_norm(const charrnn_update *update) { return kernels_of(CHARRNN_FLOAT32).gradient_norm(update); }

void charrnn_adamw(const charrnn_update *update) { kernels_of(CHARRNN_FLOAT32).adamw(update); }

charrnn_model *charrnn_model_new(int32_t precision, int32_t cell, int32_t threads, int32_t vocabulary, int32_t embedding,
                                 int32_t layers, const int32_t *hidden, const float *embeddings,
                                 const charrnn_weights *weights, const float *head_weight, const float *head_bias) {
    charrnn_model *model = static_cast<charrnn_model *>(malloc(sizeof(charrnn_model)));
    if (!model) return nullptr;
    model->precision = precision;
    model->model = of(model).model_new(cell, threads, vocabulary, embedding, layers, hidden, embeddings, weights,
                                       head_weight, head_bias);
    if (model->model) return model;
    free(model);
    return nullptr;
}

void charrnn_model_free(charrnn_model *model) {
    if (!model) return;
    of(model).model_free(model->model);
    free(model);
}

int32_t charrnn_score(charrnn_model *model, const int32_t *ids, int32_t batch, int32_t steps, float *const *state,
                      double *nats) {
    return of(model).model_score(model->model, ids, batch, steps, state, nats);
}

int32_t charrnn_step(charrnn_model *model, const int32_t *ids, int32_t batch, float *const *state, float *logits) {
    return of(model).model_step(model->model, ids, batch, state, logits);
}

charrnn_writer *charrnn_writer_new(charrnn_model *model, const charrnn_writing *writing) {
    charrnn_writer *sampler = static_cast<charrnn_writer *>(malloc(sizeof(charrnn_writer)));
    if (!sampler) return nullptr;
    sampler->precision = model->precision;
    sampler->sampler = of(model).sampler_new(model->model, writing);
    if (sampler->sampler) return sampler;
    free(sampler);
    return nullptr;
}

void charrnn_writer_free(charrnn_writer *sampler) {
    if (!sampler) return;
    free(sampler->sampler);
    free(sampler);
}

int64_t charrnn_write(charrnn_writer *sampler, int64_t nanoseconds, int64_t room, int64_t *texts, int32_t *ids,
                      uint8_t *last) {
    return of(sampler).sampler_advance(sampler->sampler, nanoseconds, room, texts, ids, last);
}

void charrnn_writer_finish(charrnn_writer *sampler, int64_t text) { of(sampler).sampler_finish(sampler->sampler, text); }
