// SPDX-License-Identifier: Apache-2.0
#include "support/device_memory.hpp"

#include <cstdio>
#include <cstdlib>
#include <new>
#include <set>
#include <string>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace tributary::test {
namespace {

class host_memory final : public memory_backend {
public:
    uint32_t kind() const override { return TRIB_BACKEND_HOST; }
    uint64_t allocate(size_t bytes) override {
        return reinterpret_cast<uint64_t>(::operator new (bytes, std::align_val_t{256}));
    }
    void release(uint64_t address) override {
        ::operator delete (reinterpret_cast<void*>(address), std::align_val_t{256});
    }
    void upload(uint64_t destination, const void* source, size_t bytes) override {
        if (bytes > 0) std::memcpy(reinterpret_cast<void*>(destination), source, bytes);
    }
    void download(void* destination, uint64_t source, size_t bytes) override {
        if (bytes > 0) std::memcpy(destination, reinterpret_cast<const void*>(source), bytes);
    }
    void forbid([[maybe_unused]] uint64_t address, [[maybe_unused]] size_t bytes) override {
#if defined(__SANITIZE_ADDRESS__)
        __asan_poison_memory_region(reinterpret_cast<void*>(address), bytes);
#endif
    }
    void permit([[maybe_unused]] uint64_t address, [[maybe_unused]] size_t bytes) override {
#if defined(__SANITIZE_ADDRESS__)
        __asan_unpoison_memory_region(reinterpret_cast<void*>(address), bytes);
#endif
    }
};

constexpr size_t guard_bytes = 256;
constexpr uint8_t guard_value = 0xc9;

std::set<const device_memory*>& live_buffers() {
    static std::set<const device_memory*> buffers;
    return buffers;
}

}  // namespace

memory_backend& test_backend() {
    static memory_backend& backend = []() -> memory_backend& {
        const char* name = std::getenv("TRIBUTARY_TEST_BACKEND");
        if (name == nullptr || std::string(name) == "host") {
            static host_memory host;
            return host;
        }
        std::fprintf(stderr, "TRIBUTARY_TEST_BACKEND is %s; expected host\n", name);
        std::exit(2);
    }();
    return backend;
}

device_memory::device_memory(size_t bytes) : bytes_(bytes), base_(test_backend().allocate(bytes + 2 * guard_bytes)) {
    const std::vector<uint8_t> guard(guard_bytes, guard_value);
    test_backend().upload(base_, guard.data(), guard_bytes);
    test_backend().upload(base_ + guard_bytes + bytes_, guard.data(), guard_bytes);
    poison();
    test_backend().forbid(base_, guard_bytes);
    test_backend().forbid(base_ + guard_bytes + bytes_, guard_bytes);
    live_buffers().insert(this);
}

device_memory::~device_memory() {
    live_buffers().erase(this);
    test_backend().permit(base_, bytes_ + 2 * guard_bytes);
    test_backend().release(base_);
}

uint64_t device_memory::address() const { return base_ + guard_bytes; }

void device_memory::upload(const void* source, size_t bytes, size_t offset) {
    if (offset + bytes > bytes_) throw std::out_of_range("upload beyond the end of a buffer");
    test_backend().upload(address() + offset, source, bytes);
}

void device_memory::download(void* destination, size_t bytes, size_t offset) const {
    if (offset + bytes > bytes_) throw std::out_of_range("download beyond the end of a buffer");
    test_backend().download(destination, address() + offset, bytes);
}

void device_memory::poison(uint8_t byte) {
    const std::vector<uint8_t> contents(bytes_, byte);
    test_backend().upload(address(), contents.data(), bytes_);
}

void device_memory::freeze() {
    frozen_.resize(bytes_);
    test_backend().download(frozen_.data(), address(), bytes_);
}

testing::AssertionResult device_memory::intact() const {
    for (const uint64_t guard : {base_, base_ + guard_bytes + bytes_}) {
        std::vector<uint8_t> found(guard_bytes);
        test_backend().permit(guard, guard_bytes);
        test_backend().download(found.data(), guard, guard_bytes);
        test_backend().forbid(guard, guard_bytes);
        for (size_t i = 0; i < guard_bytes; ++i) {
            if (found[i] != guard_value) {
                return testing::AssertionFailure() << "byte " << i << " " << (guard == base_ ? "before" : "behind")
                                                   << " a buffer of " << bytes_ << " bytes was overwritten";
            }
        }
    }
    if (!frozen_.empty()) {
        std::vector<uint8_t> found(bytes_);
        test_backend().download(found.data(), address(), bytes_);
        if (std::memcmp(found.data(), frozen_.data(), bytes_) != 0) {
            return testing::AssertionFailure() << "an input of " << bytes_ << " bytes was changed";
        }
    }
    return testing::AssertionSuccess();
}

testing::AssertionResult device_memory::all_intact() {
    for (const device_memory* buffer : live_buffers()) {
        if (testing::AssertionResult result = buffer->intact(); !result) return result;
    }
    return testing::AssertionSuccess();
}

}  // namespace tributary::test
