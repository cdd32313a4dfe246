// SPDX-License-Identifier: Apache-2.0
#include "host/thread_pool.hpp"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <climits>

namespace tributary::host {
namespace {

int64_t nanoseconds_now() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Longer than the gaps between the passes of a text, so that no pass begins with waking its workers; far shorter than a
// time slice.
constexpr int64_t spin_nanoseconds = 200'000;
// Looks at the job word between two looks at the clock.
constexpr int spins_per_clock = 64;

void pause_briefly() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

void futex(std::atomic<uint32_t>& word, int operation, uint32_t value) {
    static_assert(sizeof word == sizeof(uint32_t));
    syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), operation | FUTEX_PRIVATE_FLAG, value, nullptr, nullptr, 0);
}

uint32_t unclaimed(uint64_t state) { return static_cast<uint32_t>(state); }

}  // namespace

int thread_pool::start(int threads) {
    worker_threads_ = static_cast<pthread_t*>(malloc(sizeof(pthread_t) * static_cast<size_t>(threads)));
    if (worker_threads_ == nullptr) {
        return ENOMEM;
    }
    const auto enter = [](void* pool) -> void* {
        static_cast<thread_pool*>(pool)->work();
        return nullptr;
    };
    for (; workers_ < threads - 1; ++workers_) {
        if (const int problem = pthread_create(worker_threads_ + workers_, nullptr, enter, this); problem != 0) {
            return problem;
        }
    }
    return 0;
}

thread_pool::~thread_pool() {
    stop_.store(true);
    wake_.fetch_add(1);
    futex(wake_, FUTEX_WAKE, INT_MAX);
    for (int i = 0; i < workers_; ++i) {
        pthread_join(worker_threads_[i], nullptr);
    }
    free(worker_threads_);
}

bool thread_pool::run_one() {
    uint64_t state = state_.load(std::memory_order_acquire);
    while (unclaimed(state) != 0) {
        if (state_.compare_exchange_weak(state, state - 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
            // job_ and tasks_ stay as they are until this task has been counted as finished.
            job_.call(job_.object, tasks_ - static_cast<int>(unclaimed(state)));
            unfinished_.fetch_sub(1, std::memory_order_release);
            return true;
        }
    }
    return false;
}

void thread_pool::dispatch(int tasks, task_ref job) {
    job_ = job;
    tasks_ = tasks;
    unfinished_.store(tasks, std::memory_order_relaxed);
    const uint64_t generation = (state_.load(std::memory_order_relaxed) >> 32) + 1;
    state_.store(generation << 32 | static_cast<uint32_t>(tasks), std::memory_order_seq_cst);
    // Sequentially consistent with the worker's entry into sleep: one of the two sees the other.
    if (sleepers_.load(std::memory_order_seq_cst) != 0) {
        wake_.fetch_add(1);
        futex(wake_, FUTEX_WAKE, INT_MAX);
    }
    while (run_one()) {
    }
    // The rest is running already; a task is short, unless its thread lost its core.
    for (int spins = 0; unfinished_.load(std::memory_order_acquire) != 0; ++spins) {
        if (spins < 4096) {
            pause_briefly();
        } else {
            sched_yield();
        }
    }
}

void thread_pool::work() {
    while (!stop_.load(std::memory_order_relaxed)) {
        while (run_one()) {
        }
        const int64_t sleep_at = nanoseconds_now() + spin_nanoseconds;
        bool found = false;
        while (!found && nanoseconds_now() < sleep_at) {
            for (int i = 0; i < spins_per_clock && !found; ++i) {
                pause_briefly();
                found = unclaimed(state_.load(std::memory_order_relaxed)) != 0;
            }
        }
        if (found) {
            continue;
        }
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        const uint32_t word = wake_.load(std::memory_order_seq_cst);
        if (unclaimed(state_.load(std::memory_order_seq_cst)) == 0 && !stop_.load(std::memory_order_seq_cst)) {
            futex(wake_, FUTEX_WAIT, word);
        }
        sleepers_.fetch_sub(1, std::memory_order_relaxed);
    }
}

}  // namespace tributary::host
