// SPDX-License-Identifier: Apache-2.0
//
// What the kernels of the matrix product share, whatever instructions they multiply with: which rows take part, how K is
// cut between blocks, how the pieces of a sum come together, and what is done to a sum before it is written.
//
// Orientation: D [packed weight rows, rows of x] = W xᵀ. The weight is operand A (64 rows of it a block), rows of x are
// columns of D. Columns of a product do not know each other, which is the first half of batch invariance. The second:
// how K is cut is a function of the weight's shape and the number of multiprocessors only, each piece is one chain of
// products in ascending K, and pieces are added in ascending K, whoever adds them.
//
// Fragments: a thread holds D in tiles of 16 × 8 as mma.sync and wgmma both leave it, lane = 4 g + t:
//     d[0], d[1] = D[g][2 t, 2 t + 1], d[2], d[3] = D[g + 8][2 t, 2 t + 1].
// With a gate, packed rows g and g + 8 of a tile are gate and up of one output.
#pragma once

#include "device/launch.cuh"
#include "device/numbers.cuh"
#include "device/packed.cuh"
#include "device/step.cuh"

namespace tributary::device {

// ---------------------------------------------------------------- rows

// The rows of x that take part, in their dense order.
struct row_map {
    const int32_t* counts;  // the step's counts; null: rows come from index and index_count
    int max_main_rows, max_stream_rows;
    uint32_t rows;             // TRIB_ROWS_*
    const int32_t* index;      // row of x by dense row; null: the row itself
    const int32_t* row_count;  // [1]
    int max_rows;              // greatest dense rows
    int x_rows;                // rows of x, to which entries of index are clamped
    bool dense_x;              // x has been gathered: dense row i is row i of x
    bool dense_y;              // row i's result goes to row i of y, not to its place in the row buffer

#if defined(__CUDACC__)
    struct found {
        int count, main_rows;
    };
    __device__ found read() const {
        if (counts == nullptr) {
            const int n = min(max(row_count[0], 0), max_rows);
            return {n, n};
        }
        const int main_count = (rows & TRIB_ROWS_MAIN) != 0 ? min(max(counts[1], 0), max_main_rows) : 0;
        const int stream_count = (rows & TRIB_ROWS_STREAM) != 0 ? min(max(counts[2], 0), max_stream_rows) : 0;
        return {min(main_count + stream_count, max_rows), main_count};
    }
    // Index in the row buffer of dense row i.
    __device__ int place(const found& f, int i) const {
        return i < f.main_rows ? i : max_main_rows + (i - f.main_rows);
    }
    __device__ int source(const found& f, int i) const {
        if (dense_x) {
            return i;
        }
        return index != nullptr ? min(max(index[i], 0), x_rows - 1) : place(f, i);
    }
    __device__ int target(const found& f, int i) const { return dense_y ? i : place(f, i); }
#endif
};

// ---------------------------------------------------------------- how K is cut

// The units of a product (a group of weight rows × one block of columns, columns inside) as `ranges` contiguous ranges
// of the same length, or one less. A range reads one contiguous piece of the weight.
struct range_cut {
    int64_t units;
    int ranges;
    int column_blocks;

    TRIBUTARY_ANYWHERE int64_t begin(int range) const { return units * range / ranges; }
    TRIBUTARY_ANYWHERE int range_of(int64_t unit) const { return static_cast<int>(((unit + 1) * ranges - 1) / units); }
    // The ranges that share group `group`, in ascending K.
    TRIBUTARY_ANYWHERE int first_range(int group) const {
        return range_of(static_cast<int64_t>(group) * column_blocks);
    }
    TRIBUTARY_ANYWHERE int last_range(int group) const {
        return range_of(static_cast<int64_t>(group + 1) * column_blocks - 1);
    }
};

// ---------------------------------------------------------------- parameters

struct lora_view {
    const trib_lora* table;  // [adapters, parts]; null = no LoRA
    int32_t* row_adapter;    // by dense row, −1 = none
    void* inner;             // A x in the weight's type, [dense row, parts, inner_stride]
    int inner_stride;        // elements: max_rank padded to 16
    int parts;
    int part_begin[TRIB_MAX_PARTS + 1];  // first column of each part; entries beyond the last part = N

    // For who computes A x.
    int adapters;
    const int32_t* segments;  // [max_segments, 3]
    const int32_t* segment_count;
    int max_segments;
};

struct product_params {
    const char* blocks;  // packed weight
    int64_t row_blocks;
    int column_blocks;
    int columns;  // of x that count: elements beyond are taken as zero
    int outputs;  // columns of y: N, or I with a gate
    bool gate;
    range_cut cut;

    const char* x;
    int64_t x_stride;  // bytes
    int64_t x_rows;
    row_map rows;
    int first_row;  // dense row of the launch's first column

    const void* bias;  // [N]; null = none
    uint32_t bias_dtype;
    void* y;
    bool y_f32;        // else the weight's type
    int64_t y_stride;  // elements
    bool residual;

    lora_view lora;
    float* partials;     // sums of pieces that wait for the others
    uint32_t* counters;  // by row block: pieces that have arrived
};

// ---------------------------------------------------------------- the Hopper kernels (linear_sm90a.cu)

// Rows of x that one launch takes, for `rows` that are left.
constexpr int hopper_tile(int rows) { return rows <= 8 ? 8 : rows <= 16 ? 16 : rows <= 32 ? 32 : 64; }

// How many parts K is cut into: part i is column blocks ⌊i · column_blocks / parts⌋ … Each is one chain of products, and
// a sum is its parts added in ascending K. As many as blocks of 128 weight rows leave multiprocessors for, so none but of
// narrow weights; a function of the weight's shape and the number of multiprocessors only.
constexpr int hopper_parts(int multiprocessors, int64_t row_blocks, int column_blocks) {
    constexpr int most = 8;
    const int64_t of_rows = multiprocessors / ((row_blocks + 1) / 2);
    const int64_t of_columns = column_blocks / 4;
    const int64_t parts = of_rows < of_columns ? of_rows : of_columns;
    return static_cast<int>(parts < 1 ? 1 : parts > most ? most : parts);
}

// Whether x must be rows by runs, not by an index: where it comes by tensor copies.
constexpr bool hopper_is_wide(int rows) { return rows > 64; }

// Absent from a build without them.
__attribute__((weak)) trib_status hopper_product(context&, const char* operation, product_params p, uint32_t dtype,
                                                 int bound);
__attribute__((weak)) uint64_t hopper_partial_bytes(const context&, const packed_view& weight, int64_t rows);

// For many rows (linear_large_sm90a.cu).
__attribute__((weak)) trib_status hopper_large_product(context&, const char* operation, product_params p,
                                                       uint32_t dtype, int bound);
__attribute__((weak)) uint64_t hopper_large_partial_bytes(const context&, const packed_view& weight, int64_t rows);

#if defined(__CUDACC__)

// ---------------------------------------------------------------- products of a warp

template <class T>
__device__ __forceinline__ void multiply_16x8(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                                              uint32_t b0, uint32_t b1) {
    if constexpr (sizeof(T) == 2 && __is_same(T, bf16)) {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    } else {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    }
}

// ---------------------------------------------------------------- A x

// A x of 8 rows and 16 of the rank is the sum of 16 chains of products, added in order of chain. Chain i takes slabs
// i, i + 16, … of 32 columns. So the work may be spread over warps of one block or of many, with the same bits.
inline constexpr int down_chains = 16;

// d = the chain's products: D[rank][row]. `x` = the row of lane / 4, null: zeros. K within a slab is permuted (a lane
// reads eight neighbours of a row), alike for A and x.
template <class T, int together>
__device__ __forceinline__ void multiply_down(float (&d)[4], const trib_lora& entry, const char* x, int columns,
                                              int rank_tile, int chain) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int g = lane / 4;
    const int t = lane % 4;
    const packed_view a = {reinterpret_cast<const char*>(entry.a), 0, columns, 0, false};
    // Rows g and g + 8 of the tile lie in one block, 1 KiB apart.
    const char* rows = a.blocks + a.chunk_offset(16 * rank_tile, 0) + g * 128;
    const int slabs = (columns + 31) / 32;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        d[i] = 0.0F;
    }
#pragma unroll together
    for (int slab = chain; slab < slabs; slab += down_chains) {
        const int chunk = 4 * slab + t;
        uint4 low = {0U, 0U, 0U, 0U};
        uint4 high = {0U, 0U, 0U, 0U};
        uint4 b = {0U, 0U, 0U, 0U};
        if (8 * chunk < columns) {
            const char* at = rows + (chunk / 8 * block_bytes + (chunk % 8 ^ g) * 16);
            low = __ldg(reinterpret_cast<const uint4*>(at));
            high = __ldg(reinterpret_cast<const uint4*>(at + 8 * 128));
            if (x != nullptr) {
                b = *reinterpret_cast<const uint4*>(x + 16 * chunk);
            }
        }
        multiply_16x8<T>(d, low.x, high.x, low.y, high.y, b.x, b.y);
        multiply_16x8<T>(d, low.z, high.z, low.w, high.w, b.z, b.w);
    }
}

// ---------------------------------------------------------------- pieces of a sum

__device__ __forceinline__ uint32_t load_acquire(const uint32_t* address) {
    uint32_t value;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
    return value;
}

// Joins the pieces of one tile of D, which ranges first … last computed: whoever comes last adds them all, in ascending
// K, and goes on to the epilogue; nobody waits, so it does not matter which blocks run together. Returns whether this
// was the last. `pieces` = where a range's piece stands; `counter` is zero before the first and after the last.
// All `threads` threads call it together; `sync` is their barrier, `flag` a word of their shared memory. Fragments from
// column `columns` of the warp's part on are nobody's and stay out. Loads go in batches as large as registers allow: the
// one who adds reads (pieces − 1) · 256·M bytes at the latency of the second-level cache.
template <int accumulators, int ni, int threads, class Sync, class Piece>
__device__ __forceinline__ bool join_pieces(float (&d)[accumulators], int columns, int first, int last, int own,
                                            uint32_t* counter, int* flag, int thread, const Piece& piece,
                                            const Sync& sync) {
    static_assert(accumulators % 4 == 0);
    const auto is_used = [&](int i) { return 8 * (i / 4 % ni) < columns; };
    if (first == last) {
        return true;
    }
    const auto others = static_cast<uint32_t>(last - first);
    if (thread == 0) {
        *flag = load_acquire(counter) == others ? 1 : 0;
    }
    sync();
    // All the others are there: this piece need not go through memory.
    bool is_last = *flag != 0;
    if (!is_last) {
        float4* to = reinterpret_cast<float4*>(piece(own)) + thread;
#pragma unroll
        for (int i = 0; i < accumulators; i += 4) {
            if (is_used(i)) {
                __stcg(to + i / 4 * threads, make_float4(d[i], d[i + 1], d[i + 2], d[i + 3]));
            }
        }
        __threadfence();
        sync();
        if (thread == 0) {
            *flag = atomicAdd(counter, 1U) == others ? 1 : 0;
        }
        sync();
        is_last = *flag != 0;
    }
    // The flag may be written again for the next tile only when all have read it.
    sync();
    if (!is_last) {
        return false;
    }
    __threadfence();
    if (thread == 0) {
        *counter = 0;
    }
    // What comes before this piece is summed apart, in batches; what comes after is added in place.
    constexpr int batch = accumulators % 16 == 0 ? 16
                                                 : (accumulators % 12 == 0 ? 12
                                                    : accumulators <= 8    ? accumulators
                                                                           : 20);
    static_assert(accumulators % batch == 0);
    const auto load = [&](int range, int i) {
        return is_used(i) ? __ldcg(reinterpret_cast<const float4*>(piece(range)) + thread + i / 4 * threads)
                          : make_float4(0.0F, 0.0F, 0.0F, 0.0F);
    };
    const auto add = [](float4& sum, const float4& term) {
        sum.x = __fadd_rn(sum.x, term.x);
        sum.y = __fadd_rn(sum.y, term.y);
        sum.z = __fadd_rn(sum.z, term.z);
        sum.w = __fadd_rn(sum.w, term.w);
    };
    const auto add_batch = [&](int begin, const float4(&sum)[batch / 4]) {
#pragma unroll
        for (int i = 0; i < batch / 4; ++i) {
            float* at = d + begin + 4 * i;
            at[0] = __fadd_rn(sum[i].x, at[0]);
            at[1] = __fadd_rn(sum[i].y, at[1]);
            at[2] = __fadd_rn(sum[i].z, at[2]);
            at[3] = __fadd_rn(sum[i].w, at[3]);
        }
    };
    if (own != first) {
#pragma unroll
        for (int begin = 0; begin < accumulators; begin += batch) {
            float4 sum[batch / 4];
#pragma unroll
            for (int i = 0; i < batch / 4; ++i) {
                sum[i] = load(first, begin + 4 * i);
            }
            for (int range = first + 1; range < own; ++range) {
#pragma unroll
                for (int i = 0; i < batch / 4; ++i) {
                    add(sum[i], load(range, begin + 4 * i));
                }
            }
            add_batch(begin, sum);
        }
    }
    for (int range = own + 1; range <= last; ++range) {
#pragma unroll
        for (int begin = 0; begin < accumulators; begin += batch) {
            float4 term[batch / 4];
#pragma unroll
            for (int i = 0; i < batch / 4; ++i) {
                term[i] = load(range, begin + 4 * i);
            }
            add_batch(begin, term);
        }
    }
    return true;
}

// ---------------------------------------------------------------- epilogue

// What a warp holds of a tile: mi × ni fragments, d[(m · ni + n) · 4 …].
template <int mi, int ni>
struct warp_tile {
    int packed_row;          // first, a multiple of 16
    int column;              // first column of D within the launch's tile, a multiple of 8
    int columns;             // of the launch's tile that are rows of x
    const int32_t* target;   // [columns] row of y, in shared memory
    const int32_t* adapter;  // [columns padded to 8] −1 = none; in shared memory; with LoRA only
    const void* inner;       // A x in the weight's type, of column inner_column first; with LoRA only
    int inner_column;
};

// A x of the launch's first column, when a kernel ahead has computed it.
template <class T>
__device__ __forceinline__ const void* inner_of(const product_params& p) {
    return static_cast<const T*>(p.lora.inner) + static_cast<int64_t>(p.first_row) * p.lora.parts * p.lora.inner_stride;
}

__device__ __forceinline__ float silu(float x) { return __fdiv_rn(x, __fadd_rn(1.0F, expf(-x))); }

// Output column of the weight (bias, parts) of fragment rows g (half 0) and g + 8 (half 1), −1 beyond N.
__device__ __forceinline__ int weight_column(const product_params& p, int packed_row, int g, int half) {
    if (p.gate) {
        const int output = packed_row / 2 + g;
        return output < p.outputs ? output + half * p.outputs : -1;
    }
    const int column = packed_row + g + 8 * half;
    return column < p.outputs ? column : -1;
}

// d += scale · B (A x) for columns with an adapter; others are left untouched.
//
// B t is one more product: rows of B, at whatever part and column a fragment row belongs to, against t in chunks of 16
// of the rank. A thread reads four neighbouring elements of a row, so K within a chunk is permuted, alike on both
// sides. Columns of several adapters in one fragment take turns with the others' t set to zero.
template <class T, int mi, int ni>
__device__ __forceinline__ void add_updates(const product_params& p, const warp_tile<mi, ni>& tile,
                                            float (&d)[mi * ni * 4]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int g = lane / 4;
    const int t = lane % 4;
    const lora_view& lora = p.lora;
    int part_of[mi][2];
    int column_of[mi][2];
    int first_part = TRIB_MAX_PARTS;
    int last_part = -1;
#pragma unroll
    for (int m = 0; m < mi; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int column = weight_column(p, tile.packed_row + 16 * m, g, half);
            int part = -1;
            int begin = 0;
#pragma unroll
            for (int i = 0; i < TRIB_MAX_PARTS; ++i) {
                if (i < lora.parts && column >= lora.part_begin[i]) {
                    part = i;
                    begin = lora.part_begin[i];
                }
            }
            part_of[m][half] = part;
            column_of[m][half] = column - begin;
            if (part >= 0) {
                first_part = min(first_part, part);
                last_part = max(last_part, part);
            }
        }
    }
    first_part = __reduce_min_sync(0xffffffffU, first_part);
    last_part = __reduce_max_sync(0xffffffffU, last_part);

    // Of the adapter met last: chunk 0 of B's rows, and the scales.
    int cached = -1;
    uint2 b_rows[mi][2];
    float scale[mi][2];
    const auto load_b = [&](int adapter, int m, int half, int chunk) -> uint2 {
        const int part = part_of[m][half];
        if (part < 0) {
            return {0U, 0U};
        }
        const trib_lora& entry = lora.table[static_cast<int64_t>(adapter) * lora.parts + part];
        const int rank = static_cast<int>(entry.rank);
        if (16 * chunk >= rank) {
            return {0U, 0U};
        }
        const packed_view b = {reinterpret_cast<const char*>(entry.b), 0, rank, 0, false};
        return *reinterpret_cast<const uint2*>(b.blocks + b.chunk_offset(column_of[m][half], 2 * chunk + t / 2) +
                                               8 * (t % 2));
    };

    // Some fragments together, so that their loads of A x are under way together; fewer where registers are scarce.
    constexpr int step = ni < 4 ? ni : ni <= 8 || ni > 24 ? 2 : 4;
#pragma unroll
    for (int n = 0; n < ni; n += step) {
        const int column = tile.column + 8 * n;
        if (column >= tile.columns) {
            break;
        }
        int adapter[step];
        uint32_t pending[step];
        uint32_t any = 0;
#pragma unroll
        for (int i = 0; i < step; ++i) {
            adapter[i] = tile.adapter[column + 8 * i + g];
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
                for (int m = 0; m < mi; ++m) {
#pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        b_rows[m][half] = load_b(turn, m, half, 0);
                        scale[m][half] = part_of[m][half] >= 0 ? entries[part_of[m][half]].scale : 0.0F;
                    }
                }
            }
            float u[step][mi][4] = {};
            for (int part = first_part; part <= last_part; ++part) {
                const int rank = min(static_cast<int>(entries[part].rank), lora.inner_stride);  // never beyond the row
                const T* inner =
                    static_cast<const T*>(tile.inner) +
                    (static_cast<int64_t>(column - tile.inner_column + g) * lora.parts + part) * lora.inner_stride +
                    4 * t;
                const int64_t next = static_cast<int64_t>(8) * lora.parts * lora.inner_stride;
                for (int chunk = 0; 16 * chunk < rank; ++chunk) {
                    uint2 x[step];
#pragma unroll
                    for (int i = 0; i < step; ++i) {
                        x[i] = adapter[i] == turn ? *reinterpret_cast<const uint2*>(inner + i * next + 16 * chunk)
                                                  : uint2{0U, 0U};
                    }
#pragma unroll
                    for (int m = 0; m < mi; ++m) {
                        uint2 low = chunk == 0 ? b_rows[m][0] : load_b(turn, m, 0, chunk);
                        uint2 high = chunk == 0 ? b_rows[m][1] : load_b(turn, m, 1, chunk);
                        low = part_of[m][0] == part ? low : uint2{0U, 0U};
                        high = part_of[m][1] == part ? high : uint2{0U, 0U};
#pragma unroll
                        for (int i = 0; i < step; ++i) {
                            multiply_16x8<T>(u[i][m], low.x, high.x, low.y, high.y, x[i].x, x[i].y);
                        }
                    }
                }
            }
#pragma unroll
            for (int i = 0; i < step; ++i) {
                const bool even = __shfl_sync(0xffffffffU, adapter[i], 8 * t) == turn;
                const bool odd = __shfl_sync(0xffffffffU, adapter[i], 8 * t + 4) == turn;
#pragma unroll
                for (int m = 0; m < mi; ++m) {
                    float* at = d + (m * ni + n + i) * 4;
                    at[0] = even ? __fmaf_rn(scale[m][0], u[i][m][0], at[0]) : at[0];
                    at[1] = odd ? __fmaf_rn(scale[m][0], u[i][m][1], at[1]) : at[1];
                    at[2] = even ? __fmaf_rn(scale[m][1], u[i][m][2], at[2]) : at[2];
                    at[3] = odd ? __fmaf_rn(scale[m][1], u[i][m][3], at[3]) : at[3];
                }
            }
        }
        asm volatile("" ::: "memory");  // loads of later fragments shall not come forward and take registers
    }
}

// Fetches A x of the launch's rows into the first-level cache, long before add_updates wants it.
__device__ __forceinline__ void warm_inner(const product_params& p, int columns, int thread, int threads) {
    constexpr int64_t line = 128;
    constexpr int64_t most = 16 * 1024;
    const int64_t row_bytes = static_cast<int64_t>(p.lora.parts) * p.lora.inner_stride * 2;
    const char* from = static_cast<const char*>(p.lora.inner) + p.first_row * row_bytes;
    const int64_t bytes = min(columns * row_bytes, most);
    for (int64_t at = thread * line; at < bytes; at += threads * line) {
        asm volatile("{\n\t.reg .b32 unused;\n\tld.global.ca.u32 unused, [%0];\n\t}\n" ::"l"(from + at));
    }
}

// Adds bias and LoRA to a warp's finished sums.
template <class T, int mi, int ni>
__device__ __forceinline__ void complete_sums(const product_params& p, const warp_tile<mi, ni>& tile,
                                              float (&d)[mi * ni * 4]) {
    const int g = static_cast<int>(threadIdx.x) % 32 / 4;
    if (p.bias != nullptr) {
#pragma unroll
        for (int m = 0; m < mi; ++m) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int column = weight_column(p, tile.packed_row + 16 * m, g, half);
                const float bias = column >= 0 ? load_element(p.bias, p.bias_dtype, column) : 0.0F;
#pragma unroll
                for (int n = 0; n < ni; ++n) {
                    float* at = d + (m * ni + n) * 4 + 2 * half;
                    at[0] = __fadd_rn(at[0], bias);
                    at[1] = __fadd_rn(at[1], bias);
                }
            }
        }
    }
    if (p.lora.table != nullptr) {
        add_updates<T, mi, ni>(p, tile, d);
    }
}

// Bias, LoRA, gate or residual, and y, of a warp's finished sums.
template <class T, int mi, int ni>
__device__ __forceinline__ void write_outputs(const product_params& p, const warp_tile<mi, ni>& tile,
                                              float (&d)[mi * ni * 4]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int g = lane / 4;
    const int t = lane % 4;
    complete_sums<T, mi, ni>(p, tile, d);
    auto* y32 = static_cast<float*>(p.y);
    auto* y16 = static_cast<T*>(p.y);
    const auto store = [&](int64_t at, float value) {
        if (p.y_f32) {
            y32[at] = value;
        } else {
            y16[at] = from_float<T>(value);
        }
    };
    // Some fragments at a time: enough loads of a residual under way, and no more registers than that takes.
    constexpr int step = ni * mi < 4 ? ni : ni == 8 ? 2 : 4 / mi;
#pragma unroll
    for (int begin = 0; begin < ni; begin += step) {
        if (tile.column + 8 * begin >= tile.columns) {
            break;
        }
        float before[step][2][mi][2];
        if (p.residual) {
#pragma unroll
            for (int i = 0; i < step; ++i) {
#pragma unroll
                for (int odd = 0; odd < 2; ++odd) {
                    const int column = tile.column + 8 * (begin + i) + 2 * t + odd;
                    const bool valid = column < tile.columns;
                    const int64_t row = valid ? static_cast<int64_t>(tile.target[column]) * p.y_stride : 0;
#pragma unroll
                    for (int m = 0; m < mi; ++m) {
#pragma unroll
                        for (int half = 0; half < 2; ++half) {
                            const int output = tile.packed_row + 16 * m + 8 * half + g;
                            before[i][odd][m][half] = valid && output < p.outputs ? y32[row + output] : 0.0F;
                        }
                    }
                }
            }
        }
#pragma unroll
        for (int i = 0; i < step; ++i) {
#pragma unroll
            for (int odd = 0; odd < 2; ++odd) {
                const int column = tile.column + 8 * (begin + i) + 2 * t + odd;
                if (column >= tile.columns) {
                    continue;
                }
                const int64_t row = static_cast<int64_t>(tile.target[column]) * p.y_stride;
#pragma unroll
                for (int m = 0; m < mi; ++m) {
                    const float* at = d + (m * ni + begin + i) * 4 + odd;
                    if (p.gate) {
                        const int output = tile.packed_row / 2 + 8 * m + g;
                        if (output < p.outputs) {
                            store(row + output, __fmul_rn(silu(at[0]), at[2]));
                        }
                        continue;
                    }
#pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        const int output = tile.packed_row + 16 * m + 8 * half + g;
                        if (output < p.outputs) {
                            const float value = at[2 * half];
                            store(row + output, p.residual ? __fadd_rn(before[i][odd][m][half], value) : value);
                        }
                    }
                }
            }
        }
        asm volatile("" ::: "memory");
    }
}

#endif  // __CUDACC__

}  // namespace tributary::device
