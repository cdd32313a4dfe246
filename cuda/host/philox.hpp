// SPDX-License-Identifier: Apache-2.0
//
// Philox-4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a keyed bijection
// of 128-bit counters. Without state, so that a draw can be made for any (seed, position, token) in any order.
//
// Known answers (Random123's kat_vectors; counter, key → output):
//   00000000 ×4, 00000000 ×2                                         → 6627e8d5 e169c58d bc57ac4c 9b00dbd8
//   ffffffff ×4, ffffffff ×2                                         → 408f276d 41c83b0e a20bc7c6 6d5451fd
//   243f6a88 85a308d3 13198a2e 03707344, a4093822 299f31d0           → d16cfe09 94fdcceb 5001e420 24126ea1
// The three are checked below when this header is compiled.
#pragma once

#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tributary::host::TRIBUTARY_ISA {
namespace {

struct philox_counter {
    uint32_t word[4];
};

struct philox_key {
    uint32_t word[2];
};

inline constexpr int philox_rounds = 10;
inline constexpr uint32_t philox_multiplier_0 = 0xd2511f53U;
inline constexpr uint32_t philox_multiplier_1 = 0xcd9e8d57U;
inline constexpr uint32_t philox_weyl_0 = 0x9e3779b9U;  // golden ratio
inline constexpr uint32_t philox_weyl_1 = 0xbb67ae85U;  // √3 − 1

constexpr philox_counter philox(philox_counter c, philox_key k) {
    for (int round = 0; round < philox_rounds; ++round) {
        const uint64_t product_0 = static_cast<uint64_t>(philox_multiplier_0) * c.word[0];
        const uint64_t product_1 = static_cast<uint64_t>(philox_multiplier_1) * c.word[2];
        c = {{static_cast<uint32_t>(product_1 >> 32) ^ c.word[1] ^ k.word[0], static_cast<uint32_t>(product_1),
              static_cast<uint32_t>(product_0 >> 32) ^ c.word[3] ^ k.word[1], static_cast<uint32_t>(product_0)}};
        k.word[0] += philox_weyl_0;
        k.word[1] += philox_weyl_1;
    }
    return c;
}

constexpr bool philox_gives(philox_counter c, philox_key k, philox_counter expected) {
    const philox_counter result = philox(c, k);
    for (int i = 0; i < 4; ++i) {
        if (result.word[i] != expected.word[i]) {
            return false;
        }
    }
    return true;
}
static_assert(philox_gives({{0, 0, 0, 0}}, {{0, 0}}, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}));
static_assert(philox_gives({{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}}, {{0xffffffff, 0xffffffff}},
                           {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}));
static_assert(philox_gives({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, {{0xa4093822, 0x299f31d0}},
                           {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}));

using philox_lanes = uint32_t __attribute__((vector_size(64)));  // 16 counters side by side

struct philox_product {
    philox_lanes high, low;
};

// 32 × 32 → 64 bits per lane. Even and odd lanes apart, as every instruction set of ours multiplies.
[[gnu::always_inline]] inline philox_product philox_multiply(philox_lanes a, uint32_t multiplier) {
    using wide = uint64_t __attribute__((vector_size(64)));
    const wide lanes = reinterpret_cast<wide>(a);
#if defined(__AVX512F__)  // GCC 12 would take the slower multiplication of 64 × 64 bits
    const __m512i by = _mm512_set1_epi64(multiplier);
    const wide even = wide(_mm512_mul_epu32(__m512i(lanes), by));
    const wide odd = wide(_mm512_mul_epu32(__m512i(lanes >> 32), by));
#else
    const wide even = (lanes & 0xffffffffU) * static_cast<uint64_t>(multiplier);
    const wide odd = (lanes >> 32) * static_cast<uint64_t>(multiplier);
#endif
    return {reinterpret_cast<philox_lanes>((even >> 32) | (odd & 0xffffffff00000000U)),
            reinterpret_cast<philox_lanes>((even & 0xffffffffU) | (odd << 32))};
}

// Word 0 of philox({c0, c1[lane], c2, c3}, k) for 16 values of c1.
[[gnu::always_inline]] inline philox_lanes philox_word_0(uint32_t c0, philox_lanes c1, uint32_t c2, uint32_t c3,
                                                         philox_key k) {
    const philox_lanes zero{};
    philox_lanes word_0 = zero + c0, word_1 = c1, word_2 = zero + c2, word_3 = zero + c3;
    for (int round = 0; round < philox_rounds; ++round) {
        const philox_product product_0 = philox_multiply(word_0, philox_multiplier_0);
        const philox_product product_1 = philox_multiply(word_2, philox_multiplier_1);
        word_0 = product_1.high ^ word_1 ^ k.word[0];
        word_1 = product_1.low;
        word_2 = product_0.high ^ word_3 ^ k.word[1];
        word_3 = product_0.low;
        k.word[0] += philox_weyl_0;
        k.word[1] += philox_weyl_1;
    }
    return word_0;
}

}  // namespace
}  // namespace tributary::host::TRIBUTARY_ISA
