// What the compiler was allowed to use for the file that includes this, and what a processor and its system offer: a bit for
// each of FEATURES.
#pragma once
#include <stdint.h>

#define CPU_TEXT(macro) #macro
#define CPU_MAY_USE(macro) (CPU_TEXT(macro)[0] == '1')  // the compiler defines the macro of what it may use as 1
// clang-format off
#define CPU_FEATURE(macro, ...) {#macro, CPU_MAY_USE(macro), __VA_ARGS__}
// clang-format on

namespace {

#if defined(__x86_64__)
enum { EAX, EBX, ECX, EDX };

struct CpuFeature {
    const char *name;
    bool used;
    uint32_t leaf, subleaf;  // of cpuid
    int place, bit;          // the register that it returns, and the bit there
    uint64_t state;          // bits of XCR0: registers that the system must save
};

struct Cpuid {
    uint32_t registers[4];
};

const uint64_t YMM = 0x6, ZMM = 0xe6;

// All of x86-64-v4, and products of bfloat16 and of int8.
constexpr CpuFeature FEATURES[] = {
    CPU_FEATURE(__SSE3__, 1, 0, ECX, 0, 0),
    CPU_FEATURE(__SSSE3__, 1, 0, ECX, 9, 0),
    CPU_FEATURE(__FMA__, 1, 0, ECX, 12, YMM),
    CPU_FEATURE(__GCC_HAVE_SYNC_COMPARE_AND_SWAP_16, 1, 0, ECX, 13, 0),
    CPU_FEATURE(__SSE4_1__, 1, 0, ECX, 19, 0),
    CPU_FEATURE(__SSE4_2__, 1, 0, ECX, 20, 0),
    CPU_FEATURE(__CRC32__, 1, 0, ECX, 20, 0),
    CPU_FEATURE(__MOVBE__, 1, 0, ECX, 22, 0),
    CPU_FEATURE(__POPCNT__, 1, 0, ECX, 23, 0),
    CPU_FEATURE(__XSAVE__, 1, 0, ECX, 27, 0),
    CPU_FEATURE(__AVX__, 1, 0, ECX, 28, YMM),
    CPU_FEATURE(__F16C__, 1, 0, ECX, 29, YMM),
    CPU_FEATURE(__BMI__, 7, 0, EBX, 3, 0),
    CPU_FEATURE(__AVX2__, 7, 0, EBX, 5, YMM),
    CPU_FEATURE(__BMI2__, 7, 0, EBX, 8, 0),
    CPU_FEATURE(__AVX512F__, 7, 0, EBX, 16, ZMM),
    CPU_FEATURE(__AVX512DQ__, 7, 0, EBX, 17, ZMM),
    CPU_FEATURE(__AVX512CD__, 7, 0, EBX, 28, ZMM),
    CPU_FEATURE(__AVX512BW__, 7, 0, EBX, 30, ZMM),
    CPU_FEATURE(__AVX512VL__, 7, 0, EBX, 31, ZMM),
    CPU_FEATURE(__AVX512VNNI__, 7, 0, ECX, 11, ZMM),
    CPU_FEATURE(__AVXVNNI__, 7, 1, EAX, 4, YMM),
    CPU_FEATURE(__AVX512BF16__, 7, 1, EAX, 5, ZMM),
    CPU_FEATURE(__LAHF_SAHF__, 0x80000001, 0, ECX, 0, 0),
    CPU_FEATURE(__LZCNT__, 0x80000001, 0, ECX, 5, 0),
};

// What a processor offers, given its cpuid(leaf, subleaf) and read_xcr0().
template <typename ReadCpuid, typename ReadXcr0> uint32_t cpu_features(ReadCpuid &&cpuid, ReadXcr0 &&read_xcr0) {
    const uint32_t last_leaf = cpuid(0, 0).registers[EAX], last_extended = cpuid(0x80000000, 0).registers[EAX];
    const uint32_t last_subleaf = last_leaf < 7 ? 0 : cpuid(7, 0).registers[EAX];
    const bool has_xcr0 = last_leaf >= 1 && cpuid(1, 0).registers[ECX] >> 27 & 1;
    const uint64_t saved = has_xcr0 ? read_xcr0() : 0;
    uint32_t features = 0, bit = 1;
    for (const CpuFeature &feature : FEATURES) {
        const uint32_t last = feature.leaf >> 31 ? last_extended : last_leaf;
        if (feature.leaf <= last && feature.subleaf <= last_subleaf && (saved & feature.state) == feature.state &&
            cpuid(feature.leaf, feature.subleaf).registers[feature.place] >> feature.bit & 1)
            features |= bit;
        bit <<= 1;
    }
    return features;
}

#else

struct CpuFeature {
    const char *name;
    bool used;
    int word, bit;  // of the auxiliary vector: AT_HWCAP or AT_HWCAP2
};

// All of ARMv8.2, and products of bfloat16 and of int8.
constexpr CpuFeature FEATURES[] = {
    CPU_FEATURE(__ARM_FEATURE_CRC32, 16, 7),
    CPU_FEATURE(__ARM_FEATURE_ATOMICS, 16, 8),
    CPU_FEATURE(__ARM_FEATURE_QRDMX, 16, 12),
    CPU_FEATURE(__ARM_FEATURE_DOTPROD, 16, 20),
    CPU_FEATURE(__ARM_FEATURE_BF16_SCALAR_ARITHMETIC, 26, 14),
    CPU_FEATURE(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC, 26, 14),
};

// What a processor offers, given word(AT_HWCAP) and word(AT_HWCAP2).
template <typename Word> uint32_t cpu_features(Word &&word) {
    uint32_t features = 0, bit = 1;
    for (const CpuFeature &feature : FEATURES) {
        if (word(feature.word) >> feature.bit & 1) features |= bit;
        bit <<= 1;
    }
    return features;
}

#endif

// What the compiler was allowed to use here.
constexpr uint32_t used_features() {
    uint32_t features = 0, bit = 1;
    for (const CpuFeature &feature : FEATURES) {
        if (feature.used) features |= bit;
        bit <<= 1;
    }
    return features;
}

}  // namespace
