// SPDX-License-Identifier: Apache-2.0
//
// Memory of the backend under test. Every buffer stands between guard bytes, begins as NaN, and may be frozen: then an
// operation that changes it is found out. A backend adds one class here and one line in device_memory.cpp.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "tributary/tributary.h"

namespace tributary::test {

// What a backend's memory can do. Calls complete before they return and come after all work enqueued before.
class memory_backend {
public:
    virtual ~memory_backend() = default;
    virtual uint32_t kind() const = 0;  // TRIB_BACKEND_*
    // Aligned to 256 bytes.
    virtual uint64_t allocate(size_t bytes) = 0;
    virtual void release(uint64_t address) = 0;
    virtual void upload(uint64_t destination, const void* source, size_t bytes) = 0;
    virtual void download(void* destination, uint64_t source, size_t bytes) = 0;
    // Makes a range trap when it is touched by the library, where the backend can.
    virtual void forbid(uint64_t address, size_t bytes) = 0;
    virtual void permit(uint64_t address, size_t bytes) = 0;
};

// Chosen by TRIBUTARY_TEST_BACKEND; "host" is the default.
memory_backend& test_backend();

// All ones: NaN in F32, BF16 and F16.
inline constexpr uint8_t nan_poison = 0xff;
// As an index: far outside of everything.
inline constexpr int32_t index_poison = static_cast<int32_t>(0xa5a5a5a5u);

class device_memory {
public:
    explicit device_memory(size_t bytes);
    ~device_memory();
    device_memory(const device_memory&) = delete;
    device_memory& operator=(const device_memory&) = delete;

    uint64_t address() const;
    size_t bytes() const { return bytes_; }
    void upload(const void* source, size_t bytes, size_t offset = 0);
    void download(void* destination, size_t bytes, size_t offset = 0) const;
    void poison(uint8_t byte = nan_poison);
    // From here on the contents must not change.
    void freeze();
    void thaw() { frozen_.clear(); }

    // The guards of all live buffers, and the contents of the frozen ones.
    static testing::AssertionResult all_intact();

private:
    testing::AssertionResult intact() const;

    size_t bytes_;
    uint64_t base_;
    std::vector<uint8_t> frozen_;
};

// An array of T in device memory.
template <class T>
class device_array {
    static_assert(std::is_trivially_copyable_v<T>);

public:
    // An input: frozen.
    explicit device_array(const std::vector<T>& values) : device_array(values.size()) {
        memory_.upload(values.data(), values.size() * sizeof(T));
        memory_.freeze();
    }
    // An output: poisoned.
    explicit device_array(size_t count) : count_(count), memory_(count * sizeof(T)) {}

    uint64_t address() const { return memory_.address(); }
    size_t size() const { return count_; }
    std::vector<T> values() const {
        std::vector<T> result(count_);
        memory_.download(result.data(), count_ * sizeof(T));
        return result;
    }
    void set(const std::vector<T>& values) {
        memory_.thaw();
        memory_.upload(values.data(), values.size() * sizeof(T));
    }
    void poison() {
        memory_.thaw();
        memory_.poison();
    }
    device_memory& memory() { return memory_; }

private:
    size_t count_;
    device_memory memory_;
};

}  // namespace tributary::test
