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

struct charrnn_sampler {
    int32_t precision;
    void *sampler;
};

int32_t charrnn_abi_version(void) { return CHARRNN_ABI_VERSION; }

const int32_t *charrnn_struct_sizes(void) {
    static const int32_t sizes[] = {sizeof(charrnn_weights),   sizeof(charrnn_layer),           sizeof(charrnn_softmax_xent),
                                    sizeof(charrnn_optimizer), sizeof(charrnn_copy_index),      sizeof(charrnn_contexts),
                                    sizeof(charrnn_sampler_request), 0};
    return sizes;
}

void charrnn_multiply_adds(int32_t threads, int64_t nanoseconds, double *rates) {
    kernels_of(CHARRNN_FLOAT32).multiply_adds(threads, nanoseconds, rates);
}

int64_t charrnn_layer_saved_size(const charrnn_layer *layer) { return of(layer).layer_saved_size(layer); }
int64_t charrnn_layer_work_size(const charrnn_layer *layer) { return of(layer).layer_work_size(layer); }

void charrnn_layer_forward(const charrnn_layer *layer, float *state_after) {
    of(layer).layer_forward(layer, state_after);
}

void charrnn_layer_backward(const charrnn_layer *layer, const float *dh, int64_t dh_stride, const float *dstate_after,
                            float *dx, float *dweight_ih, float *dweight_hh, float *dbias_ih, float *dbias_hh,
                            float *dweight_ch, float *dstate) {
    of(layer).layer_backward(layer, dh, dh_stride, dstate_after, dx, dweight_ih, dweight_hh, dbias_ih, dbias_hh,
                             dweight_ch, dstate);
}

int64_t charrnn_softmax_xent_work_size(const charrnn_softmax_xent *call) { return of(call).softmax_xent_work_size(call); }

double charrnn_softmax_xent_loss(const charrnn_softmax_xent *call, float *dx, int64_t dx_stride, float *dweight,
                                 float *dbias) {
    return of(call).softmax_xent_loss(call, dx, dx_stride, dweight, dbias);
}

int64_t charrnn_optimizer_work_size(const charrnn_optimizer *call) {
    return kernels_of(CHARRNN_FLOAT32).optimizer_work_size(call);
}

double charrnn_optimizer_gradient_norm(const charrnn_optimizer *call) {
    return kernels_of(CHARRNN_FLOAT32).optimizer_gradient_norm(call);
}

void charrnn_optimizer_adamw(const charrnn_optimizer *call) { kernels_of(CHARRNN_FLOAT32).optimizer_adamw(call); }

charrnn_model *charrnn_model_new(int32_t precision, int32_t cell, int32_t threads, int32_t vocabulary, int32_t embedding,
                                 int32_t layers, const int32_t *hidden, const float *embeddings,
                                 const charrnn_weights *weights, const float *head_weight, const float *head_bias,
                                 const uint8_t *clusters) {
    charrnn_model *model = static_cast<charrnn_model *>(malloc(sizeof(charrnn_model)));
    if (!model) return nullptr;
    model->precision = precision;
    const void *int8 = precision == CHARRNN_INT8 ? int8_products() : nullptr;
    model->model = of(model).model_new(int8, cell, threads, vocabulary, embedding, layers, hidden, embeddings, weights,
                                       head_weight, head_bias, clusters);
    if (model->model) return model;
    free(model);
    return nullptr;
}

void charrnn_model_free(charrnn_model *model) {
    if (!model) return;
    of(model).model_free(model->model);
    free(model);
}

int32_t charrnn_model_score(charrnn_model *model, const int32_t *ids, int32_t batch, int32_t steps, float *const *state,
                            double *nats, float *ln_p) {
    return of(model).model_score(model->model, ids, batch, steps, state, nats, ln_p);
}

int32_t charrnn_model_step(charrnn_model *model, const int32_t *ids, int32_t batch, float *const *state, float *logits) {
    return of(model).model_step(model->model, ids, batch, state, logits);
}

charrnn_sampler *charrnn_sampler_new(charrnn_model *model, const charrnn_sampler_request *request) {
    charrnn_sampler *sampler = static_cast<charrnn_sampler *>(malloc(sizeof(charrnn_sampler)));
    if (!sampler) return nullptr;
    sampler->precision = model->precision;
    sampler->sampler = of(model).sampler_new(model->model, request);
    if (sampler->sampler) return sampler;
    free(sampler);
    return nullptr;
}

void charrnn_sampler_free(charrnn_sampler *sampler) {
    if (!sampler) return;
    of(sampler).sampler_free(sampler->sampler);
    free(sampler);
}

int64_t charrnn_sampler_advance(charrnn_sampler *sampler, int64_t nanoseconds, int64_t capacity, int64_t *texts,
                                int32_t *ids, double *nats, uint8_t *last) {
    return of(sampler).sampler_advance(sampler->sampler, nanoseconds, capacity, texts, ids, nats, last);
}

void charrnn_sampler_finish(charrnn_sampler *sampler, int64_t text) {
    of(sampler).sampler_finish(sampler->sampler, text);
}
