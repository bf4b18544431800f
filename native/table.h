// The first layer's projections of ids, embedding W_ih + biases: a row of a table for each. A row is made when its id is first
// read, since of a large vocabulary few ids come in a text. Several teams may read at once: one of them takes charge of a row,
// and the others wait until it is made.
#pragma once
#include <sched.h>

#include "arena.h"
#include "gemm.h"

namespace {

const int64_t MAX_TABLE = 1 << 24;  // floats; there is no larger table

struct Table {
    enum : unsigned char { MISSING, IN_WORK, MADE };

    int64_t width;
    float *rows;            // (ids, width); NULL: it would be too large
    unsigned char *states;  // of the rows

    static Table take(Arena &arena, int64_t ids, int64_t width) {
        if (ids * width > MAX_TABLE) return {width, nullptr, nullptr};
        return {width, arena.take<float>(ids * width), arena.take<unsigned char>(ids)};
    }

    explicit operator bool() const { return rows; }

    // Take charge of an id's row, if it is missing and no other team has; return whether it is now the caller's to make.
    bool try_begin(int id) const {
        unsigned char missing = MISSING;
        return __atomic_load_n(states + id, __ATOMIC_RELAXED) == MISSING &&
               __atomic_compare_exchange_n(states + id, &missing, (unsigned char)IN_WORK, false, __ATOMIC_RELAXED,
                                           __ATOMIC_RELAXED);
    }

    void publish(int id) const { __atomic_store_n(states + id, (unsigned char)MADE, __ATOMIC_RELEASE); }

    void wait_for(int id) const {
        while (__atomic_load_n(states + id, __ATOMIC_ACQUIRE) != MADE) sched_yield();
    }
};

}  // namespace
