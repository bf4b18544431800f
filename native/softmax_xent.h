// Softmax cross-entropy: logits = W x + b, loss = -ln p(target) = ln sum(exp(logits)) - logits[target], in nats.
#pragma once
#include <math.h>

#include "arena.h"
#include "charrnn.h"
#include "weight_gradient.h"

namespace {

// Rows of logits that are computed at a time: few enough to stay in the cache.
FORCE_INLINE int logit_rows(int vocabulary) {
    const int rows = (1 << 14) / padded(vocabulary), tile = tile_rows(1);
    return rows < tile ? tile : rows > 8 * tile ? 8 * tile : rows;
}

// Replace logits by exp(logits - maximum), zero in the padding; total: their sum. Return the maximum.
FORCE_INLINE float exp_in_place(float *logits, int vocabulary, double &total) {
    const int V = padded(vocabulary);
    for (int v = vocabulary; v < V; v++) logits[v] = -INFINITY;
    Vector maxima = load(logits);
    for (int v = LANES; v < V; v += LANES) {
        const Vector logit = load(logits + v);
        maxima = logit > maxima ? logit : maxima;
    }
    float maximum = maxima[0];
    for (int lane = 1; lane < LANES; lane++) maximum = maxima[lane] > maximum ? maxima[lane] : maximum;
    total = 0;
    for (int v = 0; v < V;) {
        LaneSum sum;  // float32, so of few numbers
        for (const int end = v + 4096 < V ? v + 4096 : V; v < end; v += LANES) {
            const Vector e = exp(load(logits + v) - broadcast(maximum));
            store(logits + v, e);
            sum.add(v, e);
        }
        total += sum.total();
    }
    for (int v = vocabulary; v < V; v++) logits[v] = 0;
    return maximum;
}

// Return -ln p(target), in nats; logits and total: as exp_in_place leaves them.
FORCE_INLINE double negative_log_likelihood(float *logits, int vocabulary, int target, double &total) {
    const double target_logit = logits[target];
    const float maximum = exp_in_place(logits, vocabulary, total);
    return log(total) - (target_logit - maximum);
}

struct SoftmaxWorkspace {
    float *forward, *backward;  // W as packed right-hand side (F, V) and (V, F)
    float *logits;              // of `block_rows` rows, then their gradients
    float *packed_lhs;          // for each thread
    float *dbias;
    double *losses;
    float *weight_gradient;
    int block_rows;  // rows whose logits are kept at a time

    static int64_t packed_lhs_size(const charrnn_softmax_xent &call) {
        const int widest = call.features > call.vocabulary ? call.features : call.vocabulary;
        return ::packed_lhs_size(logit_rows(call.vocabulary), widest);
    }

    SoftmaxWorkspace(Arena &arena, const charrnn_softmax_xent &call) {
        const int F = call.features, V = padded(call.vocabulary);
        const int64_t limit = ((int64_t)1 << 22) / V, least = 64;
        block_rows = (int)(limit < least ? least : limit < call.rows ? limit : call.rows);
        forward = arena.take<float>((int64_t)packed_depth(F) * V);
        backward = arena.take<float>(panel_size(call.vocabulary, 1) * column_blocks(F));
        logits = arena.take<float>((int64_t)block_rows * V);
        packed_lhs = arena.take<float>(call.threads * packed_lhs_size(call));
        dbias = arena.take<float>(V);
        losses = arena.take<double>(call.rows);
        weight_gradient = arena.take<float>(weight_gradient_work(1, call.vocabulary, F));
    }
};

double softmax_xent_loss(const charrnn_softmax_xent *call, float *dx, int64_t dx_stride, float *dweight, float *dbias) {
    const int F = call->features, V = padded(call->vocabulary), rows = call->rows;
    Arena arena(call->work);
    const SoftmaxWorkspace work(arena, *call);
    const float scale = 1.0f / (float)call->count;
    run_parallel(call->threads, [&](ThreadTeam &team) {
        const ScopedFlushToZero flush;
        pack_transposed(team, 1, call->weight, call->vocabulary, F, work.forward);
        const Range columns = team.range(column_blocks(call->vocabulary));
        if (dx) {
            pack_rhs(
                team.range(column_blocks(F)), [&](int v) { return call->weight + (int64_t)v * F; }, call->vocabulary, F,
                work.backward);
            for (int block = columns.begin; block < columns.end; block++) store(work.dbias + block * LANES, Vector{});
        }
        for (int first = 0; first < rows; first += work.block_rows) {
            const int count = rows - first < work.block_rows ? rows - first : work.block_rows;
            team.barrier();
            const Range range = team.range(count);
            const RowView x{call->x + first * call->x_stride, call->x_stride};
            const int group_rows = logit_rows(call->vocabulary);
            float *lhs = work.packed_lhs + team.rank * SoftmaxWorkspace::packed_lhs_size(*call);
            for (int begin = range.begin; begin < range.end; begin += group_rows) {
                const Range group{begin, begin + group_rows < range.end ? begin + group_rows : range.end};
                const int height = group.end - group.begin;
                gemm(group, Range{0, column_blocks(call->vocabulary)}, call->vocabulary, F,
                     pack_lhs(x, begin, height, F, lhs), work.forward, call->bias, work.logits, V);
                for (int m = group.begin; m < group.end; m++) {
                    float *row = work.logits + (int64_t)m * V;
                    double total;
                    work.losses[first + m] = negative_log_likelihood(row, call->vocabulary, call->targets[first + m], total);
                    if (!dx) continue;
                    const Vector factor = broadcast((float)(scale / total));
                    for (int v = 0; v < V; v += LANES) store(row + v, load(row + v) * factor);
                    row[call->targets[first + m]] -= scale;
                }
                if (dx)
                    gemm(group, Range{0, column_blocks(F)}, F, call->vocabulary,
                         pack_lhs({work.logits, V}, begin, height, call->vocabulary, lhs), work.backward, nullptr,
                         dx + first * dx_stride, dx_stride);
            }
            if (!dx) continue;
            team.barrier();
            for (int block = columns.begin; block < columns.end; block++) {
                Vector sum = load(work.dbias + block * LANES);
                for (int m = 0; m < count; m++) sum += load(work.logits + (int64_t)m * V + block * LANES);
                store(work.dbias + block * LANES, sum);
            }
            weight_gradient(team, 1, identity_order, call->vocabulary, F, count, {work.logits, V}, 0, x, dweight,
                            first == 0, work.weight_gradient);
        }
        if (dx)
            for (int block = columns.begin; block < columns.end; block++)
                store(dbias + block * LANES, load(work.dbias + block * LANES), call->vocabulary - block * LANES);
    });
    double sum = 0;
    for (int row = 0; row < rows; row++) sum += work.losses[row];
    return sum / call->count;
}

int64_t softmax_xent_work_size(const charrnn_softmax_xent *call) {
    Arena arena(nullptr);
    SoftmaxWorkspace(arena, *call);
    return arena.used();
}

}  // namespace
