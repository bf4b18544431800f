// The choice of the instruction set, once, when the library is loaded.
#include "dispatch.h"

#include <stdlib.h>
#include <string.h>

#include "cpu.h"

extern const Kernels baseline_kernels, baseline_half_kernels;
extern const Int8Kernels baseline_int8_kernels;
#if defined(__x86_64__)
#include <cpuid.h>
extern const Kernels avx2_kernels, avx2_half_kernels, avx512_kernels, avx512bf16_half_kernels;
extern const Int8Kernels avx2_int8_kernels, avxvnni_int8_kernels, avx512_int8_kernels, avx512vnni_int8_kernels;
#elif defined(CHARRNN_NEONBF16)
#include <sys/auxv.h>
extern const Kernels neonbf16_half_kernels;
extern const Int8Kernels neondot_int8_kernels;
#endif

namespace {

struct Choice {
    const char *name;
    const Kernels *kernels[2];  // by precision
    const Int8Kernels *int8;
};

// The fastest last; the first runs wherever the rest of the library does.
const Choice choices[] = {
#if defined(__x86_64__)
    {"baseline", {&baseline_kernels, &baseline_half_kernels}, &baseline_int8_kernels},
    {"avx2", {&avx2_kernels, &avx2_half_kernels}, &avx2_int8_kernels},
    {"avxvnni", {&avx2_kernels, &avx2_half_kernels}, &avxvnni_int8_kernels},
    {"avx512", {&avx512_kernels, &avx2_half_kernels}, &avx512_int8_kernels},
    {"avx512vnni", {&avx512_kernels, &avx2_half_kernels}, &avx512vnni_int8_kernels},
    {"avx512bf16", {&avx512_kernels, &avx512bf16_half_kernels}, &avx512vnni_int8_kernels},
#elif defined(__aarch64__)
    {"neon", {&baseline_kernels, &baseline_half_kernels}, &baseline_int8_kernels},
#if defined(CHARRNN_NEONBF16)
    {"neondot", {&baseline_kernels, &baseline_half_kernels}, &neondot_int8_kernels},
    {"neonbf16", {&baseline_kernels, &neonbf16_half_kernels}, &neondot_int8_kernels},
#endif
#else
    {"baseline", {&baseline_kernels, &baseline_half_kernels}, &baseline_int8_kernels},
#endif
};

uint32_t machine_features() {
#if defined(__x86_64__)
    return cpu_features(
        [](uint32_t leaf, uint32_t subleaf) {
            Cpuid found;
            uint32_t *r = found.registers;
            __cpuid_count(leaf, subleaf, r[EAX], r[EBX], r[ECX], r[EDX]);
            return found;
        },
        [] {
            uint32_t low, high;
            asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
#if defined(__APPLE__)
            if ((low & YMM) == YMM) low |= ZMM;  // macOS begins to save these registers when they are first used
#endif
            return (uint64_t)high << 32 | low;
        });
#elif defined(CHARRNN_NEONBF16)
    return cpu_features([](int word) { return getauxval(word); });
#else
    return 0;
#endif
}

const uint32_t machine = machine_features();

bool supported(const Choice &choice) {
    const uint32_t used = choice.kernels[0]->features | choice.kernels[1]->features | choice.int8->features;
    return &choice == choices || (used & machine) == used;
}

const Choice &choose() {
    const char *requested = getenv("CHARRNN_ISA");
    const Choice *best = nullptr;
    for (const Choice &choice : choices) {
        if (!supported(choice)) continue;
        best = &choice;
        if (requested && !strcmp(requested, choice.name)) break;
    }
    return *best;
}

const Choice &chosen = choose();

}  // namespace

const Kernels &kernels_of(int precision) { return *chosen.kernels[precision == CHARRNN_BFLOAT16]; }

const void *int8_products() { return chosen.int8->products; }

const char *charrnn_isa(void) { return chosen.name; }

const char *charrnn_isas(void) {
    static char names[64];
    names[0] = 0;
    for (const Choice &choice : choices) {
        if (!supported(choice)) continue;
        if (names[0]) strcat(names, " ");
        strcat(names, choice.name);
    }
    return names;
}
