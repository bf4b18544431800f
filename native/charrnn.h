/* charrnn's compiled core: recurrent layers, the softmax over symbols, AdamW, scoring and sampling, on the CPU.
 *
 * Plain C, so that any program can load it. Arrays are contiguous, last index fastest, unless a distance between rows is
 * given. T is time, B batch, H hidden, V vocabulary; G gates and S state vectors of a cell. Weights are those of
 * PyTorch: weight_ih (G*H, in), weight_hh (G*H, H), biases (G*H), gates in its order. Results are the same to the last
 * bit for every number of threads and every instruction set, and those of a row whatever stands beside it.
 *
 * In bfloat16 the operands of products are rounded to it, weights among them, as they are read; sums, states, gates,
 * losses and all that a caller sees are float32. There the last bits depend on how the processor adds.
 *
 * Functions that return int return 0, or -1 where there is no memory. Nothing else can fail: sizes and ids
 * are the caller's to check.
 */
#ifndef CHARRNN_H
#define CHARRNN_H
#include <stdint.h>

#define CHARRNN_INTERFACE 5

#pragma GCC visibility push(default)
#ifdef __cplusplus
extern "C" {
#endif

enum { CHARRNN_FLOAT32, CHARRNN_BFLOAT16 }; /* precision */
enum { CHARRNN_RNN_TANH, CHARRNN_RNN_RELU, CHARRNN_RNN_SIGMOID, CHARRNN_LSTM, CHARRNN_GRU };

typedef struct {
    const float *weight_ih, *weight_hh, *bias_ih, *bias_hh;
} charrnn_weights;

/* A layer and T steps of it. Time comes first: row t * B + b. */
typedef struct {
    int32_t precision, cell, threads, steps, batch, inputs, hidden;
    int32_t rows;              /* of x: T * B, or what `index` chooses from */
    const float *x;            /* (rows, in) */
    const int32_t *index;      /* (T * B), the row of x that each step reads; NULL: its own */
    const uint8_t *resets;     /* (T * B), whether the state is zero before a step; NULL: never */
    charrnn_weights weights;
    const float *state;        /* (S, B, H) before the first step: h, then c */
    void *kept;                /* charrnn_layer_kept() bytes, 64-byte aligned: from forward to backward. It begins with
                                  h before each step and after the last, (T + 1, B, H rounded up to 16) floats */
    void *work;                /* charrnn_layer_work() bytes, 64-byte aligned: for the time of a call */
} charrnn_layer;

/* The softmax over symbols, and its mean cost in nats. */
typedef struct {
    int32_t precision, threads, rows, features, vocabulary;
    const float *x;            /* (rows, features), rows at a distance of `distance` floats */
    int64_t distance;
    const float *weight, *bias; /* (V, features), (V) */
    const int32_t *targets;    /* (rows) */
    void *work;                /* charrnn_head_work() bytes, 64-byte aligned */
} charrnn_head;

typedef struct charrnn_model charrnn_model;

/* CHARRNN_INTERFACE of the library; the instruction set chosen when it was loaded: the best there is, or what the
 * environment variable CHARRNN_ISA names. All that it has and this machine runs, one after another with a space between. */
int32_t charrnn_interface(void);
const char *charrnn_isa(void);
const char *charrnn_isas(void);

/* Whether the processor has instructions for bfloat16; without, it is no faster than float32, but where memory is what
 * a product waits for. */
int32_t charrnn_has_bfloat16(void);

int64_t charrnn_layer_kept(const charrnn_layer *layer);
int64_t charrnn_layer_work(const charrnn_layer *layer);

/* state: (S, B, H) after the last step. */
void charrnn_layer_forward(const charrnn_layer *layer, float *state);

/* The gradients, given the loss's derivatives dh by the outputs (T * B, H), rows at a distance of `distance` (or NULL), and
 * dstate_after (S, B, H) by the state returned (or NULL). They replace what stood there; dx has `rows` rows. */
void charrnn_layer_backward(const charrnn_layer *layer, const float *dh, int64_t distance, const float *dstate_after,
                            float *dx, float *weight_ih, float *weight_hh, float *bias_ih, float *bias_hh,
                            float *dstate);

int64_t charrnn_head_work(const charrnn_head *head);

/* The mean cost, and its gradients, dx with rows at a distance of `distance`; dx NULL: none of them. */
double charrnn_head_loss(const charrnn_head *head, float *dx, int64_t distance, float *weight, float *bias);

/* A step of AdamW on all tensors: with g = scale * gradient,
 * m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, w = kept w - rate m / (correction sqrt(v) + epsilon). */
typedef struct {
    int32_t threads, tensors;
    const int64_t *sizes;      /* of each tensor, as all that follow */
    float *const *weights;
    const float *const *gradients;
    float *const *means, *const *squares; /* m and v */
    const float *kept, *rates; /* what weight decay leaves; how far a step goes */
    float scale, beta1, beta2, correction, epsilon;
    void *work;                /* charrnn_update_work() bytes, 64-byte aligned */
} charrnn_update;

int64_t charrnn_update_work(const charrnn_update *update);
double charrnn_gradient_norm(const charrnn_update *update); /* needs threads, tensors, sizes, gradients and work alone */
void charrnn_adamw(const charrnn_update *update);           /* needs no work */

/* A model for scoring; it copies what it needs of the weights. NULL where there is no memory. */
charrnn_model *charrnn_model_new(int32_t precision, int32_t cell, int32_t threads, int32_t vocabulary, int32_t embedding,
                                 int32_t layers, const int32_t *hidden, const float *embeddings,
                                 const charrnn_weights *weights, const float *head_weight, const float *head_bias);
void charrnn_model_free(charrnn_model *model);

/* Reads ids (B, T) in [0, V], V being <s>, which sets its row's state to zero. state: (S, B, H) of each layer, replaced by
 * what it is afterwards. nats: (B, T), -ln p(id | before); 0 for <s>. */
int32_t charrnn_score(charrnn_model *model, const int32_t *ids, int32_t batch, int32_t steps, float *const *state,
                      double *nats);

/* Reads ids (B) likewise. logits: (B, V) of the symbols after them. */
int32_t charrnn_step(charrnn_model *model, const int32_t *ids, int32_t batch, float *const *state, float *logits);

/* Texts to be written, what is drawn being that of charrnn/engines/stepping.py. */
typedef struct {
    int64_t texts, length;     /* how many, and symbols of each at most; both at least 1 */
    int32_t rows;              /* written side by side at most */
    int64_t top_k;             /* 0: all */
    double temperature, top_p, min_p;
    uint64_t seed, purpose;    /* Philox's key; its counter is the text and the place in it */
    const float *logits;       /* (V), of each text's first symbol */
    const float *const *state; /* (S, H) of each layer, there */
    int32_t states;            /* A */
    const int32_t *automaton;  /* (A, V): in state a, which is 0 where a text begins, what a symbol leads to */
} charrnn_writing;

enum { CHARRNN_ENDS = -1, CHARRNN_NEVER = -2 }; /* in an automaton: the text ends; the symbol is not drawn */

typedef struct charrnn_writer charrnn_writer;

/* It copies what it is given, but needs the model. NULL where there is no memory. */
charrnn_writer *charrnn_writer_new(charrnn_model *model, const charrnn_writing *writing);
void charrnn_writer_free(charrnn_writer *writer);

/* Writes on for about so long, at least 8 symbols of each text, or while there is room for 2 * rows symbols more.
 * Puts out, for each symbol, its text, its id, and whether the text ends with it. Returns how many; 0 when all
 * texts are finished; -1 where a number is not finite. */
int64_t charrnn_write(charrnn_writer *writer, int64_t nanoseconds, int64_t room, int64_t *texts, int32_t *ids,
                      uint8_t *last);

/* Writes no more of a text. */
void charrnn_writer_finish(charrnn_writer *writer, int64_t text);

#ifdef __cplusplus
}
#endif
#pragma GCC visibility pop
#endif
