// SPDX-License-Identifier: Apache-2.0
//
// Thin wrappers of what sm_90a adds: barriers in shared memory that count bytes (mbarrier), bulk copies that arrive on
// them, warpgroup products. Each is one instruction or the obvious few; nothing here holds state.
//
// Phases. A barrier is created in phase 0; phase i completes when `count` arrivals and all announced bytes of it are in.
// wait(barrier, parity) returns when the phase of that parity has completed: a consumer begins with parity 0; a producer
// that waits for a buffer to be free begins with parity 1, which a new barrier passes at once.
//
// Proxies. Bulk copies and products reach shared memory by another way than loads and stores. What ordinary stores wrote
// becomes visible to them by async_proxy_fence() in the writing thread, before the barrier that tells of it, or in the
// thread that begins the product, behind that barrier (as where cp.async brings x). What ordinary loads have read may be
// overwritten by a bulk copy once a barrier says that they are done.
#pragma once

#include <cuda.h>
#include <stdint.h>

#include "device/wgmma.cuh"

namespace tributary::device::hopper {

inline constexpr int warpgroup_threads = 128;

// Bytes of a swizzled atom: 8 rows of 128 bytes; 16-byte chunk c of row r stands at c xor (r mod 8). Whatever a matrix
// descriptor or a swizzling tensor copy names begins at a multiple of it.
inline constexpr int swizzle_row_bytes = 128;
inline constexpr int swizzle_atom_bytes = 1024;

// Byte offset of the 16-byte chunk `chunk` (0 … 7) of row `row` of a swizzled tile of 128-byte rows.
__host__ __device__ constexpr int swizzled_offset(int row, int chunk) {
    return row * swizzle_row_bytes + ((chunk ^ (row & 7)) << 4);
}

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// One lane of a converged warp, always the same.
__device__ __forceinline__ bool elect_one() {
    uint32_t elected;
    asm volatile("{\n\t.reg .pred p;\n\telect.sync _|p, 0xffffffff;\n\tselp.b32 %0, 1, 0, p;\n\t}\n" : "=r"(elected));
    return elected != 0;
}

// ---------------------------------------------------------------- barriers in shared memory

__device__ __forceinline__ void barrier_init(uint64_t* barrier, uint32_t count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
}

// After barrier_init and before the block's barrier: makes new barriers visible to copies.
__device__ __forceinline__ void barrier_init_fence() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// One arrival; releases what this thread did before.
__device__ __forceinline__ void barrier_arrive(uint64_t* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

// One arrival that announces `bytes` of bulk copies to this phase.
__device__ __forceinline__ void barrier_arrive_expect(uint64_t* barrier, uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
}

// Whether the phase of `parity` has completed; may sleep for a short time before it says no.
__device__ __forceinline__ bool barrier_try(uint64_t* barrier, uint32_t parity) {
    uint32_t done;
    asm volatile(
        "{\n\t.reg .pred p;\n\tmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\tselp.b32 %0, 1, 0, p;\n\t}\n"
        : "=r"(done)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
    return done != 0;
}

__device__ __forceinline__ void barrier_wait(uint64_t* barrier, uint32_t parity) {
    while (!barrier_try(barrier, parity)) {
    }
}

// All threads of a cluster's blocks: what they did before is visible to all of them behind it.
__device__ __forceinline__ void cluster_sync() {
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// One arrival on the barrier that stands at the same place in block `block` of the cluster. It tells that products and
// copies have been waited for; stores of this thread are not released to the other block, which would take a fence of
// some 1,500 clocks.
__device__ __forceinline__ void barrier_arrive_at(uint64_t* barrier, uint32_t block) {
    asm volatile(
        "{\n\t.reg .b32 remote;\n\tmapa.shared::cluster.u32 remote, %0, %1;\n\t"
        "mbarrier.arrive.shared::cluster.b64 _, [remote];\n\t}\n" ::"r"(shared_address(barrier)),
        "r"(block)
        : "memory");
}

// A position in a ring of `stages` buffers and the parity of its round; starts at 0, 0.
template <int stages>
struct ring_position {
    int stage = 0;
    uint32_t parity = 0;

    __device__ __forceinline__ void advance() {
        if (++stage == stages) {
            stage = 0;
            parity ^= 1;
        }
    }
};

// Barrier `id` (1 … 15; 0 is __syncthreads) among `threads` threads, whole warps.
__device__ __forceinline__ void named_barrier_sync(int id, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
// Counts this warp in without waiting.
__device__ __forceinline__ void named_barrier_arrive(int id, int threads) {
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// ---------------------------------------------------------------- bulk copies

// How long the second-level cache keeps what a copy reads, as createpolicy.fractional encodes it.
enum class cache_policy : uint64_t {
    evict_normal = 0x1000000000000000,
    evict_first = 0x12f0000000000000,
    evict_last = 0x14f0000000000000,
};

// global → shared, contiguous; addresses and bytes multiples of 16. Arrives on `barrier` with its bytes.
__device__ __forceinline__ void bulk_copy(void* shared, const void* global, uint32_t bytes, uint64_t* barrier,
                                          cache_policy policy = cache_policy::evict_normal) {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::
            "r"(shared_address(shared)),
        "l"(__cvta_generic_to_global(global)), "r"(bytes), "r"(shared_address(barrier)),
        "l"(static_cast<uint64_t>(policy))
        : "memory");
}

// The box of a two-dimensional tensor map at (column, row), elements; the map says the box's shape and swizzle.
__device__ __forceinline__ void tensor_copy(void* shared, const CUtensorMap* map, int column, int row,
                                            uint64_t* barrier, cache_policy policy = cache_policy::evict_normal) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, "
        "{%2, %3}], [%4], %5;" ::"r"(shared_address(shared)),
        "l"(reinterpret_cast<uint64_t>(map)), "r"(column), "r"(row), "r"(shared_address(barrier)),
        "l"(static_cast<uint64_t>(policy))
        : "memory");
}

// The same box to the same place in each block of the cluster whose bit is set in `blocks`; arrives on the barrier that
// stands at `barrier` in each.
__device__ __forceinline__ void tensor_copy_all(void* shared, const CUtensorMap* map, int column, int row,
                                                uint64_t* barrier, uint32_t blocks,
                                                cache_policy policy = cache_policy::evict_normal) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster."
        "L2::cache_hint [%0], [%1, {%2, %3}], [%4], %5, %6;" ::"r"(shared_address(shared)),
        "l"(reinterpret_cast<uint64_t>(map)), "r"(column), "r"(row), "r"(shared_address(barrier)),
        "h"(static_cast<uint16_t>(blocks)), "l"(static_cast<uint64_t>(policy))
        : "memory");
}

// Likewise of a three-dimensional map at (column, row, plane).
__device__ __forceinline__ void tensor_copy(void* shared, const CUtensorMap* map, int column, int row, int plane,
                                            uint64_t* barrier, cache_policy policy = cache_policy::evict_normal) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, "
        "{%2, %3, %4}], [%5], %6;" ::"r"(shared_address(shared)),
        "l"(reinterpret_cast<uint64_t>(map)), "r"(column), "r"(row), "r"(plane), "r"(shared_address(barrier)),
        "l"(static_cast<uint64_t>(policy))
        : "memory");
}

__device__ __forceinline__ void prefetch_tensor_map(const CUtensorMap* map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(reinterpret_cast<uint64_t>(map)) : "memory");
}

// Ordinary accesses of this thread to shared memory before, bulk copies and products after.
__device__ __forceinline__ void async_proxy_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// 16 bytes, global → shared, by this thread; or 16 zeros, in which case nothing is read. await_copies() waits for all.
__device__ __forceinline__ void copy_async(void* shared, const void* global, bool wanted) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(wanted ? 16 : 0)
                 : "memory");
}
__device__ __forceinline__ void await_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// Asks for `bytes` (a multiple of 16) to be brought to the second-level cache.
__device__ __forceinline__ void prefetch_bulk(const void* global, uint32_t bytes) {
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(__cvta_generic_to_global(global)), "r"(bytes)
                 : "memory");
}

// ---------------------------------------------------------------- clusters

// The barrier of all threads of a cluster, whole warps: what came before arrive() is seen behind wait().
__device__ __forceinline__ void cluster_arrive() {
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

// Where `address` of this block's shared memory stands in block `rank` of the cluster.
__device__ __forceinline__ uint32_t address_in_block(uint32_t address, int rank) {
    uint32_t there;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
    return there;
}
__device__ __forceinline__ float2 load_pair_of_cluster(uint32_t address) {
    float2 x;
    asm volatile("ld.shared::cluster.v2.f32 {%0, %1}, [%2];" : "=f"(x.x), "=f"(x.y) : "r"(address) : "memory");
    return x;
}
__device__ __forceinline__ float4 load_four_of_cluster(uint32_t address) {
    float4 x;
    asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w)
                 : "r"(address)
                 : "memory");
    return x;
}

// ---------------------------------------------------------------- products

// Matrix descriptor, 128-byte swizzle: bits 0–13 address, 16–29 leading offset, 32–45 stride offset (each in units of
// 16 bytes, of an 18-bit space), 49–51 base offset (0: atoms begin at multiples of 1024 bytes), 62–63 = 1.
__device__ __forceinline__ uint64_t matrix_descriptor(uint32_t address, uint32_t leading_bytes, uint32_t stride_bytes) {
    return static_cast<uint64_t>((address & 0x3ffff) >> 4) | static_cast<uint64_t>(leading_bytes >> 4) << 16 |
           static_cast<uint64_t>(stride_bytes >> 4) << 32 | static_cast<uint64_t>(1) << 62;
}

// A or B, K-major: rows of 64 elements (128 bytes) behind one another, 8 rows an atom. The leading offset is unused.
// The next 16 columns of K stand 32 bytes on, the next 64 rows 64 · 128 bytes.
__device__ __forceinline__ uint64_t descriptor_k_major(uint32_t address) {
    return matrix_descriptor(address, 16, swizzle_atom_bytes);
}

// B, N-major: one row per k, of 64 elements of N (128 bytes); the next 64 elements of N begin `next_n_bytes` on.
// Atoms of 8 k follow one another; the next 16 k stand 2048 bytes on.
__device__ __forceinline__ uint64_t descriptor_n_major(uint32_t address, uint32_t next_n_bytes) {
    return matrix_descriptor(address, next_n_bytes, swizzle_atom_bytes);
}

// A descriptor `bytes` further on; stays within the 18-bit space.
__device__ __forceinline__ uint64_t advance_descriptor(uint64_t descriptor, int bytes) {
    return descriptor + static_cast<uint64_t>(bytes >> 4);
}

// Before the first product of a group, and whenever registers of an operand were written since.
__device__ __forceinline__ void product_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void product_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Until at most `groups` committed groups are under way.
template <int groups>
__device__ __forceinline__ void product_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(groups) : "memory");
}

// Keeps the compiler from moving or copying registers that products under way read or write. To stand before the first
// product and after the wait.
template <int n>
__device__ __forceinline__ void keep_registers(float (&d)[n]) {
#pragma unroll
    for (int i = 0; i < n; ++i) {
        asm volatile("" : "+f"(d[i])::"memory");
    }
}
template <int n>
__device__ __forceinline__ void keep_registers(uint32_t (&a)[n]) {
#pragma unroll
    for (int i = 0; i < n; ++i) {
        asm volatile("" : "+r"(a[i])::"memory");
    }
}

// Moves registers between the warpgroups of a block; multiples of 8, executed by all warps of a warpgroup. Needs a
// kernel with __launch_bounds__(threads, 1).
template <int registers>
__device__ __forceinline__ void claim_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}
template <int registers>
__device__ __forceinline__ void release_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}

}  // namespace tributary::device::hopper
