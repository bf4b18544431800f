// The compute functions, of which there is a copy for each instruction set and precision.
#pragma once
#include "charrnn.h"

struct Kernels {
    uint32_t features;  // of cpu.h: what these functions use
    void (*multiply_adds)(int32_t, int64_t, double *);
    int64_t (*layer_saved_size)(const charrnn_layer *);
    int64_t (*layer_work_size)(const charrnn_layer *);
    void (*layer_forward)(const charrnn_layer *, float *);
    void (*layer_backward)(const charrnn_layer *, const float *, int64_t, const float *, float *, float *, float *,
                           float *, float *, float *, float *);
    int64_t (*softmax_xent_work_size)(const charrnn_softmax_xent *);
    double (*softmax_xent_loss)(const charrnn_softmax_xent *, float *, int64_t, float *, float *);
    int64_t (*optimizer_work_size)(const charrnn_optimizer *);
    double (*optimizer_gradient_norm)(const charrnn_optimizer *);
    void (*optimizer_adamw)(const charrnn_optimizer *);
    void *(*model_new)(const void *, int32_t, int32_t, int32_t, int32_t, int32_t, const int32_t *, const float *,
                       const charrnn_weights *, const float *, const float *, const uint8_t *);
    void (*model_free)(void *);
    int32_t (*model_score)(void *, const int32_t *, int32_t, int32_t, float *const *, double *, float *);
    int32_t (*model_step)(void *, const int32_t *, int32_t, float *const *, float *);
    void *(*sampler_new)(void *, const charrnn_sampler_request *);
    void (*sampler_free)(void *);
    int64_t (*sampler_advance)(void *, int64_t, int64_t, int64_t *, int32_t *, double *, uint8_t *);
    void (*sampler_finish)(void *, int64_t);
};

// The products of int8, of which there is a copy for each instruction set that has better ones.
struct Int8Kernels {
    uint32_t features;
    const void *products;  // TileProducts of tiles.h
};

// Return the functions of the instruction set chosen. Those of float32 serve int8 too, with int8_products().
const Kernels &kernels_of(int precision);
const void *int8_products();
