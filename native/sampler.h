// Texts written side by side: symbols are drawn and read, and where a text ends the next one takes its row. What
// is drawn is what charrnn/engines/stepping.py says, but for rounding.
#pragma once
#include "draw.h"
#include "inference.h"
#include "philox.h"

namespace {

struct Text {
    int64_t index, position;
    int32_t state;  // of the automaton
};

// Where symbols go.
struct Output {
    int64_t *texts;
    int32_t *ids;
    uint8_t *last;
    int64_t room, count = 0;
};

struct Writer {
    Model *model;
    Controls controls;
    uint64_t seed, purpose;
    int64_t number, length, begun = 0;  // texts, symbols of each at most, texts begun
    int most, rows = 0;                 // side by side; now
    Text *texts;                        // of the rows
    Reading reading;                    // ids that the rows read next; states before in rows 0 on, after a step behind them
    float **first_h, **first_c, *first_logits;  // where each text begins
    int32_t *automaton;                 // (A, V')
    float *logits;                      // (rows, V')
    int32_t *drawn;                     // of the rows
    float *odds;                        // V' for each thread
    int *ranks;

    template <typename Cell>
    Writer(Cell cell, Arena &arena, Model &model, const charrnn_writing &writing)
        : model(&model), seed(writing.seed), purpose(writing.purpose), number(writing.texts), length(writing.length),
          most((int)(writing.rows < writing.texts ? writing.rows : writing.texts)), texts(arena.take<Text>(most)),
          reading(cell, arena, model, most, 1, model.threads) {
        const double hottest = 1e30;
        controls = {(float)(writing.temperature < hottest ? writing.temperature : hottest), (float)writing.min_p,
                    writing.top_p, (int)(writing.top_k < model.V ? writing.top_k : 0)};
        const int V = padded(model.V);
        first_h = arena.take<float *>(model.L);
        first_c = arena.take<float *>(model.L);
        for (int layer = 0; layer < model.L; layer++) {
            float *h = arena.take<float>(padded(model.hidden[layer]));
            float *c = model.cell == CHARRNN_LSTM ? arena.take<float>(padded(model.hidden[layer])) : nullptr;
            if (first_h) first_h[layer] = h, first_c[layer] = c;
        }
        first_logits = arena.take<float>(V);
        automaton = arena.take<int32_t>((int64_t)writing.states * V);
        logits = arena.take<float>((int64_t)most * V);
        drawn = arena.take<int32_t>(most);
        odds = arena.take<float>((int64_t)model.threads * V);
        ranks = arena.take<int>((int64_t)model.threads * V);
    }

    void begin(const charrnn_writing &writing) {
        for (int layer = 0; layer < model->L; layer++) {
            const int hidden = model->hidden[layer];
            spread(writing.state[layer], 1, hidden, first_h[layer]);
            if (first_c[layer]) spread(writing.state[layer] + hidden, 1, hidden, first_c[layer]);
        }
        memset(first_logits, 0, padded(model->V) * sizeof(float));
        memcpy(first_logits, writing.logits, model->V * sizeof(float));
        for (int state = 0; state < writing.states; state++)
            for (int v = 0; v < padded(model->V); v++)
                automaton[(int64_t)state * padded(model->V) + v] =
                    v < model->V ? writing.automaton[(int64_t)state * model->V + v] : CHARRNN_NEVER;
    }

    int draw(int thread, float *from, const Text &text) const {
        const int64_t V = padded(model->V);
        return ::draw(from, model->V, automaton + text.state * V, controls,
                      uniform(seed, purpose, text.index, text.position), odds + thread * V, ranks + thread * V);
    }

    // Copies a row's state to the rows' states before the next step.
    void move(const float *const *h, const float *const *c, int from, int to) {
        for (int layer = 0; layer < model->L; layer++) {
            const int64_t H = padded(model->hidden[layer]), size = H * sizeof(float);
            memcpy(reading.h[layer] + to * H, h[layer] + from * H, size);
            if (reading.c[layer]) memcpy(reading.c[layer] + to * H, c[layer] + from * H, size);
        }
    }

    // Puts a text's next symbol out. Returns whether the text goes on.
    bool take(Text &text, int id, Output &output) {
        text.state = automaton[(int64_t)text.state * padded(model->V) + id];
        text.position++;
        const bool last = text.state == CHARRNN_ENDS || text.position == length;
        output.texts[output.count] = text.index;
        output.ids[output.count] = id;
        output.last[output.count++] = last;
        return !last;
    }

    // Takes what has been drawn and begins texts in rows that are free. Returns false if a number was not finite.
    bool settle(int drawn_rows, Output &output) {
        int to = 0;
        for (int row = 0; row < drawn_rows; row++) {
            if (drawn[row] < 0) return false;
            if (!take(texts[row], drawn[row], output)) continue;
            texts[to] = texts[row];
            reading.ids[to] = drawn[row];
            move(reading.h, reading.c, drawn_rows + row, to++);
        }
        if (drawn_rows) rows = to;
        do {
            for (int free = most - rows; free && begun < number; free--) {
                Text text{begun++, 0, 0};
                memcpy(logits, first_logits, padded(model->V) * sizeof(float));
                const int id = draw(0, logits, text);
                if (id < 0) return false;
                if (!take(text, id, output)) continue;
                texts[rows] = text;
                reading.ids[rows] = id;
                move(first_h, first_c, 0, rows++);
            }
        } while (!rows && begun < number && has_room(output));
        return true;
    }

    bool has_room(const Output &output) const { return output.room - output.count >= 2 * most; }
};

// Reads the rows' ids, and draws.
template <typename Cell> void draw_next(Cell cell, Team &team, Writer &writer) {
    const Model &model = *writer.model;
    const int rows = writer.rows, V = padded(model.V);
    read(cell, team, model, writer.reading, rows, 1, false);
    const Rows features = feature_rows(model, writer.reading, rows, Share{0, team.number == 0 ? rows : 0});
    if (model.L > 1) team.barrier();
    multiply_rows(team, rows, V, model.F, features, model.head, model.head_bias, writer.logits, V,
                  writer.reading.lowered);
    team.barrier();
    const Share share = rows >= team.count ? team.share(rows) : Share{0, team.number == 0 ? rows : 0};
    for (int row = share.begin; row < share.end; row++)
        writer.drawn[row] = writer.draw(team.number, writer.logits + (int64_t)row * V, writer.texts[row]);
    if (rows >= team.count) team.barrier();
}

template <typename Cell> int64_t write(Cell cell, Writer &writer, int64_t nanoseconds, Output output) {
    const int64_t until = now() + nanoseconds;
    const int expected = writer.rows || writer.begun == writer.number ? writer.rows : writer.most;
    bool finite = true, going = true;
    in_team(writer.model->team(expected, 1 << 20), [&](Team &team) {
        const Flush flush;
        for (int step = 0, drawn = 0;; step++, drawn = writer.rows) {
            if (step) draw_next(cell, team, writer);
            if (team.number == 0) {
                finite = writer.settle(drawn, output);
                going = finite && writer.rows && writer.has_room(output) && (step < 8 || now() < until);
            }
            team.barrier();
            if (!going) break;
        }
    });
    return finite ? output.count : -1;
}

Writer *writer_new(Model &model, const charrnn_writing &writing) {
    return with_cell(model.cell, [&](auto cell) -> Writer * {
        Arena measure(nullptr);
        measure.take<Writer>(1);
        Writer(cell, measure, model, writing);
        void *memory;
        if (posix_memalign(&memory, 64, measure.used())) return nullptr;
        Arena arena(memory);
        Writer *writer = arena.take<Writer>(1);
        const Writer made(cell, arena, model, writing);
        memcpy(static_cast<void *>(writer), &made, sizeof made);
        writer->begin(writing);
        return writer;
    });
}

void writer_finish(Writer &writer, int64_t text) {
    for (int row = 0; row < writer.rows; row++) {
        if (writer.texts[row].index != text) continue;
        const int last = --writer.rows;
        writer.texts[row] = writer.texts[last];
        writer.reading.ids[row] = writer.reading.ids[last];
        if (row != last) writer.move(writer.reading.h, writer.reading.c, last, row);
    }
}

}  // namespace
