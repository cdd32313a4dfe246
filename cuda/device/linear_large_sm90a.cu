// SPDX-License-Identifier: Apache-2.0
//
// The product of linear.cu on Hopper from 65 rows of x on: y = epilogue(x Wᵀ).
//
// Work. A block multiplies up to 128 weight rows (operand A of wgmma.m64nNk16, 64 a consumer warpgroup) by a tile of n
// rows of x (operand B, n = 96 … 256), 64 columns a stage. Two blocks are a cluster: neighbouring weight rows, the same
// rows of x, of which each brings half to both. So a stage of 128 × 256 costs the second-level cache 32 KiB where two
// blocks alone would ask for 48 each, for 2·128·256·64 FLOP: at 2,560 rows of 28672 × 4096 that is the difference between
// 614 and 734 TFLOP/s (H200). Clusters are persistent and take items, tile after tile along x, so that the 66 items under
// way share few weights and all rows of x. The last items, where they would leave more than half of the clusters idle, are
// halved along x.
//
// The sum. K is cut into parts by the weight's shape alone (hopper_parts), each a chain of products in ascending K, added
// in ascending order: the bits of linear_sm90a.cu, whatever the tile. Three ways:
//   whole    one part: the accumulators are the sum;
//   parts    an item computes all parts and adds them in registers, so n ≤ 160;
//   pieces   few rows of x: a part is an item, so that narrow weights fill the chip; items join through memory.
// Where K is not cut and all items run at a time, weight rows are dealt out evenly, up to 256 a block: n rows of x come in
// for each block, and the fewer blocks a weight has the less of that there is.
//
// Producers. One warp brings weights, by bulk copies as packed; it fills the ring before it waits for the kernel ahead. One
// thread brings rows of x, by tensor copies in as few boxes as runs of rows allow.
//
// What bounds it: up to 160 rows bytes of W; beyond, what a multiprocessor can be brought, some 35 bytes a clock, and the
// tensor cores, whose clock falls to 1.4 GHz under this load. Registers: 128 to 160 accumulators a consumer thread.
#include "device/hopper.cuh"
#include "device/operations.hpp"
#include "device/product.cuh"

namespace tributary::device {
namespace {

using namespace hopper;

constexpr int cluster_blocks = 2;
constexpr int slab_rows =
    16;  // weight rows are dealt out in slabs: eight outputs of a gate, a warp's share of a product
constexpr int consumer_warps = 8;
constexpr int consumer_threads = consumer_warps * 32;
constexpr int warpgroups = consumer_threads / warpgroup_threads;
constexpr int threads = consumer_threads + warpgroup_threads;
constexpr int consumer_registers = 232;
constexpr int producer_registers = 40;
constexpr int staged_pitch = 20;       // floats of a row of x, of 16 outputs: neither side's accesses meet in a bank
constexpr int staged_gate_pitch = 12;  // of 8

// Tiles of up to `rows_` weight rows × n_ rows of x.
template <int n_, int rows_>
struct tiling {
    static constexpr int n = n_;
    static constexpr int rows = rows_;
    static constexpr int chunks = rows / block_rows;
    static constexpr int own = (chunks + warpgroups - 1) / warpgroups;  // chunks of a warpgroup
    static constexpr int weight_bytes = chunks * block_bytes;
    static constexpr int stage_bytes = weight_bytes + n * 128;
    static constexpr int staged_columns = rows > 192 ? 16 : 32;  // rows of x that a warp turns round together
    static constexpr int stages = (rows > 192 ? 208 : 200) * 1024 / stage_bytes;
    static constexpr int shared_bytes = stages * stage_bytes + swizzle_atom_bytes;
};

// Rows of x: maps of boxes of 1, 2, 4, 8 and 16 · (1 … 8) rows × 64 columns.
struct row_maps {
    static constexpr int powers = 4;
    static constexpr int count = powers + 8;
    CUtensorMap of[count];

    TRIBUTARY_ANYWHERE static int rows(int map) { return map < powers ? 1 << map : 16 * (map - powers + 1); }
#if defined(__CUDACC__)
    // The greatest box that `run` rows hold.
    __device__ static int greatest(int run) { return run < 16 ? 31 - __clz(run) : run / 16 + powers - 1; }
#endif
};

// How a block's half of an item's rows of x comes: rows in one run, or in two, main rows and stream rows, and each run in
// one box, or in two that overlap: a box takes some 100 ns, however small it is, so rows that come twice are cheaper.
struct row_boxes {
    struct run {
        int map;     // −1: no rows
        int row;     // of x, the first
        int behind;  // where the second box begins, 0: there is none
    };
    run runs[2];
    int second;  // where the second run begins among the half's rows

    // Returns the rows that come.
    __device__ __forceinline__ int plan(const row_map& rows, const row_map::found& found, int first, int count) {
        const bool one_run = rows.dense_x || found.main_rows >= found.count || found.main_rows == rows.max_main_rows;
        second = one_run ? count : min(max(found.main_rows - first, 0), count);
        int total = 0;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int length = i == 0 ? second : count - second;
            const int source = i == 0 ? first : rows.max_main_rows + first + second - found.main_rows;
            const int map = length > 0 ? row_maps::greatest(length) : -1;
            const int box = length > 0 ? row_maps::rows(map) : 0;
            runs[i] = {map, source, length - box};
            total += length > box ? 2 * box : box;
        }
        return total;
    }
};

// What an item computes of a sum whose K is cut into parts.
enum class summing {
    whole,   // all of K: it is not cut
    parts,   // one part after another, which it adds
    pieces,  // one part
};

// What a launch's clusters do, one item after another: cluster c takes items c, c + clusters, …
struct work_list {
    int parts;   // of a sum
    int pieces;  // of a sum that different items compute; 1: an item adds the parts itself
    int tiles;   // of n rows of x
    int whole;   // items of n rows of x; those behind take half as many
    int count;
    int slabs;   // of weight rows
    int blocks;  // among which they are divided, two of a cluster's side by side

    TRIBUTARY_ANYWHERE int first_row(int block) const {
        return static_cast<int>(static_cast<int64_t>(slabs) * block / blocks) * slab_rows;
    }

    TRIBUTARY_ANYWHERE int part_begin(int column_blocks, int part) const { return column_blocks * part / parts; }
};

struct work_item {
    int group, piece, tile;
    int row, width;  // of x: first dense row of the launch's, rows

    __device__ static work_item at(const work_list& work, int n, int i) {
        const bool whole = i < work.whole;
        const int behind = i - work.whole;
        const int tile = whole ? i : work.whole + behind / 2;
        const int width = whole ? n : n / 2;
        const int column = tile % work.tiles;
        const int q = tile / work.tiles;
        return {q / work.pieces, q % work.pieces, column, column * n + (whole ? 0 : behind % 2 * width), width};
    }
};

// Where a piece of the sums of 64 weight rows, chunk `chunk` of the launch, waits for the others: fragments as held. One
// tile takes all rows of x.
__device__ __forceinline__ float4* piece_of(const product_params& p, const work_list& work, int n, int chunk,
                                            int piece) {
    const int64_t slot = static_cast<int64_t>(chunk) * work.pieces + piece;
    return reinterpret_cast<float4*>(p.partials + slot * (block_rows * n));
}

// d += scale · B (A x) for columns of x with an adapter, as add_updates does it, of 16 packed weight rows × w columns. The
// same products; fragments wait for their A x eight at a time.
template <class T, int w>
__device__ __forceinline__ void apply_updates(const product_params& p, int packed_row, const void* inner_rows,
                                              const int32_t* adapters, int columns, float (&d)[w / 2]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int g = lane / 4;
    const int t = lane % 4;
    const lora_view& lora = p.lora;
    struct output_place {
        int part, column;  // −1: beyond N
    };
    // Found anew wherever it is wanted, which takes fewer registers than keeping it.
    const auto find = [&](int half) {
        int row = packed_row;
        asm volatile("" : "+r"(row));
        const int column = weight_column(p, row, g, half);
        output_place found = {column >= 0 ? 0 : -1, column};
#pragma unroll
        for (int i = 1; i < TRIB_MAX_PARTS; ++i) {
            if (i < lora.parts && column >= lora.part_begin[i]) {
                found = {i, column - lora.part_begin[i]};
            }
        }
        return found;
    };
    int first_part = 0;
    int last_part = 0;
    {
        const int low = find(0).part;
        const int high = find(1).part;
        const auto least = [](int part) { return part < 0 ? TRIB_MAX_PARTS : part; };
        first_part = __reduce_min_sync(0xffffffffU, min(least(low), least(high)));
        last_part = __reduce_max_sync(0xffffffffU, max(low, high));
    }
    // Chunk 0 of B's rows, and the scales, of the adapter met last.
    int cached = -1;
    uint2 b_rows[2];
    float scale[2];
    const auto load_b = [&](const trib_lora* entries, const output_place& at, int part, int chunk) -> uint2 {
        if (at.part != part) {
            return {0U, 0U};
        }
        const int rank = static_cast<int>(entries[part].rank);
        if (16 * chunk >= rank) {
            return {0U, 0U};
        }
        const packed_view b = {reinterpret_cast<const char*>(entries[part].b), 0, rank, 0, false};
        return *reinterpret_cast<const uint2*>(b.blocks + b.chunk_offset(at.column, 2 * chunk + t / 2) + 8 * (t % 2));
    };
    // Of the fragment that comes next; rows of A x are 16-bit elements apart that fit into an int.
    const int next = 8 * lora.parts * lora.inner_stride;
    const T* inner = static_cast<const T*>(inner_rows) + g * (next / 8) + 4 * t;
    constexpr int step = w < 256 && w / 8 % 4 == 0 ? 4 : 2;  // fewer where registers are scarce
    static_assert(w / 8 % step == 0);
#pragma unroll
    for (int n = 0; n < w / 8; n += step) {
        if (8 * n >= columns) {
            break;
        }
        int adapter[step];
        uint32_t pending[step];
        uint32_t any = 0;
#pragma unroll
        for (int i = 0; i < step; ++i) {
            adapter[i] = adapters[8 * (n + i) + g];
            pending[i] = __ballot_sync(0xffffffffU, adapter[i] >= 0);
            any |= pending[i];
        }
        while (any != 0) {
            int turn = -1;
#pragma unroll
            for (int i = 0; i < step; ++i) {
                if (turn < 0 && pending[i] != 0) {
                    turn = __shfl_sync(0xffffffffU, adapter[i], __ffs(static_cast<int>(pending[i])) - 1);
                }
            }
            any = 0;
#pragma unroll
            for (int i = 0; i < step; ++i) {
                pending[i] &= ~__ballot_sync(0xffffffffU, adapter[i] == turn);
                any |= pending[i];
            }
            const trib_lora* entries = lora.table + static_cast<int64_t>(turn) * lora.parts;
            if (turn != cached) {
                cached = turn;
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const output_place at = find(half);
                    b_rows[half] = at.part >= 0 ? load_b(entries, at, at.part, 0) : uint2{0U, 0U};
                    scale[half] = at.part >= 0 ? entries[at.part].scale : 0.0F;
                }
            }
            float u[step][4] = {};
#pragma unroll 1
            for (int part = first_part; part <= last_part; ++part) {
                const int rank = min(static_cast<int>(entries[part].rank), lora.inner_stride);
#pragma unroll 1
                for (int chunk = 0; 16 * chunk < rank; ++chunk) {
                    uint2 x[step];
#pragma unroll
                    for (int i = 0; i < step; ++i) {
                        const T* from = inner + (i * next + part * lora.inner_stride + 16 * chunk);
                        x[i] = adapter[i] == turn ? *reinterpret_cast<const uint2*>(from) : uint2{0U, 0U};
                    }
                    uint2 low = b_rows[0];
                    uint2 high = b_rows[1];
                    if (chunk != 0 || first_part != last_part) {
                        low = load_b(entries, find(0), part, chunk);
                        high = load_b(entries, find(1), part, chunk);
                    }
#pragma unroll
                    for (int i = 0; i < step; ++i) {
                        multiply_16x8<T>(u[i], low.x, high.x, low.y, high.y, x[i].x, x[i].y);
                    }
                }
            }
#pragma unroll
            for (int i = 0; i < step; ++i) {
                const bool even = __shfl_sync(0xffffffffU, adapter[i], 8 * t) == turn;
                const bool odd = __shfl_sync(0xffffffffU, adapter[i], 8 * t + 4) == turn;
                float* at = d + 4 * (n + i);
                at[0] = even ? __fmaf_rn(scale[0], u[i][0], at[0]) : at[0];
                at[1] = odd ? __fmaf_rn(scale[0], u[i][1], at[1]) : at[1];
                at[2] = even ? __fmaf_rn(scale[1], u[i][2], at[2]) : at[2];
                at[3] = odd ? __fmaf_rn(scale[1], u[i][3], at[3]) : at[3];
            }
        }
        inner += step * next;
        asm volatile("" : "+l"(inner)::"memory");  // loads of later fragments shall not come forward and take registers
    }
}

// Four neighbouring outputs of a row of y.
template <class T>
__device__ __forceinline__ void store_outputs(const product_params& p, int64_t at, int output, float4 value) {
    auto* y32 = static_cast<float*>(p.y) + at;
    auto* y16 = static_cast<T*>(p.y) + at;
    if (output + 4 <= p.outputs && p.y_stride % 4 == 0) {
        if (p.y_f32) {
            *reinterpret_cast<float4*>(y32) = value;
        } else {
            *reinterpret_cast<uint2*>(y16) = {pack2<T>(value.x, value.y), pack2<T>(value.z, value.w)};
        }
        return;
    }
    const float values[4] = {value.x, value.y, value.z, value.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        if (output + i < p.outputs) {
            if (p.y_f32) {
                y32[i] = values[i];
            } else {
                y16[i] = from_float<T>(values[i]);
            }
        }
    }
}

// Four neighbouring elements of a residual.
__device__ __forceinline__ float4 load_residual(const product_params& p, int64_t at, int output) {
    const float* y = static_cast<const float*>(p.y) + at;
    if (output + 4 <= p.outputs && p.y_stride % 4 == 0) {
        return *reinterpret_cast<const float4*>(y);
    }
    return {output < p.outputs ? y[0] : 0.0F, output + 1 < p.outputs ? y[1] : 0.0F,
            output + 2 < p.outputs ? y[2] : 0.0F, output + 3 < p.outputs ? y[3] : 0.0F};
}

// Bias, LoRA, gate or residual, and y, of a warp's finished sums: 16 packed weight rows from `packed_row` on × w columns,
// which are the rows of x from the dense row `first` on. Fragments have an output's neighbours in other lanes; they go
// through `stage` so that a lane writes four of them at once: by words a tile of 64 × 128 would take 3 µs.
template <class T, int w, int staged_columns>
__device__ __forceinline__ void write_tile(const product_params& p, const row_map::found& found, int packed_row,
                                           int first, int columns, const int32_t* adapter, float* stage,
                                           float (&d)[w / 2]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int g = lane / 4;
    const int t = lane % 4;
    if (p.bias != nullptr) {
        const int low = weight_column(p, packed_row, g, 0);
        const int high = weight_column(p, packed_row, g, 1);
        const float bias_low = low >= 0 ? load_element(p.bias, p.bias_dtype, low) : 0.0F;
        const float bias_high = high >= 0 ? load_element(p.bias, p.bias_dtype, high) : 0.0F;
#pragma unroll
        for (int i = 0; i < w / 2; i += 4) {
            d[i] = __fadd_rn(d[i], bias_low);
            d[i + 1] = __fadd_rn(d[i + 1], bias_low);
            d[i + 2] = __fadd_rn(d[i + 2], bias_high);
            d[i + 3] = __fadd_rn(d[i + 3], bias_high);
        }
    }
    if (p.lora.table != nullptr) {
        const void* inner =
            static_cast<const T*>(p.lora.inner) + static_cast<int64_t>(first) * p.lora.parts * p.lora.inner_stride;
        apply_updates<T, w>(p, packed_row, inner, adapter, columns, d);
    }
    constexpr int step = w % staged_columns == 0 ? staged_columns : 16;
    const auto place = [&](int column, int output) {
        return static_cast<int64_t>(p.rows.target(found, first + column)) * p.y_stride + output;
    };
    if (p.gate) {
        const int output = packed_row / 2 + 4 * (lane % 2);
#pragma unroll
        for (int begin = 0; begin < w; begin += step) {
            if (begin >= columns) {
                break;
            }
            __syncwarp();
#pragma unroll
            for (int i = 0; i < step / 8; ++i) {
                const float* of = d + begin / 2 + 4 * i;
                float* to = stage + (8 * i + 2 * t) * staged_gate_pitch + g;
                to[0] = __fmul_rn(silu(of[0]), of[2]);
                to[staged_gate_pitch] = __fmul_rn(silu(of[1]), of[3]);
            }
            __syncwarp();
#pragma unroll
            for (int i = 0; i < step / 16; ++i) {
                const int column = 16 * i + lane / 2;
                const float4 value =
                    *reinterpret_cast<const float4*>(stage + column * staged_gate_pitch + 4 * (lane % 2));
                if (begin + column < columns) {
                    store_outputs<T>(p, place(begin + column, output), output, value);
                }
            }
        }
        return;
    }
    const int output = packed_row + 4 * t;
#pragma unroll
    for (int begin = 0; begin < w; begin += step) {
        if (begin >= columns) {
            break;
        }
        float4 before[step / 8];
        if (p.residual) {
#pragma unroll
            for (int i = 0; i < step / 8; ++i) {
                const int column = begin + 8 * i + g;
                before[i] = column < columns ? load_residual(p, place(column, output), output)
                                             : make_float4(0.0F, 0.0F, 0.0F, 0.0F);
            }
        }
        __syncwarp();
#pragma unroll
        for (int i = 0; i < step / 8; ++i) {
            const float* of = d + begin / 2 + 4 * i;
            float* to = stage + (8 * i + 2 * t) * staged_pitch + g;
            to[0] = of[0];
            to[staged_pitch] = of[1];
            to[8] = of[2];
            to[staged_pitch + 8] = of[3];
        }
        __syncwarp();
#pragma unroll
        for (int i = 0; i < step / 8; ++i) {
            const int column = begin + 8 * i + g;
            float4 value = *reinterpret_cast<const float4*>(stage + (8 * i + g) * staged_pitch + 4 * t);
            if (p.residual) {
                value.x = __fadd_rn(before[i].x, value.x);
                value.y = __fadd_rn(before[i].y, value.y);
                value.z = __fadd_rn(before[i].z, value.z);
                value.w = __fadd_rn(before[i].w, value.w);
            }
            if (column < columns) {
                store_outputs<T>(p, place(column, output), output, value);
            }
        }
        asm volatile("" ::: "memory");  // loads of later residuals shall not come forward and take registers
    }
}

template <class tile>
struct shared_state {
    uint64_t full[tile::stages];
    uint64_t empty[tile::stages];
    int32_t adapter[warpgroups][tile::n];
    float stage[consumer_warps][tile::staged_columns * staged_pitch];
};

// A sum whose parts different clusters compute: each leaves its piece in memory, waits for the others, and finishes its
// share of the rows of x, so that the end is as short for all. Whoever waits, waits for items with neighbouring indices,
// at most eight, and items begin in the order of their indices: no wait is for something that waits itself.
// The counter of a row block, zero before and after: pieces that are there, and from bit 16 on shares that are done.
constexpr uint32_t piece_done = 1U << 16;
constexpr int share_columns = 32;

template <int w>
__device__ __forceinline__ void leave_piece(float4* to, const float (&d)[w / 2]) {
#pragma unroll
    for (int i = 0; i < w / 2; i += 4) {
        __stcg(to + i / 4 * warpgroup_threads, make_float4(d[i], d[i + 1], d[i + 2], d[i + 3]));
    }
}

// total = the pieces of a share, added in ascending K.
template <class Piece>
__device__ __forceinline__ void add_pieces(float (&total)[share_columns / 2], int pieces, int columns,
                                           const Piece& piece) {
    constexpr int fragments = share_columns / 8;
    constexpr int together = 2;  // more take registers that the greatest tiles lack
#pragma unroll
    for (float& of : total) {
        of = -0.0F;  // to which whatever is added stays as it is
    }
#pragma unroll 1
    for (int begin = 0; begin < pieces; begin += together) {
        float4 term[together][fragments];
#pragma unroll
        for (int j = 0; j < together; ++j) {
            if (begin + j < pieces) {
                const float4* from = piece(begin + j);
#pragma unroll
                for (int i = 0; i < fragments; ++i) {
                    term[j][i] =
                        8 * i < columns ? __ldcg(from + i * warpgroup_threads) : make_float4(0.0F, 0.0F, 0.0F, 0.0F);
                }
            }
        }
#pragma unroll
        for (int j = 0; j < together; ++j) {
            if (begin + j < pieces) {
#pragma unroll
                for (int i = 0; i < fragments; ++i) {
                    total[4 * i] = __fadd_rn(total[4 * i], term[j][i].x);
                    total[4 * i + 1] = __fadd_rn(total[4 * i + 1], term[j][i].y);
                    total[4 * i + 2] = __fadd_rn(total[4 * i + 2], term[j][i].z);
                    total[4 * i + 3] = __fadd_rn(total[4 * i + 3], term[j][i].w);
                }
            }
        }
    }
}

// A warpgroup's share of an item: every second chunk of 64 of the block's weight rows × w rows of x.
template <class T, class tile, int w, summing how>
__device__ __forceinline__ void multiply_item(const product_params& p, const work_list& work, const work_item& item,
                                              const row_map::found& found, int block, int warpgroup, char* ring,
                                              shared_state<tile>& shared, ring_position<tile::stages>& at) {
    constexpr int own = tile::own;
    const int thread = static_cast<int>(threadIdx.x) % warpgroup_threads;
    const int lane = thread % 32;
    const int begin_row = work.first_row(block);
    const int rows = work.first_row(block + 1) - begin_row;
    const auto release = [&](int stage) {
        if (lane < cluster_blocks) {
            barrier_arrive_at(&shared.empty[stage], static_cast<uint32_t>(lane));
        }
    };
    float d[own][w / 2];
    constexpr bool adds = how == summing::parts;
    static_assert(own == 1 || how == summing::whole);
    float sum[adds ? w / 2 : 1];
#pragma unroll
    for (float& of : sum) {
        of = -0.0F;  // to which whatever is added stays as it is
    }
    const int first_part = adds ? 0 : item.piece;
    const int last_part = adds ? work.parts - 1 : item.piece;
#pragma unroll 1
    for (int part = first_part; part <= last_part; ++part) {
        const int units = work.part_begin(p.column_blocks, part + 1) - work.part_begin(p.column_blocks, part);
#pragma unroll
        for (int j = 0; j < own; ++j) {
#pragma unroll
            for (int i = 0; i < w / 2; ++i) {
                d[j][i] = 0.0F;
            }
        }
        int held = 0;
#pragma unroll 1
        for (int i = 0; i < units; ++i) {
            barrier_wait(&shared.full[at.stage], at.parity);
            const uint32_t stage = shared_address(ring) + static_cast<uint32_t>(at.stage * tile::stage_bytes);
            const uint64_t b = descriptor_k_major(stage + tile::weight_bytes);
#pragma unroll
            for (int j = 0; j < own; ++j) {
                keep_registers(d[j]);
            }
            product_fence();
#pragma unroll
            for (int j = 0; j < own; ++j) {
                const int chunk = warpgroup + warpgroups * j;
                if (own == 1 || chunk * block_rows < rows) {
                    const uint64_t a = descriptor_k_major(stage + static_cast<uint32_t>(chunk * block_bytes));
#pragma unroll
                    for (int slice = 0; slice < 4; ++slice) {
                        product_shared<T, w>(d[j], advance_descriptor(a, 32 * slice), advance_descriptor(b, 32 * slice),
                                             1);
                    }
                }
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
#pragma unroll
        for (int j = 0; j < own; ++j) {
            keep_registers(d[j]);
        }
        release(held);
        if constexpr (adds) {
#pragma unroll
            for (int i = 0; i < w / 2; ++i) {
                sum[i] = __fadd_rn(sum[i], d[0][i]);
            }
        }
    }
    const int columns = min(found.count - p.first_row - item.row, w);
    if (columns <= 0) {
        return;
    }
    const int first = p.first_row + item.row;
    const auto sync = [&] { named_barrier_sync(1 + warpgroup, warpgroup_threads); };
    int32_t* adapter = shared.adapter[warpgroup];
    float* stage = shared.stage[threadIdx.x / 32];
    if (p.lora.table != nullptr) {
        sync();  // the item before is done with it
        for (int i = thread; i < w; i += warpgroup_threads) {
            adapter[i] = i < columns ? p.lora.row_adapter[first + i] : -1;
        }
        sync();
    }
    const int warp_row = warpgroup * block_rows + thread / 32 * slab_rows;  // of the block's
    if constexpr (adds) {
        if (warp_row < rows) {
            write_tile<T, w, tile::staged_columns>(p, found, begin_row + warp_row, first, columns, adapter, stage, sum);
        }
    } else if constexpr (how == summing::whole) {
        if constexpr (own == 1) {
            if (warp_row < rows) {
                write_tile<T, w, tile::staged_columns>(p, found, begin_row + warp_row, first, columns, adapter, stage,
                                                       d[0]);
            }
        } else {
            // The second chunk waits in the ring, which nobody fills any more, so that the first has the registers.
            float4* parked = reinterpret_cast<float4*>(ring) + threadIdx.x;
            named_barrier_sync(1 + warpgroups, consumer_threads);
#pragma unroll
            for (int i = 0; i < w / 2; i += 4) {
                parked[i / 4 * consumer_threads] = make_float4(d[1][i], d[1][i + 1], d[1][i + 2], d[1][i + 3]);
            }
#pragma unroll 1
            for (int row = warp_row; row < rows; row += warpgroups * block_rows) {
                write_tile<T, w, tile::staged_columns>(p, found, begin_row + row, first, columns, adapter, stage, d[0]);
#pragma unroll
                for (int i = 0; i < w / 2; i += 4) {
                    const float4 of = parked[i / 4 * consumer_threads];
                    d[0][i] = of.x, d[0][i + 1] = of.y, d[0][i + 2] = of.z, d[0][i + 3] = of.w;
                }
            }
        }
    } else {
        const int chunk = block * warpgroups + warpgroup;
        const auto piece = [&](int of) { return piece_of(p, work, tile::n, chunk, of) + thread; };
        uint32_t* counter = p.counters + chunk;
        leave_piece<w>(piece(item.piece), d[0]);
        __threadfence();
        sync();
        if (thread == 0) {
            atomicAdd(counter, 1U);
            while (load_acquire(counter) % piece_done < static_cast<uint32_t>(work.pieces)) {
            }
        }
        sync();
#pragma unroll 1
        for (int begin = item.piece * share_columns; begin < columns; begin += work.pieces * share_columns) {
            float total[share_columns / 2];
            add_pieces(total, work.pieces, columns - begin,
                       [&](int of) { return piece(of) + begin / 8 * warpgroup_threads; });
            if (warp_row < rows) {
                write_tile<T, share_columns, tile::staged_columns>(p, found, begin_row + warp_row, first + begin,
                                                                   columns - begin, adapter + begin, stage, total);
            }
        }
        sync();
        if (thread == 0 && atomicAdd(counter, piece_done) / piece_done + 1 == static_cast<uint32_t>(work.pieces)) {
            *counter = 0;
        }
    }
}

// The units of an item: column blocks first … first + count − 1.
struct unit_range {
    int first, count;

    __device__ static unit_range of(const product_params& p, const work_list& work, const work_item& item) {
        if (work.pieces == 1) {
            return {0, p.column_blocks};
        }
        const int first = work.part_begin(p.column_blocks, item.piece);
        return {first, work.part_begin(p.column_blocks, item.piece + 1) - first};
    }
};

// The item that cluster `cluster` does behind item `i`; beyond the end: none. Items without rows are left out, but for a
// cluster's first, whose weights are on their way before anybody knows.
__device__ __forceinline__ int next_item(const product_params& p, const work_list& work, int n, int clusters, int i) {
    const auto found = p.rows.read();  // again, rather than in registers all the while
    do {
        i += clusters;
    } while (i < work.count && p.first_row + work_item::at(work, n, i).row >= found.count);
    return i;
}

// Brings weights into the ring, one warp, a lane for each packed block of 64 rows that the block's rows meet: the first
// stages before it waits for the kernel ahead, since they are constants.
template <class tile>
__device__ __forceinline__ void bring_weights(const product_params& p, const work_list& work, cache_policy policy,
                                              shared_state<tile>& shared, char* ring, int own, int cluster,
                                              int clusters) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    ring_position<tile::stages> at;
    bool waited = false;
#pragma unroll 1
    for (int i = cluster; i < work.count; i = next_item(p, work, tile::n, clusters, i)) {
        const work_item item = work_item::at(work, tile::n, i);
        const unit_range units = unit_range::of(p, work, item);
        const int begin = work.first_row(item.group * cluster_blocks + own);
        const int end = work.first_row(item.group * cluster_blocks + own + 1);
        const int packed = begin / block_rows + lane;
        const int low = max(begin, packed * block_rows);
        const auto bytes = static_cast<uint32_t>(max(min(end, (packed + 1) * block_rows) - low, 0) * 128);
        const char* from = p.blocks + (static_cast<int64_t>(packed) * p.column_blocks + units.first) * block_bytes +
                           low % block_rows * 128;
        char* to = ring + (low - begin) * 128;
#pragma unroll 1
        for (int unit = 0; unit < units.count; ++unit) {
            if (!waited && unit == tile::stages) {
                wait_for_predecessor();
                waited = true;
            }
            barrier_wait(&shared.empty[at.stage], at.parity ^ 1);
            if (lane == 0) {
                barrier_arrive_expect(&shared.full[at.stage], static_cast<uint32_t>((end - begin) * 128));
            }
            __syncwarp();
            if (bytes != 0) {
                bulk_copy(to + at.stage * tile::stage_bytes, from, bytes, &shared.full[at.stage], policy);
            }
            from += block_bytes;
            at.advance();
        }
        if (!waited) {
            wait_for_predecessor();
            waited = true;
        }
    }
}

// Brings rows of x into the ring of both blocks, one thread: its half of each item's.
template <class tile>
__device__ __forceinline__ void bring_rows(const product_params& p, const row_maps& maps, const work_list& work,
                                           shared_state<tile>& shared, char* ring, int own, int cluster, int clusters) {
    constexpr uint32_t everybody = (1U << cluster_blocks) - 1;
    ring_position<tile::stages> at;
#pragma unroll 1
    for (int i = cluster; i < work.count; i = next_item(p, work, tile::n, clusters, i)) {
        const work_item item = work_item::at(work, tile::n, i);
        const unit_range units = unit_range::of(p, work, item);
        const int rows = item.width / cluster_blocks;
        row_boxes boxes;
        int bytes = 0;
#pragma unroll
        for (int block = 0; block < cluster_blocks; ++block) {  // the other's, then the own
            const int of = (own + 1 + block) % cluster_blocks;
            bytes += 128 * boxes.plan(p.rows, p.rows.read(), p.first_row + item.row + of * rows, rows);
        }
        int k = units.first * block_columns;
#pragma unroll 1
        for (int unit = 0; unit < units.count; ++unit) {
            barrier_wait(&shared.empty[at.stage], at.parity ^ 1);
            uint64_t* barrier = &shared.full[at.stage];
            barrier_arrive_expect(barrier, static_cast<uint32_t>(bytes));
            char* to = ring + at.stage * tile::stage_bytes + tile::weight_bytes + own * rows * 128;
#pragma unroll
            for (const row_boxes::run& run : boxes.runs) {
                if (run.map >= 0) {
                    tensor_copy_all(to, &maps.of[run.map], k, run.row, barrier, everybody);
                    if (run.behind > 0) {
                        tensor_copy_all(to + run.behind * 128, &maps.of[run.map], k, run.row + run.behind, barrier,
                                        everybody);
                    }
                }
                to += boxes.second * 128;
            }
            k += block_columns;
            at.advance();
        }
    }
}

template <class T, class tile, summing how>
__global__ void __launch_bounds__(threads, 1)
    large_product_kernel(const __grid_constant__ product_params p, const __grid_constant__ row_maps maps,
                         const work_list work, const cache_policy weight_policy) {
    constexpr int stages = tile::stages;
    extern __shared__ char dynamic[];
    __shared__ __align__(16) shared_state<tile> shared;

    const uint32_t before = shared_address(dynamic);
    char* ring = dynamic + ((before + swizzle_atom_bytes - 1) / swizzle_atom_bytes * swizzle_atom_bytes - before);
    const int thread = static_cast<int>(threadIdx.x);
    const int warp = __shfl_sync(0xffffffffU, thread / 32, 0);  // uniform, which the compiler shall know
    const int own = static_cast<int>(blockIdx.x) % cluster_blocks;
    const int cluster = static_cast<int>(blockIdx.x) / cluster_blocks;
    const int clusters = static_cast<int>(gridDim.x) / cluster_blocks;

    if (thread == 0) {
        for (int i = 0; i < stages; ++i) {
            barrier_init(&shared.full[i], 2);  // weights, x
            barrier_init(&shared.empty[i], cluster_blocks * consumer_warps);
        }
        barrier_init_fence();
    }
    cluster_sync();

    if (warp >= consumer_warps) {
        release_registers<producer_registers>();
        allow_successor();
        if (warp == consumer_warps) {
            bring_weights<tile>(p, work, weight_policy, shared, ring, own, cluster, clusters);
        } else {
            wait_for_predecessor();
            if (warp == consumer_warps + 1 && thread % 32 == 0) {
                bring_rows<tile>(p, maps, work, shared, ring, own, cluster, clusters);
            }
        }
        __syncwarp();
    } else {
        claim_registers<consumer_registers>();
        allow_successor();
        wait_for_predecessor();
        const auto found = p.rows.read();
        ring_position<stages> at;
        const auto multiply = [&]<int w>(const work_item& item) {
            multiply_item<T, tile, w, how>(p, work, item, found, item.group * cluster_blocks + own, warp / 4, ring,
                                           shared, at);
        };
        if constexpr (tile::own > 1) {
            // One item for each cluster, and none behind it.
            multiply.template operator()<tile::n>(work_item::at(work, tile::n, cluster));
        } else {
#pragma unroll 1
            for (int i = cluster; i < work.count; i = next_item(p, work, tile::n, clusters, i)) {
                const work_item item = work_item::at(work, tile::n, i);
                if (how == summing::pieces || item.width == tile::n) {
                    multiply.template operator()<tile::n>(item);
                } else if constexpr (how != summing::pieces) {
                    multiply.template operator()<tile::n / 2>(item);
                }
            }
        }
    }
    // Nobody leaves while the other block may still write here or arrive.
    cluster_sync();
}

// ---------------------------------------------------------------- launches

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
        const cuuint32_t box[2] = {block_columns, static_cast<cuuint32_t>(row_maps::rows(i))};
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

// Whether registers hold a sum beside the part that is under way.
constexpr bool adds_parts(int n) { return n == 128 || n == 160; }

// Slabs of a block, for whose sums registers are left.
constexpr int most_slabs(int n) { return (n <= 160 && n != 96 ? 256 : 128) / slab_rows; }

// How a launch is laid out, and what it costs in clocks of a multiprocessor.
struct launch_plan {
    int n, rows;
    summing how;
    work_list work;
    double clocks;
};

// Clocks of a unit of w rows of x and `rows` weight rows: the tensor cores', in chunks of 64 weight rows, or what it takes
// to bring both operands, of which a multiprocessor gets some 35 bytes a clock however they come.
constexpr double unit_clocks(int rows, int w) {
    constexpr double bytes_a_clock = 35.0;
    const double products = 2.0 * w * ((rows + block_rows - 1) / block_rows);
    const double bytes = 128.0 * (rows + w) / bytes_a_clock;
    return products > bytes ? products : bytes;
}

// Clocks of the end of an item, in which the tensor cores rest.
constexpr double end_clocks(int rows, int w) { return 2000.0 + 0.125 * rows * w; }

launch_plan plan_of(const context& context, const product_params& p, int bound) {
    const int clusters = context.multiprocessors / cluster_blocks;
    const int parts = hopper_parts(context.multiprocessors, p.row_blocks, p.column_blocks);
    const auto slabs = static_cast<int>(p.row_blocks * (block_rows / slab_rows));
    launch_plan best = {.clocks = 1e30};
    // `groups` of weight rows, one a cluster.
    const auto consider = [&](int n, summing how, int groups) {
        const int pieces = how == summing::pieces ? parts : 1;
        const int blocks = groups * cluster_blocks;
        const int rows = ceil_div(slabs, blocks) * slab_rows;
        const int tiles = ceil_div(bound, n);
        const int count = groups * pieces * tiles;
        const int rest = count % clusters;
        const int halved = pieces == 1 && 2 * rest <= clusters ? rest : 0;
        const double units = static_cast<double>(p.column_blocks) / pieces;
        double clocks = ceil_div(count - halved, clusters) * (units * unit_clocks(rows, n) + end_clocks(rows, n)) +
                        (halved > 0 ? units * unit_clocks(rows, n / 2) + end_clocks(rows, n / 2) : 0.0);
        if (pieces > 1) {
            constexpr double join_clocks = 8000.0;
            clocks += join_clocks;
        }
        if (clocks < best.clocks) {
            best = {n, rows, how, {parts, pieces, tiles, count - halved, count + halved, slabs, blocks}, clocks};
        }
    };
    constexpr int tile_slabs =
        cluster_blocks * warpgroups * block_rows / slab_rows;  // of a cluster, a chunk a warpgroup
    const int groups = ceil_div(slabs, tile_slabs);
    bool fits = false;  // a narrower tile takes all rows already
    for (const int n : {96, 128, 160, 192, 256}) {
        if (parts == 1) {
            consider(n, summing::whole, groups);
            // One item for each cluster, of more weight rows, so that x comes less often.
            const int fewer = clusters / ceil_div(bound, n);
            if (fewer > 0 && groups > fewer && slabs <= fewer * cluster_blocks * most_slabs(n)) {
                consider(n, summing::whole, fewer);
            }
        } else {
            // Pieces wait in memory, so only where one tile takes all rows.
            if (n >= bound && !fits) {
                consider(n, summing::pieces, groups);
            }
            if (adds_parts(n)) {
                consider(n, summing::parts, groups);
            }
        }
        fits = fits || n >= bound;
    }
    return best;
}

template <class T>
trib_status launch_plan_of(context& context, const char* operation, const product_params& p, const row_maps& maps,
                           const launch_plan& plan, cache_policy policy) {
    const int clusters = context.multiprocessors / cluster_blocks;
    const int used = plan.work.count < clusters ? plan.work.count : clusters;
    const auto run = [&]<int n, int rows, summing how>() {
        return launch(context, operation, large_product_kernel<T, tiling<n, rows>, how>,
                      {.grid = dim3(static_cast<unsigned>(used * cluster_blocks)),
                       .block = dim3(threads),
                       .shared_memory = tiling<n, rows>::shared_bytes,
                       .cluster = cluster_blocks},
                      p, maps, plan.work, policy);
    };
    const auto of_rows = [&]<int n>() {
        if constexpr (adds_parts(n)) {
            if (plan.how == summing::parts) {
                return run.template operator()<n, 128, summing::parts>();
            }
        }
        if constexpr (most_slabs(n) > 128 / slab_rows) {
            if (plan.rows > 192) {
                return run.template operator()<n, 256, summing::whole>();
            }
            if (plan.rows > 128) {
                return run.template operator()<n, 192, summing::whole>();
            }
        }
        return plan.how == summing::pieces ? run.template operator()<n, 128, summing::pieces>()
                                           : run.template operator()<n, 128, summing::whole>();
    };
    switch (plan.n) {
        case 96: return of_rows.template operator()<96>();
        case 128: return of_rows.template operator()<128>();
        case 160: return of_rows.template operator()<160>();
        case 192: return of_rows.template operator()<192>();
        default: return of_rows.template operator()<256>();
    }
}

}  // namespace

uint64_t hopper_large_partial_bytes(const context& context, const packed_view& weight, int64_t rows) {
    const int parts =
        hopper_parts(context.multiprocessors, weight.row_blocks(), static_cast<int>(weight.column_blocks()));
    int64_t columns = 256;
    for (const int n : {192, 160, 128, 96}) {
        columns = rows <= n ? n : columns;
    }
    constexpr int64_t group_blocks = cluster_blocks * warpgroups;
    const auto chunks = static_cast<uint64_t>(ceil_div(weight.row_blocks(), group_blocks) * group_blocks);
    return parts == 1
               ? 0
               : static_cast<uint64_t>(parts) * chunks * block_rows * static_cast<uint64_t>(columns) * sizeof(float);
}

trib_status hopper_large_product(context& context, const char* operation, product_params p, uint32_t dtype, int bound) {
    row_maps maps = {};
    if (const trib_status status = encode_rows(operation, p, dtype, maps); status != TRIB_OK) {
        return status;
    }
    const launch_plan plan = plan_of(context, p, bound);
    // Weights that are read once and are many shall not push activations out of the second-level cache.
    constexpr int64_t many_bytes = int64_t{8} << 20;
    const bool once = plan.work.tiles == 1 && p.row_blocks * p.column_blocks * block_bytes >= many_bytes;
    const cache_policy policy = once ? cache_policy::evict_first : cache_policy::evict_normal;
    return dtype == TRIB_DTYPE_BF16 ? launch_plan_of<bf16>(context, operation, p, maps, plan, policy)
                                    : launch_plan_of<f16>(context, operation, p, maps, plan, policy);
}

}  // namespace tributary::device
