// SPDX-License-Identifier: Apache-2.0
//
// Guards of function-local statics, of which nvcc makes one for each kernel that is launched. The C++ runtime's version
// throws when a static needs itself, and so brings an unwinder that needs a newer glibc than ours; nothing here throws.
#include <pthread.h>
#include <stdint.h>

namespace {

// Recursive: a static's initialiser may reach another static.
pthread_mutex_t initialising = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

// The first byte of a guard says that its static is there; compiled code reads it before it calls.
uint8_t* ready(uint64_t* guard) { return reinterpret_cast<uint8_t*>(guard); }

}  // namespace

extern "C" {

int __cxa_guard_acquire(uint64_t* guard) {
    pthread_mutex_lock(&initialising);
    if (*ready(guard) != 0) {
        pthread_mutex_unlock(&initialising);
        return 0;
    }
    return 1;
}

void __cxa_guard_release(uint64_t* guard) {
    __atomic_store_n(ready(guard), uint8_t{1}, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&initialising);
}

void __cxa_guard_abort(uint64_t*) { pthread_mutex_unlock(&initialising); }
}
