// The most multiply-adds that threads can make: chains of them in registers, without memory. The yardstick of `charrnn
// doctor` for what the layers reach.
#pragma once
#include "gemm.h"

namespace {

// rates[i]: multiply-adds that thread i makes in a second, while all of them work for about so long.
void multiply_adds(int32_t threads, int64_t nanoseconds, double *rates) {
    volatile float factor = 0.5f, addend = 1.0f;  // the sums stay near 2
    run_parallel(threads, [&](ThreadTeam &team) {
        const int ROUNDS = 1 << 12;
        const Vector a = broadcast(factor), b = broadcast(addend);
        Vector sums[ACCUMULATORS];
        for (int i = 0; i < ACCUMULATORS; i++) sums[i] = broadcast((float)i);
        team.barrier();
        const int64_t begin = monotonic_ns();
        int64_t now = begin, count = 0;
        do {
            for (int round = 0; round < ROUNDS; round++)
#pragma GCC unroll 32
                for (int i = 0; i < ACCUMULATORS; i++) sums[i] = fma(sums[i], a, b);
            count += ROUNDS;
            now = monotonic_ns();
        } while (now - begin < nanoseconds);
        Vector total = sums[0];
        for (int i = 1; i < ACCUMULATORS; i++) total = total + sums[i];
        volatile float used = total[0];  // so that the sums are needed
        (void)used;
        rates[team.rank] = 1e9 * (double)count * ACCUMULATORS * LANES / (double)(now - begin);
    });
}

}  // namespace
