// SPDX-License-Identifier: Apache-2.0
//
// Launching kernels so that one begins while its predecessor still drains (programmatic dependent launch, sm_90 and
// later; elsewhere the same calls are ordinary launches).
//
// The rule that keeps it correct: every thread of every kernel calls wait_for_predecessor() before its first access to
// memory that an earlier kernel may have written, or may still read, and no kernel returns without it. Weights and other
// constants may be fetched before. allow_successor() says that the next kernel may begin to be placed; it orders nothing.
#pragma once

#include <cuda_runtime.h>
#include <pthread.h>

#include "device/context.hpp"

namespace tributary::device {

__device__ __forceinline__ void wait_for_predecessor() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ __forceinline__ void allow_successor() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// A kernel's greatest shared memory belongs to the process and its device, not to a context: engines that launch the same
// kernel with other sizes must not come between the setting and the launch.
inline pthread_mutex_t shared_memory_mutex = PTHREAD_MUTEX_INITIALIZER;

class shared_memory_lock {
public:
    explicit shared_memory_lock(bool needed) : held_(needed) {
        if (held_) {
            pthread_mutex_lock(&shared_memory_mutex);
        }
    }
    ~shared_memory_lock() {
        if (held_) {
            pthread_mutex_unlock(&shared_memory_mutex);
        }
    }
    shared_memory_lock(const shared_memory_lock&) = delete;
    shared_memory_lock& operator=(const shared_memory_lock&) = delete;

private:
    bool held_;
};

struct launch_shape {
    dim3 grid;
    dim3 block;
    size_t shared_memory = 0;  // dynamic, bytes
    unsigned cluster = 1;      // blocks of a cluster, along x
};

template <class... Parameters, class... Arguments>
trib_status launch(const context& context, const char* operation, void (*kernel)(Parameters...),
                   const launch_shape& shape, const Arguments&... arguments) {
    constexpr size_t default_shared_memory = 48 * 1024;
    const bool beyond_default = shape.shared_memory > default_shared_memory;
    const shared_memory_lock lock(beyond_default);
    if (beyond_default) {
        const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                       static_cast<int>(shape.shared_memory));
        if (error != cudaSuccess) {
            return check_cuda(operation, error);
        }
    }
    cudaLaunchAttribute attributes[2];
    unsigned count = 0;
    if (context.dependent_launch) {
        attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
        attributes[count++].val.programmaticStreamSerializationAllowed = 1;
    }
    if (shape.cluster > 1) {
        attributes[count].id = cudaLaunchAttributeClusterDimension;
        attributes[count++].val.clusterDim = {shape.cluster, 1, 1};
    }
    cudaLaunchConfig_t config = {};
    config.gridDim = shape.grid;
    config.blockDim = shape.block;
    config.dynamicSmemBytes = shape.shared_memory;
    config.stream = context.stream;
    config.attrs = attributes;
    config.numAttrs = count;
    return check_cuda(operation, cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
}

}  // namespace tributary::device
