// SPDX-License-Identifier: Apache-2.0
//
// The portable tile kernel of multi_stream_attention: mma.sync, ldmatrix and cp.async, sm_80 and later.
//
// What. For the query rows, the KV head and the chunk of a block (attention.cuh), over the keys in tiles of 64 absolute
// positions (32 above d = 128), ascending:
//     s = q Kᵀ    16 × 8 × 16 products, d in steps of 16, fp32; q rounded to the cache's type
//     m' = max(m, scale · max s),  p = 2^(scale · s − m'),  l = l · 2^(m − m') + Σ p,  o = o · 2^(m − m') + p V
// with p rounded to the cache's type for p V and fp32 in Σ p. Keys that a row does not see get s = −∞, by replacing it.
//
// Grid and block. 128 threads. More than 16 query rows: each warp owns 16 (or 2 × 16) of them and meets every key.
// At most 16 (decoding): the four warps share them, each takes a quarter of the keys for s and a quarter of the columns
// for o, and they exchange maxima and p through shared memory; one warp alone would take longer for a tile than the tile
// takes to arrive. Both ways run the same products in the same order for a row, and Σ p is kept by quarters of a tile
// in both, so a row's bits do not depend on who else is in its block.
//
// Bound. A tile of K and V is 4 · 64 · d bytes and costs 4 · 64 · d FLOP for each query row: one FLOP a byte and row. With
// 64 or more query rows to a KV head that is arithmetic on every GPU that has tensor cores (an A100 turns at 156 FLOP a
// byte of memory, but at about 50 a byte of L2, from which the blocks of further rows read), with few rows it is memory.
// So: as many rows a block as registers hold (128 for the usual sizes, where o takes 128 registers a thread), which
// halves the reads of K and V from shared memory and L2 against 64; and two to four stages of tiles in flight, as shared
// memory allows with two blocks on a multiprocessor, because one block waits while it exchanges.
//
// Shared memory. A row of a tile has 2d + 16 bytes: an odd number of 16-byte units, so that the eight rows of a matrix
// that ldmatrix reads lie in different banks, whatever d is. Rows outside the positions that any row of the block sees,
// and columns that pad d, are not read but zero-filled by cp.async: their memory may hold NaN, and 0 · NaN would spread.
#pragma once

#include <climits>

#include "device/attention.cuh"

namespace tributary::device::portable_tiles {

constexpr int threads = 128;
constexpr int warps = threads / 32;
constexpr unsigned whole_warp = 0xffffffff;
constexpr int greatest_stages = 4;

// ---------------------------------------------------------------- instructions

// 16 bytes from global to shared memory, or 16 zeros, in which case nothing is read.
__device__ __forceinline__ void copy_async(uint32_t shared, const void* global, bool wanted) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(wanted ? 16 : 0)
                 : "memory");
}
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// At most `pending` groups are still under way.
template <int pending>
__device__ __forceinline__ void await_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// Four, or two, 8 × 8 matrices of 16-bit elements; lane i gives the address of row i mod 8 of matrix i / 8.
__device__ __forceinline__ void load_matrices(uint32_t (&x)[4], uint32_t shared) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(shared)
                 : "memory");
}
__device__ __forceinline__ void load_matrices(uint32_t (&x)[2], uint32_t shared) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(x[0]), "=r"(x[1])
                 : "r"(shared)
                 : "memory");
}
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&x)[4], uint32_t shared) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(shared)
                 : "memory");
}

// c += a b with a [16, 16], b [16, 8]. Lane 4g + t holds of c the elements (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
template <class T>
__device__ __forceinline__ void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
template <>
__device__ __forceinline__ void multiply<bf16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ __forceinline__ void multiply<f16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 2ˣ; 0 at −∞, exactly 1 at 0.
__device__ __forceinline__ float exp2_approximately(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ float minus_infinity() { return __int_as_float(static_cast<int>(0xff800000)); }

// Over the four lanes that share a row of a fragment. Maximum and sum of two are symmetric: all four get the same bits.
__device__ __forceinline__ float quad_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(whole_warp, x, 1));
    return fmaxf(x, __shfl_xor_sync(whole_warp, x, 2));
}
__device__ __forceinline__ float quad_sum(float x) {
    x = __fadd_rn(x, __shfl_xor_sync(whole_warp, x, 1));
    return __fadd_rn(x, __shfl_xor_sync(whole_warp, x, 2));
}

// ---------------------------------------------------------------- shapes

// D: head size, rounded up to one that has a kernel. M: blocks of 16 query rows of a warp.
template <int D, int M>
struct tile_shape {
    static constexpr int keys = D <= 128 ? 64 : 32;  // of a tile; above d = 128, what shared memory and registers hold
    static constexpr int quarter = keys / warps;     // keys whose p are summed up together
    static constexpr int queries = 16 * warps * M;   // of a block
    static constexpr int chunks = D / 8;             // 16-byte units of a row
    static constexpr int row_bytes = 2 * D + 16;
    static constexpr int tile_bytes = keys * row_bytes;
    static constexpr int stage_bytes = 2 * tile_bytes;  // K, then V
    static constexpr int weight_row_bytes = 2 * keys + 16;
    // Unrolling of the copies: their addresses take registers, and where o takes 128 there are none to spare.
    static constexpr int copies_at_once = D * M > 128 ? 2 : 8;
    static_assert(keys * chunks % threads == 0 && queries <= threads);
};

// A block's shared memory in front of the stages. What all threads know alike lies here too: each of its words in a
// register would cost 128.
template <int D, int M>
struct alignas(16) block_memory {
    using shape = tile_shape<D, M>;
    unsigned char q[M > 1 ? shape::queries* shape::row_bytes : 16];  // rounded query rows, where registers lack room
    unsigned char p[16 * shape::weight_row_bytes];                   // of 16 shared rows, in the cache's type
    float maxima[warps][16];                                         // of the scores of each warp's keys
    float sums[warps][16][4];                                        // of the p of each thread
    float2 totals[M > 1 ? 2 * M : 1][M > 1 ? threads : 1];  // (m, l) of each thread's rows, where registers lack room
    int64_t offsets[shape::queries];                        // of each query row in q
    int states[shape::queries];                             // row and head of its states; −1 = none
    int firsts[shape::queries], ends[shape::queries];       // positions of the chunk that it sees
    int extents[2][warps];
    int sure[2][warps];  // first and end of the positions that all rows of a warp see
    int sequence;
    int queries;         // query rows of the block
    int first_position;  // positions that any of them sees
    int end_position;
    int end_tile;  // past the last tile
};

__device__ __forceinline__ int kv_head_of_block() { return static_cast<int>(blockIdx.y); }
__device__ __forceinline__ int chunk_of_block() { return static_cast<int>(gridDim.z - 1 - blockIdx.z); }

// ---------------------------------------------------------------- tiles on their way

template <int D, int M>
class tile_stream {
    using shape = tile_shape<D, M>;

public:
    __device__ tile_stream(const attention_view& a, const block_memory<D, M>& memory, int stages)
        : a_(a), memory_(memory), stages_(stages) {
        tile_ = memory.first_position / shape::keys;
        // All page numbers first: one wait for them, not one each.
        int ahead[greatest_stages];
#pragma unroll
        for (int i = 0; i < greatest_stages; ++i) {
            ahead[i] = page(tile_ + i);
        }
#pragma unroll
        for (int i = 0; i < greatest_stages - 1; ++i) {
            if (i < stages - 1) {
                load(tile_ + i, ahead[i], i);
                commit_copies();
                page_ = ahead[i + 1];
            }
        }
        free_ = stages - 1;
    }

    // Whether there is a tile left; every thread of the block asks alike.
    __device__ bool more() const { return tile_ < memory_.end_tile; }
    __device__ int first_position() const { return tile_ * shape::keys; }

    // Waits for the tile and returns the address of its K; V stands tile_bytes behind. All threads call it; what they
    // read of the tile before may be overwritten from now on.
    __device__ uint32_t await() {
        // stages − 1 groups before the first tile and one with each since: the tile's own has stages − 2 behind it.
        if (stages_ == 2) {
            await_copies<0>();
        } else if (stages_ == 3) {
            await_copies<1>();
        } else {
            await_copies<2>();
        }
        __syncthreads();
        const int next = tile_ + stages_ - 1;
        load(next, page_, free_);
        commit_copies();
        page_ = page(next + 1);
        const int stage = free_ + 1 == stages_ ? 0 : free_ + 1;
        free_ = stage;
        return stage_address(stage);
    }
    __device__ void advance() { ++tile_; }

private:
    __device__ uint32_t stage_address(int stage) const {
        return shared_address(&memory_ + 1) + static_cast<uint32_t>(stage) * shape::stage_bytes;
    }

    // The page of a tile; of tiles beyond the last, whose entries may hold anything, none is read.
    __device__ int page(int tile) const {
        return tile < memory_.end_tile ? a_.step.page(memory_.sequence, tile * shape::keys) : 0;
    }

    __device__ void load(int tile, int page, int stage) const {
        if (tile >= memory_.end_tile) {
            return;
        }
        const int position = tile * shape::keys;
        const uint16_t* keys = a_.keys(page, kv_head_of_block()) + position % TRIB_PAGE_TOKENS * a_.head_dim;
        const int64_t to_values = a_.value_offset();
        const uint32_t to = stage_address(stage);
#pragma unroll shape::copies_at_once
        for (int i = 0; i < shape::keys * shape::chunks / threads; ++i) {
            const int index = static_cast<int>(threadIdx.x) + threads * i;
            const int row = index / shape::chunks;
            const int chunk = index % shape::chunks;
            const bool wanted = position + row >= memory_.first_position && position + row < memory_.end_position &&
                                8 * chunk < a_.head_dim;
            const uint16_t* from = wanted ? keys + row * a_.head_dim + 8 * chunk : keys;
            const uint32_t at = to + static_cast<uint32_t>(row * shape::row_bytes + 16 * chunk);
            copy_async(at, from, wanted);
            copy_async(at + shape::tile_bytes, from + to_values, wanted);
        }
    }

    const attention_view& a_;
    const block_memory<D, M>& memory_;
    int stages_;
    int tile_;
    int page_;  // of tile_ + stages − 1
    int free_;  // stage that the next load goes to: before await(), that of the tile before
};

// ---------------------------------------------------------------- parts of both ways

// Elements column and column + 1 of a query row.
__device__ __forceinline__ uint32_t query_pair(const attention_view& a, const uint16_t* row, int column, bool exists) {
    if (!exists || column >= a.head_dim) {
        return 0;
    }
    if (a.q_pairs) {
        return *reinterpret_cast<const uint32_t*>(row + column);
    }
    return row[column] | static_cast<uint32_t>(row[column + 1]) << 16;
}

// The 16 query rows from `row` on as fragments, one for each 16 columns.
template <int D>
__device__ __forceinline__ void load_queries(uint32_t (&q)[D / 16][4], const attention_view& a, const int64_t* offsets,
                                             int row, int rows) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int upper = row + lane / 4;
    const bool has_upper = upper < rows;
    const bool has_lower = upper + 8 < rows;
    const uint16_t* of_upper = a.q + (has_upper ? offsets[upper] : 0);
    const uint16_t* of_lower = a.q + (has_lower ? offsets[upper + 8] : 0);
#pragma unroll
    for (int k = 0; k < D / 16; ++k) {
        const int column = 16 * k + lane % 4 * 2;
        q[k][0] = query_pair(a, of_upper, column, has_upper);
        q[k][1] = query_pair(a, of_lower, column, has_lower);
        q[k][2] = query_pair(a, of_upper, column + 8, has_upper);
        q[k][3] = query_pair(a, of_lower, column + 8, has_lower);
    }
}

// How the state of a row goes on with a tile whose greatest score of the row is `score`.
struct row_step {
    float reference;  // what scaled scores are taken relative to
    float shrink;     // factor of what was summed up before
};
__device__ __forceinline__ row_step take_maximum(float& m, float score, float scale) {
    const float greatest = fmaxf(m, __fmul_rn(score, scale));
    row_step step;
    step.reference = greatest == minus_infinity() ? 0.0F : greatest;
    step.shrink = exp2_approximately(__fsub_rn(m, step.reference));
    m = greatest;
    return step;
}
__device__ __forceinline__ float weight(float score, float scale, float reference) {
    return exp2_approximately(__fmaf_rn(score, scale, -reference));
}

// Σ p of a tile, from the sums of its quarters.
__device__ __forceinline__ float sum_of_quarters(const float (&x)[warps]) {
    return __fadd_rn(__fadd_rn(x[0], x[1]), __fadd_rn(x[2], x[3]));
}

// Two neighbouring columns of a state's o.
__device__ __forceinline__ void store_pair(const attention_view& a, int64_t state, int column, float x, float y) {
    if (column < a.head_dim) {
        *reinterpret_cast<float2*>(a.state_o + state * a.head_dim + column) = {x, y};
    }
}

// ---------------------------------------------------------------- a warp's own rows

template <class T, int D, int M>
__device__ __forceinline__ void attend_own_rows(const attention_view& a, block_memory<D, M>& memory,
                                                tile_stream<D, M>& tiles) {
    using shape = tile_shape<D, M>;
    constexpr int key_blocks = shape::keys / 8;
    constexpr int column_blocks = D / 8;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int g = lane / 4;
    const int first_row = static_cast<int>(threadIdx.x) / 32 * 16 * M;
    const uint32_t queries_at = shared_address(memory.q);

    uint32_t q[M > 1 ? 1 : D / 16][4];
    if constexpr (M == 1) {
        load_queries<D>(q, a, memory.offsets, first_row, memory.queries);
    } else {
        // Through shared memory: o leaves no registers for them. The barrier of the first tile comes before they are read.
        for (int index = static_cast<int>(threadIdx.x); index < shape::queries * D / 2; index += threads) {
            const int row = index / (D / 2);
            const int column = index % (D / 2) * 2;
            const bool exists = row < memory.queries;
            *reinterpret_cast<uint32_t*>(memory.q + row * shape::row_bytes + 2 * column) =
                query_pair(a, a.q + (exists ? memory.offsets[row] : 0), column, exists);
        }
    }

    int warp_first = 0;  // positions that all of the warp's rows see

    int warp_end = INT_MAX;
    float2 totals[M > 1 ? 1 : 2];  // (m, l) of each row, l of the thread's columns
    float o[M][column_blocks][4];
#pragma unroll
    for (int i = 0; i < M; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int row = first_row + 16 * i + 8 * half + g;
            warp_first = max(warp_first, memory.firsts[row]);
            warp_end = min(warp_end, memory.ends[row]);
            if constexpr (M > 1) {
                memory.totals[2 * i + half][threadIdx.x] = {minus_infinity(), 0};
            } else {
                totals[half] = {minus_infinity(), 0};
            }
        }
#pragma unroll
        for (int n = 0; n < column_blocks; ++n) {
            o[i][n][0] = o[i][n][1] = o[i][n][2] = o[i][n][3] = 0;
        }
    }
    warp_first = __reduce_max_sync(whole_warp, warp_first);
    warp_end = __reduce_min_sync(whole_warp, warp_end);
    const int warp = static_cast<int>(threadIdx.x) / 32;
    if (lane == 0) {
        memory.sure[0][warp] = warp_first;
        memory.sure[1][warp] = warp_end;
    }
    __syncwarp();
    const bool active = first_row < memory.queries;

    for (; tiles.more(); tiles.advance()) {
        const uint32_t keys = tiles.await();
        if (!active) {
            continue;
        }
        // s, 16 keys a load: matrices (keys 0 … 7, columns 0 … 7), (0 … 7, 8 … 15), (8 … 15, 0 … 7), (8 … 15, 8 … 15).
        float s[M][key_blocks][4];
#pragma unroll
        for (int i = 0; i < M; ++i) {
#pragma unroll
            for (int n = 0; n < key_blocks; ++n) {
                s[i][n][0] = s[i][n][1] = s[i][n][2] = s[i][n][3] = 0;
            }
        }
        const uint32_t key_lane =
            keys + static_cast<uint32_t>((lane / 16 * 8 + lane % 8) * shape::row_bytes + lane / 8 % 2 * 16);
        const uint32_t query_lane =
            queries_at + static_cast<uint32_t>((first_row + lane % 16) * shape::row_bytes + lane / 16 * 16);
#pragma unroll M == 1 ? D / 16 : 1
        for (int k = 0; k < D / 16; ++k) {
            uint32_t x[M][4];
#pragma unroll
            for (int i = 0; i < M; ++i) {
                if constexpr (M == 1) {
                    x[i][0] = q[k][0];
                    x[i][1] = q[k][1];
                    x[i][2] = q[k][2];
                    x[i][3] = q[k][3];
                } else {
                    load_matrices(x[i], query_lane + static_cast<uint32_t>(16 * i * shape::row_bytes + 32 * k));
                }
            }
#pragma unroll
            for (int n = 0; n < key_blocks; n += 2) {
                uint32_t b[4];
                load_matrices(b, key_lane + static_cast<uint32_t>(8 * n * shape::row_bytes + 32 * k));
#pragma unroll
                for (int i = 0; i < M; ++i) {
                    multiply<T>(s[i][n], x[i], b[0], b[1]);
                    multiply<T>(s[i][n + 1], x[i], b[2], b[3]);
                }
            }
        }
        const int position = tiles.first_position();
        if (position < memory.sure[0][warp] || position + shape::keys > memory.sure[1][warp]) {
#pragma unroll
            for (int i = 0; i < M; ++i) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    // Read again for each tile that is masked: there are few, and registers are fewer.
                    const int row = first_row + 16 * i + 8 * half + g;
                    const int first = memory.firsts[row] - position - lane % 4 * 2;
                    const int end = memory.ends[row] - position - lane % 4 * 2;
#pragma unroll
                    for (int n = 0; n < key_blocks; ++n) {
#pragma unroll
                        for (int e = 0; e < 2; ++e) {
                            if (8 * n + e < first || 8 * n + e >= end) {
                                s[i][n][2 * half + e] = minus_infinity();
                            }
                        }
                    }
                }
            }
        }
        uint32_t p[M][key_blocks / 2][4];
#pragma unroll
        for (int i = 0; i < M; ++i) {
            row_step steps[2];
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float greatest = minus_infinity();
#pragma unroll
                for (int n = 0; n < key_blocks; ++n) {
                    greatest = fmaxf(greatest, fmaxf(s[i][n][2 * half], s[i][n][2 * half + 1]));
                }
                float2& total = M > 1 ? memory.totals[2 * i + half][threadIdx.x] : totals[half];
                float2 ml = total;
                steps[half] = take_maximum(ml.x, quad_max(greatest), a.scale);
                float sums[warps];
#pragma unroll
                for (int quarter = 0; quarter < warps; ++quarter) {
                    sums[quarter] = 0;
#pragma unroll
                    for (int n = quarter * shape::quarter / 8; n < (quarter + 1) * shape::quarter / 8; ++n) {
                        const float low = weight(s[i][n][2 * half], a.scale, steps[half].reference);
                        const float high = weight(s[i][n][2 * half + 1], a.scale, steps[half].reference);
                        sums[quarter] = __fadd_rn(sums[quarter], __fadd_rn(low, high));
                        p[i][n / 2][n % 2 * 2 + half] = pack2<T>(low, high);
                    }
                }
                ml.y = __fmaf_rn(ml.y, steps[half].shrink, sum_of_quarters(sums));
                total = ml;
            }
            // A factor of 1 changes nothing: once the maximum stands, o is left alone.
            if (__any_sync(whole_warp, steps[0].shrink != 1.0F || steps[1].shrink != 1.0F)) {
#pragma unroll
                for (int n = 0; n < column_blocks; ++n) {
                    o[i][n][0] = __fmul_rn(o[i][n][0], steps[0].shrink);
                    o[i][n][1] = __fmul_rn(o[i][n][1], steps[0].shrink);
                    o[i][n][2] = __fmul_rn(o[i][n][2], steps[1].shrink);
                    o[i][n][3] = __fmul_rn(o[i][n][3], steps[1].shrink);
                }
            }
        }
        // p V, 16 keys × 16 columns a load: transposed, keys 0 … 7 and 8 … 15 of the first eight columns, then of the others.
        const uint32_t value_lane =
            keys + shape::tile_bytes +
            static_cast<uint32_t>((lane / 8 % 2 * 8 + lane % 8) * shape::row_bytes + lane / 16 * 16);
#pragma unroll
        for (int k = 0; k < shape::keys / 16; ++k) {
#pragma unroll
            for (int n = 0; n < column_blocks; n += 2) {
                uint32_t b[4];
                load_matrices_transposed(b, value_lane + static_cast<uint32_t>(16 * k * shape::row_bytes + 16 * n));
#pragma unroll
                for (int i = 0; i < M; ++i) {
                    multiply<T>(o[i][n], p[i][k], b[0], b[1]);
                    multiply<T>(o[i][n + 1], p[i][k], b[2], b[3]);
                }
            }
        }
    }

#pragma unroll
    for (int i = 0; i < M; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const float2 total = M > 1 ? memory.totals[2 * i + half][threadIdx.x] : totals[half];
            const float sum = quad_sum(total.y);
            const int owner = memory.states[first_row + 16 * i + 8 * half + g];
            if (owner < 0) {
                continue;
            }
            const int64_t state = static_cast<int64_t>(owner) * a.chunks + chunk_of_block();
            if (lane % 4 == 0) {
                a.state_ml[state] = {total.x, sum};
            }
#pragma unroll
            for (int n = 0; n < column_blocks; ++n) {
                store_pair(a, state, 8 * n + lane % 4 * 2, o[i][n][2 * half], o[i][n][2 * half + 1]);
            }
        }
    }
}

// ---------------------------------------------------------------- 16 rows shared by all warps

template <class T, int D, int M>
__device__ __forceinline__ void attend_shared_rows(const attention_view& a, block_memory<D, M>& memory,
                                                   tile_stream<D, M>& tiles) {
    using shape = tile_shape<D, M>;
    constexpr int key_blocks = shape::quarter / 8;  // of a warp
    constexpr int column_blocks = (D / 8 + warps - 1) / warps;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int g = lane / 4;
    const uint32_t weights_at = shared_address(memory.p);

    uint32_t q[D / 16][4];
    load_queries<D>(q, a, memory.offsets, 0, memory.queries);

    const int first[2] = {memory.firsts[g], memory.firsts[g + 8]};
    const int end[2] = {memory.ends[g], memory.ends[g + 8]};
    const int warp_first = __reduce_max_sync(whole_warp, max(first[0], first[1]));
    const int warp_end = __reduce_min_sync(whole_warp, min(end[0], end[1]));
    float m[2] = {minus_infinity(), minus_infinity()};
    float l[2] = {0, 0};  // of the thread's columns in all quarters; the first warp's counts
    float o[column_blocks][4];
#pragma unroll
    for (int n = 0; n < column_blocks; ++n) {
        o[n][0] = o[n][1] = o[n][2] = o[n][3] = 0;
    }

    for (; tiles.more(); tiles.advance()) {
        const uint32_t keys = tiles.await();
        float s[key_blocks][4];
#pragma unroll
        for (int n = 0; n < key_blocks; ++n) {
            s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
        }
        const uint32_t own_keys = keys + static_cast<uint32_t>(warp * shape::quarter * shape::row_bytes);
#pragma unroll
        for (int k = 0; k < D / 16; ++k) {
            if constexpr (key_blocks == 2) {
                uint32_t b[4];
                load_matrices(b, own_keys + static_cast<uint32_t>((lane / 16 * 8 + lane % 8) * shape::row_bytes +
                                                                  lane / 8 % 2 * 16 + 32 * k));
                multiply<T>(s[0], q[k], b[0], b[1]);
                multiply<T>(s[1], q[k], b[2], b[3]);
            } else {
                uint32_t b[2];
                load_matrices(
                    b, own_keys + static_cast<uint32_t>(lane % 8 * shape::row_bytes + lane / 8 % 2 * 16 + 32 * k));
                multiply<T>(s[0], q[k], b[0], b[1]);
            }
        }
        const int position = tiles.first_position();
        if (position < warp_first || position + shape::keys > warp_end) {
#pragma unroll
            for (int n = 0; n < key_blocks; ++n) {
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    const int at = position + warp * shape::quarter + 8 * n + lane % 4 * 2 + e % 2;
                    s[n][e] = at >= first[e / 2] && at < end[e / 2] ? s[n][e] : minus_infinity();
                }
            }
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float greatest = minus_infinity();
#pragma unroll
            for (int n = 0; n < key_blocks; ++n) {
                greatest = fmaxf(greatest, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
            }
            greatest = quad_max(greatest);
            if (lane % 4 == 0) {
                memory.maxima[warp][8 * half + g] = greatest;
            }
        }
        __syncthreads();
        row_step steps[2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int row = 8 * half + g;
            const float greatest = fmaxf(fmaxf(memory.maxima[0][row], memory.maxima[1][row]),
                                         fmaxf(memory.maxima[2][row], memory.maxima[3][row]));
            steps[half] = take_maximum(m[half], greatest, a.scale);
            float sum = 0;
#pragma unroll
            for (int n = 0; n < key_blocks; ++n) {
                const float low = weight(s[n][2 * half], a.scale, steps[half].reference);
                const float high = weight(s[n][2 * half + 1], a.scale, steps[half].reference);
                sum = __fadd_rn(sum, __fadd_rn(low, high));
                const int column = warp * shape::quarter + 8 * n + lane % 4 * 2;
                *reinterpret_cast<uint32_t*>(memory.p + row * shape::weight_row_bytes + 2 * column) =
                    pack2<T>(low, high);
            }
            memory.sums[warp][row][lane % 4] = sum;
        }
        __syncthreads();
        if (warp == 0) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int row = 8 * half + g;
                const int t = lane % 4;
                const float quarters[warps] = {memory.sums[0][row][t], memory.sums[1][row][t], memory.sums[2][row][t],
                                               memory.sums[3][row][t]};
                l[half] = __fmaf_rn(l[half], steps[half].shrink, sum_of_quarters(quarters));
            }
        }
        if (__any_sync(whole_warp, steps[0].shrink != 1.0F || steps[1].shrink != 1.0F)) {
#pragma unroll
            for (int n = 0; n < column_blocks; ++n) {
                o[n][0] = __fmul_rn(o[n][0], steps[0].shrink);
                o[n][1] = __fmul_rn(o[n][1], steps[0].shrink);
                o[n][2] = __fmul_rn(o[n][2], steps[1].shrink);
                o[n][3] = __fmul_rn(o[n][3], steps[1].shrink);
            }
        }
        // p V: this warp's columns 8 (warp + 4n) …, 32 keys a load.
        uint32_t p[shape::keys / 16][4];
#pragma unroll
        for (int k = 0; k < shape::keys / 16; ++k) {
            load_matrices(p[k], weights_at + static_cast<uint32_t>(lane % 16 * shape::weight_row_bytes +
                                                                   lane / 16 * 16 + 32 * k));
        }
#pragma unroll
        for (int k = 0; k < shape::keys / 16; k += 2) {
#pragma unroll
            for (int n = 0; n < column_blocks; ++n) {
                const int column_block = warp + warps * n;
                if (column_block < D / 8) {
                    uint32_t b[4];
                    load_matrices_transposed(
                        b, keys + shape::tile_bytes +
                               static_cast<uint32_t>((16 * k + lane) * shape::row_bytes + 16 * column_block));
                    multiply<T>(o[n], p[k], b[0], b[1]);
                    multiply<T>(o[n], p[k + 1], b[2], b[3]);
                }
            }
        }
    }

#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int row = 8 * half + g;
        const int owner = memory.states[row];
        const float sum = quad_sum(l[half]);
        if (owner < 0) {
            continue;
        }
        const int64_t state = static_cast<int64_t>(owner) * a.chunks + chunk_of_block();
        if (warp == 0 && lane % 4 == 0) {
            a.state_ml[state] = {m[half], sum};
        }
#pragma unroll
        for (int n = 0; n < column_blocks; ++n) {
            const int column_block = warp + warps * n;
            if (column_block < D / 8) {
                store_pair(a, state, 8 * column_block + lane % 4 * 2, o[n][2 * half], o[n][2 * half + 1]);
            }
        }
    }
}

// ---------------------------------------------------------------- the kernel

// Blocks of a multiprocessor that registers are shared out for.
template <int D, int M>
constexpr int resident_blocks = M > 1 || D > 80 ? 2 : 3;

template <class T, int D, int M>
__global__ __launch_bounds__(threads, resident_blocks<D, M>) void attention_tiles(const attention_view a, int stages) {
    using shape = tile_shape<D, M>;
    extern __shared__ __align__(16) unsigned char shared[];
    auto& memory = *reinterpret_cast<block_memory<D, M>*>(shared);
    allow_successor();
    wait_for_predecessor();
    const attention_item item =
        find_item(a, static_cast<int>(blockIdx.x), shape::queries, reinterpret_cast<int*>(shared + sizeof memory));
    if (item.queries == 0) {
        return;
    }

    // One thread a query row. A row that sees nothing of the chunk, or does not exist, computes what nobody stores; it
    // must not make the others mask.
    const int begin = chunk_begin(chunk_of_block());
    const int end = chunk_end(chunk_of_block());
    const int i = static_cast<int>(threadIdx.x);
    int row_first = INT_MAX;
    int row_end = 0;
    if (i < shape::queries) {
        int64_t offset = 0;
        int state = -1;
        if (i < item.queries) {
            const attention_query query = find_query(a, item, i);
            const int head = kv_head_of_block() * a.group + query.head;
            offset = query.row * a.q_row + head * a.q_head;
            if (sees_chunk(begin, end, query.border, query.first_visible)) {
                state = query.state_row * a.q_heads + head;
                row_first = max(query.first_visible, begin);
                row_end = min(query.border, end);
            }
        }
        memory.offsets[i] = offset;
        memory.states[i] = state;
        memory.firsts[i] = state < 0 ? 0 : row_first;
        memory.ends[i] = state < 0 ? INT_MAX : row_end;
    }
    row_first = __reduce_min_sync(whole_warp, row_first);
    row_end = __reduce_max_sync(whole_warp, row_end);
    if (i % 32 == 0) {
        memory.extents[0][i / 32] = row_first;
        memory.extents[1][i / 32] = row_end;
    }
    __syncthreads();
    const int(&extents)[2][warps] = memory.extents;
    const int first_position = min(min(extents[0][0], extents[0][1]), min(extents[0][2], extents[0][3]));
    const int end_position = max(max(extents[1][0], extents[1][1]), max(extents[1][2], extents[1][3]));
    if (first_position >= end_position) {
        return;
    }
    if (i == 0) {
        memory.sequence = item.sequence;
        memory.queries = item.queries;
        memory.first_position = first_position;
        memory.end_position = end_position;
        memory.end_tile = (end_position + shape::keys - 1) / shape::keys;
    }
    __syncthreads();

    tile_stream<D, M> tiles(a, memory, stages);
    if (item.queries <= 16) {
        attend_shared_rows<T, D, M>(a, memory, tiles);
    } else {
        attend_own_rows<T, D, M>(a, memory, tiles);
    }
}

// ---------------------------------------------------------------- launching

template <class T, int D, int M>
trib_status launch(const context& context, const attention_view& a) {
    using shape = tile_shape<D, M>;
    // Stages so that two blocks fit on a multiprocessor (1 KiB of each is the system's), two stages where they do not.
    const int half = (context.shared_memory - 1024) / 2;
    const int fitting = (half - static_cast<int>(sizeof(block_memory<D, M>))) / shape::stage_bytes;
    const int stages = fitting < 2 ? 2 : fitting > greatest_stages ? greatest_stages : fitting;
    const int64_t bytes = int64_t{stages} * shape::stage_bytes + static_cast<int>(sizeof(block_memory<D, M>));
    if (4 * int64_t{item_scratch_words(a.step.max_sequences)} > int64_t{stages} * shape::stage_bytes) {
        return fail(TRIB_UNSUPPORTED, "multi_stream_attention: step.max_sequences is %d, expected at most %d on a GPU",
                    a.step.max_sequences, stages * shape::stage_bytes / 4 - 1);
    }
    const int64_t row_blocks =
        attention_row_blocks(a.bound_main + a.bound_stream, a.step.max_sequences, a.group, shape::queries);
    const dim3 grid(static_cast<unsigned>(row_blocks), static_cast<unsigned>(a.kv_heads),
                    static_cast<unsigned>(a.chunks));
    return device::launch(context, "multi_stream_attention", attention_tiles<T, D, M>,
                          {.grid = grid, .block = dim3(threads), .shared_memory = static_cast<size_t>(bytes)}, a,
                          stages);
}

// 32 rows a warp where a sequence has more than 64 query rows to a KV head and shared memory holds them.
template <class T, int D>
trib_status launch(const context& context, const attention_view& a) {
    if constexpr (D == 64 || D == 128) {
        using wide = tile_shape<D, 2>;
        const int rows = a.bound_main + a.bound_stream;
        const int sequences = rows < a.step.max_sequences ? rows : a.step.max_sequences;
        const bool many = int64_t{ceil_div(rows, sequences)} * a.group > 64;
        if (many && 2 * wide::stage_bytes + static_cast<int>(sizeof(block_memory<D, 2>)) <= context.shared_memory) {
            return launch<T, D, 2>(context, a);
        }
    }
    return launch<T, D, 1>(context, a);
}

template <class T>
trib_status launch(const context& context, const attention_view& a) {
    if (a.head_dim <= 64) {
        return launch<T, 64>(context, a);
    }
    if (a.head_dim <= 80) {
        return launch<T, 80>(context, a);
    }
    if (a.head_dim <= 96) {
        return launch<T, 96>(context, a);
    }
    if (a.head_dim <= 128) {
        return launch<T, 128>(context, a);
    }
    return launch<T, 256>(context, a);
}

}  // namespace tributary::device::portable_tiles
