// SPDX-License-Identifier: Apache-2.0
//
// Memory of the backend under test. Every buffer stands between guard bytes, begins as NaN, and may be frozen: then an
// operation that changes it is found out. A backend is one class: the host's in device_memory.cpp, the GPU's in
// cuda_memory.cpp.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "tributary/tributary.h"

namespace tributary::test {

// One copy to this side.
struct download_request {
    void* destination;
    uint64_t source;
    size_t bytes;
};

// What a backend's memory can do. Calls complete before they return and come after all work enqueued before.
class memory_backend {
public:
    virtual ~memory_backend() = default;
    virtual uint32_t kind() const = 0;  // TRIB_BACKEND_*
    // What contexts of this backend are created with.
    virtual uint64_t stream() const { return 0; }
    virtual uint32_t threads(uint32_t wanted) const { return wanted; }
    // Bytes before and behind each buffer that must stay as they are.
    virtual size_t guard() const { return 256; }
    // Whether workspace begins unwritten, so that a tool that follows initialisation can judge its readers.
    virtual bool leaves_workspace_unwritten() const { return false; }
    // Aligned to 256 bytes.
    virtual uint64_t allocate(size_t bytes) = 0;
    virtual void release(uint64_t address) = 0;
    virtual void upload(uint64_t destination, const void* source, size_t bytes) = 0;
    virtual void download(void* destination, uint64_t source, size_t bytes) = 0;
    virtual void download_all(const std::vector<download_request>& requests) {
        for (const download_request& one : requests) download(one.destination, one.source, one.bytes);
    }
    virtual void fill(uint64_t destination, uint8_t byte, size_t bytes) {
        const std::vector<uint8_t> contents(bytes, byte);
        upload(destination, contents.data(), bytes);
    }
    // Makes a range trap when it is touched by the library, where the backend can.
    virtual void forbid(uint64_t address, size_t bytes) = 0;
    virtual void permit(uint64_t address, size_t bytes) = 0;
};

// Chosen by TRIBUTARY_TEST_BACKEND ("host" is the default, "cuda" in the builds that have it), or by a use_backend in
// scope. A backend that the machine lacks ends the process with status 77 and a line that says why.
memory_backend& test_backend();
memory_backend& host_memory_backend();

// What is made in its scope belongs to the given backend: a test that holds one backend against another.
class use_backend {
public:
    explicit use_backend(memory_backend& backend);
    ~use_backend();
    use_backend(const use_backend&) = delete;
    use_backend& operator=(const use_backend&) = delete;

private:
    memory_backend* before_;
};

inline constexpr int no_device_exit_status = 77;

// All ones: NaN in F32, BF16 and F16.
inline constexpr uint8_t nan_poison = 0xff;
// As an index: far outside of everything.
inline constexpr int32_t index_poison = static_cast<int32_t>(0xa5a5a5a5u);

class device_memory {
public:
    enum class contents { poisoned, unwritten };
    explicit device_memory(size_t bytes, contents begin_as = contents::poisoned);
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
    struct inspection;

    memory_backend& backend_;
    size_t bytes_;
    size_t guard_;
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
