// Logits to one id, after all controls.
#pragma once
#include <math.h>

#include "charrnn.h"
#include "gemm.h"

namespace {

struct Controls {
    float temperature, min_p;
    double top_p;
    int top_k;  // 0: all
};

// Symbols ordered by their logits, the likeliest first, the lower id first among equals: as many as are asked for.
class Ranking {
  public:
    Ranking(const float *logits, int *ids, int count) : logits_(logits), heap_(ids), left_(count) {
        for (int place = count / 2 - 1; place >= 0; place--) sift(place);
    }

    // The next one. It stands where the heap ended.
    int next() {
        const int best = heap_[0];
        heap_[0] = heap_[--left_];
        heap_[left_] = best;
        sift(0);
        return best;
    }

  private:
    bool before(int x, int y) const { return logits_[x] > logits_[y] || (logits_[x] == logits_[y] && x < y); }

    void sift(int place) {
        for (int child; (child = 2 * place + 1) < left_; place = child) {
            if (child + 1 < left_ && before(heap_[child + 1], heap_[child])) child++;
            if (!before(heap_[child], heap_[place])) return;
            const int id = heap_[place];
            heap_[place] = heap_[child];
            heap_[child] = id;
        }
    }

    const float *logits_;
    int *heap_, left_;
};

// Sets all odds to zero but those that top-k and top-p keep; top-p's share is of what top-k keeps.
inline void keep_likeliest(const float *logits, int vocabulary, const Controls &controls, float *odds, int *ids) {
    int count = 0, ranked = 0, kept = 0;
    double total = 0, before = 0;
    for (int v = 0; v < vocabulary; v++)
        if (odds[v] > 0) {
            ids[count++] = v;
            total += odds[v];
        }
    Ranking ranking(logits, ids, count);
    int most = count;
    if (controls.top_k && controls.top_k < count)
        for (most = controls.top_k, total = 0; ranked < most; ranked++) total += odds[ranking.next()];
    for (; kept < most && before / total < controls.top_p; kept++) {
        if (kept == ranked) ranking.next(), ranked++;
        before += odds[ids[count - 1 - kept]];
    }
    for (int place = 0; place < count - kept; place++) odds[ids[place]] = 0;
}

// Draws a symbol; -1 where a logit is not finite. automaton: what each symbol leads to, as long as the logits are with
// their padding, which is never drawn. Spoils the logits; odds (V') and ids (V) are to work in.
inline int draw(float *logits, int vocabulary, const int32_t *automaton, const Controls &controls, double uniform,
                float *odds, int *ids) {
    const int V = padded(vocabulary);
    const Vector least = all(-INFINITY);
    Vector strange{}, most = least;
    for (int v = 0; v < V; v += LANES) {
        Integers next;
        memcpy(&next, automaton + v, sizeof next);
        const Vector logit = load(logits + v), drawn = next == (int32_t)CHARRNN_NEVER ? least : logit;
        strange += logit - logit;
        most = drawn > most ? drawn : most;
        store(logits + v, drawn);
    }
    float greatest = most[0];
    for (int lane = 0; lane < LANES; lane++) {
        if (strange[lane] != 0) return -1;
        greatest = most[lane] > greatest ? most[lane] : greatest;
    }
    if (controls.temperature < 1e-6f) {
        int v = 0;
        while (logits[v] != greatest) v++;
        return v;
    }
    for (int v = 0; v < V; v += LANES) {
        const Vector x = (load(logits + v) - all(greatest)) / all(controls.temperature);
        store(odds + v, x < -87.0f ? Vector{} : exponential(x));
    }
    if ((controls.top_k && controls.top_k < vocabulary) || controls.top_p < 1)
        keep_likeliest(logits, vocabulary, controls, odds, ids);
    if (controls.min_p > 0)  // the greatest of the odds is 1
        for (int v = 0; v < V; v += LANES) {
            const Vector here = load(odds + v);
            store(odds + v, here < controls.min_p ? Vector{} : here);
        }
    double total = 0, sum = 0;
    for (int v = 0; v < vocabulary; v++) total += odds[v];
    const double mark = uniform * total;
    for (int v = 0; v < vocabulary; v++)
        if ((sum += odds[v]) > mark) return v;
    for (int v = vocabulary - 1;; v--)  // were the product rounded up to the total
        if (odds[v] > 0) return v;
}

}  // namespace
