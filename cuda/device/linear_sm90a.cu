// SPDX-License-Identifier: Apache-2.0
//
// The product of linear.cu on Hopper: y = epilogue(x Wᵀ), for decoding rows.
//
// Work. A unit is 256 weight rows × 64 columns, 32 KiB of weights, for a pair of blocks: each takes 128 of the rows, and
// each of its two consumer warpgroups 64 as operand A of wgmma.m64nMk16, with the rows of x as operand B. A pair takes a
// contiguous range of units, so all multiprocessors read the same bytes whatever the shape (4096 × 4096: 1,024 units for
// 66 pairs, 15 or 16 each). The blocks of a pair know nothing of each other: a cluster that shares x by multicast was
// measured at half the memory's bandwidth, whatever it copied.
//
// Producers. One thread copies weights, 8 KiB a bulk copy, into a ring that takes what x leaves of 200 KiB; it fills the
// ring before it waits for the kernel ahead. By Little's law 32 B/ns (4.2 TB/s over 132 multiprocessors) × 1 µs = 32 KiB
// must be under way; the rest is time bought: at 16 rows 176 KiB a multiprocessor are 5.5 µs of the memory's time, during
// which small kernels ahead (norms, A x of an adapter) may still run. x comes in one of two ways:
//   up to 64 rows   by cp.async of three more warps straight from the row buffer, at most 8 KiB beside 16 KiB of weights;
//   from 65 rows    by tensor copies of the same thread that copies weights. Rows come in two runs, main and stream, and
//                   a run as boxes of 128, 64, … 1 rows: a box may begin at any row of shared memory, since the swizzle
//                   goes by address. At 256 rows a block takes 16 + 32 KiB a unit from the second-level cache for
//                   2·128·256·64 FLOP: 50 B/ns a multiprocessor at 600 TFLOP/s.
//
// The end of a sum. Ranges that share a row of units each hold a piece of it. Either the block that comes last adds them
// (join_pieces), in a tail in which most multiprocessors have nothing to do; or all pieces are written and a second
// kernel, on all multiprocessors, adds them and does the epilogue (finish_kernel). Both add in ascending K: same bits.
// Where every row of units is cut into several pieces the second kernel is quicker, 15.5 µs against 17.9 at 4096 × 4096
// and 64 rows; where most are whole it is 1.5 to 2 µs for nothing.
//
// A x of an adapter. Where finish_kernel applies the update, nobody wants A x before the product is done: from 65 rows
// the three warps that have no x to copy compute it beside, in chains (multiply_down). Elsewhere a kernel goes ahead.
//
// What bounds it: bytes of W up to some 128 rows (2·M FLOP a byte of bf16 weights against a ridge of 650 TFLOP/s ÷
// 4.2 TB/s = 155), the tensor cores beyond.
//
// Registers: D is M/2 a thread. From 65 rows the consumers take those that the producers leave, 216 or 224 each.
#include <type_traits>

#include "device/hopper.cuh"
#include "device/operations.hpp"
#include "device/product.cuh"

namespace tributary::device {
namespace {

using namespace hopper;

constexpr int pair_rows = 256;     // weight rows of a unit
constexpr int consumer_warps = 8;  // two warpgroups
constexpr int consumer_threads = consumer_warps * 32;
constexpr int most_joined = 192;  // rows of x of a tile whose pieces may be joined in the kernel

template <int m>
struct tiling {
    static constexpr bool wide = hopper_is_wide(m);  // x by tensor copies
    static constexpr int x_threads = 96;             // three warps: x, or when wide A x
    static constexpr int threads = consumer_threads + 32 + x_threads;
    // What bounds a thread's registers: 128 up to 32 rows, so that blocks of small kernels fit beside this one.
    static constexpr int bound_threads = wide || m == 64 ? threads : 512;
    static constexpr int consumer_registers = m > 192 ? 224 : 216;  // when wide
    static constexpr int producer_registers = m > 192 ? 56 : 72;
    static constexpr int weight_bytes = 2 * block_bytes;
    static constexpr int x_bytes = m * 128;
    static constexpr int stage_bytes = weight_bytes + x_bytes;
    static constexpr int stages = 200 * 1024 / stage_bytes;
    static constexpr int shared_bytes = stages * stage_bytes + swizzle_atom_bytes;
    static constexpr int accumulators = m / 2;
    static_assert(consumer_registers * consumer_threads + producer_registers * (threads - consumer_threads) <=
                  65536 / threads / 8 * 8 * threads);
};

// Arrives on `barrier` when all cp.async of this thread so far are there; the arrival is one of the barrier's count.
__device__ __forceinline__ void arrive_after_copies(uint64_t* barrier) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(barrier)) : "memory");
}

__device__ __forceinline__ void copy_16(uint32_t shared, const void* global, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(bytes) : "memory");
}

// Rows of x: map i copies boxes of 2^i rows × 64 columns.
struct row_maps {
    static constexpr int count = 8;
    CUtensorMap of[count];
};

// Where range `of` leaves its piece of the sums of one of the four row blocks of a group that begins in range `first`.
// A range leaves at most two pieces: of the row of units that it ends, and of the one that it begins.
template <int m>
__device__ __forceinline__ float* piece_of(const product_params& p, int of, int first, int row_block) {
    const int64_t slot = (static_cast<int64_t>(of) * 2 + (of == first ? 1 : 0)) * (pair_rows / block_rows);
    return p.partials + (slot + row_block) * (block_rows * m);
}

// `leaves`: pieces are left for finish_kernel.
template <class T, int m>
__global__ void __launch_bounds__(tiling<m>::bound_threads, 1)
    hopper_product_kernel(const __grid_constant__ product_params p, const __grid_constant__ row_maps maps,
                          const bool leaves, const cache_policy weight_policy) {
    using tile = tiling<m>;
    // The greatest tile has no registers left for an epilogue.
    const bool finishes = m > most_joined || leaves;
    constexpr int stages = tile::stages;
    extern __shared__ char dynamic[];
    __shared__ uint64_t full[stages];
    __shared__ uint64_t empty[stages];
    __shared__ int32_t target[m];
    __shared__ int32_t adapter[m];
    __shared__ int flags[2];

    const uint32_t before = shared_address(dynamic);
    char* ring = dynamic + ((before + swizzle_atom_bytes - 1) / swizzle_atom_bytes * swizzle_atom_bytes - before);
    const int thread = static_cast<int>(threadIdx.x);
    const int warp = __shfl_sync(0xffffffffU, thread / 32, 0);  // uniform, which the compiler shall know
    const int range = static_cast<int>(blockIdx.x) / 2;
    const int half = static_cast<int>(blockIdx.x) % 2;
    const int64_t begin = p.cut.begin(range);
    const auto units = static_cast<int>(p.cut.begin(range + 1) - begin);
    const auto first_group = static_cast<int>(begin / p.column_blocks);
    const auto first_k = static_cast<int>(begin % p.column_blocks);

    if (thread == 0) {
        for (int i = 0; i < stages; ++i) {
            // Weights, then x: one announcement each when both are bulk copies, else every thread that copies x.
            barrier_init(&full[i], tile::wide ? 2 : 1 + tile::x_threads);
            barrier_init(&empty[i], consumer_warps);
        }
        barrier_init_fence();
    }
    __syncthreads();

    if (warp >= consumer_warps) {
        if constexpr (tile::wide) {
            release_registers<tile::producer_registers>();
        }
        if (warp == consumer_warps) {
            // ------------------------------------------------ weights, and x by tensor copies
            const bool leader = thread % 32 == 0;
            int group = first_group;
            int k = first_k;
            const auto load_weights = [&](int stage) {
                const int64_t row_block = static_cast<int64_t>(group) * (pair_rows / block_rows) + half * 2;
                const int count = static_cast<int>(min(max(p.row_blocks - row_block, int64_t{0}), int64_t{2}));
                char* to = ring + stage * tile::stage_bytes;
                barrier_arrive_expect(&full[stage], static_cast<uint32_t>(count * block_bytes));
#pragma unroll 1
                for (int i = 0; i < count; ++i) {
                    bulk_copy(to + i * block_bytes, p.blocks + ((row_block + i) * p.column_blocks + k) * block_bytes,
                              block_bytes, &full[stage], weight_policy);
                }
            };
            const auto advance = [&](int& at_k) {
                const bool wraps = ++at_k == p.column_blocks;
                at_k = wraps ? 0 : at_k;
                return wraps;
            };
            const int ahead = min(stages, units);
            if (leader) {
#pragma unroll 1
                for (int i = 0; i < ahead; ++i) {
                    load_weights(i);
                    group += advance(k) ? 1 : 0;
                }
            }
            allow_successor();
            wait_for_predecessor();
            if (leader) {
                const auto found = p.rows.read();
                const int columns = min(found.count - p.first_row, m);
                // The launch's rows as two runs of rows of x.
                const int in_main =
                    p.rows.dense_x ? columns : min(max(found.main_rows - p.first_row, 0), max(columns, 0));
                const int stream_row = p.rows.max_main_rows + max(p.first_row - found.main_rows, 0);
                const auto copy_rows = [&](char* to, int row, int rows, int x_k, uint64_t* barrier) {
#pragma unroll 1
                    while (rows > 0) {
                        const int map = min(31 - __clz(rows), row_maps::count - 1);
                        tensor_copy(to, &maps.of[map], x_k * block_columns, row, barrier);
                        to += 128 << map;
                        row += 1 << map;
                        rows -= 1 << map;
                    }
                };
                const auto load_x = [&](int x_k, int stage) {
                    char* to = ring + stage * tile::stage_bytes + tile::weight_bytes;
                    barrier_arrive_expect(&full[stage], static_cast<uint32_t>(columns * 128));
                    copy_rows(to, p.first_row, in_main, x_k, &full[stage]);
                    copy_rows(to + in_main * 128, stream_row, columns - in_main, x_k, &full[stage]);
                };
                if (columns <= 0) {
                    // Nothing to do; but the copies must land before the block's memory is given away.
#pragma unroll 1
                    for (int i = 0; i < ahead; ++i) {
                        if constexpr (tile::wide) {
                            barrier_arrive(&full[i]);
                        }
                        barrier_wait(&full[i], 0);
                    }
                } else {
                    if constexpr (tile::wide) {
                        int x_k = first_k;
#pragma unroll 1
                        for (int i = 0; i < ahead; ++i) {
                            load_x(x_k, i);
                            advance(x_k);
                        }
                    }
                    ring_position<stages> at;
#pragma unroll 1
                    for (int i = stages; i < units; ++i) {
                        barrier_wait(&empty[at.stage], at.parity);
                        load_weights(at.stage);
                        if constexpr (tile::wide) {
                            load_x(k, at.stage);
                        }
                        group += advance(k) ? 1 : 0;
                        at.advance();
                    }
                }
            }
            __syncwarp();
        } else {
            // ------------------------------------------------ A x, or x from the row buffer
            allow_successor();
            wait_for_predecessor();
            if constexpr (tile::wide) {
                if (p.lora.chains != nullptr) {
                    const auto found = p.rows.read();
                    const int columns = max(min(found.count - p.first_row, m), 0);
                    const int helper = warp - consumer_warps - 1;
                    compute_chains<T, m <= 192 ? 2 : 1>(
                        p, found, columns, helper * static_cast<int>(gridDim.x) + static_cast<int>(blockIdx.x),
                        tile::x_threads / 32 * static_cast<int>(gridDim.x));
                }
            } else {
                constexpr int step = tile::x_threads / 8;  // rows between two of a thread's chunks
                constexpr int mine = (m + step - 1) / step;
                const auto found = p.rows.read();
                const int columns = min(found.count - p.first_row, m);
                const int copier = thread - consumer_threads - 32;
                const int chunk = copier % 8;
                const char* from[mine];
#pragma unroll
                for (int i = 0; i < mine; ++i) {
                    const int row = copier / 8 + i * step;
                    from[i] = row < columns ? p.x + p.rows.source(found, p.first_row + row) * p.x_stride + 16 * chunk
                                            : nullptr;
                }
                ring_position<stages> at;
                int k = first_k;
                const int rounds = columns > 0 ? units : min(stages, units);
                for (int i = 0; i < rounds; ++i) {
                    barrier_wait(&empty[at.stage], at.parity ^ 1);
                    const uint32_t to =
                        shared_address(ring) + static_cast<uint32_t>(at.stage * tile::stage_bytes + tile::weight_bytes);
                    const bool inside = k * block_columns + 8 * chunk < p.columns;
#pragma unroll
                    for (int j = 0; j < mine; ++j) {
                        if (from[j] != nullptr) {
                            copy_16(to + static_cast<uint32_t>(swizzled_offset(copier / 8 + j * step, chunk)),
                                    from[j] + (inside ? k * 128 : -16 * chunk), inside ? 16 : 0);
                        }
                    }
                    arrive_after_copies(&full[at.stage]);
                    at.advance();
                    k = k + 1 == p.column_blocks ? 0 : k + 1;
                }
                asm volatile("cp.async.wait_all;" ::: "memory");
            }
        }
    } else {
        // ------------------------------------------------ products
        if constexpr (tile::wide) {
            claim_registers<tile::consumer_registers>();
        }
        allow_successor();
        wait_for_predecessor();
        const auto found = p.rows.read();
        const int columns = min(found.count - p.first_row, m);
        for (int i = thread; i < m; i += consumer_threads) {
            const bool valid = i < columns;
            target[i] = valid ? p.rows.target(found, p.first_row + i) : 0;
            adapter[i] = valid && !finishes && p.lora.table != nullptr ? p.lora.row_adapter[p.first_row + i] : -1;
        }
        if (!finishes && p.lora.table != nullptr) {
            warm_inner(p, columns, thread, consumer_threads);
        }
        named_barrier_sync(3, consumer_threads);
        const int warpgroup = warp / 4;
        const auto release = [&](int stage) {
            if (thread % 32 == 0) {
                barrier_arrive(&empty[stage]);
            }
        };
        float d[tile::accumulators];
        ring_position<stages> at;
        int group = first_group;
        int k = first_k;
        int left = columns > 0 ? units : 0;
        while (left > 0) {
            // One piece of a sum: the units up to the end of the row of units, or of the range.
            const int length = min(p.column_blocks - k, left);
#pragma unroll
            for (int i = 0; i < tile::accumulators; ++i) {
                d[i] = 0.0F;
            }
            int held = 0;
            for (int i = 0; i < length; ++i) {
                barrier_wait(&full[at.stage], at.parity);
                if constexpr (!tile::wide) {
                    async_proxy_fence();  // x was written by ordinary copies
                }
                const uint32_t stage = shared_address(ring) + static_cast<uint32_t>(at.stage * tile::stage_bytes);
                const uint64_t a = descriptor_k_major(stage + static_cast<uint32_t>(warpgroup * block_bytes));
                const uint64_t b = descriptor_k_major(stage + tile::weight_bytes);
                keep_registers(d);
                product_fence();
#pragma unroll
                for (int slice = 0; slice < 4; ++slice) {
                    product_shared<T, m>(d, advance_descriptor(a, 32 * slice), advance_descriptor(b, 32 * slice), 1);
                }
                product_commit();
                // The products of the unit before are done: its stage is free.
                product_wait<1>();
                if (i > 0) {
                    release(held);
                }
                held = at.stage;
                at.advance();
            }
            product_wait<0>();
            keep_registers(d);
            release(held);
            const int row_block = group * (pair_rows / block_rows) + half * 2 + warpgroup;
            if (row_block < p.row_blocks) {
                const int first = p.cut.first_range(group);
                const int last = p.cut.last_range(group);
                const int own = half * 2 + warpgroup;
                const auto piece = [&](int of) { return piece_of<m>(p, of, first, own); };
                if (finishes) {
                    float4* to = reinterpret_cast<float4*>(piece(range)) + thread % warpgroup_threads;
#pragma unroll
                    for (int i = 0; i < tile::accumulators; i += 4) {
                        if (2 * i < columns) {
                            __stcg(to + i / 4 * warpgroup_threads, make_float4(d[i], d[i + 1], d[i + 2], d[i + 3]));
                        }
                    }
                } else if (join_pieces<tile::accumulators, m / 8, warpgroup_threads>(
                               d, columns, first, last, range, p.counters + row_block, &flags[warpgroup],
                               thread % warpgroup_threads, piece,
                               [&] { named_barrier_sync(1 + warpgroup, warpgroup_threads); })) {
                    const warp_tile<1, m / 8> place = {
                        row_block * block_rows + warp % 4 * 16, 0, columns, target, adapter, inner_of<T>(p), 0};
                    write_outputs<T, 1, m / 8>(p, place, d);
                }
            }
            left -= length;
            k = 0;
            ++group;
        }
    }
}

// ---------------------------------------------------------------- the end of a sum

constexpr int finish_threads = warpgroup_threads;  // so that a thread finds its own elements in a piece

template <int m>
constexpr int finish_columns = m < 32 ? m : 32;

// A x of the block's columns from its chains, for the parts that the block's rows belong to, rounded.
template <class T>
__device__ __forceinline__ void gather_inner(const product_params& p, T* inner, const int32_t* adapter, int begin,
                                             int first_part, int last_part) {
    const lora_view& lora = p.lora;
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int g = lane / 4;
    const int t = lane % 4;
    // A warp, 8 columns.
    if (__ballot_sync(0xffffffffU, adapter[8 * warp + g] >= 0) == 0) {
        return;
    }
    for (int part = first_part; part <= last_part; ++part) {
        for (int rank_tile = 0; rank_tile < lora.rank_tiles; ++rank_tile) {
            float4 chain[down_chains];
#pragma unroll
            for (int i = 0; i < down_chains; ++i) {
                const float* from = chain_of(lora, begin / 8 + warp, part, rank_tile, i);
                chain[i] = __ldcg(reinterpret_cast<const float4*>(from) + lane);
            }
            float4 sum = chain[0];
#pragma unroll
            for (int i = 1; i < down_chains; ++i) {
                sum.x = __fadd_rn(sum.x, chain[i].x);
                sum.y = __fadd_rn(sum.y, chain[i].y);
                sum.z = __fadd_rn(sum.z, chain[i].z);
                sum.w = __fadd_rn(sum.w, chain[i].w);
            }
            const int next = lora.parts * lora.inner_stride;  // of a column
            T* to = inner + (8 * warp + 2 * t) * next + part * lora.inner_stride + 16 * rank_tile + g;
            to[0] = from_float<T>(sum.x);
            to[next] = from_float<T>(sum.y);
            to[8] = from_float<T>(sum.z);
            to[next + 8] = from_float<T>(sum.w);
        }
    }
}

// Asks the second-level cache for the block's rows of B of the first adapters: constants, which add_updates will want.
__device__ __forceinline__ void fetch_updates(const product_params& p, int row_block) {
    constexpr int most_adapters = 4;
    const lora_view& lora = p.lora;
    const int row = static_cast<int>(threadIdx.x);
    if (row >= block_rows) {
        return;
    }
    const int column = weight_column(p, row_block * block_rows + row / 16 * 16, row % 8, row % 16 / 8);
    if (column < 0) {
        return;
    }
    int part = 0;
    for (int i = 1; i < lora.parts; ++i) {
        part = column >= lora.part_begin[i] ? i : part;
    }
    for (int adapter = 0; adapter < min(lora.adapters, most_adapters); ++adapter) {
        const trib_lora& entry = lora.table[static_cast<int64_t>(adapter) * lora.parts + part];
        if (entry.rank != 0) {
            const packed_view b = {reinterpret_cast<const char*>(entry.b), 0, static_cast<int>(entry.rank), 0, false};
            const char* at = b.blocks + b.chunk_offset(column - lora.part_begin[part], 0);
            asm volatile("prefetch.global.L2 [%0];" ::"l"(at));
        }
    }
}

// y = epilogue(the pieces of each sum, added in ascending K). A block: 64 weight rows × up to 32 columns of D.
// Bound by latency: pieces were just written and come from the second-level cache, four at a time.
template <class T, int m>
__global__ void __launch_bounds__(finish_threads) finish_kernel(const __grid_constant__ product_params p) {
    constexpr int width = finish_columns<m>;
    constexpr int ni = width / 8;
    extern __shared__ __align__(16) char of_chains[];
    __shared__ int32_t target[m];
    __shared__ int32_t adapter[m];
    const int thread = static_cast<int>(threadIdx.x);
    const int row_block = static_cast<int>(blockIdx.x);
    const int group = row_block / (pair_rows / block_rows);
    const int first = p.cut.first_range(group);
    const int last = p.cut.last_range(group);
    const int begin = static_cast<int>(blockIdx.y) * width;
    if (p.lora.table != nullptr) {
        fetch_updates(p, row_block);
    }
    allow_successor();
    wait_for_predecessor();
    const auto found = p.rows.read();
    const int columns = min(found.count - p.first_row, m);
    if (begin >= columns) {
        return;
    }
    if (thread < width) {
        const int i = begin + thread;
        const bool valid = i < columns;
        target[i] = valid ? p.rows.target(found, p.first_row + i) : 0;
        adapter[i] = valid && p.lora.table != nullptr ? p.lora.row_adapter[p.first_row + i] : -1;
    }
    const auto piece = [&](int of) {
        return reinterpret_cast<const float4*>(piece_of<m>(p, of, first, row_block % (pair_rows / block_rows))) +
               begin / 8 * finish_threads + thread;
    };
    const auto load = [&](float4& to, const float4* from, int n) {
        to = begin + 8 * n < columns ? __ldcg(from + n * finish_threads) : make_float4(0.0F, 0.0F, 0.0F, 0.0F);
    };
    float4 sum[ni];
    {
        const float4* from = piece(first);
#pragma unroll
        for (int n = 0; n < ni; ++n) {
            load(sum[n], from, n);
        }
    }
    constexpr int together = 4;
#pragma unroll 1
    for (int range = first + 1; range <= last; range += together) {
        float4 term[together][ni];
#pragma unroll
        for (int j = 0; j < together; ++j) {
            if (range + j <= last) {
                const float4* from = piece(range + j);
#pragma unroll
                for (int n = 0; n < ni; ++n) {
                    load(term[j][n], from, n);
                }
            }
        }
#pragma unroll
        for (int j = 0; j < together; ++j) {
            if (range + j <= last) {
#pragma unroll
                for (int n = 0; n < ni; ++n) {
                    sum[n].x = __fadd_rn(sum[n].x, term[j][n].x);
                    sum[n].y = __fadd_rn(sum[n].y, term[j][n].y);
                    sum[n].z = __fadd_rn(sum[n].z, term[j][n].z);
                    sum[n].w = __fadd_rn(sum[n].w, term[j][n].w);
                }
            }
        }
    }
    float d[ni * 4];
#pragma unroll
    for (int n = 0; n < ni; ++n) {
        d[4 * n] = sum[n].x, d[4 * n + 1] = sum[n].y, d[4 * n + 2] = sum[n].z, d[4 * n + 3] = sum[n].w;
    }
    __syncthreads();
    const void* inner = inner_of<T>(p);
    int inner_column = 0;
    if constexpr (tiling<m>::wide) {
        if (p.lora.chains != nullptr) {
            auto* gathered = reinterpret_cast<T*>(of_chains);
            const auto parts = parts_of(p, row_block);
            gather_inner<T>(p, gathered, adapter + begin, begin, parts.first, parts.last);
            __syncthreads();
            inner = gathered;
            inner_column = begin;
        }
    }
    const warp_tile<1, ni> place = {
        row_block * block_rows + thread / 32 * 16, begin, columns, target, adapter, inner, inner_column};
    write_outputs<T, 1, ni>(p, place, d);
}

// ---------------------------------------------------------------- launches

int pairs_of(const context& context, int64_t units) {
    // At least two units each, so that short sums are not cut for nothing.
    const int64_t wanted = ceil_div<int64_t>(units, 2);
    const int64_t most = context.multiprocessors / 2;
    return static_cast<int>(wanted < most ? wanted : most);
}

int64_t units_of(int64_t row_blocks, int64_t column_blocks) {
    return ceil_div<int64_t>(row_blocks, pair_rows / block_rows) * column_blocks;
}

range_cut cut_of(const context& context, int64_t row_blocks, int64_t column_blocks) {
    const int64_t units = units_of(row_blocks, column_blocks);
    return {units, pairs_of(context, units), static_cast<int>(column_blocks)};
}

// Whether pieces are left for finish_kernel: where rows of units are cut into enough pieces. The more rows of x, the
// longer the last block adds alone. Both answers give the same bits.
bool leaves_pieces(const range_cut& cut, int rows) {
    const int64_t groups = cut.units / cut.column_blocks;
    // No row of units is one range's alone: the product's kernel has no epilogue then.
    if (cut.column_blocks == 1 || ceil_div<int64_t>(cut.units, cut.ranges) >= cut.column_blocks) {
        return false;
    }
    return hopper_is_wide(rows) ? 4 * groups <= 3 * cut.ranges : 2 * groups <= cut.ranges;
}

// cuTensorMapEncodeTiled, found at run time: the library does not link to the driver.
decltype(&cuTensorMapEncodeTiled) find_encoder() {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result;
    constexpr unsigned since = 12000;
    const cudaError_t error =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, since, cudaEnableDefault, &result);
    return error == cudaSuccess && result == cudaDriverEntryPointSuccess
               ? reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function)
               : nullptr;
}

// Rows of x; columns from p.columns on are zero.
trib_status encode_rows(const char* operation, const product_params& p, uint32_t dtype, row_maps& maps) {
    static const decltype(&cuTensorMapEncodeTiled) encode = find_encoder();
    if (encode == nullptr) {
        return fail(TRIB_UNSUPPORTED, "%s: the driver lacks cuTensorMapEncodeTiled, expected CUDA 12 or later",
                    operation);
    }
    const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(p.columns), static_cast<cuuint64_t>(p.x_rows)};
    const cuuint64_t strides[1] = {static_cast<cuuint64_t>(p.x_stride)};
    const cuuint32_t steps[2] = {1, 1};
    for (int i = 0; i < row_maps::count; ++i) {
        const cuuint32_t box[2] = {block_columns, 1U << i};
        const CUresult result = encode(
            &maps.of[i], dtype == TRIB_DTYPE_BF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
            2, const_cast<char*>(p.x), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
            CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
        if (result != CUDA_SUCCESS) {
            return fail(TRIB_DEVICE_ERROR, "%s: cuTensorMapEncodeTiled: %d", operation, static_cast<int>(result));
        }
    }
    return TRIB_OK;
}

template <class T>
trib_status launch_tile(context& context, const char* operation, int m, const product_params& p, const row_maps& maps,
                        cache_policy policy) {
    const auto run = [&]<int rows>() {
        using tile = tiling<rows>;
        const bool finishes = leaves_pieces(p.cut, rows);
        const trib_status status = launch(context, operation, hopper_product_kernel<T, rows>,
                                          {.grid = dim3(static_cast<unsigned>(2 * p.cut.ranges)),
                                           .block = dim3(tile::threads),
                                           .shared_memory = tile::shared_bytes},
                                          p, maps, finishes, policy);
        if (status != TRIB_OK || !finishes) {
            return status;
        }
        constexpr int width = finish_columns<rows>;
        int inner = p.lora.chains != nullptr ? width * p.lora.parts * p.lora.inner_stride * 2 : 0;
        // What is asked for by name must be more than a launch gives unasked, of which static memory takes a part.
        constexpr int unasked = 48 * 1024;
        if (inner > unasked / 2 && inner <= unasked) {
            inner = unasked + 16;
        }
        return launch(context, operation, finish_kernel<T, rows>,
                      {.grid = dim3(static_cast<unsigned>(p.row_blocks), rows / width),
                       .block = dim3(finish_threads),
                       .shared_memory = static_cast<size_t>(inner)},
                      p);
    };
    switch (m) {
        case 8: return run.template operator()<8>();
        case 16: return run.template operator()<16>();
        case 32: return run.template operator()<32>();
        case 64: return run.template operator()<64>();
        case 96: return run.template operator()<96>();
        case 128: return run.template operator()<128>();
        case 160: return run.template operator()<160>();
        case 192: return run.template operator()<192>();
        default: return run.template operator()<256>();
    }
}

// Rows of the next launch when `left` of `bound` are left. Launches of a wide product are all wide.
int tile_of(const range_cut& cut, int bound, int left) {
    constexpr int least_wide = 96;
    constexpr int most = 256;
    if (left > most_joined && !leaves_pieces(cut, bound)) {
        return left <= most ? most / 2 : most_joined;  // two equal launches rather than a full and a small one
    }
    const int m = hopper_tile(left);
    return hopper_is_wide(bound) && m < least_wide ? least_wide : m;
}

}  // namespace

uint64_t hopper_partial_bytes(const context& context, const packed_view& weight, int64_t rows) {
    // A pass of fewer rows may take a greater tile: a wide product's launches are all wide.
    constexpr int64_t most = 256;
    constexpr int64_t least = 96;
    const int64_t m = rows <= 64 ? hopper_tile(static_cast<int>(rows)) : rows <= least ? least : most;
    const range_cut cut = cut_of(context, weight.row_blocks(), weight.column_blocks());
    return static_cast<uint64_t>(cut.ranges) * 2 * 4 * block_rows * static_cast<uint64_t>(m) * sizeof(float);
}

bool hopper_multiplies_down(const context& context, const packed_view& weight, int bound) {
    return hopper_is_wide(bound) && leaves_pieces(cut_of(context, weight.row_blocks(), weight.column_blocks()), bound);
}

trib_status hopper_product(context& context, const char* operation, product_params p, uint32_t dtype, int bound) {
    p.cut = cut_of(context, p.row_blocks, p.column_blocks);
    row_maps maps = {};
    if (hopper_is_wide(bound)) {
        if (const trib_status status = encode_rows(operation, p, dtype, maps); status != TRIB_OK) {
            return status;
        }
    }
    // Weights that are read once and are many shall not push activations out of the second-level cache.
    constexpr int64_t many_bytes = int64_t{8} << 20;
    const bool once =
        bound <= tile_of(p.cut, bound, bound) && p.row_blocks * p.column_blocks * block_bytes >= many_bytes;
    const cache_policy policy = once ? cache_policy::evict_first : cache_policy::evict_normal;
    for (int first = 0; first < bound;) {
        const int m = tile_of(p.cut, bound, bound - first);
        p.first_row = first;
        const trib_status status = dtype == TRIB_DTYPE_BF16 ? launch_tile<bf16>(context, operation, m, p, maps, policy)
                                                            : launch_tile<f16>(context, operation, m, p, maps, policy);
        if (status != TRIB_OK) {
            return status;
        }
        first += m;
    }
    return TRIB_OK;
}

}  // namespace tributary::device
