// SPDX-License-Identifier: Apache-2.0
//
// One run: the context under test, how a case is timed, and where its figures go.
//
// Timing. N launches are captured into a CUDA graph that is replayed several times between two events; a case's figure is
// the median over the replays, divided by N. So the host's share is out, as it is in the engine, which replays graphs too.
// The launches rotate over copies of what is read (weights, pages of the cache) that are together far larger than the L2
// cache, so that each finds its own copy cold. Programmatic dependent launch stays on, as in the engine: a launch may
// begin while its predecessor drains.
//
// What a launch finds in the L2 cache because the operation before it has just touched it, rotating would make cold. Such
// a case names that operation: in its graph each launch stands behind one of it, and the time of a graph of those alone
// is subtracted.
#pragma once

#include <cstdio>
#include <functional>
#include <optional>
#include <string>

#include "memory.hpp"
#include "tributary/tributary.h"

namespace tributary::bench {

struct options {
    bool quick = false;
    std::string filter;   // part of a case's name; empty = all
    std::string path;     // sm_80 or sm_90a; empty = the chip's own
    std::string json;     // JSON lines go here; empty = nowhere
    std::string library;  // libtributary_cuda.so
    int device = 0;
};

// A case that is to be at most `limit` times its floor, or at most `limit` µs.
struct target {
    enum class kind { none, floor_ratio, microseconds };
    kind what = kind::none;
    double limit = 0;
};

// What a launch must move and do at least.
struct work {
    double bytes = 0;
    double flops = 0;
};

struct bench_case {
    std::string operation;  // "linear"
    std::string shape;      // "4096 x 4096"
    int rows = 0;           // main and stream rows
    std::string variant;    // "" or "lora 16"
    work least;
    target goal;
    int copies = 1;             // copies of what is read that the launches rotate over
    double bytes_per_copy = 0;  // of memory that one launch reads, 0 = least.bytes
    int operations_per_launch = 1;

    std::string name() const;
};

class session {
public:
    explicit session(const options& options);
    ~session();
    session(const session&) = delete;
    session& operator=(const session&) = delete;

    trib_context* context() const { return context_; }
    cudaStream_t stream() const { return stream_; }
    bool quick() const { return options_.quick; }
    int multiprocessors() const { return multiprocessors_; }

    // Random memory that weights and KV pages are taken from; [pool_bytes].
    static constexpr size_t pool_bytes = size_t{4} << 30;
    uint64_t pool() const { return pool_.address(); }
    // Fills the pool with random bf16 of magnitude 2^exponent.
    void fill_pool(int exponent);
    // Copies of `bytes` that are together several times the L2 cache, as far as the pool holds them.
    int copies_of(double bytes) const;

    bool wanted(const bench_case& c) const;
    // Times and reports a case. `enqueue(copy)` enqueues the launch on copy 0 … copies − 1; a status other than OK in the
    // warm-up reports the case as not run. `verify`, if given, is asked after the warm-up and returns what is wrong.
    // `before`, if given, enqueues what comes directly before the launch in a pass; its time is not the case's.
    void run(const bench_case& c, const std::function<trib_status(int copy)>& enqueue,
             const std::function<std::string()>& verify = {}, const std::function<trib_status(int copy)>& before = {});

    // Stands above the cases that follow, once one of them is measured.
    void heading(const char* title) { heading_ = title; }
    // Measures the read bandwidth, and says what the machine is.
    void report_machine();
    // The totals; the exit status.
    int finish() const;

private:
    std::optional<double> time(const bench_case& c, const std::function<trib_status(int copy)>& enqueue, int launches,
                               double* least);

    options options_;
    int multiprocessors_ = 0;
    int l2_bytes_ = 0;
    double roof_ = 0;  // bytes per second
    std::string device_name_;
    cudaStream_t stream_ = nullptr;
    trib_context* context_ = nullptr;
    buffer pool_;
    std::FILE* json_ = nullptr;
    const char* heading_ = nullptr;
    int measured_ = 0;
    int passed_ = 0;
    int over_ = 0;
    int failed_ = 0;
};

// Throws what trib_last_error says unless the status is OK.
void require(trib_status status);

// The parts of the benchmark.
void bench_attention(session& s);
void bench_linear(session& s);
void bench_layers(session& s);
void bench_lm_head(session& s);
void bench_row_operations(session& s);

}  // namespace tributary::bench
