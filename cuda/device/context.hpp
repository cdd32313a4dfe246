// SPDX-License-Identifier: Apache-2.0
//
// The CUDA backend's context: a device, a stream, and the code path of its chip. Operations enqueue kernels on the
// stream; none allocates, waits, or changes the current device beyond its own call.
#pragma once

#include <cuda_runtime_api.h>
#include <stdint.h>

#include "frontdoor/backend.hpp"

namespace tributary::device {

// Families of kernels. A row's bits may differ between families, never within one.
enum class code_path : uint32_t {
    ampere,  // sm_80 and later: cp.async, ldmatrix, mma.sync
    hopper,  // sm_90a: bulk copies on mbarriers, wgmma
};

// Device words that kernels use for flags and tickets across blocks. Zero between operations: who uses one puts it back.
inline constexpr int counter_words = 1 << 16;

struct context {
    int device = 0;
    cudaStream_t stream = nullptr;
    code_path path = code_path::ampere;
    int multiprocessors = 0;
    int shared_memory = 0;          // greatest dynamic shared memory of a block, bytes
    bool dependent_launch = false;  // programmatic dependent launch: sm_90 and later
    uint32_t* counters = nullptr;   // device, [counter_words]
    char description[384] = "";
};

// Sets the calling thread's error text in the front door and returns `status`.
trib_status fail(trib_status status, const char* format, ...) __attribute__((format(printf, 2, 3)));

// What the code in this library is on the context's chip: UNSUPPORTED without an image for it. Sets dependent_launch, and
// says whether Hopper's own kernels are there.
trib_status read_images(context& context, int capability, bool& hopper);

// The status of a CUDA call of `operation`, with CUDA's name and text of the error: DEVICE_ERROR when the device may have
// failed, INTERNAL_ERROR when a launch was refused and nothing has happened.
trib_status check_cuda(const char* operation, cudaError_t error);

// The typed view of an address in a params struct.
template <class T>
inline T* pointer(uint64_t address) {
    return reinterpret_cast<T*>(static_cast<uintptr_t>(address));
}

template <class T>
constexpr T ceil_div(T a, T b) {
    return (a + b - 1) / b;
}

}  // namespace tributary::device
