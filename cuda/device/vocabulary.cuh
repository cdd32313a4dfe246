// SPDX-License-Identifier: Apache-2.0
//
// Rows of logits reduced over the vocabulary: argmax, maximum, log-sum-exp and the k largest. lm_head, top_k and
// edge_confidence share it; verify_tree shares the order of logits.
#pragma once

#include "device/step.cuh"

namespace tributary::device {

struct vocabulary_reduction {
    const float* logits;  // rows of [vocabulary], row_stride elements apart
    int64_t row_stride;
    int vocabulary;  // V
    int max_rows;    // greatest rows of the launch; more than that are never touched
    // How many rows there are: *count, with results of row i at place i; or, with count null, the rows of `step` that
    // `rows` selects, with results at their index in the row buffer.
    const int32_t* count;
    step_view step;
    uint32_t rows;         // TRIB_ROWS_*
    bool logits_at_place;  // where row i's logits stand: at its place, or at i
    int k;                 // 0 … TRIB_MAX_TOP_K, at most V
    int32_t id_offset;     // added to every id
    int32_t* argmax;       // out, by place; null = none
    float* max_logit;      // out, by place; null = none
    float* log_sum_exp;    // out, by place; null = none
    int32_t* top_ids;      // out [place, k]; null when k = 0
    float* top_logits;     // out [place, k]; null when k = 0
    void* workspace;       // vocabulary_workspace(max_rows, V) bytes, aligned to 16
};

uint64_t vocabulary_workspace(int64_t rows, int64_t vocabulary);

trib_status reduce_vocabulary(context&, const char* operation, const vocabulary_reduction&);

#if defined(__CUDACC__)

// fp32 as an unsigned integer of the same order; −0 as +0. NaN must have become −∞ before.
__device__ __forceinline__ uint32_t order_key(float x) {
    const uint32_t bits = __float_as_uint(x + 0.0F);
    return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

// The value whose order_key is `key`.
__device__ __forceinline__ float value_of_key(uint32_t key) {
    return __uint_as_float((key & 0x80000000U) != 0 ? key & 0x7fffffffU : ~key);
}

// NaN counts as −∞.
__device__ __forceinline__ float without_nan(float x) { return x == x ? x : -INFINITY; }

// Descending value, then ascending id, as one integer; unique in a row, and above 0.
__device__ __forceinline__ uint64_t token_key(uint32_t key, int32_t id) {
    return static_cast<uint64_t>(key) << 32 | (0xffffffffU - static_cast<uint32_t>(id));
}
__device__ __forceinline__ int32_t id_of_token_key(uint64_t key) {
    return static_cast<int32_t>(0xffffffffU - static_cast<uint32_t>(key));
}

// Logits i … i + 3 of a row of `n`, −∞ for NaN and for what lies beyond; `vector` = 16-byte loads are allowed.
__device__ __forceinline__ float4 load_logits(const float* logits, int i, int n, bool vector) {
    float4 x = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
    if (vector && i + 4 <= n) {
        x = *reinterpret_cast<const float4*>(logits + i);
    } else {
        x.x = i < n ? logits[i] : x.x;
        x.y = i + 1 < n ? logits[i + 1] : x.y;
        x.z = i + 2 < n ? logits[i + 2] : x.z;
        x.w = i + 3 < n ? logits[i + 3] : x.w;
    }
    return {without_nan(x.x), without_nan(x.y), without_nan(x.z), without_nan(x.w)};
}

#endif

}  // namespace tributary::device
