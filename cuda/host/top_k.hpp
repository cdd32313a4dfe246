// SPDX-License-Identifier: Apache-2.0
//
// The k largest of a stream of values, ties to the lower id. NaN counts as −∞, so that it never wins.
#pragma once

#include "host/vector.hpp"
#include "tributary/tributary.h"

namespace tributary::host::TRIBUTARY_ISA {
namespace {

// Bit i: lane i of a is greater than lane i of b (false where either is NaN).
TRIBUTARY_INLINE uint32_t lanes_greater(f32x16 a, f32x16 b) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask(a.part[0], b.part[0], _CMP_GT_OQ);
#elif defined(__AVX2__)
    const auto mask = [&](int part) {
        return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a.part[part], b.part[part], _CMP_GT_OQ)));
    };
    return mask(0) | mask(1) << 8;
#else
    uint32_t bits = 0;
    for (int i = 0; i < 16; ++i) {
        bits |= static_cast<uint32_t>(a.part[i / 4][i % 4] > b.part[i / 4][i % 4]) << i;
    }
    return bits;
#endif
}

// Descending by value; equal values ascend by id, because ids arrive ascending and a tie does not displace.
struct largest_values {
    const int capacity;  // 1 … TRIB_MAX_TOP_K
    int count = 0;
    float value[TRIB_MAX_TOP_K];
    int32_t id[TRIB_MAX_TOP_K];

    explicit largest_values(int k) : capacity(k) {}

    // Ids must ascend from call to call.
    TRIBUTARY_INLINE void enter(float x, int32_t token) {
        if (!(x == x)) {
            x = -__builtin_inff();
        }
        if (count == capacity) {
            if (!(x > value[count - 1])) {
                return;
            }
            --count;
        }
        int at = count++;
        for (; at > 0 && x > value[at - 1]; --at) {
            value[at] = value[at - 1];
            id[at] = id[at - 1];
        }
        value[at] = x;
        id[at] = token;
    }
};

// The k largest of values(i), i = 0, 16, … below n: vectors of lanes i … i + 15, of which those from n on are ignored.
template <class Values>
TRIBUTARY_INLINE void find_largest(int n, const Values& values, largest_values& result) {
    for (int i = 0; i < n; i += 16) {
        const f32x16 x = values(i);
        const bool full = result.count == result.capacity;
        uint32_t lanes = full ? lanes_greater(x, splat(result.value[result.count - 1])) : 0xffffU;
        if (n - i < 16) {
            lanes &= (1U << (n - i)) - 1U;
        }
        if (lanes != 0) {
            float lane[16];
            store(lane, x);
            for (; lanes != 0; lanes &= lanes - 1) {
                const int at = __builtin_ctz(lanes);
                result.enter(lane[at], i + at);
            }
        }
    }
}

}  // namespace
}  // namespace tributary::host::TRIBUTARY_ISA
