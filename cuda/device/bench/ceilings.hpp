// SPDX-License-Identifier: Apache-2.0
//
// What the memory can feed, and data to measure on.
#pragma once

#include "memory.hpp"

namespace tributary::bench {

// Bytes per second at which the device reads `bytes` of memory once, the best of several grids; medians of `repeats`.
double read_bandwidth(const void* memory, size_t bytes, int repeats, cudaStream_t stream);

// Random 16-bit floats ±[2^exponent, 2^(exponent + 1)): sign and mantissa at random. bf16.
void fill_bf16(void* memory, size_t elements, int exponent, uint32_t seed, cudaStream_t stream);

// Random fp32 in [-1, 1).
void fill_f32(void* memory, size_t elements, uint32_t seed, cudaStream_t stream);

// How many of rows × columns elements (`stride` apart, fp32 or bf16) are not finite. Waits.
int64_t count_not_finite(const void* memory, bool is_f32, int64_t rows, int64_t columns, int64_t stride,
                         cudaStream_t stream);

}  // namespace tributary::bench
