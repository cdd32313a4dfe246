// SPDX-License-Identifier: Apache-2.0
//
// The threads of one context. run(tasks, f) calls f(0) … f(tasks − 1), each once, spread over the caller and the
// workers, and returns when all are done. Which thread runs a task is decided on the fly and must never matter: a task
// writes only its own results, and no bit of them depends on how tasks are cut.
//
// A decoding pass is some fifty jobs of a few microseconds, so workers spin for a while before they sleep, and nothing
// is allocated: dispatch and join cost a few cache-line transfers.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>

namespace tributary::host {

// A borrowed callable of one int; must outlive the call it is passed to.
struct task_ref {
    const void* object;
    void (*call)(const void* object, int task);
};

class thread_pool {
public:
    thread_pool() = default;
    ~thread_pool();
    thread_pool(const thread_pool&) = delete;
    thread_pool& operator=(const thread_pool&) = delete;

    // Starts the workers, once. `threads` ≥ 1 counts the caller. 0, or the errno of what failed; then the pool still
    // works, with the threads that could be started. Threads of pthread, not of C++: the library does without a C++
    // runtime, whose unwinder asks for a newer glibc than we do.
    int start(int threads);

    int threads() const { return workers_ + 1; }

    // One caller at a time; f must not throw and must not call run. A single task, or a pool of one thread, runs inline.
    template <class F>
    [[gnu::always_inline]] void run(int tasks, const F& f) {
        if (tasks <= 1 || workers_ == 0) {
            for (int task = 0; task < tasks; ++task) {
                f(task);
            }
            return;
        }
        dispatch(tasks, {&f, [](const void* object, int task) { (*static_cast<const F*>(object))(task); }});
    }

private:
    void dispatch(int tasks, task_ref job);
    void work();
    // Claims and runs one task; false when none is left to claim.
    bool run_one();

    // Generation (upper half) and tasks not yet claimed (lower half). One word, so that a late worker can never claim a
    // task of one job and run it with the function of another.
    alignas(64) std::atomic<uint64_t> state_{0};
    task_ref job_{};
    int tasks_ = 0;
    alignas(64) std::atomic<int> unfinished_{0};
    alignas(64) std::atomic<uint32_t> wake_{0};  // futex word: sleepers wait for it to change
    std::atomic<int> sleepers_{0};
    std::atomic<bool> stop_{false};
    int workers_ = 0;
    pthread_t* worker_threads_ = nullptr;
};

}  // namespace tributary::host
