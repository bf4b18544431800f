// The softmax over symbols: logits = W x + b, cost = ln sum(exp(logits)) - logits[target], in nats.
#pragma once
#include <math.h>

#include "arena.h"
#include "charrnn.h"
#include "gemm.h"

namespace {

// Rows of logits that are made at a time: few enough to stay in the cache.
INLINE int rows_at_a_time(int vocabulary) {
    const int rows = (1 << 14) / padded(vocabulary), least = rows_of_tile<1>();
    return rows < least ? least : rows > 8 * least ? 8 * least : rows;
}

// -ln p of a symbol, in nats. Leaves exp(logits - greatest) in place of the logits, zero in the padding, and their
// sum in `total`.
INLINE double cost(float *logits, int vocabulary, int target, double &total) {
    const int V = padded(vocabulary);
    const double chosen = logits[target];
    for (int v = vocabulary; v < V; v++) logits[v] = -INFINITY;
    Vector most = load(logits);
    for (int v = LANES; v < V; v += LANES) {
        const Vector here = load(logits + v);
        most = here > most ? here : most;
    }
    float greatest = most[0];
    for (int lane = 1; lane < LANES; lane++) greatest = most[lane] > greatest ? most[lane] : greatest;
    total = 0;
    for (int v = 0; v < V;) {
        Sum sum;  // of not too many in float32
        for (const int end = v + 4096 < V ? v + 4096 : V; v < end; v += LANES) {
            const Vector e = exponential(load(logits + v) - all(greatest));
            store(logits + v, e);
            sum.add(v, e);
        }
        total += sum.total();
    }
    for (int v = vocabulary; v < V; v++) logits[v] = 0;
    return log(total) - (chosen - greatest);
}

struct HeadWork {
    float *forward, *backward;  // W packed for (F,) -> V, and for (V,) -> F
    float *logits;              // some rows at a time, then their gradients
    float *lowered;             // for each thread
    float *biases;
    double *costs;
    float *outer;
    int chunk;  // rows whose logits are held at a time

    static int64_t lowered_size(const charrnn_head &head) {
        const int widest = head.features > head.vocabulary ? head.features : head.vocabulary;
        return ::lowered_size(rows_at_a_time(head.vocabulary), widest);
    }

    HeadWork(Arena &arena, const charrnn_head &head) {
        const int F = head.features, V = padded(head.vocabulary);
        const int64_t most = ((int64_t)1 << 22) / V, least = 64;
        chunk = (int)(most < least ? least : most < head.rows ? most : head.rows);
        forward = arena.take<float>((int64_t)places(F) * V);
        backward = arena.take<float>(panel_size(head.vocabulary, 1) * blocks(F));
        logits = arena.take<float>((int64_t)chunk * V);
        lowered = arena.take<float>(head.threads * lowered_size(head));
        biases = arena.take<float>(V);
        costs = arena.take<double>(head.rows);
        outer = arena.take<float>(outer_work(1, head.vocabulary, F));
    }
};

double head_loss(const charrnn_head *head, float *dx, int64_t distance, float *dweight, float *dbias) {
    const int F = head->features, V = padded(head->vocabulary), rows = head->rows;
    Arena arena(head->work);
    const HeadWork work(arena, *head);
    const float scale = 1.0f / (float)rows;
    in_team(head->threads, [&](Team &team) {
        const Flush flush;
        pack_rows<1>(team, head->weight, head->vocabulary, F, work.forward);
        const Share columns = team.share(blocks(head->vocabulary));
        if (dx) {
            pack(
                team.share(blocks(F)), [&](int v) { return head->weight + (int64_t)v * F; }, head->vocabulary, F,
                work.backward);
            for (int block = columns.begin; block < columns.end; block++) store(work.biases + block * LANES, Vector{});
        }
        for (int first = 0; first < rows; first += work.chunk) {
            const int count = rows - first < work.chunk ? rows - first : work.chunk;
            team.barrier();
            const Share share = team.share(count);
            const Rows x{head->x + first * head->distance, head->distance};
            const int group = rows_at_a_time(head->vocabulary);
            float *scratch = work.lowered + team.number * HeadWork::lowered_size(*head);
            for (int begin = share.begin; begin < share.end; begin += group) {
                const Share some{begin, begin + group < share.end ? begin + group : share.end};
                const int height = some.end - some.begin;
                multiply_rows(some, Share{0, blocks(head->vocabulary)}, head->vocabulary, F,
                              lowered(x, begin, height, F, scratch), work.forward, head->bias, work.logits, V);
                for (int m = some.begin; m < some.end; m++) {
                    float *row = work.logits + (int64_t)m * V;
                    double total;
                    work.costs[first + m] = cost(row, head->vocabulary, head->targets[first + m], total);
                    if (!dx) continue;
                    const Vector factor = all((float)(scale / total));
                    for (int v = 0; v < V; v += LANES) store(row + v, load(row + v) * factor);
                    row[head->targets[first + m]] -= scale;
                }
                if (dx)
                    multiply_rows(some, Share{0, blocks(F)}, F, head->vocabulary,
                                  lowered({work.logits, V}, begin, height, head->vocabulary, scratch), work.backward,
                                  nullptr, dx + first * distance, distance);
            }
            if (!dx) continue;
            team.barrier();
            for (int block = columns.begin; block < columns.end; block++) {
                Vector sum = load(work.biases + block * LANES);
                for (int m = 0; m < count; m++) sum += load(work.logits + (int64_t)m * V + block * LANES);
                store(work.biases + block * LANES, sum);
            }
            outer(team, 1, in_order, head->vocabulary, F, count, {work.logits, V}, 0, x, dweight, first == 0, work.outer);
        }
        if (dx)
            for (int block = columns.begin; block < columns.end; block++)
                store(dbias + block * LANES, load(work.biases + block * LANES), head->vocabulary - block * LANES);
    });
    double sum = 0;
    for (int row = 0; row < rows; row++) sum += work.costs[row];
    return sum / rows;
}

int64_t head_work(const charrnn_head *head) {
    Arena arena(nullptr);
    HeadWork(arena, *head);
    return arena.used();
}

}  // namespace
