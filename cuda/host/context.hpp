// SPDX-License-Identifier: Apache-2.0
//
// The host backend's context: a thread pool and the chosen instruction set. Operations allocate nothing; what they need
// beyond the caller's workspace does not exist.
#pragma once

#include "frontdoor/backend.hpp"
#include "host/thread_pool.hpp"

namespace tributary::host {

struct operation_table;

struct context {
    thread_pool pool;
    const operation_table* operations = nullptr;  // of the instruction set chosen at creation
    char description[160] = "";
};

// The typed view of an address in a params struct.
template <class T>
[[gnu::always_inline]] inline T* pointer(uint64_t address) {
    return reinterpret_cast<T*>(static_cast<uintptr_t>(address));
}

}  // namespace tributary::host
