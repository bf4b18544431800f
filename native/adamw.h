// The optimizer: the norm of all gradients, and AdamW (Loshchilov & Hutter 2019) in one pass over the weights.
#pragma once
#include <math.h>

#include "charrnn.h"
#include "simd.h"
#include "thread_pool.h"

namespace {

const int64_t BLOCK_SIZE = 4096;  // numbers whose squares are summed in float32, and that a thread takes at a time

FORCE_INLINE int64_t count_blocks(const charrnn_optimizer &call) {
    int64_t count = 0;
    for (int tensor = 0; tensor < call.tensors; tensor++) count += (call.sizes[tensor] + BLOCK_SIZE - 1) / BLOCK_SIZE;
    return count;
}

// Call use(block, tensor, first number, count) for this thread's share of the blocks of all tensors.
template <typename Use>
FORCE_INLINE void for_each_block(const ThreadTeam &team, const charrnn_optimizer &call, Use &&use) {
    int64_t tensor_block = 0;  // the tensor's first
    const Range range = team.range((int)count_blocks(call));
    for (int tensor = 0; tensor < call.tensors; tensor++) {
        const int64_t size = call.sizes[tensor], count = (size + BLOCK_SIZE - 1) / BLOCK_SIZE;
        for (int64_t block = tensor_block > range.begin ? tensor_block : range.begin;
             block < tensor_block + count && block < range.end; block++) {
            const int64_t first = (block - tensor_block) * BLOCK_SIZE;
            use(block, tensor, first, (int)(size - first < BLOCK_SIZE ? size - first : BLOCK_SIZE));
        }
        tensor_block += count;
    }
}

double optimizer_gradient_norm(const charrnn_optimizer *call) {
    double *block_sums = static_cast<double *>(call->work);
    run_parallel(call->threads, [&](ThreadTeam &team) {
        const ScopedFlushToZero flush;
        for_each_block(team, *call, [&](int64_t block, int tensor, int64_t first, int count) {
            const float *gradient = call->gradients[tensor] + first;
            LaneSum sum;
            for (int n = 0; n < count; n += LANES) {
                const Vector g = load(gradient + n, count - n);
                sum.add(n, g * g);
            }
            block_sums[block] = sum.total();
        });
    });
    double total = 0;
    for (int64_t block = 0, count = count_blocks(*call); block < count; block++) total += block_sums[block];
    return sqrt(total);
}

int64_t optimizer_work_size(const charrnn_optimizer *call) { return count_blocks(*call) * (int64_t)sizeof(double); }

void optimizer_adamw(const charrnn_optimizer *call) {
    run_parallel(call->threads, [&](ThreadTeam &team) {
        const ScopedFlushToZero flush;
        for_each_block(team, *call, [&](int64_t, int tensor, int64_t first, int count) {
            const float *gradient = call->gradients[tensor] + first;
            float *weight = call->weights[tensor] + first, *exp_avg = call->exp_avg[tensor] + first;
            float *exp_avg_sq = call->exp_avg_sq[tensor] + first;
            const Vector decay = broadcast(call->decay_factors[tensor]), step_size = broadcast(-call->step_sizes[tensor]);
            for (int n = 0; n < count; n += LANES) {
                const int left = count - n;
                const Vector g = load(gradient + n, left) * broadcast(call->scale);
                const Vector m = fma(broadcast(call->beta1), load(exp_avg + n, left), broadcast(1 - call->beta1) * g);
                const Vector v =
                    fma(broadcast(call->beta2), load(exp_avg_sq + n, left), broadcast(1 - call->beta2) * g * g);
                Vector root = v;
                for (int lane = 0; lane < LANES; lane++) root[lane] = sqrtf(root[lane]);
                const Vector step = m / fma(root, broadcast(call->correction), broadcast(call->epsilon));
                store(exp_avg + n, m, left);
                store(exp_avg_sq + n, v, left);
                store(weight + n, fma(step_size, step, load(weight + n, left) * decay), left);
            }
        });
    });
}

}  // namespace
