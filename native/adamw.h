// The optimizer: the norm of all gradients, and AdamW (Loshchilov & Hutter 2019) in one pass over the weights.
#pragma once
#include <math.h>

#include "charrnn.h"
#include "simd.h"
#include "thread_pool.h"

namespace {

const int64_t BLOCK_SIZE = 4096;  // numbers whose squares are summed in float32, and that a thread takes at a time

FORCE_INLINE int64_t count_blocks(const charrnn_update &update) {
    int64_t count = 0;
    for (int tensor = 0; tensor < update.tensors; tensor++) count += (update.sizes[tensor] + BLOCK_SIZE - 1) / BLOCK_SIZE;
    return count;
}

// Call use(block, tensor, first number, count) for this thread's share of the blocks of all tensors.
template <typename Use>
FORCE_INLINE void for_each_block(const ThreadTeam &team, const charrnn_update &update, Use &&use) {
    int64_t tensor_block = 0;  // the tensor's first
    const Range range = team.range((int)count_blocks(update));
    for (int tensor = 0; tensor < update.tensors; tensor++) {
        const int64_t size = update.sizes[tensor], count = (size + BLOCK_SIZE - 1) / BLOCK_SIZE;
        for (int64_t block = tensor_block > range.begin ? tensor_block : range.begin;
             block < tensor_block + count && block < range.end; block++) {
            const int64_t first = (block - tensor_block) * BLOCK_SIZE;
            use(block, tensor, first, (int)(size - first < BLOCK_SIZE ? size - first : BLOCK_SIZE));
        }
        tensor_block += count;
    }
}

double gradient_norm(const charrnn_update *update) {
    double *squares = static_cast<double *>(update->work);
    run_parallel(update->threads, [&](ThreadTeam &team) {
        const ScopedFlushToZero flush;
        for_each_block(team, *update, [&](int64_t block, int tensor, int64_t first, int count) {
            const float *gradient = update->gradients[tensor] + first;
            LaneSum sum;
            for (int n = 0; n < count; n += LANES) {
                const Vector g = load(gradient + n, count - n);
                sum.add(n, g * g);
            }
            squares[block] = sum.total();
        });
    });
    double total = 0;
    for (int64_t block = 0, count = count_blocks(*update); block < count; block++) total += squares[block];
    return sqrt(total);
}

int64_t optimizer_work_size(const charrnn_update *update) { return count_blocks(*update) * (int64_t)sizeof(double); }

void adamw(const charrnn_update *update) {
    run_parallel(update->threads, [&](ThreadTeam &team) {
        const ScopedFlushToZero flush;
        for_each_block(team, *update, [&](int64_t, int tensor, int64_t first, int count) {
            const float *gradient = update->gradients[tensor] + first;
            float *weight = update->weights[tensor] + first, *exp_avg = update->means[tensor] + first;
            float *exp_avg_sq = update->squares[tensor] + first;
            const Vector decay = broadcast(update->kept[tensor]), step_size = broadcast(-update->rates[tensor]);
            for (int n = 0; n < count; n += LANES) {
                const int left = count - n;
                const Vector g = load(gradient + n, left) * broadcast(update->scale);
                const Vector m = fma(broadcast(update->beta1), load(exp_avg + n, left), broadcast(1 - update->beta1) * g);
                const Vector v =
                    fma(broadcast(update->beta2), load(exp_avg_sq + n, left), broadcast(1 - update->beta2) * g * g);
                Vector root = v;
                for (int lane = 0; lane < LANES; lane++) root[lane] = sqrtf(root[lane]);
                const Vector step = m / fma(root, broadcast(update->correction), broadcast(update->epsilon));
                store(exp_avg + n, m, left);
                store(exp_avg_sq + n, v, left);
                store(weight + n, fma(step_size, step, load(weight + n, left) * decay), left);
            }
        });
    });
}

}  // namespace
