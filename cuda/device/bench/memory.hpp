// SPDX-License-Identifier: Apache-2.0
//
// Device memory that frees itself, and the errors that end the benchmark.
#pragma once

#include <cuda_runtime_api.h>
#include <stdint.h>

#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace tributary::bench {

inline void check(cudaError_t error, const char* what) {
    if (error != cudaSuccess) {
        throw std::runtime_error(std::string(what) + ": " + cudaGetErrorName(error) + ": " + cudaGetErrorString(error));
    }
}

// Memory of the current device, zeroed; cudaMalloc aligns it to 256 bytes.
class buffer {
public:
    buffer() = default;
    explicit buffer(size_t bytes) : bytes_(bytes) {
        if (bytes != 0) {
            check(cudaMalloc(&memory_, bytes), "cudaMalloc");
            check(cudaMemset(memory_, 0, bytes), "cudaMemset");
        }
    }
    template <class T>
    explicit buffer(const std::vector<T>& values) : buffer(values.size() * sizeof(T)) {
        check(cudaMemcpy(memory_, values.data(), bytes_, cudaMemcpyHostToDevice), "cudaMemcpy");
    }
    ~buffer() { cudaFree(memory_); }
    buffer(buffer&& other) noexcept
        : memory_(std::exchange(other.memory_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    buffer& operator=(buffer&& other) noexcept {
        std::swap(memory_, other.memory_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }

    uint64_t address() const { return reinterpret_cast<uint64_t>(memory_); }
    size_t bytes() const { return bytes_; }
    template <class T>
    T* as() const {
        return static_cast<T*>(memory_);
    }

private:
    void* memory_ = nullptr;
    size_t bytes_ = 0;
};

}  // namespace tributary::bench
