/* charrnn's compiled core: recurrent layers, softmax cross-entropy, AdamW, inference and sampling, on the CPU.
 *
 * The API is plain C, so that any program can load it. Arrays are contiguous, last index fastest, unless a row stride (in
 * floats) is given. T is time, B batch, H hidden size, V vocabulary, F features; G gates and S state vectors of a cell.
 * Weights are laid out as PyTorch's: weight_ih (G*H, in), weight_hh (G*H, H), biases (G*H), gates in its order; minGRU and
 * minLSTM have neither weight_hh nor bias_hh. Peepholes' are weight_ch (P*H), of the P gates that read c. Results are
 * the same to the last bit for every number of threads and every instruction set, and those of a batch row whatever its
 * neighbours are.
 *
 * In bfloat16 the operands of matrix products are rounded to it, weights among them, when they are packed; sums, states,
 * gates, losses and all that a caller sees are float32. There the last bits depend on how the processor adds.
 *
 * Models run in int8 too, which nothing is trained in: each row of a weight, and each row that it multiplies, is a float32
 * scale times integers from -127 to 127. Sums of these are exact; a product is bias + sum * (scale * scale). The first
 * layer's input stays float32.
 *
 * Functions that return int return 0, or -1 where there is no memory. Nothing else can fail: the core checks neither
 * sizes nor ids, its caller must.
 */
#ifndef CHARRNN_H
#define CHARRNN_H
#include <stdint.h>

#define CHARRNN_ABI_VERSION 12

#pragma GCC visibility push(default)
#ifdef __cplusplus
extern "C" {
#endif

/* --- the library --- */

enum { CHARRNN_FLOAT32, CHARRNN_BFLOAT16, CHARRNN_INT8 }; /* precision; int8 of models for inference alone */
enum { /* cell */
    CHARRNN_RNN_TANH, CHARRNN_RNN_RELU, CHARRNN_RNN_SIGMOID, CHARRNN_LSTM, CHARRNN_GRU, CHARRNN_LSTM_PEEPHOLE,
    CHARRNN_GRU_V1, CHARRNN_MGU, CHARRNN_MINGRU, CHARRNN_MINLSTM, CHARRNN_LSTM_SIGMOID, CHARRNN_LSTM_SIGMOID_PEEPHOLE,
    CHARRNN_LSTM_RELU, CHARRNN_LSTM_CELLLESS, CHARRNN_GRU_CROSSED
};

/* CHARRNN_ABI_VERSION of the library. */
int32_t charrnn_abi_version(void);

/* sizeof of each struct of this file, in its order; then 0. */
const int32_t *charrnn_struct_sizes(void);

/* The instruction set chosen when the library was loaded: the fastest there is, or the one that the environment variable
 * CHARRNN_ISA names. All that the library has and this machine supports, the fastest last, separated by spaces. */
const char *charrnn_isa(void);
const char *charrnn_isas(void);

/* rates: (threads), the multiply-adds of float32 that each thread makes in a second in registers alone, all at once for about
 * so long: the most that any of the functions below could reach. */
void charrnn_multiply_adds(int32_t threads, int64_t nanoseconds, double *rates);

/* --- a layer: T time steps forward, and back --- */

typedef struct {
    const float *weight_ih, *weight_hh, *bias_ih, *bias_hh, *weight_ch;
} charrnn_weights;

/* Time comes first: row t * B + b. */
typedef struct {
    int32_t precision, cell, threads, steps, batch, inputs, hidden;
    int32_t rows;              /* of x: T * B, or the number of rows that `index` chooses from */
    const float *x;            /* (rows, in) */
    const int32_t *index;      /* (T * B), the row of x that is the input of each step; NULL: its own */
    const uint8_t *resets;     /* (T * B), whether the state is zeroed before a step; NULL: never */
    charrnn_weights weights;
    const float *state;        /* (S, B, H) before the first step: h, then c */
    void *saved;               /* charrnn_layer_saved_size() bytes, 64-byte aligned: activations, from forward to backward.
                                  They begin with h before each step and after the last, (T + 1, B, H rounded up to 16) */
    void *work;                /* charrnn_layer_work_size() bytes, 64-byte aligned: used during a call */
} charrnn_layer;

int64_t charrnn_layer_saved_size(const charrnn_layer *layer);
int64_t charrnn_layer_work_size(const charrnn_layer *layer);

/* state_after: (S, B, H) after the last step. */
void charrnn_layer_forward(const charrnn_layer *layer, float *state_after);

/* The gradients, given the loss's gradient dh by the outputs, rows (T * B, H) with a stride of dh_stride (or NULL), and
 * dstate_after (S, B, H) by the state after the last step (or NULL). They are written, not added; dx has `rows` rows. */
void charrnn_layer_backward(const charrnn_layer *layer, const float *dh, int64_t dh_stride, const float *dstate_after,
                            float *dx, float *dweight_ih, float *dweight_hh, float *dbias_ih, float *dbias_hh,
                            float *dweight_ch, float *dstate);

/* --- softmax cross-entropy: logits = x W^T + b; the mean over rows of -ln p(target), in nats. A head of two levels is one
 * of all rows over frequent ids and clusters, and one for each cluster of the rows whose targets are in it --- */

typedef struct {
    int32_t precision, threads, rows, features, vocabulary;
    int32_t count;              /* of rows that the mean is over: these, and others that do not count here */
    const float *x;             /* (rows, F) with a stride of x_stride */
    int64_t x_stride;
    const float *weight, *bias; /* (V, F), (V) */
    const int32_t *targets;     /* (rows) */
    void *work;                 /* charrnn_softmax_xent_work_size() bytes, 64-byte aligned */
} charrnn_softmax_xent;

int64_t charrnn_softmax_xent_work_size(const charrnn_softmax_xent *call);

/* Returns the loss; writes its gradients, dx with a stride of dx_stride, unless dx is NULL. */
double charrnn_softmax_xent_loss(const charrnn_softmax_xent *call, float *dx, int64_t dx_stride, float *dweight,
                                 float *dbias);

/* --- the optimizer: a step of AdamW on all tensors. With g = scale * gradient,
 * m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
 * w = decay_factor w - step_size m / (correction sqrt(v) + epsilon) --- */

typedef struct {
    int32_t threads, tensors;
    const int64_t *sizes;      /* of each tensor, as all pointers that follow */
    float *const *weights;
    const float *const *gradients;
    float *const *exp_avg, *const *exp_avg_sq; /* m and v */
    const float *decay_factors; /* what weight decay multiplies a weight by */
    const float *step_sizes;    /* the learning rate, corrected for the bias of m */
    float scale, beta1, beta2;
    float correction;           /* for the bias of v: 1 / sqrt(1 - beta2^t) */
    float epsilon;
    void *work;                 /* charrnn_optimizer_work_size() bytes, 64-byte aligned */
} charrnn_optimizer;

int64_t charrnn_optimizer_work_size(const charrnn_optimizer *call);

/* Returns the norm of all gradients together; uses only threads, tensors, sizes, gradients and work. */
double charrnn_optimizer_gradient_norm(const charrnn_optimizer *call);

/* Makes a step; needs no work. */
void charrnn_optimizer_adamw(const charrnn_optimizer *call);

/* --- a model for inference --- */

typedef struct charrnn_model charrnn_model;

/* Copies what it needs of the weights. clusters: (V), of a head of two levels the cluster of each id, 1 to C, or 0 for the first
 * level; NULL: the head is one softmax over V ids. head_weight (V + C, F) and head_bias (V + C): of the ids of the first level,
 * in order, of the C clusters, then of the ids of each cluster, in order. NULL where there is no memory. */
charrnn_model *charrnn_model_new(int32_t precision, int32_t cell, int32_t threads, int32_t vocabulary, int32_t embedding,
                                 int32_t layers, const int32_t *hidden, const float *embeddings,
                                 const charrnn_weights *weights, const float *head_weight, const float *head_bias,
                                 const uint8_t *clusters);
void charrnn_model_free(charrnn_model *model);

/* Reads ids (B, T) in [0, 2 V]; V is BOS, `<s>`, which zeroes its row's state; V + 1 + t is t, in whose place BOS is read, once
 * it is scored. state: (S, B, H) of each layer, replaced by that
 * after the last id. nats: (B, T), -ln p(id | what is before it). ln_p: (B, T, V), ln p of every id that could stand there,
 * which for the id itself is -nats as a float. Either may be NULL; both are 0 at BOS, which nothing predicts. */
int32_t charrnn_model_score(charrnn_model *model, const int32_t *ids, int32_t batch, int32_t steps, float *const *state,
                            double *nats, float *ln_p);

/* Reads ids (B) likewise. logits: (B, V) of the next id; of a head of two levels ln p of it. */
int32_t charrnn_model_step(charrnn_model *model, const int32_t *ids, int32_t batch, float *const *state, float *logits);

/* --- a sampler: texts generated side by side; the ids drawn are those of charrnn/generation/sampling.py --- */

enum { CHARRNN_END = -1, CHARRNN_FORBIDDEN = -2 }; /* in a DFA: the text ends; the id is not drawn */
enum { CHARRNN_NOTHING = -1 };                     /* in place of an id: none could be drawn, and the text ends before it */

/* Which characters follow each N characters of the training text, and the V tokens as bytes; see CopyIndex in
 * charrnn/engines/base.py. */
typedef struct {
    int64_t length, count;      /* N, at least 1; K */
    uint64_t base;              /* of the hash, odd */
    const uint64_t *keys;       /* (K), ascending: the hash's upper 43 bits, and the next character */
    int32_t longest;            /* bytes of a token at most */
    int32_t is_by_char;         /* whether no token has more than a character */
    const uint8_t *bytes;       /* of all tokens */
    const int32_t *offsets, *sizes; /* (V), where the bytes of each begin, and how many they are */
    const int32_t *order;       /* (V), the ids as their bytes are sorted */
    const int32_t *shared;      /* (V), how many first bytes each in that order has in common with the one before */
} charrnn_copy_index;

/* The last ids before the texts of each of P prompts. */
typedef struct {
    const int32_t *ids;
    const int64_t *ends;        /* (P): one after another */
} charrnn_contexts;

typedef struct {
    int32_t prompts;            /* P: where texts begin */
    int64_t per_prompt;         /* texts of each: text t continues prompt t / per_prompt. 0: there is no end of texts, and
                                   text t continues prompt t % P */
    int64_t length;             /* the most tokens of a text; at least 1 */
    int32_t batch;              /* the most texts side by side */
    int64_t top_k;              /* 0: no limit */
    double temperature, top_p, min_p;
    uint64_t seed, stream;      /* Philox's key; its counter is the text and the position in it */
    const float *logits;        /* (P, V), of the first token after each prompt */
    const float *const *state;  /* (S, P, H) of each layer, after each prompt */
    const int32_t *dfa_start;   /* (P), the state in which texts begin */
    int32_t dfa_states;         /* A */
    const int32_t *dfa;         /* (A, V): the state that each id leads to, from state a */
    const int32_t *dfa_distance; /* (A), the fewest tokens from state a to an END, INT32_MAX where there is none: ids from
                                   which no END can be reached within the length are not drawn, where there are others;
                                   NULL: texts are cut at the length */
    int64_t no_repeat;          /* no sequence of so many ids is written twice in a text; 0: it may be */
    charrnn_contexts repeat_context; /* what counts as the beginning of the texts for that; ids may be NULL: nothing */
    const charrnn_copy_index *copies; /* no stretch of more than N characters that it has is written; NULL: it may be */
    charrnn_contexts copy_context; /* likewise, for that */
} charrnn_sampler_request;

typedef struct charrnn_sampler charrnn_sampler;

/* Copies what it is given, but needs the model, the contexts, and what `copies` points to. NULL where there is no memory.
 * An id that leads to END is not part of a text: it neither repeats nor copies. */
charrnn_sampler *charrnn_sampler_new(charrnn_model *model, const charrnn_sampler_request *request);
void charrnn_sampler_free(charrnn_sampler *sampler);

/* Goes on for about so long, at least 8 tokens of each text, or while there is capacity for 2 * batch tokens more. Puts out,
 * for each token, its text, its id, -ln p of it (the model's own: without temperature, limits or DFA) unless nats is NULL,
 * and whether the text ends with it. Returns how many; 0 when all texts are finished; -1 where a logit is not finite; -2 where
 * there is no memory. */
int64_t charrnn_sampler_advance(charrnn_sampler *sampler, int64_t nanoseconds, int64_t capacity, int64_t *texts,
                                int32_t *ids, double *nats, uint8_t *last);

/* Ends a text that is in progress. */
void charrnn_sampler_finish(charrnn_sampler *sampler, int64_t text);

#ifdef __cplusplus
}
#endif
#pragma GCC visibility pop
#endif
