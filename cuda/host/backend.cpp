// SPDX-License-Identifier: Apache-2.0
//
// The host backend's side of the front door: contexts, and the choice of the instruction set.
#include "frontdoor/backend.hpp"

#include <sched.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "host/operations.hpp"

namespace tributary::host {

namespace generic {
extern const operation_table level_operations;
}
#if defined(__x86_64__)
namespace avx2 {
extern const operation_table level_operations;
}
namespace avx512 {
extern const operation_table level_operations;
}
namespace avx512_bf16 {
extern const operation_table level_operations;
}
#endif

namespace {

struct level {
    const operation_table* table;
    bool available;
};

// Best first.
#if defined(__x86_64__)
constexpr int level_count = 4;
#else
constexpr int level_count = 1;
#endif

void read_levels(level (&levels)[level_count]) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
    levels[0] = {&avx512_bf16::level_operations, bf16};
    levels[1] = {&avx512::level_operations, avx512};
    levels[2] = {&avx2::level_operations, avx2};
#endif
    levels[level_count - 1] = {&generic::level_operations, true};
}

// The best level of this processor, or the one that TRIBUTARY_ISA names.
trib_status choose_level(const operation_table*& chosen) {
    level levels[level_count];
    read_levels(levels);
    const char* wanted = std::getenv("TRIBUTARY_ISA");
    if (wanted != nullptr && *wanted == '\0') {
        wanted = nullptr;
    }
    for (const level& candidate : levels) {
        if (wanted == nullptr ? candidate.available : std::strcmp(wanted, candidate.table->isa) == 0) {
            if (!candidate.available) {
                return fail(TRIB_UNSUPPORTED, "context_create: TRIBUTARY_ISA is \"%s\", which this processor lacks",
                            wanted);
            }
            chosen = candidate.table;
            return TRIB_OK;
        }
    }
    return fail(TRIB_INVALID_ARGUMENT, "context_create: TRIBUTARY_ISA is \"%s\", expected %s", wanted,
                level_count == 1 ? "generic" : "generic, avx2, avx512 or avx512_bf16");
}

// Cores that this process may run on, as containers and taskset limit them.
int available_cores() {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return 1;
    }
    const int cores = CPU_COUNT(&set);
    return cores > 0 ? cores : 1;
}

context& of(backend_context* opaque) { return *reinterpret_cast<context*>(opaque); }
const context& of(const backend_context* opaque) { return *reinterpret_cast<const context*>(opaque); }

trib_status destroy(backend_context* opaque) {
    of(opaque).~context();
    std::free(&of(opaque));
    return TRIB_OK;
}

trib_status create(const trib_context_params* params, backend_context** result) {
    if (params->device != 0) {
        return fail(TRIB_INVALID_ARGUMENT, "context_create: device is %d, expected 0 for the host backend",
                    params->device);
    }
    if (params->stream != 0) {
        return fail(TRIB_INVALID_ARGUMENT, "context_create: stream is not 0, expected 0 for the host backend");
    }
    constexpr uint32_t max_threads = 1024;
    if (params->threads > max_threads) {
        return fail(TRIB_INVALID_ARGUMENT, "context_create: threads is %u, expected at most %u", params->threads,
                    max_threads);
    }
    const operation_table* operations = nullptr;
    if (const trib_status status = choose_level(operations); status != TRIB_OK) {
        return status;
    }
    const int threads = params->threads != 0 ? static_cast<int>(params->threads) : available_cores();
    void* memory = std::aligned_alloc(alignof(context), sizeof(context));
    if (memory == nullptr) {
        return fail(TRIB_OUT_OF_MEMORY, "context_create: no memory for a context");
    }
    auto* created = new (memory) context;
    if (const int problem = created->pool.start(threads); problem != 0) {
        destroy(reinterpret_cast<backend_context*>(created));
        return fail(TRIB_OUT_OF_MEMORY, "context_create: cannot start %d threads: %s", threads, std::strerror(problem));
    }
    created->operations = operations;
    std::snprintf(created->description, sizeof created->description, "host, %d thread%s, %s", threads,
                  threads == 1 ? "" : "s", operations->isa);
    *result = reinterpret_cast<backend_context*>(created);
    return TRIB_OK;
}

// Calls the operation `member` of the context's instruction set.
template <auto member, class Params>
trib_status call(backend_context* opaque, const Params* params) {
    return (of(opaque).operations->*member)(of(opaque), *params);
}

template <auto member, class Params>
uint64_t query(backend_context* opaque, const Params* params) {
    return (of(opaque).operations->*member)(of(opaque), *params);
}

uint64_t packed_size(const backend_context* opaque, uint32_t, uint32_t layout, int64_t rows, int64_t columns) {
    return of(opaque).operations->packed_size(rows, columns, layout);
}

using table = operation_table;

}  // namespace
}  // namespace tributary::host

namespace tributary {

const backend_table& host_backend() {
    using namespace host;
    static constexpr backend_table backend = {
        .abi_version = TRIB_ABI_VERSION,
        .backend = TRIB_BACKEND_HOST,
        .name = "host",
        .create = create,
        .destroy = destroy,
        .description = [](const backend_context* opaque) -> const char* { return of(opaque).description; },
        .packed_size = packed_size,
        .pack_weight = call<&table::pack_weight>,
        .embed = call<&table::embed>,
        .rms_norm = call<&table::rms_norm>,
        .gather_rows = call<&table::gather_rows>,
        .linear = call<&table::linear>,
        .rope_append = call<&table::rope_append>,
        .multi_stream_attention = call<&table::multi_stream_attention>,
        .insert_streams = call<&table::insert_streams>,
        .edge_confidence = call<&table::edge_confidence>,
        .lm_head = call<&table::lm_head>,
        .top_k = call<&table::top_k>,
        .verify_tree = call<&table::verify_tree>,
        .commit_path = call<&table::commit_path>,
        .linear_workspace = query<&table::linear_workspace>,
        .multi_stream_attention_workspace = query<&table::multi_stream_attention_workspace>,
        .edge_confidence_workspace = query<&table::edge_confidence_workspace>,
        .lm_head_workspace = query<&table::lm_head_workspace>,
        .top_k_workspace = query<&table::top_k_workspace>,
        .verify_tree_workspace = query<&table::verify_tree_workspace>,
        .commit_path_workspace = query<&table::commit_path_workspace>,
    };
    return backend;
}

}  // namespace tributary
