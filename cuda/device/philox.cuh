// SPDX-License-Identifier: Apache-2.0
//
// Philox-4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011), as on the host
// (host/philox.hpp): a keyed bijection of 128-bit counters, without state. The three known answers of Random123 are
// checked below when this header is compiled.
#pragma once

#include <stdint.h>

#if defined(__CUDACC__)
#define TRIBUTARY_PHILOX __host__ __device__
#else
#define TRIBUTARY_PHILOX
#endif

namespace tributary::device {

struct philox_words {
    uint32_t word[4];
};

TRIBUTARY_PHILOX constexpr philox_words philox(philox_words c, uint32_t key_0, uint32_t key_1) {
    for (int round = 0; round < 10; ++round) {
        const uint64_t product_0 = uint64_t{0xd2511f53U} * c.word[0];
        const uint64_t product_1 = uint64_t{0xcd9e8d57U} * c.word[2];
        c = {{static_cast<uint32_t>(product_1 >> 32) ^ c.word[1] ^ key_0, static_cast<uint32_t>(product_1),
              static_cast<uint32_t>(product_0 >> 32) ^ c.word[3] ^ key_1, static_cast<uint32_t>(product_0)}};
        key_0 += 0x9e3779b9U;
        key_1 += 0xbb67ae85U;
    }
    return c;
}

constexpr bool philox_gives(philox_words c, uint32_t key_0, uint32_t key_1, philox_words expected) {
    const philox_words result = philox(c, key_0, key_1);
    return result.word[0] == expected.word[0] && result.word[1] == expected.word[1] &&
           result.word[2] == expected.word[2] && result.word[3] == expected.word[3];
}
static_assert(philox_gives({{0, 0, 0, 0}}, 0, 0, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}));
static_assert(philox_gives({{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}}, 0xffffffff, 0xffffffff,
                           {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}));
static_assert(philox_gives({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0,
                           {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}));

}  // namespace tributary::device
