// Counter-based random numbers: a pure function of the seed and of where the number is used.
#pragma once
#include <stdint.h>

#include "simd.h"

namespace {

// Return the uniform number in [0, 1) for a position in a text, the one that NumPy's
// Generator(Philox(key=[seed, stream], counter=[0, text, 0, 0])).random() gives there. Philox 4x64 with ten rounds
// (Salmon et al. 2011).
FORCE_INLINE double uniform(uint64_t seed, uint64_t stream, uint64_t text, uint64_t position) {
    uint64_t key0 = seed, key1 = stream, a = position / 4 + 1, b = text, c = 0, d = 0;
    for (int round = 0; round < 10; round++) {
        const unsigned __int128 first = (unsigned __int128)0xD2E7470EE14C6C93u * a;
        const unsigned __int128 second = (unsigned __int128)0xCA5A826395121157u * c;
        a = (uint64_t)(second >> 64) ^ b ^ key0;
        c = (uint64_t)(first >> 64) ^ d ^ key1;
        b = (uint64_t)second;
        d = (uint64_t)first;
        key0 += 0x9E3779B97F4A7C15u;
        key1 += 0xBB67AE8584CAA73Bu;
    }
    const uint64_t words[4] = {a, b, c, d};
    return (double)(words[position % 4] >> 11) * 0x1p-53;
}

}  // namespace
