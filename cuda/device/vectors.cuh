// SPDX-License-Identifier: Apache-2.0
//
// Four neighbouring elements of a row at once: 16 bytes of fp32 or 8 of a 16-bit type where the row allows it, else one
// by one. What a thread holds is the same either way, so a row's bits do not depend on its alignment.
#pragma once

#include "device/numbers.cuh"

namespace tributary::device {

// Whether every row (and group) of a tensor begins at a multiple of four elements. Its first element does.
inline bool takes_vectors(const trib_tensor& tensor) {
    return (tensor.shape[0] == 1 || tensor.stride[0] % 4 == 0) && (tensor.shape[1] == 1 || tensor.stride[1] % 4 == 0);
}

// Elements i … i + 3 of a row of n, zero beyond.
__device__ __forceinline__ float4 load4(const float* row, int i, int n, bool vector) {
    if (vector && i + 4 <= n) {
        return *reinterpret_cast<const float4*>(row + i);
    }
    return {i < n ? row[i] : 0.0F, i + 1 < n ? row[i + 1] : 0.0F, i + 2 < n ? row[i + 2] : 0.0F,
            i + 3 < n ? row[i + 3] : 0.0F};
}

template <class T>
__device__ __forceinline__ float4 load4(const T* row, int i, int n, bool vector) {
    if (vector && i + 4 <= n) {
        const uint2 bits = *reinterpret_cast<const uint2*>(row + i);
        T halves[4];
        __builtin_memcpy(halves, &bits, sizeof halves);
        return {to_float(halves[0]), to_float(halves[1]), to_float(halves[2]), to_float(halves[3])};
    }
    return {i < n ? to_float(row[i]) : 0.0F, i + 1 < n ? to_float(row[i + 1]) : 0.0F,
            i + 2 < n ? to_float(row[i + 2]) : 0.0F, i + 3 < n ? to_float(row[i + 3]) : 0.0F};
}

// Likewise of an array of run-time type, from element `first` on.
__device__ __forceinline__ float4 load4(const void* array, uint32_t dtype, int64_t first, int i, int n, bool vector) {
    switch (dtype) {
        case TRIB_DTYPE_BF16: return load4(static_cast<const bf16*>(array) + first, i, n, vector);
        case TRIB_DTYPE_F16: return load4(static_cast<const f16*>(array) + first, i, n, vector);
        default: return load4(static_cast<const float*>(array) + first, i, n, vector);
    }
}

__device__ __forceinline__ void store4(float* row, int i, int n, bool vector, float4 x) {
    if (vector && i + 4 <= n) {
        *reinterpret_cast<float4*>(row + i) = x;
        return;
    }
    const float values[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        if (i + j < n) {
            row[i + j] = values[j];
        }
    }
}

template <class T>
__device__ __forceinline__ void store4(T* row, int i, int n, bool vector, float4 x) {
    if (vector && i + 4 <= n) {
        *reinterpret_cast<uint2*>(row + i) = {pack2<T>(x.x, x.y), pack2<T>(x.z, x.w)};
        return;
    }
    const float values[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        if (i + j < n) {
            row[i + j] = from_float<T>(values[j]);
        }
    }
}

__device__ __forceinline__ void store4(void* array, uint32_t dtype, int64_t first, int i, int n, bool vector,
                                       float4 x) {
    switch (dtype) {
        case TRIB_DTYPE_BF16: store4(static_cast<bf16*>(array) + first, i, n, vector, x); break;
        case TRIB_DTYPE_F16: store4(static_cast<f16*>(array) + first, i, n, vector, x); break;
        default: store4(static_cast<float*>(array) + first, i, n, vector, x); break;
    }
}

}  // namespace tributary::device
