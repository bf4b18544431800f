// A hash of the last N of a sequence of numbers, which a further one changes in no time (Karp & Rabin 1987).
#pragma once
#include <stdint.h>

namespace {

struct RollingHash {
    uint64_t base, power;  // power: base to the N

    RollingHash(uint64_t base, int64_t length) : base(base), power(1) {
        for (uint64_t square = base; length; length /= 2, square *= square)
            if (length % 2) power *= square;
    }

    // The sum of item[i] base^(N - i) over the last N items, modulo 2^64. oldest: the first of them, 0 where they are fewer.
    uint64_t append(uint64_t hash, uint64_t oldest, uint64_t item) const { return (hash - oldest * power + item) * base; }
};

}  // namespace
