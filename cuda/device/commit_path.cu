// SPDX-License-Identifier: Apache-2.0
//
// Moves the K/V of an accepted path to consecutive slots, all layers in one launch: path[i] from slot L + path[i] to
// slot L + i, through the page table. The whole path is read before anything is written.
//
// A thread owns 16 bytes of a head's row, in one layer, of K or of V, for every entry of the path: it takes all of them
// into registers (17 · 16 bytes at most), then writes them. A destination that is the source of a later entry is thus
// its own, and no barrier is needed. Grid: (sequences, ⌈layers · 2 · kv_heads · d / 8 / threads⌉); neighbouring
// threads take neighbouring bytes.
//
// Bound by memory: at most 2 · 16 · 2 · layers · kv_heads · d · 2 bytes a sequence (17 MB for 32 layers of 32 heads of
// 128), mostly a few entries of it, since those in place are left alone; then by the latency of one read and one write.
#include "device/launch.cuh"
#include "device/operations.hpp"
#include "device/step.cuh"

namespace tributary::device {
namespace {

constexpr int threads = 128;
constexpr int chunk = 8;  // elements of 16 bytes

struct commit_arguments {
    step_view step;
    char* cache;
    const int32_t* accepted_count;
    const int32_t* accepted_node;
    int layers, pages, kv_heads, d;
};

// Byte offset of a slot's row, of K and head 0, in a layer; −1 when the sequence has no such page.
__device__ __forceinline__ int64_t slot_offset(const commit_arguments& a, int sequence, int slot) {
    if (slot < 0 || slot >= a.step.max_pages * TRIB_PAGE_TOKENS) {
        return -1;
    }
    const int page = a.step.page(sequence, slot);
    if (page < 0 || page >= a.pages) {
        return -1;
    }
    return (static_cast<int64_t>(page) * 2 * a.kv_heads * TRIB_PAGE_TOKENS + slot % TRIB_PAGE_TOKENS) * a.d *
           static_cast<int64_t>(sizeof(uint16_t));
}

__global__ void __launch_bounds__(threads) move_path(const __grid_constant__ commit_arguments a) {
    __shared__ int64_t from[TRIB_MAX_PATH];  // of an entry to be moved, else −1
    __shared__ int64_t to[TRIB_MAX_PATH];
    allow_successor();
    wait_for_predecessor();
    const auto sequence = static_cast<int>(blockIdx.x);
    const int thread = static_cast<int>(threadIdx.x);
    // All of these lie within their capacities and are fetched together; what they say counts below only.
    const int sequences = a.step.sequences();
    const int count = min(max(a.accepted_count[sequence], 0), TRIB_MAX_PATH);
    const int length = a.step.sequence_length[sequence];
    const int node = a.accepted_node[static_cast<int64_t>(sequence) * TRIB_MAX_PATH + min(thread, TRIB_MAX_PATH - 1)];
    if (sequence >= sequences) {
        return;
    }
    bool moves = false;
    if (thread < count && node != thread) {
        from[thread] = slot_offset(a, sequence, length + node);
        to[thread] = slot_offset(a, sequence, length + thread);
        moves = from[thread] >= 0 && to[thread] >= 0;
    }
    if (thread < TRIB_MAX_PATH && !moves) {
        from[thread] = -1;
    }
    // Also the barrier before what was written is read.
    if (__syncthreads_or(moves ? 1 : 0) == 0) {
        return;
    }
    const int chunks = a.d / chunk;
    const int task = static_cast<int>(blockIdx.y) * threads + thread;  // [layer, K | V, head, chunk]
    const int row = task / chunks;
    const int layer = row / (2 * a.kv_heads);
    if (layer >= a.layers) {
        return;
    }
    const int64_t head_size = static_cast<int64_t>(TRIB_PAGE_TOKENS) * a.d * static_cast<int64_t>(sizeof(uint16_t));
    char* base = a.cache +
                 (static_cast<int64_t>(layer) * a.pages * 2 * a.kv_heads + row % (2 * a.kv_heads)) * head_size +
                 task % chunks * static_cast<int64_t>(sizeof(uint4));
    uint4 held[TRIB_MAX_PATH];
#pragma unroll
    for (int i = 0; i < TRIB_MAX_PATH; ++i) {
        if (i < count && from[i] >= 0) {
            held[i] = *reinterpret_cast<const uint4*>(base + from[i]);
        }
    }
#pragma unroll
    for (int i = 0; i < TRIB_MAX_PATH; ++i) {
        if (i < count && from[i] >= 0) {
            *reinterpret_cast<uint4*>(base + to[i]) = held[i];
        }
    }
}

}  // namespace

uint64_t commit_path_workspace(const context&, const trib_commit_path_params&) { return 0; }

trib_status commit_path(context& context, const trib_commit_path_params& params) {
    const trib_kv_cache& cache = params.cache;
    const auto tasks = static_cast<int>(int64_t{cache.layers} * 2 * cache.kv_heads * cache.head_dim / chunk);
    const commit_arguments arguments = {
        .step = view(*params.step),
        .cache = pointer<char>(cache.address),
        .accepted_count = pointer<const int32_t>(params.accepted_count),
        .accepted_node = pointer<const int32_t>(params.accepted_node),
        .layers = static_cast<int>(cache.layers),
        .pages = static_cast<int>(cache.pages),
        .kv_heads = static_cast<int>(cache.kv_heads),
        .d = static_cast<int>(cache.head_dim),
    };
    return launch(context, "commit_path", move_path,
                  {.grid = dim3(params.step->max_sequences, static_cast<unsigned>(ceil_div(tasks, threads))),
                   .block = dim3(threads)},
                  arguments);
}

}  // namespace tributary::device
