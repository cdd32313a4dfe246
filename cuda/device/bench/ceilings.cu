// SPDX-License-Identifier: Apache-2.0
//
// read_all: s = xor of all 16-byte words. Bound by bytes. A thread has `unroll` independent 16-byte loads in flight, since
// at about 0.7 µs of latency and 4 TB/s some 3 MB, 22 KB on each of 132 multiprocessors, must be on their way; blocks walk
// the memory side by side, so that all channels are always asked.
#include <cuda_runtime.h>

#include <algorithm>

#include "ceilings.hpp"

namespace tributary::bench {
namespace {

constexpr int threads = 512;

__device__ uint32_t mixed(uint64_t index, uint32_t seed) {
    uint64_t z = index * 0x9e3779b97f4a7c15U + (static_cast<uint64_t>(seed) << 32 | seed);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return static_cast<uint32_t>(z ^ (z >> 31));
}

template <int unroll>
__global__ void __launch_bounds__(threads) read_all(const uint4* from, size_t words, uint32_t* sink) {
    uint32_t total = 0;
    const size_t step = static_cast<size_t>(gridDim.x) * threads * unroll;
    for (size_t base = static_cast<size_t>(blockIdx.x) * threads * unroll + threadIdx.x; base < words; base += step) {
        uint4 loaded[unroll];
#pragma unroll
        for (int i = 0; i < unroll; ++i) {
            const size_t at = base + static_cast<size_t>(i) * threads;
            loaded[i] = at < words ? __ldcs(from + at) : uint4{};
        }
#pragma unroll
        for (int i = 0; i < unroll; ++i) {
            total ^= loaded[i].x ^ loaded[i].y ^ loaded[i].z ^ loaded[i].w;
        }
    }
    // Never true of random data in practice; it keeps the loads.
    if (total == 0x12345678U) {
        *sink = total;
    }
}

__global__ void __launch_bounds__(threads)
    random_bf16(uint32_t* pairs, size_t count, uint32_t exponent_bits, uint32_t seed) {
    const size_t step = static_cast<size_t>(gridDim.x) * threads;
    for (size_t i = static_cast<size_t>(blockIdx.x) * threads + threadIdx.x; i < count; i += step) {
        pairs[i] = (mixed(i, seed) & 0x807f807fU) | exponent_bits;
    }
}

__global__ void __launch_bounds__(threads) random_f32(float* values, size_t count, uint32_t seed) {
    const size_t step = static_cast<size_t>(gridDim.x) * threads;
    for (size_t i = static_cast<size_t>(blockIdx.x) * threads + threadIdx.x; i < count; i += step) {
        values[i] = static_cast<float>(mixed(i, seed) >> 8) * 0x1p-23F - 1.0F;
    }
}

__global__ void __launch_bounds__(threads) not_finite(const void* memory, bool is_f32, int64_t rows, int64_t columns,
                                                      int64_t stride, unsigned long long* count) {
    const int64_t step = static_cast<int64_t>(gridDim.x) * threads;
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; i < rows * columns; i += step) {
        const int64_t at = i / columns * stride + i % columns;
        const uint32_t bits = is_f32 ? static_cast<const uint32_t*>(memory)[at]
                                     : static_cast<uint32_t>(static_cast<const uint16_t*>(memory)[at]) << 16;
        if ((bits & 0x7f800000U) == 0x7f800000U) {
            atomicAdd(count, 1ULL);
        }
    }
}

struct event {
    event() { check(cudaEventCreate(&handle), "cudaEventCreate"); }
    ~event() { cudaEventDestroy(handle); }
    event(const event&) = delete;
    event& operator=(const event&) = delete;
    cudaEvent_t handle = nullptr;
};

template <int unroll>
double median_seconds(const void* memory, size_t bytes, int blocks, int repeats, uint32_t* sink, cudaStream_t stream) {
    const event begin;
    const event end;
    std::vector<float> times;
    for (int i = -1; i < repeats; ++i) {  // the first warms up
        check(cudaEventRecord(begin.handle, stream), "cudaEventRecord");
        read_all<unroll><<<static_cast<unsigned>(blocks), threads, 0, stream>>>(static_cast<const uint4*>(memory),
                                                                                bytes / sizeof(uint4), sink);
        check(cudaGetLastError(), "read_all");
        check(cudaEventRecord(end.handle, stream), "cudaEventRecord");
        check(cudaEventSynchronize(end.handle), "read_all");
        float milliseconds = 0;
        check(cudaEventElapsedTime(&milliseconds, begin.handle, end.handle), "cudaEventElapsedTime");
        if (i >= 0) {
            times.push_back(milliseconds * 1e-3F);
        }
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

unsigned blocks_for(size_t count) {
    return static_cast<unsigned>(std::min<size_t>((count + threads - 1) / threads, 4096));
}

}  // namespace

double read_bandwidth(const void* memory, size_t bytes, int repeats, cudaStream_t stream) {
    int device = 0;
    int multiprocessors = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
    const buffer sink(sizeof(uint32_t));
    double best = 1e9;
    for (const int per_multiprocessor : {2, 4, 16}) {
        const int blocks = per_multiprocessor * multiprocessors;
        best = std::min({best, median_seconds<4>(memory, bytes, blocks, repeats, sink.as<uint32_t>(), stream),
                         median_seconds<8>(memory, bytes, blocks, repeats, sink.as<uint32_t>(), stream)});
    }
    return static_cast<double>(bytes) / best;
}

void fill_bf16(void* memory, size_t elements, int exponent, uint32_t seed, cudaStream_t stream) {
    const auto bits = static_cast<uint32_t>(exponent + 127) << 7;
    random_bf16<<<4096, threads, 0, stream>>>(static_cast<uint32_t*>(memory), elements / 2, bits << 16 | bits, seed);
    check(cudaGetLastError(), "random_bf16");
}

void fill_f32(void* memory, size_t elements, uint32_t seed, cudaStream_t stream) {
    random_f32<<<blocks_for(elements), threads, 0, stream>>>(static_cast<float*>(memory), elements, seed);
    check(cudaGetLastError(), "random_f32");
}

int64_t count_not_finite(const void* memory, bool is_f32, int64_t rows, int64_t columns, int64_t stride,
                         cudaStream_t stream) {
    const buffer count(sizeof(unsigned long long));
    not_finite<<<blocks_for(static_cast<size_t>(rows * columns)), threads, 0, stream>>>(
        memory, is_f32, rows, columns, stride, count.as<unsigned long long>());
    check(cudaGetLastError(), "not_finite");
    check(cudaStreamSynchronize(stream), "not_finite");
    unsigned long long result = 0;
    check(cudaMemcpy(&result, count.as<void>(), sizeof result, cudaMemcpyDeviceToHost), "cudaMemcpy");
    return static_cast<int64_t>(result);
}

}  // namespace tributary::bench
