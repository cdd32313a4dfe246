// SPDX-License-Identifier: Apache-2.0
#include "support/device_memory.hpp"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <new>
#include <set>
#include <string>

#include "support/cuda_memory.hpp"

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

constexpr uint8_t guard_value = 0xc9;

std::set<const device_memory*>& live_buffers() {
    static std::set<const device_memory*> buffers;
    return buffers;
}

memory_backend& named_backend() {
    const char* name = std::getenv("TRIBUTARY_TEST_BACKEND");
    if (name == nullptr || std::string(name) == "host") return host_memory_backend();
#if defined(TRIBUTARY_TEST_CUDA)
    if (std::string(name) == "cuda") return cuda_memory_backend();
    constexpr const char* expected = "host or cuda";
#else
    constexpr const char* expected = "host (this build has no CUDA)";
#endif
    std::fprintf(stderr, "TRIBUTARY_TEST_BACKEND is %s; expected %s\n", name, expected);
    std::exit(2);
}

memory_backend* used_backend = nullptr;

}  // namespace

memory_backend& host_memory_backend() {
    static host_memory host;
    return host;
}

memory_backend& test_backend() {
    if (used_backend != nullptr) return *used_backend;
    static memory_backend& backend = named_backend();
    return backend;
}

use_backend::use_backend(memory_backend& backend) : before_(used_backend) { used_backend = &backend; }
use_backend::~use_backend() { used_backend = before_; }

device_memory::device_memory(size_t bytes, contents begin_as)
    : backend_(test_backend()), bytes_(bytes), guard_(backend_.guard()), base_(backend_.allocate(bytes + 2 * guard_)) {
    if (guard_ > 0) {
        backend_.fill(base_, guard_value, guard_);
        backend_.fill(base_ + guard_ + bytes_, guard_value, guard_);
        backend_.forbid(base_, guard_);
        backend_.forbid(base_ + guard_ + bytes_, guard_);
    }
    if (begin_as == contents::poisoned) poison();
    live_buffers().insert(this);
}

device_memory::~device_memory() {
    live_buffers().erase(this);
    backend_.permit(base_, bytes_ + 2 * guard_);
    backend_.release(base_);
}

uint64_t device_memory::address() const { return base_ + guard_; }

void device_memory::upload(const void* source, size_t bytes, size_t offset) {
    if (offset + bytes > bytes_) throw std::out_of_range("upload beyond the end of a buffer");
    backend_.upload(address() + offset, source, bytes);
}

void device_memory::download(void* destination, size_t bytes, size_t offset) const {
    if (offset + bytes > bytes_) throw std::out_of_range("download beyond the end of a buffer");
    backend_.download(destination, address() + offset, bytes);
}

void device_memory::poison(uint8_t byte) { backend_.fill(address(), byte, bytes_); }

void device_memory::freeze() {
    frozen_.resize(bytes_);
    backend_.download(frozen_.data(), address(), bytes_);
}

// What a buffer holds now: its guards and, when it is frozen, its contents.
struct device_memory::inspection {
    explicit inspection(const device_memory& of)
        : buffer(of), before(of.guard_), behind(of.guard_), contents(of.frozen_.size()) {}

    uint64_t end() const { return buffer.address() + buffer.bytes_; }
    void request(std::vector<download_request>& requests) {
        if (!before.empty()) {
            buffer.backend_.permit(buffer.base_, buffer.guard_);
            buffer.backend_.permit(end(), buffer.guard_);
            requests.push_back({before.data(), buffer.base_, before.size()});
            requests.push_back({behind.data(), end(), behind.size()});
        }
        if (!contents.empty()) requests.push_back({contents.data(), buffer.address(), contents.size()});
    }
    testing::AssertionResult judge() const {
        if (!before.empty()) {
            buffer.backend_.forbid(buffer.base_, buffer.guard_);
            buffer.backend_.forbid(end(), buffer.guard_);
        }
        for (const std::vector<uint8_t>* guard : {&before, &behind}) {
            for (size_t i = 0; i < guard->size(); ++i) {
                if ((*guard)[i] == guard_value) continue;
                return testing::AssertionFailure() << "byte " << i << " " << (guard == &before ? "before" : "behind")
                                                   << " a buffer of " << buffer.bytes_ << " bytes was overwritten";
            }
        }
        if (contents != buffer.frozen_) {
            return testing::AssertionFailure() << "an input of " << buffer.bytes_ << " bytes was changed";
        }
        return testing::AssertionSuccess();
    }

    const device_memory& buffer;
    std::vector<uint8_t> before;
    std::vector<uint8_t> behind;
    std::vector<uint8_t> contents;
};

testing::AssertionResult device_memory::all_intact() {
    std::vector<inspection> inspections;
    inspections.reserve(live_buffers().size());
    std::map<memory_backend*, std::vector<download_request>> requests;
    for (const device_memory* buffer : live_buffers()) {
        inspections.emplace_back(*buffer);
        inspections.back().request(requests[&buffer->backend_]);
    }
    for (const auto& [backend, of_backend] : requests) backend->download_all(of_backend);
    testing::AssertionResult result = testing::AssertionSuccess();
    for (const inspection& one : inspections) {
        if (const testing::AssertionResult found = one.judge(); !found) result = found;
    }
    return result;
}

}  // namespace tributary::test
