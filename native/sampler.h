// Many texts generated side by side: ids are drawn and read, and where a text ends the next one takes its batch row. The
// texts are those of charrnn/generation/sampling.py, up to rounding.
#pragma once
#include "draw.h"
#include "guards.h"
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
    double *nats;  // or NULL
    uint8_t *last;
    int64_t capacity, count = 0;
};

struct Sampler {
    Model *model;
    SamplingParams params;
    uint64_t seed, stream;
    int prompts;
    int64_t per_prompt, text_count, length, started = 0;  // texts of a prompt, of all; tokens of each at most; texts started
    int max_batch, batch = 0;  // rows side by side: at most, and now
    Text *texts;               // of the rows
    InferenceBuffers buffers;  // ids that the rows read next; states before a step, then those after it
    float **prompt_h, **prompt_c, *prompt_logits;  // of each layer (P, H'); (P, V')
    int32_t *dfa_start, *dfa;                      // (P); (A, V')
    int32_t *dfa_distance, max_distance = 0;       // (A) or NULL; the greatest
    float *logits;                                 // (B, V')
    int32_t *drawn;                                // of the rows
    double *drawn_nats;                            // of the rows
    float *probs;                                  // V' for each thread
    int *ranks;                                    // V' for each thread
    int32_t *reachable;                            // V' for each thread: a row of the DFA without what may not be drawn
    Guards guards;

    Sampler(Arena &arena, Model &model, const charrnn_sampler_request &request)
        : model(&model), seed(request.seed), stream(request.stream), prompts(request.prompts),
          per_prompt(request.per_prompt), text_count(per_prompt ? prompts * per_prompt : INT64_MAX),
          length(request.length), max_batch((int)(request.batch < text_count ? request.batch : text_count)),
          texts(arena.take<Text>(max_batch)), buffers(arena, model, max_batch, 1, model.threads),
          guards(arena, request, max_batch, model.V, model.threads) {
        const double max_temperature = 1e30;
        params = {(float)(request.temperature < max_temperature ? request.temperature : max_temperature),
                  (float)request.min_p, request.top_p, (int)(request.top_k < model.V ? request.top_k : 0)};
        const int64_t V = padded(model.V), threads = model.threads;
        prompt_h = arena.take<float *>(model.L);
        prompt_c = arena.take<float *>(model.L);
        for (int layer = 0; layer < model.L; layer++) {
            const int64_t size = (int64_t)prompts * padded(model.hidden[layer]);
            float *h = arena.take<float>(size);
            float *c = model.cell->states > 1 ? arena.take<float>(size) : nullptr;
            if (prompt_h) prompt_h[layer] = h, prompt_c[layer] = c;
        }
        prompt_logits = arena.take<float>(prompts * V);
        dfa_start = arena.take<int32_t>(prompts);
        dfa = arena.take<int32_t>(request.dfa_states * V);
        dfa_distance = request.dfa_distance ? arena.take<int32_t>(request.dfa_states) : nullptr;
        logits = arena.take<float>(max_batch * V);
        drawn = arena.take<int32_t>(max_batch);
        drawn_nats = arena.take<double>(max_batch);
        probs = arena.take<float>(threads * V);
        ranks = arena.take<int>(threads * V);
        reachable = arena.take<int32_t>(request.dfa_distance || guards ? threads * V : 0);
    }

    // Copy what the request gives.
    void copy_request(const charrnn_sampler_request &request) {
        for (int layer = 0; layer < model->L; layer++) {
            const int hidden = model->hidden[layer];
            pad_state(request.state[layer], prompts, hidden, prompt_h[layer]);
            if (prompt_c[layer])
                pad_state(request.state[layer] + (int64_t)prompts * hidden, prompts, hidden, prompt_c[layer]);
        }
        const int64_t V = padded(model->V);
        for (int64_t prompt = 0; prompt < prompts; prompt++) {
            memset(prompt_logits + prompt * V, 0, V * sizeof(float));
            memcpy(prompt_logits + prompt * V, request.logits + prompt * model->V, model->V * sizeof(float));
            dfa_start[prompt] = request.dfa_start[prompt];
        }
        for (int64_t state = 0; state < request.dfa_states; state++) {
            for (int v = 0; v < V; v++)
                dfa[state * V + v] = v < model->V ? request.dfa[state * model->V + v] : CHARRNN_FORBIDDEN;
            if (!dfa_distance) continue;
            dfa_distance[state] = request.dfa_distance[state];
            if (dfa_distance[state] > max_distance) max_distance = dfa_distance[state];
        }
    }

    // What each id leads to from the state of a row's text; without those after which the text could not end within its length,
    // and those that would repeat or copy too much.
    const int32_t *transitions(int thread, int row) const {
        const Text &text = texts[row];
        const int64_t V = padded(model->V), left = length - text.position - 1;  // tokens after the one to be drawn
        const int32_t *from = dfa + text.state * V;
        const bool fits = !dfa_distance || left >= max_distance || dfa_distance[text.state] > left + 1;
        if (fits && !guards) return from;
        int32_t *to = reachable + thread * V;
        for (int v = 0; v < V; v++)
            to[v] = !fits && from[v] >= 0 && dfa_distance[from[v]] > left ? CHARRNN_FORBIDDEN : from[v];
        if (guards) guards.forbid(thread, row, to);
        return to;
    }

    // Draw the next id of a row's text from logits, which are overwritten; or NOTHING, or NOT_FINITE. nats: its -ln p, or NULL.
    int draw(int thread, float *logits, int row, double *nats) const {
        const int64_t V = padded(model->V);
        const Text &text = texts[row];
        const int id = ::draw(logits, model->V, transitions(thread, row), params,
                              uniform(seed, stream, text.index, text.position), probs + thread * V, ranks + thread * V);
        double total;
        if (nats && id >= 0) *nats = negative_log_likelihood(logits, model->V, id, total);
        return id;
    }

    // Copy a row's state to where row `to` has its state before the next step.
    void copy_state(const float *const *h, const float *const *c, int from, int to) {
        for (int layer = 0; layer < model->L; layer++) {
            const int64_t H = padded(model->hidden[layer]), size = H * sizeof(float);
            memcpy(buffers.h[layer] + to * H, h[layer] + from * H, size);
            if (buffers.c[layer]) memcpy(buffers.c[layer] + to * H, c[layer] + from * H, size);
        }
    }

    // Move a row's text to row `to`, whose own has ended.
    void move_text(int row, int to) {
        texts[to] = texts[row];
        guards.swap(to, row);
    }

    // Start the next text in a row. Return false where there is no memory.
    bool start_text(int row, int prompt) {
        texts[row] = {started++, 0, dfa_start[prompt]};
        return guards.start(row, prompt);
    }

    // Put out the next token of a row's text, and set whether the text goes on. Return false where there is no memory.
    bool emit(int row, int id, double nats, Output &output, bool &goes_on) {
        Text &text = texts[row];
        goes_on = false;
        if (id != CHARRNN_NOTHING) {
            text.state = dfa[(int64_t)text.state * padded(model->V) + id];
            text.position++;
            goes_on = text.state != CHARRNN_END && text.position < length;
        }
        output.texts[output.count] = text.index;
        output.ids[output.count] = id;
        if (output.nats) output.nats[output.count] = id == CHARRNN_NOTHING ? 0 : nats;
        output.last[output.count++] = !goes_on;
        return !goes_on || guards.append(row, id);
    }

    // Put out the ids drawn, and start texts in free rows. Return 0, or what `charrnn_sampler_advance` returns of a failure.
    int emit_and_refill(int drawn_rows, Output &output) {
        int to = 0;
        bool goes_on;
        for (int row = 0; row < drawn_rows; row++) {
            if (drawn[row] == NOT_FINITE) return -1;
            if (!emit(row, drawn[row], drawn_nats[row], output, goes_on)) return -2;
            if (!goes_on) continue;
            move_text(row, to);
            buffers.ids[to] = drawn[row];
            copy_state(buffers.h, buffers.c, drawn_rows + row, to++);
        }
        if (drawn_rows) batch = to;
        do {
            for (int free = max_batch - batch; free && started < text_count; free--) {
                const int prompt = (int)(per_prompt ? started / per_prompt : started % prompts);
                if (!start_text(batch, prompt)) return -2;
                const int64_t V = padded(model->V);
                double nats = 0;
                memcpy(logits, prompt_logits + prompt * V, V * sizeof(float));
                const int id = draw(0, logits, batch, output.nats ? &nats : nullptr);
                if (id == NOT_FINITE) return -1;
                if (!emit(batch, id, nats, output, goes_on)) return -2;
                if (!goes_on) continue;
                buffers.ids[batch] = id;
                copy_state(prompt_h, prompt_c, prompt, batch++);
            }
        } while (!batch && started < text_count && has_room(output));
        return 0;
    }

    void begin_missing_rows() const {
        buffers.begin_missing_rows(*model, batch, [&](int row) { return buffers.ids[row]; });
    }

    bool has_room(const Output &output) const { return output.capacity - output.count >= 2 * max_batch; }
};

// Read the rows' ids and draw the next ones; with_nats: -ln p of them too.
void step_batch(ThreadTeam &team, Sampler &sampler, bool with_nats) {
    const Model &model = *sampler.model;
    const int rows = sampler.batch, V = padded(model.V);
    run_layers(team, model, sampler.buffers, rows, 1, false);
    const RowView features = head_input(model, sampler.buffers, rows, Range{0, team.rank == 0 ? rows : 0});
    if (model.L > 1) team.barrier();
    const Head &head = model.head;
    float *const head_logits = head.levels == 1 ? sampler.logits : sampler.buffers.logits;
    head.logits(team, rows, features, head_logits, sampler.buffers.work);
    team.barrier();
    const Range range = rows >= team.size ? team.range(rows) : Range{0, team.rank == 0 ? rows : 0};
    for (int row = range.begin; row < range.end; row++) {
        float *const logits = sampler.logits + (int64_t)row * V;
        if (head.levels > 1) {
            head.log_probabilities(head_logits + row * head.width, logits, -1);
            for (int v = model.V; v < V; v++) logits[v] = 0;
        }
        sampler.drawn[row] = sampler.draw(team.rank, logits, row, with_nats ? sampler.drawn_nats + row : nullptr);
    }
    if (rows >= team.size) team.barrier();
}

int64_t advance(Sampler &sampler, int64_t nanoseconds, Output output) {
    const int64_t deadline = monotonic_ns() + nanoseconds;
    const int expected = sampler.batch || sampler.started == sampler.text_count ? sampler.batch : sampler.max_batch;
    bool goes_on = true;
    int failure = 0;
    run_parallel(sampler.model->useful_threads(expected, 1 << 20), [&](ThreadTeam &team) {
        const ScopedFlushToZero flush;
        for (int step = 0, drawn = 0;; step++, drawn = sampler.batch) {
            if (step) step_batch(team, sampler, output.nats != nullptr);
            if (team.rank == 0) {
                failure = sampler.emit_and_refill(drawn, output);
                goes_on = !failure && sampler.batch && sampler.has_room(output) && (step < 8 || monotonic_ns() < deadline);
                if (goes_on) sampler.begin_missing_rows();
            }
            team.barrier();
            if (!goes_on) break;
        }
    });
    return failure ? failure : output.count;
}

Sampler *sampler_new(Model &model, const charrnn_sampler_request &request) {
    Arena measure(nullptr);
    measure.take<Sampler>(1);
    Sampler(measure, model, request);
    void *memory;
    if (posix_memalign(&memory, 64, measure.used())) return nullptr;
    Arena arena(memory);
    Sampler *sampler = arena.take<Sampler>(1);
    const Sampler built(arena, model, request);
    memcpy(static_cast<void *>(sampler), &built, sizeof built);
    sampler->copy_request(request);
    return sampler;
}

void sampler_free(Sampler *sampler) {
    sampler->guards.free_memory();
    free(sampler);
}

void sampler_finish(Sampler &sampler, int64_t text) {
    for (int row = 0; row < sampler.batch; row++) {
        if (sampler.texts[row].index != text) continue;
        const int last = --sampler.batch;
        sampler.move_text(last, row);
        sampler.buffers.ids[row] = sampler.buffers.ids[last];
        if (row != last) sampler.copy_state(sampler.buffers.h, sampler.buffers.c, last, row);
    }
}

}  // namespace
