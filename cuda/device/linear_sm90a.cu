// SPDX-License-Identifier: Apache-2.0
//
// The product of linear.cu on Hopper for decoding rows: y = epilogue(x Wᵀ), up to 64 rows of x.
//
// Work. Weight rows are dealt out in slabs of 16 to groups of blocks, so that all multiprocessors read the same bytes
// within a slab, whatever the shape: 22016 rows are 166.8 a block, 10 or 11 slabs. A wide weight's block takes all of K
// for its rows; of a narrow one (N below some 8,400 on 132 multiprocessors) K is cut into parts (hopper_parts), a block
// each: 4096 × 4096 is 33 groups of 4. Inside, 64 weight rows are operand A of wgmma.m64nMk16, the rows of x operand B.
// Each of two consumer warpgroups holds one chunk of 64 weight rows, or two where blocks have more than 128 rows: a unit
// of up to 256 × 64 weights then meets x once, and x costs 128·M·K·132 bytes of the second-level cache's traffic at most.
//
// Producers. One warp copies weights, a lane for each packed block that the tile meets, so that one instruction begins
// all copies of a unit: a single thread that issued 8 KiB a time was what bound the kernel, at some 40 B/ns a
// multiprocessor. The ring takes 200 KiB less what x needs, and is filled before the block waits for the kernel ahead; by
// Little's law 32 B/ns × 1 µs = 32 KiB must be under way, the rest is time bought. Three warps bring x, 128·M bytes a
// unit, by cp.async straight from the row buffer, by index or not.
// Two blocks a multiprocessor, of half the ring each, so that a linear's successor streams while it drains, were measured
// and are slower (124 against 107 µs for the linears of a 7B layer at 8 rows): both rings are full when the tail comes,
// and weights under way hold up what the tail has to fetch.
//
// The end of a sum. Pieces of a sum are joined by their own blocks, each a share of the rows of x (finish_parts). Whole
// sums are turned round in shared memory (store_chunk): stores of fragments, 4 bytes a lane, took 3 µs for 64 × 128
// outputs.
//
// What bounds it: bytes of W (2·M FLOP a byte against a ridge of 155), and up to 64 rows the latency of what surrounds
// the stream, some 2 µs a linear: first bytes, last products, and the way from one kernel's end to the next one's x. On
// an H200 with 4.65 TB/s, µs at 1 and 64 rows (floor): 12288 × 4096 23.5 and 26.9 (21.6), 22016 × 4096 41.1 and 45.3
// (38.8), 28672 × 4096 53.2 and 56.8 (50.5), 32000 × 4096 58.2 and 64.7 (56.3).
//
// Registers: D is own · M/2 a thread.
#include "device/hopper.cuh"
#include "device/operations.hpp"
#include "device/product.cuh"

namespace tributary::device {
namespace {

using namespace hopper;

constexpr int slab_rows = 16;      // weight rows are dealt out in slabs: eight outputs of a gate
constexpr int consumer_warps = 8;  // two warpgroups
constexpr int consumer_threads = consumer_warps * 32;
constexpr int x_threads = 96;  // three warps
constexpr int threads = consumer_threads + 32 + x_threads;

// Floats of a row of x in the room where a warpgroup's chunk is turned round: 64 and four against bank conflicts.
constexpr int staged_stride = block_rows + 4;

// Tiles of m rows of x × 128 · own weight rows, of which a warpgroup holds `own` chunks of 64.
template <int m, int own>
struct tiling {
    // What bounds a thread's registers: 144 up to 32 rows, so that blocks of small kernels fit beside this one.
    static constexpr int bound_threads = m == 64 ? threads : 448;
    static constexpr int weight_bytes = 2 * own * block_bytes;
    static constexpr int x_bytes = m * 128;
    static constexpr int stage_bytes = weight_bytes + x_bytes;
    static constexpr int stages = 200 * 1024 / stage_bytes;
    static constexpr int accumulators = m / 2;           // of a chunk
    static constexpr int staged_rows = m < 32 ? m : 32;  // rows of x that a warpgroup stages together
    static constexpr int staged_bytes = staged_rows * staged_stride * 4;
    static constexpr int shared_bytes = stages * stage_bytes + 2 * staged_bytes + swizzle_atom_bytes;
};

// How a product is divided: block b computes part b % parts of the sums of group b / parts of weight rows.
struct division {
    int slabs;  // of weight rows
    int groups, parts;
    int column_blocks;

    TRIBUTARY_ANYWHERE int first_slab(int group) const {
        return static_cast<int>(static_cast<int64_t>(slabs) * group / groups);
    }
    int most_rows() const { return ceil_div(slabs, groups) * slab_rows; }  // of a block
    TRIBUTARY_ANYWHERE int first_column(int part) const { return column_blocks * part / parts; }
};

// Units of weights behind the ring that a block asks the second-level cache for while the kernel ahead still runs.
constexpr int fetched_units = 6;

// global → second-level cache; address and bytes multiples of 16.
__device__ __forceinline__ void prefetch_to_cache(const void* global, uint32_t bytes) {
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(__cvta_generic_to_global(global)), "r"(bytes)
                 : "memory");
}

// Arrives on `barrier` when all cp.async of this thread so far are there; the arrival is one of the barrier's count.
__device__ __forceinline__ void arrive_after_copies(uint64_t* barrier) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(barrier)) : "memory");
}

__device__ __forceinline__ void copy_16(uint32_t shared, const void* global, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(bytes) : "memory");
}

// Brings B of the first adapters at packed rows `begin` … `end` − 1 into the first-level cache: constants, which
// add_updates will want at once. `thread` of `count` threads.
__device__ __forceinline__ void warm_updates(const product_params& p, int begin, int end, int thread, int count) {
    constexpr int most_adapters = 4;
    const lora_view& lora = p.lora;
    for (int row = begin + thread; row < end; row += count) {
        const int column = weight_column(p, row / 16 * 16, row % 8, row % 16 / 8);
        if (column < 0) {
            continue;
        }
        int part = 0;
        for (int i = 1; i < lora.parts; ++i) {
            part = column >= lora.part_begin[i] ? i : part;
        }
        for (int adapter = 0; adapter < min(lora.adapters, most_adapters); ++adapter) {
            const trib_lora& entry = lora.table[static_cast<int64_t>(adapter) * lora.parts + part];
            if (entry.rank != 0) {
                const packed_view b = {reinterpret_cast<const char*>(entry.b), 0, static_cast<int>(entry.rank), 0,
                                       false};
                const char* at = b.blocks + b.chunk_offset(column - lora.part_begin[part], 0);
                asm volatile("{\n\t.reg .b32 unused;\n\tld.global.ca.u32 unused, [%0];\n\t}\n" ::"l"(at));
            }
        }
    }
}

// ---------------------------------------------------------------- the parts of a sum

// Fragments of 8 rows of x that one block finishes together: its share of a tile.
template <int m>
constexpr int share_fragments = m < 16 ? 1 : 2;

// Brings what the outputs of this block's shares are added to into the first-level cache, long before they are.
template <int m>
__device__ __forceinline__ void warm_residual(const product_params& p, const division& cut, int part, int first_row,
                                              int last_row, int columns, const int32_t* target, int thread) {
    constexpr int line = 32;  // floats
    constexpr int share = 8 * share_fragments<m>;
    const auto* y = static_cast<const float*>(p.y);
    const int last = min(last_row, p.outputs);
    const int lines = (last - first_row + line - 1) / line;
    for (int begin = share * part; begin < columns; begin += share * cut.parts) {
        const int rows = min(share, columns - begin);
        for (int i = thread; i < rows * lines; i += consumer_threads) {
            const int output = first_row + i % lines * line;
            const float* at = y + static_cast<int64_t>(target[begin + i / lines]) * p.y_stride + output;
            asm volatile("{\n\t.reg .b32 unused;\n\tld.global.ca.u32 unused, [%0];\n\t}\n" ::"l"(at));
        }
    }
}

// A sum whose K is cut into parts: every part's block leaves its piece in memory, and each then finishes its share of the
// rows of x, two fragments at a time, adding the pieces in ascending K. A share's owner waits for the blocks of its own
// group only, at most eight with neighbouring indices. Blocks start in the order of their indices, so at any time at most
// one group of a launch is there in part, and what it waits for starts as soon as any other block ends.
//
// `d` = the chunk's sums, `chunk` of the block's two, 128 threads. Pieces: [block, chunk, fragment of 8 rows of x, thread]
// four floats. The counter, zero before and after: pieces that are there, and from bit 16 on owners that are done.
template <class T, int m>
__device__ __forceinline__ void finish_parts(const product_params& p, const division& cut, const float (&d)[m / 2],
                                             int chunk, int packed_row, int last_row, int columns,
                                             const int32_t* target, const int32_t* adapter) {
    constexpr int fragments = m / 8;
    constexpr int width = share_fragments<m>;
    constexpr uint32_t done = 1U << 16;
    const int thread = static_cast<int>(threadIdx.x) % warpgroup_threads;
    const int group = static_cast<int>(blockIdx.x) / cut.parts;
    const int part = static_cast<int>(blockIdx.x) % cut.parts;
    uint32_t* counter = p.counters + group * 2 + chunk;
    const auto piece = [&](int of, int fragment) {
        const int64_t at = (static_cast<int64_t>(group) * cut.parts + of) * 2 + chunk;
        return reinterpret_cast<float4*>(p.partials) + (at * fragments + fragment) * warpgroup_threads + thread;
    };
    const auto sync = [&] { named_barrier_sync(1 + chunk, warpgroup_threads); };
#pragma unroll
    for (int i = 0; i < fragments; ++i) {
        if (8 * i < columns) {
            __stcg(piece(part, i), make_float4(d[4 * i], d[4 * i + 1], d[4 * i + 2], d[4 * i + 3]));
        }
    }
    __threadfence();
    sync();
    if (thread == 0) {
        atomicAdd(counter, 1U);
    }
    const int shares = (columns + 8 * width - 1) / (8 * width);
    if (part >= shares) {
        return;
    }
    if (thread == 0) {
        while (load_acquire(counter) % done != static_cast<uint32_t>(cut.parts)) {
        }
    }
    sync();
    for (int share = part; share < shares; share += cut.parts) {
        const auto load = [&](int of, int i) {
            const int fragment = share * width + i;
            return 8 * fragment < columns ? __ldcg(piece(of, fragment)) : make_float4(0.0F, 0.0F, 0.0F, 0.0F);
        };
        float4 sum[width];
#pragma unroll
        for (int i = 0; i < width; ++i) {
            sum[i] = load(0, i);
        }
        constexpr int together = m == 64 ? 3 : 2;
#pragma unroll 1
        for (int first = 1; first < cut.parts; first += together) {
            float4 term[together][width];
#pragma unroll
            for (int j = 0; j < together; ++j) {
                if (first + j < cut.parts) {
#pragma unroll
                    for (int i = 0; i < width; ++i) {
                        term[j][i] = load(first + j, i);
                    }
                }
            }
#pragma unroll
            for (int j = 0; j < together; ++j) {
                if (first + j < cut.parts) {
#pragma unroll
                    for (int i = 0; i < width; ++i) {
                        sum[i].x = __fadd_rn(sum[i].x, term[j][i].x);
                        sum[i].y = __fadd_rn(sum[i].y, term[j][i].y);
                        sum[i].z = __fadd_rn(sum[i].z, term[j][i].z);
                        sum[i].w = __fadd_rn(sum[i].w, term[j][i].w);
                    }
                }
            }
        }
        float total[4 * width];
#pragma unroll
        for (int i = 0; i < width; ++i) {
            total[4 * i] = sum[i].x, total[4 * i + 1] = sum[i].y, total[4 * i + 2] = sum[i].z,
                      total[4 * i + 3] = sum[i].w;
        }
        if (packed_row < last_row) {
            const warp_tile<1, width> place = {packed_row, 8 * width * share, columns, target,
                                               adapter,    inner_of<T>(p),    0};
            write_outputs<T, 1, width>(p, place, total);
        }
    }
    sync();
    if (thread == 0) {
        const auto owners = static_cast<uint32_t>(min(shares, cut.parts));
        if (atomicAdd(counter, done) / done + 1 == owners) {
            *counter = 0;
        }
    }
}

// ---------------------------------------------------------------- whole sums

// Writes a chunk's finished sums of 64 weight rows, of which `rows` count, by way of shared memory: as held, a warp's
// store would scatter 4 bytes a lane over four rows of y; turned round, a thread stores four neighbouring outputs.
// All threads of the warpgroup call it together; `staged` is theirs, [staged_rows, staged_stride].
template <class T, int m, int own>
__device__ __forceinline__ void store_chunk(const product_params& p, int packed_row, int rows, int columns,
                                            const int32_t* target, float* staged, int warpgroup,
                                            const float (&d)[m / 2]) {
    using tile = tiling<m, own>;
    constexpr int fragments = tile::staged_rows / 8;
    const int thread = static_cast<int>(threadIdx.x) % warpgroup_threads;
    const int lane = thread % 32;
    const int weight_row = thread / 32 * 16 + lane / 4;
    const auto sync = [&] { named_barrier_sync(1 + warpgroup, warpgroup_threads); };
    // Four outputs at a time: their number in a row of x, and where they begin.
    const int quads = p.gate ? block_rows / 8 : block_rows / 4;
    const int first_output = p.gate ? packed_row / 2 : packed_row;
    const int last_output = min(first_output + (p.gate ? rows / 2 : rows), p.outputs);
    const auto address = reinterpret_cast<uint64_t>(p.y);
    const bool whole = (p.y_f32 ? (address | static_cast<uint64_t>(p.y_stride) * 4) % 16 == 0
                                : (address | static_cast<uint64_t>(p.y_stride) * 2) % 8 == 0);
    auto* y32 = static_cast<float*>(p.y);
    auto* y16 = static_cast<T*>(p.y);
#pragma unroll
    for (int begin = 0; begin < m; begin += tile::staged_rows) {
        if (begin >= columns) {
            break;
        }
        sync();
#pragma unroll
        for (int n = 0; n < fragments; ++n) {
            const float* from = d + (begin / 8 + n) * 4;
            float* to = staged + (8 * n + lane % 4 * 2) * staged_stride + weight_row;
            to[0] = from[0];
            to[staged_stride] = from[1];
            to[8] = from[2];
            to[staged_stride + 8] = from[3];
        }
        sync();
        const int count = min(columns - begin, tile::staged_rows) * quads;
#pragma unroll 4
        for (int i = thread; i < count; i += warpgroup_threads) {
            const int row = i / quads;
            const int quad = i % quads;
            const int output = first_output + 4 * quad;
            if (output >= last_output) {
                continue;
            }
            const int64_t at = static_cast<int64_t>(target[begin + row]) * p.y_stride + output;
            const float* from = staged + row * staged_stride + (p.gate ? quad / 2 * 16 + quad % 2 * 4 : 4 * quad);
            const float4 sum = *reinterpret_cast<const float4*>(from);
            float value[4] = {sum.x, sum.y, sum.z, sum.w};
            if (p.gate) {
                const float4 up = *reinterpret_cast<const float4*>(from + 8);
                value[0] = __fmul_rn(silu(sum.x), up.x);
                value[1] = __fmul_rn(silu(sum.y), up.y);
                value[2] = __fmul_rn(silu(sum.z), up.z);
                value[3] = __fmul_rn(silu(sum.w), up.w);
            }
            if (whole && output + 4 <= last_output) {
                if (p.residual) {
                    const float4 past = *reinterpret_cast<const float4*>(y32 + at);
                    value[0] = __fadd_rn(past.x, value[0]);
                    value[1] = __fadd_rn(past.y, value[1]);
                    value[2] = __fadd_rn(past.z, value[2]);
                    value[3] = __fadd_rn(past.w, value[3]);
                }
                if (p.y_f32) {
                    *reinterpret_cast<float4*>(y32 + at) = make_float4(value[0], value[1], value[2], value[3]);
                } else {
                    *reinterpret_cast<uint2*>(y16 + at) =
                        uint2{pack2<T>(value[0], value[1]), pack2<T>(value[2], value[3])};
                }
                continue;
            }
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                if (output + j < last_output) {
                    if (p.y_f32) {
                        y32[at + j] = p.residual ? __fadd_rn(y32[at + j], value[j]) : value[j];
                    } else {
                        y16[at + j] = from_float<T>(value[j]);
                    }
                }
            }
        }
    }
}

// ---------------------------------------------------------------- the product

template <class T, int m, int own, bool cuts>
__global__ void __launch_bounds__(tiling<m, own>::bound_threads, 1)
    hopper_product_kernel(const __grid_constant__ product_params p, const __grid_constant__ division cut,
                          const cache_policy weight_policy) {
    using tile = tiling<m, own>;
    constexpr int stages = tile::stages;
    extern __shared__ char dynamic[];
    __shared__ uint64_t full[stages];
    __shared__ uint64_t empty[stages];
    __shared__ int32_t target[m];
    __shared__ int32_t adapter[m];

    const uint32_t before = shared_address(dynamic);
    char* ring = dynamic + ((before + swizzle_atom_bytes - 1) / swizzle_atom_bytes * swizzle_atom_bytes - before);
    float* staged = reinterpret_cast<float*>(ring + stages * tile::stage_bytes);
    const int thread = static_cast<int>(threadIdx.x);
    const int warp = __shfl_sync(0xffffffffU, thread / 32, 0);  // uniform, which the compiler shall know
    const int group = static_cast<int>(blockIdx.x) / cut.parts;
    const int part = static_cast<int>(blockIdx.x) % cut.parts;
    const int first_row = cut.first_slab(group) * slab_rows;
    const int last_row = cut.first_slab(group + 1) * slab_rows;
    constexpr int tile_rows = 2 * own * block_rows;
    const int tiles = (last_row - first_row + tile_rows - 1) / tile_rows;
    const int first_k = cut.first_column(part);
    const int last_k = cut.first_column(part + 1);
    const int units = tiles * (last_k - first_k);

    if (thread == 0) {
        for (int i = 0; i < stages; ++i) {
            barrier_init(&full[i], 1 + x_threads);  // the announcement of weights, and every thread that copies x
            barrier_init(&empty[i], consumer_warps);
        }
        barrier_init_fence();
    }
    __syncthreads();

    if (warp == consumer_warps) {
        // ------------------------------------------------ weights
        // A lane for each block of the packed weight that the tile meets, so that one instruction begins all copies.
        const int lane = thread % 32;
        int begin = first_row;
        int k = first_k;
        int end;
        const char* from;
        uint32_t to;
        uint32_t bytes;
        const auto enter_tile = [&] {
            end = min(begin + tile_rows, last_row);
            const int block = begin / block_rows + lane;
            const int low = max(begin, block * block_rows);
            const int high = min(end, (block + 1) * block_rows);
            from = p.blocks + static_cast<int64_t>(block) * p.column_blocks * block_bytes + low % block_rows * 128;
            to = static_cast<uint32_t>((low - begin) * 128);
            bytes = static_cast<uint32_t>(max(high - low, 0) * 128);
        };
        const auto load = [&](int stage) {
            if (lane == 0) {
                barrier_arrive_expect(&full[stage], static_cast<uint32_t>((end - begin) * 128));
            }
            __syncwarp();
            if (bytes != 0) {
                bulk_copy(ring + stage * tile::stage_bytes + to, from + static_cast<int64_t>(k) * block_bytes, bytes,
                          &full[stage], weight_policy);
            }
            if (++k == last_k) {
                k = first_k;
                begin = end;
                enter_tile();
            }
        };
        enter_tile();
        const int ahead = min(stages, units);
#pragma unroll 1
        for (int i = 0; i < ahead; ++i) {
            load(i);
        }
        // Whole sums have no pieces to fetch, which these reads would hold up.
        if (!cuts && bytes != 0) {
            const int last = min(k + fetched_units, last_k);
            for (int i = k; i < last; ++i) {
                prefetch_to_cache(from + static_cast<int64_t>(i) * block_bytes, bytes);
            }
        }
        allow_successor();
        wait_for_predecessor();
        const auto found = p.rows.read();
        if (found.count <= p.first_row) {
            // Nothing to do; but the copies must land before the block's memory is given away.
#pragma unroll 1
            for (int i = 0; i < ahead; ++i) {
                barrier_wait(&full[i], 0);
            }
        } else {
            ring_position<stages> at;
#pragma unroll 1
            for (int i = stages; i < units; ++i) {
                barrier_wait(&empty[at.stage], at.parity);
                load(at.stage);
                at.advance();
            }
        }
    } else if (warp > consumer_warps) {
        // ------------------------------------------------ x from the row buffer
        constexpr int step = x_threads / 8;  // rows between two of a thread's chunks
        constexpr int mine = (m + step - 1) / step;
        const int copier = thread - consumer_threads - 32;
        allow_successor();
        wait_for_predecessor();
        const auto found = p.rows.read();
        const int columns = min(found.count - p.first_row, m);
        const int chunk = copier % 8;
        const char* from[mine];
#pragma unroll
        for (int i = 0; i < mine; ++i) {
            const int row = copier / 8 + i * step;
            from[i] = row < columns ? p.x + p.rows.source(found, p.first_row + row) * p.x_stride + 16 * chunk : nullptr;
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
            k = k + 1 == last_k ? first_k : k + 1;
        }
        asm volatile("cp.async.wait_all;" ::: "memory");
    } else {
        // ------------------------------------------------ products
        if (p.lora.table != nullptr) {
            warm_updates(p, first_row, last_row, thread, consumer_threads);
        }
        allow_successor();
        wait_for_predecessor();
        const auto found = p.rows.read();
        const int columns = min(found.count - p.first_row, m);
        for (int i = thread; i < m; i += consumer_threads) {
            const bool valid = i < columns;
            target[i] = valid ? p.rows.target(found, p.first_row + i) : 0;
            adapter[i] = valid && p.lora.table != nullptr ? p.lora.row_adapter[p.first_row + i] : -1;
        }
        if (p.lora.table != nullptr) {
            warm_inner(p, columns, thread, consumer_threads);
        }
        named_barrier_sync(3, consumer_threads);
        if (cuts && p.residual) {
            warm_residual<m>(p, cut, part, first_row, last_row, columns, target, thread);
        }
        const int warpgroup = warp / 4;
        const auto release = [&](int stage) {
            if (thread % 32 == 0) {
                barrier_arrive(&empty[stage]);
            }
        };
        float d[own][tile::accumulators];
        ring_position<stages> at;
        for (int begin = first_row; begin < last_row && columns > 0; begin += tile_rows) {
            // Chunks warpgroup, warpgroup + 2, … of 64 rows are this warpgroup's; the last may hold fewer rows.
            const int rows = min(last_row - begin, tile_rows);
#pragma unroll
            for (int j = 0; j < own; ++j) {
#pragma unroll
                for (int i = 0; i < tile::accumulators; ++i) {
                    d[j][i] = 0.0F;
                }
            }
            int held = -1;
            for (int k = first_k; k < last_k; ++k) {
                barrier_wait(&full[at.stage], at.parity);
                async_proxy_fence();  // x was written by ordinary copies
                const uint32_t stage = shared_address(ring) + static_cast<uint32_t>(at.stage * tile::stage_bytes);
                const uint64_t b = descriptor_k_major(stage + tile::weight_bytes);
#pragma unroll
                for (int j = 0; j < own; ++j) {
                    keep_registers(d[j]);
                }
                product_fence();
#pragma unroll
                for (int j = 0; j < own; ++j) {
                    const int chunk = warpgroup + 2 * j;
                    if (chunk * block_rows < rows) {
                        const uint64_t a = descriptor_k_major(stage + static_cast<uint32_t>(chunk * block_bytes));
#pragma unroll
                        for (int slice = 0; slice < 4; ++slice) {
                            product_shared<T, m>(d[j], advance_descriptor(a, 32 * slice),
                                                 advance_descriptor(b, 32 * slice), 1);
                        }
                    }
                }
                product_commit();
                // The products of the unit before are done: its stage is free.
                product_wait<1>();
                if (held >= 0) {
                    release(held);
                }
                held = at.stage;
                at.advance();
            }
            product_wait<0>();
#pragma unroll
            for (int j = 0; j < own; ++j) {
                keep_registers(d[j]);
            }
            release(held);
#pragma unroll
            for (int j = 0; j < own; ++j) {
                const int chunk = warpgroup + 2 * j;
                const int packed_row = begin + chunk * block_rows + warp % 4 * 16;
                if constexpr (cuts) {
                    if (chunk * block_rows < rows) {
                        finish_parts<T, m>(p, cut, d[j], chunk, packed_row, last_row, columns, target, adapter);
                    }
                } else if (chunk * block_rows < rows) {
                    const warp_tile<1, m / 8> place = {packed_row, 0, columns, target, adapter, inner_of<T>(p), 0};
                    complete_sums<T, 1, m / 8>(p, place, d[j]);
                    store_chunk<T, m, own>(p, begin + chunk * block_rows, min(rows - chunk * block_rows, block_rows),
                                           columns, target, staged + warpgroup * tile::staged_bytes / 4, warpgroup,
                                           d[j]);
                }
            }
        }
    }
}

// ---------------------------------------------------------------- launches

division division_of(const context& context, int64_t row_blocks, int column_blocks) {
    const int parts = hopper_parts(context.multiprocessors, row_blocks, column_blocks);
    const int slabs = static_cast<int>(row_blocks * (block_rows / slab_rows));
    const int most = context.multiprocessors / parts;
    return {slabs, slabs < most ? slabs : most, parts, column_blocks};
}

template <class T>
trib_status launch_tile(context& context, const char* operation, int m, const product_params& p, const division& cut,
                        cache_policy policy) {
    const auto run = [&]<int rows, int own, bool cuts>() {
        using tile = tiling<rows, own>;
        return launch(context, operation, hopper_product_kernel<T, rows, own, cuts>,
                      {.grid = dim3(static_cast<unsigned>(cut.groups * cut.parts)),
                       .block = dim3(threads),
                       .shared_memory = tile::shared_bytes},
                      p, cut, policy);
    };
    const auto of_tile = [&]<int own, bool cuts>() {
        switch (m) {
            case 8: return run.template operator()<8, own, cuts>();
            case 16: return run.template operator()<16, own, cuts>();
            case 32: return run.template operator()<32, own, cuts>();
            default: return run.template operator()<64, own, cuts>();
        }
    };
    if (cut.parts > 1) {
        return of_tile.template operator()<1, true>();  // at most 128 weight rows a block, see hopper_parts
    }
    return cut.most_rows() > 2 * block_rows ? of_tile.template operator()<2, false>()
                                            : of_tile.template operator()<1, false>();
}

}  // namespace

uint64_t hopper_partial_bytes(const context& context, const packed_view& weight, int64_t rows) {
    const division cut = division_of(context, weight.row_blocks(), static_cast<int>(weight.column_blocks()));
    const int m = hopper_tile(rows < 64 ? static_cast<int>(rows) : 64);
    return cut.parts == 1 ? 0
                          : static_cast<uint64_t>(cut.groups) * static_cast<uint64_t>(cut.parts) * 2 * block_rows *
                                static_cast<uint64_t>(m) * sizeof(float);
}

trib_status hopper_product(context& context, const char* operation, product_params p, uint32_t dtype, int bound) {
    const division cut = division_of(context, p.row_blocks, p.column_blocks);
    // Weights that are read once and are many shall not push activations out of the second-level cache.
    constexpr int64_t many_bytes = int64_t{8} << 20;
    const bool once = bound <= hopper_tile(bound) && p.row_blocks * p.column_blocks * block_bytes >= many_bytes;
    const cache_policy policy = once ? cache_policy::evict_first : cache_policy::evict_normal;
    for (int first = 0; first < bound;) {
        const int m = hopper_tile(bound - first);
        p.first_row = first;
        const trib_status status = dtype == TRIB_DTYPE_BF16 ? launch_tile<bf16>(context, operation, m, p, cut, policy)
                                                            : launch_tile<f16>(context, operation, m, p, cut, policy);
        if (status != TRIB_OK) {
            return status;
        }
        first += m;
    }
    return TRIB_OK;
}

}  // namespace tributary::device
