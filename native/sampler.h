// Many texts generated side by side: ids are drawn and read, and where a text ends the next one takes its batch row. The
// texts are those of charrnn/generation/sampling.py, up to rounding.
#pragma once
#include "draw.h"
#include "inference.h"
#include "philox.h"

namespace {

struct Text {
    int64_t index, position;
    int32_t state;  // of the DFA
};

// Where drawn ids go.
struct Output {
    int64_t *texts;
    int32_t *ids;
    uint8_t *last;
    int64_t capacity, count = 0;
};

struct Sampler {
    Model *model;
    SamplingParams params;
    uint64_t seed, stream;
    int64_t text_count, length, started = 0;  // texts, tokens of each at most, texts started
    int max_batch, batch = 0;                 // rows side by side: at most, and now
    Text *texts;                              // of the rows
    InferenceBuffers buffers;                 // ids that the rows read next; states before a step in rows 0 on, after it behind them
    float **first_h, **first_c, *first_logits;  // where each text begins
    int32_t *dfa;                             // (A, V')
    float *logits;                            // (B, V')
    int32_t *drawn;                           // of the rows
    float *probs;                             // V' for each thread
    int *ranks;                               // V' for each thread

    template <typename Cell>
    Sampler(Cell cell, Arena &arena, Model &model, const charrnn_sampler_request &request)
        : model(&model), seed(request.seed), stream(request.stream), text_count(request.texts), length(request.length),
          max_batch((int)(request.batch < request.texts ? request.batch : request.texts)),
          texts(arena.take<Text>(max_batch)), buffers(cell, arena, model, max_batch, 1, model.threads) {
        const double max_temperature = 1e30;
        params = {(float)(request.temperature < max_temperature ? request.temperature : max_temperature),
                  (float)request.min_p, request.top_p, (int)(request.top_k < model.V ? request.top_k : 0)};
        const int V = padded(model.V);
        first_h = arena.take<float *>(model.L);
        first_c = arena.take<float *>(model.L);
        for (int layer = 0; layer < model.L; layer++) {
            float *h = arena.take<float>(padded(model.hidden[layer]));
            float *c = model.cell == CHARRNN_LSTM ? arena.take<float>(padded(model.hidden[layer])) : nullptr;
            if (first_h) first_h[layer] = h, first_c[layer] = c;
        }
        first_logits = arena.take<float>(V);
        dfa = arena.take<int32_t>((int64_t)request.dfa_states * V);
        logits = arena.take<float>((int64_t)max_batch * V);
        drawn = arena.take<int32_t>(max_batch);
        probs = arena.take<float>((int64_t)model.threads * V);
        ranks = arena.take<int>((int64_t)model.threads * V);
    }

    // Copy what the request gives.
    void copy_request(const charrnn_sampler_request &request) {
        for (int layer = 0; layer < model->L; layer++) {
            const int hidden = model->hidden[layer];
            pad_state(request.state[layer], 1, hidden, first_h[layer]);
            if (first_c[layer]) pad_state(request.state[layer] + hidden, 1, hidden, first_c[layer]);
        }
        memset(first_logits, 0, padded(model->V) * sizeof(float));
        memcpy(first_logits, request.logits, model->V * sizeof(float));
        for (int state = 0; state < request.dfa_states; state++)
            for (int v = 0; v < padded(model->V); v++)
                dfa[(int64_t)state * padded(model->V) + v] =
                    v < model->V ? request.dfa[(int64_t)state * model->V + v] : CHARRNN_FORBIDDEN;
    }

    int draw(int thread, float *from, const Text &text) const {
        const int64_t V = padded(model->V);
        return ::draw(from, model->V, dfa + text.state * V, params,
                      uniform(seed, stream, text.index, text.position), probs + thread * V, ranks + thread * V);
    }

    // Copy a row's state to where row `to` has its state before the next step.
    void copy_state(const float *const *h, const float *const *c, int from, int to) {
        for (int layer = 0; layer < model->L; layer++) {
            const int64_t H = padded(model->hidden[layer]), size = H * sizeof(float);
            memcpy(buffers.h[layer] + to * H, h[layer] + from * H, size);
            if (buffers.c[layer]) memcpy(buffers.c[layer] + to * H, c[layer] + from * H, size);
        }
    }

    // Put out a text's next token. Return whether the text goes on.
    bool emit(Text &text, int id, Output &output) {
        text.state = dfa[(int64_t)text.state * padded(model->V) + id];
        text.position++;
        const bool last = text.state == CHARRNN_END || text.position == length;
        output.texts[output.count] = text.index;
        output.ids[output.count] = id;
        output.last[output.count++] = last;
        return !last;
    }

    // Put out the ids drawn, and start texts in free rows. Return false where a number is not finite.
    bool emit_and_refill(int drawn_rows, Output &output) {
        int to = 0;
        for (int row = 0; row < drawn_rows; row++) {
            if (drawn[row] < 0) return false;
            if (!emit(texts[row], drawn[row], output)) continue;
            texts[to] = texts[row];
            buffers.ids[to] = drawn[row];
            copy_state(buffers.h, buffers.c, drawn_rows + row, to++);
        }
        if (drawn_rows) batch = to;
        do {
            for (int free = max_batch - batch; free && started < text_count; free--) {
                Text text{started++, 0, 0};
                memcpy(logits, first_logits, padded(model->V) * sizeof(float));
                const int id = draw(0, logits, text);
                if (id < 0) return false;
                if (!emit(text, id, output)) continue;
                texts[batch] = text;
                buffers.ids[batch] = id;
                copy_state(first_h, first_c, 0, batch++);
            }
        } while (!batch && started < text_count && has_room(output));
        return true;
    }

    bool has_room(const Output &output) const { return output.capacity - output.count >= 2 * max_batch; }
};

// Read the rows' ids and draw the next ones.
template <typename Cell> void step_batch(Cell cell, ThreadTeam &team, Sampler &sampler) {
    const Model &model = *sampler.model;
    const int rows = sampler.batch, V = padded(model.V);
    run_layers(cell, team, model, sampler.buffers, rows, 1, false);
    const RowView features = head_input(model, sampler.buffers, rows, Range{0, team.rank == 0 ? rows : 0});
    if (model.L > 1) team.barrier();
    gemm(team, rows, V, model.F, features, model.head, model.head_bias, sampler.logits, V,
         sampler.buffers.packed_lhs);
    team.barrier();
    const Range range = rows >= team.size ? team.range(rows) : Range{0, team.rank == 0 ? rows : 0};
    for (int row = range.begin; row < range.end; row++)
        sampler.drawn[row] = sampler.draw(team.rank, sampler.logits + (int64_t)row * V, sampler.texts[row]);
    if (rows >= team.size) team.barrier();
}

template <typename Cell> int64_t advance(Cell cell, Sampler &sampler, int64_t nanoseconds, Output output) {
    const int64_t deadline = monotonic_ns() + nanoseconds;
    const int expected = sampler.batch || sampler.started == sampler.text_count ? sampler.batch : sampler.max_batch;
    bool finite = true, goes_on = true;
    run_parallel(sampler.model->useful_threads(expected, 1 << 20), [&](ThreadTeam &team) {
        const ScopedFlushToZero flush;
        for (int step = 0, drawn = 0;; step++, drawn = sampler.batch) {
            if (step) step_batch(cell, team, sampler);
            if (team.rank == 0) {
                finite = sampler.emit_and_refill(drawn, output);
                goes_on = finite && sampler.batch && sampler.has_room(output) && (step < 8 || monotonic_ns() < deadline);
            }
            team.barrier();
            if (!goes_on) break;
        }
    });
    return finite ? output.count : -1;
}

Sampler *sampler_new(Model &model, const charrnn_sampler_request &request) {
    return with_cell(model.cell, [&](auto cell) -> Sampler * {
        Arena measure(nullptr);
        measure.take<Sampler>(1);
        Sampler(cell, measure, model, request);
        void *memory;
        if (posix_memalign(&memory, 64, measure.used())) return nullptr;
        Arena arena(memory);
        Sampler *sampler = arena.take<Sampler>(1);
        const Sampler built(cell, arena, model, request);
        memcpy(static_cast<void *>(sampler), &built, sizeof built);
        sampler->copy_request(request);
        return sampler;
    });
}

void sampler_finish(Sampler &sampler, int64_t text) {
    for (int row = 0; row < sampler.batch; row++) {
        if (sampler.texts[row].index != text) continue;
        const int last = --sampler.batch;
        sampler.texts[row] = sampler.texts[last];
        sampler.buffers.ids[row] = sampler.buffers.ids[last];
        if (row != last) sampler.copy_state(sampler.buffers.h, sampler.buffers.c, last, row);
    }
}

}  // namespace
