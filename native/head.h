// The head of a model for inference: a softmax over all ids, or one of two levels. Then the first level is over frequent ids and
// clusters of rare ones, and p(id) of a rare one is p(its cluster) p(id | its cluster): Grave et al. 2017.
#pragma once
#include "softmax_xent.h"

namespace {

const int MAX_LEVELS = 256;  // a byte says which

struct Head {
    const Products *products;  // of its weight
    struct Level {
        int size;       // how many logits it has
        int64_t begin;  // where they are in a row of logits
    };

    int V, F, levels;
    int frequent;       // ids of the first level; behind them are the clusters
    int64_t width;      // of a row of logits: those of all levels, each padded
    Level *level;
    int32_t *logit_of;  // (V), where in a row of logits each id's is; NULL: there is one level, and they are in order
    uint8_t *level_of;  // (V), which level has it; NULL likewise
    float *weight;      // packed right-hand side (F, width), level by level
    float *bias;        // (width)

    static Head take(Arena &arena, const Products &products, int vocabulary, int features, const uint8_t *clusters) {
        Head head = {&products, vocabulary, features, 1, 0, 0, nullptr, nullptr, nullptr, nullptr, nullptr};
        int sizes[MAX_LEVELS] = {};
        for (int v = 0; v < vocabulary; v++) {
            const int of = clusters ? clusters[v] : 0;
            sizes[of]++;
            if (of >= head.levels) head.levels = of + 1;
        }
        head.frequent = sizes[0];
        sizes[0] += head.levels - 1;
        head.level = arena.take<Level>(head.levels);
        for (int l = 0; l < head.levels; l++) {
            if (head.level) head.level[l] = {sizes[l], head.width};
            head.width += padded(sizes[l]);
        }
        head.logit_of = clusters ? arena.take<int32_t>(vocabulary) : nullptr;
        head.level_of = clusters ? arena.take<uint8_t>(vocabulary) : nullptr;
        head.weight = arena.take<float>(head.width / LANES * products.panel_size(features, 1));
        head.bias = arena.take<float>(head.width);
        return head;
    }

    // Copy what the levels consist of, and the biases.
    void copy(const float *biases, const uint8_t *clusters) const {
        memset(bias, 0, width * sizeof(float));
        int32_t next[MAX_LEVELS];
        for (int l = 0; l < levels; l++) {
            memcpy(bias + level[l].begin, biases, level[l].size * sizeof(float));
            biases += level[l].size;
            next[l] = (int32_t)level[l].begin;
        }
        for (int v = 0; v < V && clusters; v++) {
            level_of[v] = clusters[v];
            logit_of[v] = next[clusters[v]]++;
        }
    }

    void pack(ThreadTeam &team, const float *weights) const {
        for (int l = 0; l < levels; l++) {
            pack_transposed(team, 1, weights, level[l].size, F, panels(l), *products);
            weights += (int64_t)level[l].size * F;
        }
    }

    // The weight of a level, packed.
    float *panels(int l) const { return weight + level[l].begin / LANES * products->panel_size(F, 1); }

    // Floats that the logits of a group of rows take, of one level or of all.
    int64_t group_size() const {
        int64_t most = logit_rows((int)width) * width;
        for (int l = 0; l < levels && level; l++) {
            const int64_t size = (int64_t)logit_rows(level[l].size) * padded(level[l].size);
            if (size > most) most = size;
        }
        return most;
    }

    // The logits of a level, of rows that are packed.
    void logits(Range rows, int l, const RowView &packed, float *out) const {
        const int size = level[l].size, stride = padded(size);
        const int64_t begin = level[l].begin;
        gemm(rows, Range{0, stride / LANES}, stride, F, packed, panels(l), bias + begin,
             out - rows.begin * (int64_t)stride, stride, nullptr, *products);
    }

    // Those of all levels, (M, width), of rows that are not packed yet: see gemm.
    void logits(ThreadTeam &team, int M, const RowView &rows, float *out, float *work) const {
        gemm(team, M, (int)width, F, rows, weight, bias, out, width, work, nullptr, *products);
    }

    // Where the logit that an id has in a level is in that level's logits: in the first one its own or its cluster's.
    FORCE_INLINE int place(int l, int id) const {
        if (!level_of) return id;
        const int own = level_of[id];
        return l == own ? (int)(logit_of[id] - level[own].begin) : frequent + own - 1;
    }

    // Whether a level has a logit for an id.
    FORCE_INLINE bool has(int l, int id) const { return l == 0 || level_of[id] == l; }

    // Write ln p of all ids, given a row of all logits, which are overwritten; return -ln p(target). target: -1 for none.
    double log_probabilities(float *row, float *ln_p, int target) const {
        double entry[MAX_LEVELS] = {}, maximum[MAX_LEVELS], log_total[MAX_LEVELS], nats = 0;
        for (int v = 0; v < V; v++) ln_p[v] = row[logit_of ? logit_of[v] : v];
        for (int l = 1; l < levels; l++) entry[l] = row[frequent + l - 1];
        for (int l = 0; l < levels; l++) {
            double total;
            maximum[l] = exp_in_place(row + level[l].begin, level[l].size, total);
            log_total[l] = log(total);
        }
        for (int l = 1; l < levels; l++) entry[l] = (entry[l] - maximum[0]) - log_total[0];
        for (int v = 0; v < V; v++) {
            const int l = level_of ? level_of[v] : 0;
            const double found = entry[l] + (((double)ln_p[v] - maximum[l]) - log_total[l]);
            ln_p[v] = (float)found;
            if (v == target) nats = 0 - found;
        }
        return nats;
    }
};

}  // namespace
