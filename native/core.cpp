// The interface: chooses the instruction set, and passes calls on.
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

extern const Kernels baseline_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels, avx512_kernels;
#endif

namespace {

struct Choice {
    const char *name;
    const Kernels *kernels;
    bool runs;
};

// The best last.
const Choice choices[] = {
#if defined(__x86_64__)
    {"baseline", &baseline_kernels, true},
    {"avx2", &avx2_kernels, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
    {"avx512", &avx512_kernels,
     __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")},
#elif defined(__aarch64__)
    {"neon", &baseline_kernels, true},
#else
    {"baseline", &baseline_kernels, true},
#endif
};

const Choice &choose() {
    const char *wanted = getenv("CHARRNN_ISA");
    const Choice *best = nullptr;
    for (const Choice &choice : choices) {
        if (!choice.runs) continue;
        best = &choice;
        if (wanted && !strcmp(wanted, choice.name)) break;
    }
    return *best;
}

const Choice &chosen = choose();
const Kernels &kernels = *chosen.kernels;

}  // namespace

int32_t charrnn_interface(void) { return CHARRNN_INTERFACE; }

const char *charrnn_isa(void) { return chosen.name; }

const char *charrnn_isas(void) {
    static char names[64];
    names[0] = 0;
    for (const Choice &choice : choices) {
        if (!choice.runs) continue;
        if (names[0]) strcat(names, " ");
        strcat(names, choice.name);
    }
    return names;
}

int64_t charrnn_layer_kept(const charrnn_layer *layer) { return kernels.layer_kept(layer); }
int64_t charrnn_layer_work(const charrnn_layer *layer) { return kernels.layer_work(layer); }

void charrnn_layer_forward(const charrnn_layer *layer, float *state) { kernels.layer_forward(layer, state); }

void charrnn_layer_backward(const charrnn_layer *layer, const float *dh, int64_t distance, const float *dstate_after,
                            float *dx, float *weight_ih, float *weight_hh, float *bias_ih, float *bias_hh,
                            float *dstate) {
    kernels.layer_backward(layer, dh, distance, dstate_after, dx, weight_ih, weight_hh, bias_ih, bias_hh, dstate);
}

int64_t charrnn_head_work(const charrnn_head *head) { return kernels.head_work(head); }

double charrnn_head_loss(const charrnn_head *head, float *dx, int64_t distance, float *weight, float *bias) {
    return kernels.head_loss(head, dx, distance, weight, bias);
}

int64_t charrnn_update_work(const charrnn_update *update) { return kernels.update_work(update); }

double charrnn_gradient_norm(const charrnn_update *update) { return kernels.gradient_norm(update); }

void charrnn_adamw(const charrnn_update *update) { kernels.adamw(update); }

charrnn_model *charrnn_model_new(int32_t cell, int32_t threads, int32_t vocabulary, int32_t embedding, int32_t layers,
                                 const int32_t *hidden, const float *embeddings, const charrnn_weights *weights,
                                 const float *head_weight, const float *head_bias) {
    return static_cast<charrnn_model *>(kernels.model_new(cell, threads, vocabulary, embedding, layers, hidden,
                                                          embeddings, weights, head_weight, head_bias));
}

void charrnn_model_free(charrnn_model *model) { kernels.model_free(model); }

int32_t charrnn_score(charrnn_model *model, const int32_t *ids, int32_t batch, int32_t steps, float *const *state,
                      double *nats) {
    return kernels.score(model, ids, batch, steps, state, nats);
}

int32_t charrnn_step(charrnn_model *model, const int32_t *ids, int32_t batch, float *const *state, float *logits) {
    return kernels.step(model, ids, batch, state, logits);
}

charrnn_writer *charrnn_writer_new(charrnn_model *model, const charrnn_writing *writing) {
    return static_cast<charrnn_writer *>(kernels.writer_new(model, writing));
}

void charrnn_writer_free(charrnn_writer *writer) { free(writer); }

int64_t charrnn_write(charrnn_writer *writer, int64_t nanoseconds, int64_t room, int64_t *texts, int32_t *ids,
                      uint8_t *last) {
    return kernels.write(writer, nanoseconds, room, texts, ids, last);
}

void charrnn_writer_finish(charrnn_writer *writer, int64_t text) { kernels.writer_finish(writer, text); }
