// The choice of the instruction set, once, when the library is loaded.
#include "dispatch.h"

#include <stdlib.h>
#include <string.h>

extern const Kernels baseline_kernels, baseline_half_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels, avx2_half_kernels, avx512_kernels, avx512bf16_half_kernels;
#elif defined(CHARRNN_NEONBF16)
#include <asm/hwcap.h>
#include <sys/auxv.h>
extern const Kernels neonbf16_half_kernels;
#endif

namespace {

struct Choice {
    const char *name;
    const Kernels *kernels[2];  // by precision
    bool supported;
};

#if defined(__x86_64__)
const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl");
#endif

// The fastest last.
const Choice choices[] = {
#if defined(__x86_64__)
    {"baseline", {&baseline_kernels, &baseline_half_kernels}, true},
    {"avx2", {&avx2_kernels, &avx2_half_kernels}, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
    {"avx512", {&avx512_kernels, &avx2_half_kernels}, has_avx512},
    {"avx512bf16", {&avx512_kernels, &avx512bf16_half_kernels}, has_avx512 && __builtin_cpu_supports("avx512bf16")},
#elif defined(__aarch64__)
    {"neon", {&baseline_kernels, &baseline_half_kernels}, true},
#if defined(CHARRNN_NEONBF16)
    {"neonbf16", {&baseline_kernels, &neonbf16_half_kernels}, (getauxval(AT_HWCAP2) & HWCAP2_BF16) != 0},
#endif
#else
    {"baseline", {&baseline_kernels, &baseline_half_kernels}, true},
#endif
};

const Choice &choose() {
    const char *requested = getenv("CHARRNN_ISA");
    const Choice *best = nullptr;
    for (const Choice &choice : choices) {
        if (!choice.supported) continue;
        best = &choice;
        if (requested && !strcmp(requested, choice.name)) break;
    }
    return *best;
}

const Choice &chosen = choose();

}  // namespace

const Kernels &kernels_of(int precision) { return *chosen.kernels[precision]; }

const char *charrnn_isa(void) { return chosen.name; }

const char *charrnn_isas(void) {
    static char names[64];
    names[0] = 0;
    for (const Choice &choice : choices) {
        if (!choice.supported) continue;
        if (names[0]) strcat(names, " ");
        strcat(names, choice.name);
    }
    return names;
}
