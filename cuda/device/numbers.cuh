// SPDX-License-Identifier: Apache-2.0
//
// The 16-bit types as template arguments, and elements of run-time type.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "device/context.hpp"

namespace tributary::device {

using bf16 = __nv_bfloat16;
using f16 = __half;

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float to_float(f16 x) { return __half2float(x); }

// Rounds to nearest, ties to even.
template <class T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
    return x;
}
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float x) {
    return __float2bfloat16_rn(x);
}
template <>
__device__ __forceinline__ f16 from_float<f16>(float x) {
    return __float2half_rn(x);
}

// Two elements in one word, `low` in the lower half: the order of memory and of matrix fragments.
template <class T>
__device__ __forceinline__ uint32_t pack2(float low, float high);
template <>
__device__ __forceinline__ uint32_t pack2<bf16>(float low, float high) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
}
template <>
__device__ __forceinline__ uint32_t pack2<f16>(float low, float high) {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
}

// Element i of an array of run-time type (TRIB_DTYPE_*).
__device__ __forceinline__ float load_element(const void* array, uint32_t dtype, int64_t i) {
    switch (dtype) {
        case TRIB_DTYPE_BF16: return to_float(static_cast<const bf16*>(array)[i]);
        case TRIB_DTYPE_F16: return to_float(static_cast<const f16*>(array)[i]);
        default: return static_cast<const float*>(array)[i];
    }
}
__device__ __forceinline__ void store_element(void* array, uint32_t dtype, int64_t i, float x) {
    switch (dtype) {
        case TRIB_DTYPE_BF16: static_cast<bf16*>(array)[i] = from_float<bf16>(x); break;
        case TRIB_DTYPE_F16: static_cast<f16*>(array)[i] = from_float<f16>(x); break;
        default: static_cast<float*>(array)[i] = x; break;
    }
}

}  // namespace tributary::device
