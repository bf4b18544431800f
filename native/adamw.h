// What an optimizer does with gradients: their norm, and AdamW (Loshchilov & Hutter 2019) in one pass.
#pragma once
#include <math.h>

#include "charrnn.h"
#include "simd.h"
#include "thread_pool.h"

namespace {

const int64_t PIECE = 4096;  // numbers whose squares are summed in float32, and that a thread takes at a time

INLINE int64_t pieces_of(const charrnn_update &update) {
    int64_t count = 0;
    for (int tensor = 0; tensor < update.tensors; tensor++) count += (update.sizes[tensor] + PIECE - 1) / PIECE;
    return count;
}

// Calls use(number of the piece, tensor, first number, count) for a thread's share of the pieces of all tensors.
template <typename Use> INLINE void pieces(const Team &team, const charrnn_update &update, Use &&use) {
    int64_t before = 0;
    const Share share = team.share((int)pieces_of(update));
    for (int tensor = 0; tensor < update.tensors; tensor++) {
        const int64_t size = update.sizes[tensor], count = (size + PIECE - 1) / PIECE;
        for (int64_t piece = before > share.begin ? before : share.begin; piece < before + count && piece < share.end; piece++) {
            const int64_t first = (piece - before) * PIECE;
            use(piece, tensor, first, (int)(size - first < PIECE ? size - first : PIECE));
        }
        before += count;
    }
}

double gradient_norm(const charrnn_update *update) {
    double *squares = static_cast<double *>(update->work);
    in_team(update->threads, [&](Team &team) {
        const Flush flush;
        pieces(team, *update, [&](int64_t piece, int tensor, int64_t first, int count) {
            const float *gradient = update->gradients[tensor] + first;
            Sum sum;
            for (int n = 0; n < count; n += LANES) {
                const Vector g = load(gradient + n, count - n);
                sum.add(n, g * g);
            }
            squares[piece] = sum.total();
        });
    });
    double total = 0;
    for (int64_t piece = 0, count = pieces_of(*update); piece < count; piece++) total += squares[piece];
    return sqrt(total);
}

int64_t update_work(const charrnn_update *update) { return pieces_of(*update) * (int64_t)sizeof(double); }

void adamw(const charrnn_update *update) {
    in_team(update->threads, [&](Team &team) {
        const Flush flush;
        pieces(team, *update, [&](int64_t, int tensor, int64_t first, int count) {
            const float *gradient = update->gradients[tensor] + first;
            float *weight = update->weights[tensor] + first, *mean = update->means[tensor] + first;
            float *square = update->squares[tensor] + first;
            const Vector kept = all(update->kept[tensor]), rate = all(-update->rates[tensor]);
            for (int n = 0; n < count; n += LANES) {
                const int left = count - n;
                const Vector g = load(gradient + n, left) * all(update->scale);
                const Vector m = madd(all(update->beta1), load(mean + n, left), all(1 - update->beta1) * g);
                const Vector v = madd(all(update->beta2), load(square + n, left), all(1 - update->beta2) * g * g);
                Vector root = v;
                for (int lane = 0; lane < LANES; lane++) root[lane] = sqrtf(root[lane]);
                const Vector step = m / madd(root, all(update->correction), all(update->epsilon));
                store(mean + n, m, left);
                store(square + n, v, left);
                store(weight + n, madd(rate, step, load(weight + n, left) * kept), left);
            }
        });
    });
}

}  // namespace
