// SPDX-License-Identifier: Apache-2.0
//
// Time of linear and lm_head by the number of rows, beside the machine's ceilings measured in the same run: reading
// memory and reading cache with as many threads as the context has.
//     host_bench [threads] [repeats] [part of a label]
// Weights beyond cache are rotated, so that each pass reads memory.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tributary/tributary.h"

namespace {

using clock_type = std::chrono::steady_clock;

int threads = 0;
int repeats = 15;
const char* wanted = "";

bool is_wanted(const char* label) { return std::strstr(label, wanted) != nullptr; }

[[noreturn]] void stop(const char* what) {
    std::fprintf(stderr, "%s: %s\n", what, trib_last_error());
    std::exit(1);
}

struct free_memory {
    void operator()(void* memory) const { std::free(memory); }
};
using memory = std::unique_ptr<void, free_memory>;

memory allocate(size_t bytes) {
    void* result = std::aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    if (result == nullptr) {
        std::fprintf(stderr, "out of memory\n");
        std::exit(1);
    }
    std::memset(result, 0, bytes);
    return memory(result);
}

uint64_t address(const memory& m) { return reinterpret_cast<uint64_t>(m.get()); }

double seconds(const std::function<void()>& f) {
    const auto begin = clock_type::now();
    f();
    return std::chrono::duration<double>(clock_type::now() - begin).count();
}

// Best and median: on a machine that others use too, the best shows the code and the median the day.
struct measurement {
    double best, median;
};

measurement measure(int units, const std::function<void()>& f) {
    f();
    std::vector<double> times;
    for (int i = 0; i < repeats; ++i) {
        times.push_back(seconds(f) / units);
    }
    std::sort(times.begin(), times.end());
    return {times.front(), times[times.size() / 2]};
}

// Sum of 8-byte words, wide enough to be bound by the loads.
using words = uint64_t __attribute__((vector_size(32)));

uint64_t read_all(const words* from, size_t count, int passes) {
    words total[8] = {};
    for (int pass = 0; pass < passes; ++pass) {
        for (size_t i = 0; i + 8 <= count; i += 8) {
            for (size_t j = 0; j < 8; ++j) {
                total[j] ^= from[i + j];
            }
        }
        asm volatile("" ::: "memory");
    }
    uint64_t result = 0;
    for (const words& t : total) {
        result ^= t[0] ^ t[1] ^ t[2] ^ t[3];
    }
    return result;
}

double read_bandwidth(size_t bytes, int passes) {
    const memory buffer = allocate(bytes);
    const size_t count = bytes / sizeof(words) / static_cast<size_t>(threads);
    const auto work = [&] {
        std::vector<std::thread> workers;
        for (int t = 0; t < threads; ++t) {
            workers.emplace_back([&, t] {
                volatile uint64_t sink =
                    read_all(static_cast<const words*>(buffer.get()) + static_cast<size_t>(t) * count, count, passes);
                (void)sink;
            });
        }
        for (std::thread& worker : workers) {
            worker.join();
        }
    };
    return static_cast<double>(bytes) * passes / measure(1, work).best;
}

trib_tensor tensor(const memory& m, uint32_t dtype, int64_t rows, int64_t columns, uint32_t layout) {
    return {address(m), 0, {1, rows, columns}, {rows * columns, columns, 1}, dtype, layout, 0, 0};
}

constexpr int capacity = 256;

// A causal sequence of up to `capacity` rows.
struct bench_step {
    std::vector<int32_t> arrays = std::vector<int32_t>(16 * (capacity + 1));
    int32_t counts[4] = {1, 1, 0, 0};
    trib_step step = {};

    bench_step() {
        const auto array = [&](size_t i) {
            return reinterpret_cast<uint64_t>(arrays.data() + i * static_cast<size_t>(capacity + 1));
        };
        step.struct_size = sizeof step;
        step.max_sequences = 1;
        step.max_main_rows = capacity;
        step.counts = reinterpret_cast<uint64_t>(counts);
        step.row_sequence = array(0);
        step.row_node = array(1);
        step.row_position = array(2);
        step.row_rotary = array(3);
        step.row_first_visible = array(4);
        step.row_stream = array(5);
        step.sequence_length = array(6);
        step.sequence_rows = array(7);
        step.tree_begin = array(8);
        step.mask_begin = array(9);
    }
};

uint32_t random_state = 1;

// Packed bytes need no order to be read: random bf16 of moderate size.
memory random_weight(size_t bytes) {
    memory weight = allocate(bytes);
    auto* values = static_cast<uint16_t*>(weight.get());
    for (size_t i = 0; i < bytes / 2; ++i) {
        random_state = random_state * 1664525U + 1013904223U;
        values[i] = static_cast<uint16_t>((random_state >> 16 & 0x807fU) | 0x3c00U);
    }
    return weight;
}

const int row_counts[] = {1, 2, 4, 5, 8, 16, 32, 256};

void print_head() {
    std::printf("%-34s %5s %10s %10s %8s %9s   (GB/s, GFLOP/s at best)\n", "operation", "rows", "median us", "best us",
                "GB/s", "GFLOP/s");
}

void print(const char* name, int rows, measurement time, double bytes, double flops) {
    std::printf("%-34s %5d %10.1f %10.1f %8.1f %9.1f\n", name, rows, time.median * 1e6, time.best * 1e6,
                bytes / time.best * 1e-9, flops / time.best * 1e-9);
}

void bench_linear(trib_context* context, const char* label, int64_t n, int64_t k, int copies) {
    if (!is_wanted(label)) {
        return;
    }
    bench_step step;
    uint64_t bytes = 0;
    if (trib_packed_size(context, TRIB_DTYPE_BF16, TRIB_LAYOUT_PACKED, n, k, &bytes) != TRIB_OK) {
        stop("packed_size");
    }
    std::vector<memory> weights;
    for (int i = 0; i < copies; ++i) {
        weights.push_back(random_weight(bytes));
    }
    const memory x = allocate(static_cast<size_t>(capacity * k) * 4);
    const memory y = allocate(static_cast<size_t>(capacity * n) * 4);
    for (int64_t i = 0; i < capacity * k; ++i) {
        static_cast<float*>(x.get())[i] = static_cast<float>(i % 97) * 0.01F;
    }
    trib_linear_params p = {};
    p.struct_size = sizeof p;
    p.rows = TRIB_ROWS_MAIN;
    p.step = &step.step;
    p.x = tensor(x, TRIB_DTYPE_F32, capacity, k, TRIB_LAYOUT_ROW_MAJOR);
    p.weight = tensor(weights[0], TRIB_DTYPE_BF16, n, k, TRIB_LAYOUT_PACKED);
    p.y = tensor(y, TRIB_DTYPE_F32, capacity, n, TRIB_LAYOUT_ROW_MAJOR);
    p.parts = 1;
    p.part_columns[0] = static_cast<int32_t>(n);
    if (trib_workspace_size(context, TRIB_OP_LINEAR, &p, &p.workspace_bytes) != TRIB_OK) {
        stop("workspace_size");
    }
    const memory workspace = allocate(p.workspace_bytes);
    p.workspace = address(workspace);
    for (const int rows : row_counts) {
        step.counts[1] = rows;
        // One measurement runs over all copies, so that each is out of cache when its turn comes.
        const int calls = std::max(copies, rows <= 32 ? 40 : 4);
        const measurement time = measure(calls, [&] {
            for (int i = 0; i < calls; ++i) {
                p.weight.address = address(weights[static_cast<size_t>(i % copies)]);
                if (trib_linear(context, &p) != TRIB_OK) {
                    stop("linear");
                }
            }
        });
        print(label, rows, time, static_cast<double>(bytes), 2.0 * static_cast<double>(n * k) * rows);
    }
}

void bench_lm_head(trib_context* context, const char* label, int64_t v, int64_t h, uint32_t top) {
    if (!is_wanted(label)) {
        return;
    }
    bench_step step;
    uint64_t bytes = 0;
    if (trib_packed_size(context, TRIB_DTYPE_BF16, TRIB_LAYOUT_PACKED, v, h, &bytes) != TRIB_OK) {
        stop("packed_size");
    }
    const memory weight = random_weight(bytes);
    const memory x = allocate(static_cast<size_t>(capacity * h) * 4);
    for (int64_t i = 0; i < capacity * h; ++i) {
        static_cast<float*>(x.get())[i] = static_cast<float>(i % 97) * 0.01F;
    }
    const memory argmax = allocate(capacity * 4);
    const memory sums = allocate(capacity * 4);
    const memory ids = allocate(capacity * TRIB_MAX_TOP_K * 4);
    const memory logits = allocate(capacity * TRIB_MAX_TOP_K * 4);
    trib_lm_head_params p = {};
    p.struct_size = sizeof p;
    p.rows = TRIB_ROWS_MAIN;
    p.step = &step.step;
    p.x = tensor(x, TRIB_DTYPE_F32, capacity, h, TRIB_LAYOUT_ROW_MAJOR);
    p.weight = tensor(weight, TRIB_DTYPE_BF16, v, h, TRIB_LAYOUT_PACKED);
    p.max_rows = capacity;
    p.k = top;
    p.argmax = address(argmax);
    p.log_sum_exp = address(sums);
    p.top_ids = top != 0 ? address(ids) : 0;
    p.top_logits = top != 0 ? address(logits) : 0;
    if (trib_workspace_size(context, TRIB_OP_LM_HEAD, &p, &p.workspace_bytes) != TRIB_OK) {
        stop("workspace_size");
    }
    const memory workspace = allocate(p.workspace_bytes);
    p.workspace = address(workspace);
    for (const int rows : row_counts) {
        step.counts[1] = rows;
        const int calls = rows <= 32 ? 20 : 2;
        const measurement time = measure(calls, [&] {
            for (int i = 0; i < calls; ++i) {
                if (trib_lm_head(context, &p) != TRIB_OK) {
                    stop("lm_head");
                }
            }
        });
        print(label, rows, time, static_cast<double>(bytes), 2.0 * static_cast<double>(v * h) * rows);
    }
}

// The weight shapes of one pass of a model, called in order like a pass, without attention and norms.
void bench_pass(trib_context* context, const char* label, int layers, int64_t h, int64_t kv, int64_t inner, int64_t v) {
    if (!is_wanted(label)) {
        return;
    }
    struct weight {
        int64_t n, k;
        memory bytes;
        uint64_t size;
    };
    std::vector<weight> weights;
    const auto add = [&](int64_t n, int64_t k) {
        uint64_t bytes = 0;
        if (trib_packed_size(context, TRIB_DTYPE_BF16, TRIB_LAYOUT_PACKED, n, k, &bytes) != TRIB_OK) {
            stop("packed_size");
        }
        weights.push_back({n, k, random_weight(bytes), bytes});
    };
    for (int i = 0; i < layers; ++i) {
        add(h + 2 * kv, h);
        add(h, h);
        add(2 * inner, h);
        add(h, inner);
    }
    add(v, h);
    int64_t widest = 0;
    double bytes = 0;
    for (const weight& w : weights) {
        widest = std::max({widest, w.n, w.k});
        bytes += static_cast<double>(w.size);
    }
    bench_step step;
    step.step.max_main_rows = 32;
    const memory x = allocate(static_cast<size_t>(32 * widest) * 4);
    const memory y = allocate(static_cast<size_t>(32 * widest) * 4);
    memory workspace;
    std::vector<trib_linear_params> calls;
    uint64_t most = 0;
    for (const weight& w : weights) {
        trib_linear_params p = {};
        p.struct_size = sizeof p;
        p.rows = TRIB_ROWS_MAIN;
        p.step = &step.step;
        p.x = tensor(x, TRIB_DTYPE_F32, 32, w.k, TRIB_LAYOUT_ROW_MAJOR);
        p.weight = tensor(w.bytes, TRIB_DTYPE_BF16, w.n, w.k, TRIB_LAYOUT_PACKED);
        p.y = tensor(y, TRIB_DTYPE_F32, 32, w.n, TRIB_LAYOUT_ROW_MAJOR);
        p.parts = 1;
        p.part_columns[0] = static_cast<int32_t>(w.n);
        if (trib_workspace_size(context, TRIB_OP_LINEAR, &p, &p.workspace_bytes) != TRIB_OK) {
            stop("workspace_size");
        }
        most = std::max(most, p.workspace_bytes);
        calls.push_back(p);
    }
    workspace = allocate(most);
    for (trib_linear_params& p : calls) {
        p.workspace = address(workspace);
        p.workspace_bytes = most;
    }
    const int passes = bytes < 64e6 ? 20 : 1;
    double first = 0;
    for (const int rows : {1, 2, 3, 4, 5, 6, 8, 12, 16, 17, 32}) {
        step.counts[1] = rows;
        const measurement time = measure(passes, [&] {
            for (int i = 0; i < passes; ++i) {
                for (const trib_linear_params& p : calls) {
                    if (trib_linear(context, &p) != TRIB_OK) {
                        stop("linear");
                    }
                }
            }
        });
        first = rows == 1 ? time.best : first;
        print(label, rows, time, bytes, bytes * rows);
        std::printf("%-34s %5s %21.3fx of one row\n", "", "", time.best / first);
    }
}

}  // namespace

int main(int argc, char** argv) {
    threads = argc > 1 ? std::atoi(argv[1]) : static_cast<int>(std::thread::hardware_concurrency());
    repeats = argc > 2 ? std::atoi(argv[2]) : repeats;
    wanted = argc > 3 ? argv[3] : wanted;
    if (threads < 1 || repeats < 1) {
        std::fprintf(stderr, "usage: host_bench [threads] [repeats] [part of a label]\n");
        return 1;
    }
    const trib_context_params params = {sizeof params, TRIB_BACKEND_HOST, 0, static_cast<uint32_t>(threads), 0};
    trib_context* context = nullptr;
    if (trib_context_create(&params, &context) != TRIB_OK) {
        stop("context_create");
    }
    std::printf("%s\n", trib_context_description(context));
    std::printf("ceilings: memory read %.1f GB/s, cache read (17 MB) %.1f GB/s\n",
                read_bandwidth(size_t{512} << 20, 1) * 1e-9, read_bandwidth(17 << 20, 20) * 1e-9);
    print_head();
    bench_pass(context, "pass 8.4 M (h 320, 7 layers)", 7, 320, 160, 864, 4096);
    bench_linear(context, "linear 960 x 320 (in cache)", 960, 320, 1);
    bench_linear(context, "linear 4096 x 4096 (memory)", 4096, 4096, 4);
    bench_lm_head(context, "lm_head 4096 x 320, k 0", 4096, 320, 0);
    bench_lm_head(context, "lm_head 4096 x 320, k 8", 4096, 320, 8);
    bench_pass(context, "pass 500 MB (h 1024, 16 layers)", 16, 1024, 256, 4096, 32000);
    trib_context_destroy(context);
    return 0;
}
