// Logits to one id: temperature, top-k, top-p and min-p, then the inverse of the distribution function.
#pragma once
#include <math.h>

#include "charrnn.h"
#include "gemm.h"

namespace {

struct SamplingParams {
    float temperature, min_p;
    double top_p;
    int top_k;  // 0: no limit
};

// A heap of ids: next() gives the likeliest first, of equal ones the lower id. Only as many are ordered as are asked for.
class Ranking {
  public:
    Ranking(const float *logits, int *ids, int count) : logits_(logits), heap_(ids), size_(count) {
        for (int place = count / 2 - 1; place >= 0; place--) sift(place);
    }

    // The next id; it also takes the place behind the heap's end.
    int next() {
        const int best = heap_[0];
        heap_[0] = heap_[--size_];
        heap_[size_] = best;
        sift(0);
        return best;
    }

  private:
    bool before(int x, int y) const { return logits_[x] > logits_[y] || (logits_[x] == logits_[y] && x < y); }

    void sift(int place) {
        for (int child; (child = 2 * place + 1) < size_; place = child) {
            if (child + 1 < size_ && before(heap_[child + 1], heap_[child])) child++;
            if (!before(heap_[child], heap_[place])) return;
            const int id = heap_[place];
            heap_[place] = heap_[child];
            heap_[child] = id;
        }
    }

    const float *logits_;
    int *heap_, size_;
};

// Set all probabilities to zero but those that top-k and top-p keep; top-p's share is of what top-k keeps. ids: (V), workspace.
inline void apply_top_k_top_p(const float *logits, int vocabulary, const SamplingParams &params, float *probs, int *ids) {
    int count = 0, ranked = 0, keep = 0;
    double total = 0, cumulated = 0;
    for (int v = 0; v < vocabulary; v++)
        if (probs[v] > 0) {
            ids[count++] = v;
            total += probs[v];
        }
    Ranking ranking(logits, ids, count);
    int limit = count;
    if (params.top_k && params.top_k < count)
        for (limit = params.top_k, total = 0; ranked < limit; ranked++) total += probs[ranking.next()];
    for (; keep < limit && cumulated / total < params.top_p; keep++) {
        if (keep == ranked) ranking.next(), ranked++;
        cumulated += probs[ids[count - 1 - keep]];
    }
    for (int place = 0; place < count - keep; place++) probs[ids[place]] = 0;
}

enum { NOT_FINITE = -2 };  // in place of an id

// Draw an id; return NOTHING where none is allowed, NOT_FINITE where a logit is not finite. dfa: (V'), the state that each id
// leads to; FORBIDDEN ids and the padding are not drawn. probs (V') and ids (V): workspaces. The probabilities are not
// normalized: the likeliest one's is 1.
inline int draw(const float *logits, int vocabulary, const int32_t *dfa, const SamplingParams &params, double uniform,
                float *probs, int *ids) {
    const int V = padded(vocabulary);
    const Vector minus_infinity = broadcast(-INFINITY);
    Vector not_finite{}, maxima = minus_infinity;
    for (int v = 0; v < V; v += LANES) {
        IntVector next;
        memcpy(&next, dfa + v, sizeof next);
        const Vector logit = load(logits + v), allowed = next == (int32_t)CHARRNN_FORBIDDEN ? minus_infinity : logit;
        not_finite += logit - logit;
        maxima = allowed > maxima ? allowed : maxima;
        store(probs + v, allowed);
    }
    float maximum = maxima[0];
    for (int lane = 0; lane < LANES; lane++) {
        if (not_finite[lane] != 0) return NOT_FINITE;
        maximum = maxima[lane] > maximum ? maxima[lane] : maximum;
    }
    if (maximum == -INFINITY) return CHARRNN_NOTHING;
    if (params.temperature < 1e-6f) {
        int v = 0;
        while (probs[v] != maximum) v++;
        return v;
    }
    for (int v = 0; v < V; v += LANES) {
        const Vector x = (load(probs + v) - broadcast(maximum)) / broadcast(params.temperature);
        store(probs + v, x < -87.0f ? Vector{} : exp(x));
    }
    if ((params.top_k && params.top_k < vocabulary) || params.top_p < 1)
        apply_top_k_top_p(logits, vocabulary, params, probs, ids);
    if (params.min_p > 0)  // the likeliest has 1
        for (int v = 0; v < V; v += LANES) {
            const Vector prob = load(probs + v);
            store(probs + v, prob < params.min_p ? Vector{} : prob);
        }
    double total = 0, sum = 0;
    for (int v = 0; v < vocabulary; v++) total += probs[v];
    const double threshold = uniform * total;
    for (int v = 0; v < vocabulary; v++)
        if ((sum += probs[v]) > threshold) return v;
    for (int v = vocabulary - 1; v > 0; v--)  // the threshold may have been rounded up to the total
        if (probs[v] > 0) return v;
    return 0;
}

}  // namespace
