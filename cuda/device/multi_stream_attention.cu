// SPDX-License-Identifier: Apache-2.0
//
// Multi-stream attention, y[row, head] = softmax(scale · q Kᵀ) V over the keys that the row sees, in two kernels: tiles on
// the tensor cores for the keys below the row's border (attention.cuh, attention_tiles_sm80.cuh and
// multi_stream_attention_sm90a.cu), and a finishing kernel (here) for the others and the merge.
#include <cfloat>

#include "device/attention_tiles_sm80.cuh"
#include "device/operations.hpp"
#include "device/vectors.cuh"

namespace tributary::device {
namespace {

// ---------------------------------------------------------------- finishing kernel
//
// What. For each row and query head, over its single keys (positions b … p in order, then its streams 1 … j):
//     s_i = scale · log₂e · q · k_i,  M = max(max_i s_i, max_c m_c),  w_c = 2^(m_c − M),  p_i = 2^(s_i − M)
//     y = (Σ_c w_c o_c + Σ_i p_i v_i) / (Σ_c w_c l_c + Σ_i p_i)
// all in fp32, chunks c ascending, then keys in order. At most 17 + 8 keys: one a lane.
//
// Work. A warp has one row and H query heads of one KV head: 1, or 2 when there are warps enough, which halves the reads
// and conversions of K and V. The warps of a block are the heads of one KV head, then of the next rows, so what they read
// again (K and V of a group, the ancestors that rows share) comes from L1. No warp waits for another, and 64 rows of 32
// heads are 16 warps a multiprocessor of an H200: waiting for memory overlaps with other warps' work without more ado.
//
// Bound. Latency first: counts, then the sequence's words, then its mask, page table, K, each read waits for the one
// before, about 1 µs; what can be read ahead is. Then bytes from L2: a state is 4d + 8 bytes, so 64 rows × 32 heads × 8
// chunks at d = 128 are 8.5 MB; single keys 17 · 4d bytes a row and KV head, 4.5 MB for 8 KV heads: 2.5 µs at 5 TB/s.
// Arithmetic: 4 · 25 · d FMA and conversions a row and head, 0.2 GFLOP for the above: under 1 µs on 67 TFLOP/s.
//
// Scores. Eight lanes have a key: lane t holds the 16-byte units t, t + 8, … of its row and of q, so a load of the warp is
// four rows of 128 consecutive bytes. The eight partial sums of eight such quadruples of keys are added crosswise (7
// exchanges instead of 24), which leaves lane 8u + t with the score of key 4t + u.

constexpr int finish_threads = 128;
constexpr int finish_warps = finish_threads / 32;
constexpr int single_positions = TRIB_MAX_DEPTH + 1;
constexpr int single_keys = single_positions + TRIB_MAX_GAMMA;
constexpr int key_quads = (single_keys + 3) / 4;
static_assert(single_keys <= 32 && key_quads <= 8);
constexpr int chunk_rounds = (greatest_chunk_count + 31) / 32;
constexpr unsigned whole_warp = 0xffffffff;

// What the finishing kernel needs beyond the view.
struct finish_view {
    const void* stream_k;  // [Q, kv_heads, d] of the cache's type
    const void* stream_v;
    int64_t stream_k_row, stream_k_head, stream_v_row, stream_v_head;  // strides, elements
    void* y;                                                           // [R + Q, q_heads, d]
    int64_t y_row, y_head;
    uint32_t y_dtype;
    bool q_vectors, y_vectors;  // rows begin at multiples of four elements
    bool stream_vectors;        // rows of both begin at multiples of 16 bytes
};

__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) {
        x = fmaxf(x, __shfl_xor_sync(whole_warp, x, mask));
    }
    return x;
}
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) {
        x = __fadd_rn(x, __shfl_xor_sync(whole_warp, x, mask));
    }
    return x;
}

// Both elements of a word.
template <class T>
__device__ __forceinline__ float2 unpack2(uint32_t bits);
template <>
__device__ __forceinline__ float2 unpack2<bf16>(uint32_t bits) {
    return {__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000U)};
}
template <>
__device__ __forceinline__ float2 unpack2<f16>(uint32_t bits) {
    return __half22float2(*reinterpret_cast<const __half2*>(&bits));
}

// N consecutive 16-bit elements as words; one by one where a row does not begin at a multiple of their size.
template <int N>
struct alignas(2 * N) element_words {
    uint32_t word[N / 2];
};
template <int N>
__device__ __forceinline__ element_words<N> load_elements(const uint16_t* from, bool vector) {
    if (vector) {
        return *reinterpret_cast<const element_words<N>*>(from);
    }
    element_words<N> result;
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
        result.word[i] = from[2 * i] | static_cast<uint32_t>(from[2 * i + 1]) << 16;
    }
    return result;
}

// Index of the n-th set bit (n ≥ 0) of four words, −1 when there is none.
__device__ __forceinline__ int find_bit(const uint32_t (&words)[4], int n) {
    uint32_t word = words[0];
    int index = 0;
#pragma unroll
    for (int i = 1; i < 4; ++i) {
        const int before = __popc(word);
        if (index == 32 * (i - 1) && n >= before) {
            n -= before;
            word = words[i];
            index = 32 * i;
        }
    }
    if (n >= __popc(word)) {
        return -1;
    }
#pragma unroll
    for (int width = 16; width > 0; width /= 2) {
        const int before = __popc(word & ((1U << width) - 1));
        if (n >= before) {
            n -= before;
            word >>= width;
            index += width;
        }
    }
    return index;
}

// Keys of a row, one a lane: ≥ 0 = row of this layer's K in [page][K | V][kv_head][64], in rows of d; ≤ −2 = stream row
// −2 − key of the scratch; −1 = none (not visible, or beyond the last).
constexpr int no_key = -1;
__device__ __forceinline__ int stream_key(int row) { return -2 - row; }
__device__ __forceinline__ int stream_of_key(int key) { return -2 - key; }

// The lane that holds the score of key i.
__device__ __forceinline__ int lane_of_score(int i) { return i / 4 + i % 4 * 8; }

// Dot products of H queries with the key of each quarter of the warp, quadruples [0, key_quads).
template <class T, int D, int H>
struct key_scores {
    static constexpr int units = D / 64;  // of 16 bytes, of a lane
    float q[H][units][8];
    float sum[H][8];

    template <bool vector_streams>
    __device__ __forceinline__ void take(const attention_view& a, const finish_view& f, int kv_head, int key,
                                         int quad) {
        const int lane = static_cast<int>(threadIdx.x) % 32;
        const int of_quarter = __shfl_sync(whole_warp, key, 4 * quad + lane / 8);
        const uint16_t* row = of_quarter >= 0
                                  ? a.cache + static_cast<int64_t>(of_quarter) * a.head_dim
                                  : static_cast<const uint16_t*>(f.stream_k) +
                                        stream_of_key(of_quarter) * f.stream_k_row + kv_head * f.stream_k_head;
        element_words<8> k[units];
#pragma unroll
        for (int unit = 0; unit < units; ++unit) {
            const int column = 8 * (lane % 8 + 8 * unit);
            k[unit] = {};
            if (of_quarter != no_key && column < a.head_dim) {
                k[unit] = load_elements<8>(row + column, vector_streams || of_quarter >= 0);
            }
        }
#pragma unroll
        for (int h = 0; h < H; ++h) {
            float even = 0;
            float odd = 0;
#pragma unroll
            for (int unit = 0; unit < units; ++unit) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const float2 x = unpack2<T>(k[unit].word[i]);
                    even = __fmaf_rn(q[h][unit][2 * i], x.x, even);
                    odd = __fmaf_rn(q[h][unit][2 * i + 1], x.y, odd);
                }
            }
            sum[h][quad] = __fadd_rn(even, odd);
        }
    }

    template <bool vector_streams>
    __device__ __forceinline__ void take_all(const attention_view& a, const finish_view& f, int kv_head, int key,
                                             int keys) {
        constexpr int usual = (single_positions + 3) / 4;
#pragma unroll
        for (int quad = 0; quad < usual; ++quad) {
            take<vector_streams>(a, f, kv_head, key, quad);
        }
#pragma unroll
        for (int h = 0; h < H; ++h) {
#pragma unroll
            for (int quad = usual; quad < 8; ++quad) {
                sum[h][quad] = 0;
            }
        }
        if (keys > 4 * usual) {
#pragma unroll
            for (int quad = usual; quad < key_quads; ++quad) {
                take<vector_streams>(a, f, kv_head, key, quad);
            }
        }
    }

    // The whole dot product of key 4 · (lane mod 8) + lane / 8.
    __device__ __forceinline__ float reduce(int h) const {
        const int lane = static_cast<int>(threadIdx.x) % 32;
        float x[8];
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            x[i] = sum[h][i];
        }
#pragma unroll
        for (int width = 4; width > 0; width /= 2) {
            const bool upper = (lane & width) != 0;
#pragma unroll
            for (int i = 0; i < width; ++i) {
                const float kept = upper ? x[i + width] : x[i];
                const float given = upper ? x[i] : x[i + width];
                x[i] = __fadd_rn(kept, __shfl_xor_sync(whole_warp, given, width));
            }
        }
        return x[0];
    }
};

// The lane's columns of a state's o.
__device__ __forceinline__ void load_state(float (&x)[2], const float* o) {
    const float2 pair = __ldcg(reinterpret_cast<const float2*>(o));
    x[0] = pair.x;
    x[1] = pair.y;
}
template <int columns>
__device__ __forceinline__ void load_state(float (&x)[columns], const float* o) {
#pragma unroll
    for (int i = 0; i < columns; i += 4) {
        const float4 four = __ldcg(reinterpret_cast<const float4*>(o + i));
        x[i] = four.x;
        x[i + 1] = four.y;
        x[i + 2] = four.z;
        x[i + 3] = four.w;
    }
}

// Two neighbouring elements of y.
__device__ __forceinline__ void store_two(const finish_view& f, int64_t at, float x, float y) {
    if (!f.y_vectors) {
        store_element(f.y, f.y_dtype, at, x);
        store_element(f.y, f.y_dtype, at + 1, y);
    } else if (f.y_dtype == TRIB_DTYPE_F32) {
        *reinterpret_cast<float2*>(static_cast<float*>(f.y) + at) = {x, y};
    } else {
        *reinterpret_cast<uint32_t*>(static_cast<uint16_t*>(f.y) + at) =
            f.y_dtype == TRIB_DTYPE_BF16 ? pack2<bf16>(x, y) : pack2<f16>(x, y);
    }
}

template <class T, int D, int H>
__global__ __launch_bounds__(finish_threads) void finish_attention(const attention_view a, const finish_view f) {
    constexpr int columns = D / 32;  // of a lane, consecutive
    constexpr int units = D / 64;
    constexpr int chunks_at_once = columns * H <= 4 ? 8 : 4;  // whose o are under way together
    const step_view& step = a.step;
    allow_successor();
    wait_for_predecessor();
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int heads_at_once = a.group / H;  // warps of one row
    const int warp = static_cast<int>(blockIdx.x) * finish_warps + static_cast<int>(threadIdx.x) / 32;
    const int state_row = warp / heads_at_once;
    const int kv_head = static_cast<int>(blockIdx.y);
    const int first_head = kv_head * a.group + (warp - state_row * heads_at_once) * H;
    if (state_row >= a.bound_main + a.bound_stream) {
        return;
    }
    const bool main = state_row < a.bound_main;
    const int stream_row = state_row - a.bound_main;
    const int row = main ? state_row : step.max_main_rows + stream_row;

    // The row's words are within the capacities, so they are read together with the counts that say whether they mean
    // anything.
    const int rows = main ? a.main_rows() : a.stream_rows();
    const int sequence = step.row_sequence[row];
    const int node = step.row_node[row];
    const int position = step.row_position[row];
    const int first_visible = step.row_first_visible[row];
    const int row_stream = step.row_stream[row];
    if ((main ? state_row : stream_row) >= rows) {
        return;
    }
    const int begin = border(position);
    const int positions = min(position - begin + 1, single_positions);
    const int streams = main ? 0 : min(max(row_stream, 0), TRIB_MAX_GAMMA);
    const int keys = positions + streams;
    const int length = step.sequence_length[sequence];
    const int nodes = step.nodes(sequence);

    // Chunks: lane i has those of index i, i + 32, ….
    const bool has_chunks = first_visible < begin;
    const int chunk_first = has_chunks ? chunk_of(max(first_visible, 0)) : 0;
    const int chunk_last = has_chunks ? min(chunk_of(begin - 1) + 1, a.chunks) : 0;  // past the last
    float chunk_m[H][chunk_rounds];
    float chunk_l[H][chunk_rounds];
#pragma unroll
    for (int h = 0; h < H; ++h) {
#pragma unroll
        for (int round = 0; round < chunk_rounds; ++round) {
            const int chunk = 32 * round + lane;
            float2 ml = {portable_tiles::minus_infinity(), 0};
            if (chunk >= chunk_first && chunk < chunk_last) {
                ml = __ldcg(a.state_ml + a.state(state_row, first_head + h, chunk));
            }
            chunk_m[h][round] = ml.x;
            chunk_l[h][round] = ml.y;
        }
    }

    // Queries, as key_scores wants them.
    key_scores<T, D, H> scores;
#pragma unroll
    for (int h = 0; h < H; ++h) {
        const auto* q = reinterpret_cast<const T*>(a.q) + row * a.q_row + (first_head + h) * a.q_head;
#pragma unroll
        for (int unit = 0; unit < units; ++unit) {
            const int column = 8 * (lane % 8 + 8 * unit);
            const float4 low = load4(q, column, a.head_dim, f.q_vectors);
            const float4 high = load4(q, column + 4, a.head_dim, f.q_vectors);
            scores.q[h][unit][0] = low.x;
            scores.q[h][unit][1] = low.y;
            scores.q[h][unit][2] = low.z;
            scores.q[h][unit][3] = low.w;
            scores.q[h][unit][4] = high.x;
            scores.q[h][unit][5] = high.y;
            scores.q[h][unit][6] = high.z;
            scores.q[h][unit][7] = high.w;
        }
    }

    // The keys. A tree's node at depth i is the i-th ancestor: the masks' bits are in order of depth.
    int key = no_key;
    {
        int slot = begin + lane;
        if (node >= 0 && nodes > 0) {
            const uint64_t* mask = step.mask(sequence, node);
            const uint64_t low = mask[0];
            const uint64_t high = nodes > 64 ? mask[1] : 0;
            if (lane < positions && slot >= length) {
                const uint32_t words[4] = {static_cast<uint32_t>(low), static_cast<uint32_t>(low >> 32),
                                           static_cast<uint32_t>(high), static_cast<uint32_t>(high >> 32)};
                const int ancestor = find_bit(words, slot - length);
                slot = ancestor >= 0 ? length + ancestor : -1;
            }
        }
        if (lane < positions && begin + lane >= first_visible && slot >= 0) {
            slot = min(slot, step.max_pages * TRIB_PAGE_TOKENS - 1);
            key = (step.page(sequence, slot) * 2 * a.kv_heads + kv_head) * TRIB_PAGE_TOKENS + slot % TRIB_PAGE_TOKENS;
        } else if (lane >= positions && lane < keys) {
            key = stream_key(max(stream_row - (streams - 1), 0) + (lane - positions));
        }
    }
    // V of the positions is asked for before K is waited for; the streams' few come later.
    const int column = columns * lane;
    const bool has_columns = column < a.head_dim;
    element_words<columns> values[single_positions];
#pragma unroll
    for (int i = 0; i < single_positions; ++i) {
        const int of_all = __shfl_sync(whole_warp, key, i);
        values[i] = {};
        if (i < positions && of_all >= 0 && has_columns) {
            const uint16_t* from = a.cache + static_cast<int64_t>(of_all) * a.head_dim + a.value_offset();
            values[i] = load_elements<columns>(from + column, true);
        }
    }
    if (f.stream_vectors) {
        scores.template take_all<true>(a, f, kv_head, key, keys);
    } else {
        scores.template take_all<false>(a, f, kv_head, key, keys);
    }

    // Weights of chunks and keys, and the sum of all.
    const bool has_key = __shfl_sync(whole_warp, key, lane % 8 * 4 + lane / 8) != no_key;
    float p[H];
    float total[H];
#pragma unroll
    for (int h = 0; h < H; ++h) {
        const float product = scores.reduce(h);
        const float score = has_key ? __fmul_rn(product, a.scale) : portable_tiles::minus_infinity();
        float greatest = score;
#pragma unroll
        for (int round = 0; round < chunk_rounds; ++round) {
            greatest = fmaxf(greatest, chunk_m[h][round]);
        }
        greatest = warp_max(greatest);
        p[h] = portable_tiles::exp2_approximately(__fsub_rn(score, greatest));
        total[h] = p[h];
#pragma unroll
        for (int round = 0; round < chunk_rounds; ++round) {
            chunk_m[h][round] = portable_tiles::exp2_approximately(__fsub_rn(chunk_m[h][round], greatest));
            total[h] = __fmaf_rn(chunk_m[h][round], chunk_l[h][round], total[h]);
        }
        total[h] = warp_sum(total[h]);
    }

    // Σ, for this lane's columns: chunks ascending, then keys in order.
    float y[H][columns];
#pragma unroll
    for (int h = 0; h < H; ++h) {
#pragma unroll
        for (int i = 0; i < columns; ++i) {
            y[h][i] = 0;
        }
    }
#pragma unroll
    for (int round = 0; round < chunk_rounds; ++round) {
        const int last = min(chunk_last, 32 * round + 32);
        for (int first = max(chunk_first, 32 * round); first < last; first += chunks_at_once) {
            float o[chunks_at_once][H][columns];
#pragma unroll
            for (int i = 0; i < chunks_at_once; ++i) {
#pragma unroll
                for (int h = 0; h < H; ++h) {
                    if (first + i < last && has_columns) {
                        const int64_t state = a.state(state_row, first_head + h, first + i);
                        load_state(o[i][h], a.state_o + state * a.head_dim + column);
                    }
                }
            }
#pragma unroll
            for (int i = 0; i < chunks_at_once; ++i) {
                if (first + i < last) {
#pragma unroll
                    for (int h = 0; h < H; ++h) {
                        const float w = __shfl_sync(whole_warp, chunk_m[h][round], (first + i) % 32);
#pragma unroll
                        for (int j = 0; j < columns; ++j) {
                            y[h][j] = __fmaf_rn(w, o[i][h][j], y[h][j]);
                        }
                    }
                }
            }
        }
    }
    const auto add_value = [&](const element_words<columns>& v, int i) {
#pragma unroll
        for (int h = 0; h < H; ++h) {
            const float w = __shfl_sync(whole_warp, p[h], lane_of_score(i));
#pragma unroll
            for (int j = 0; j < columns / 2; ++j) {
                const float2 x = unpack2<T>(v.word[j]);
                y[h][2 * j] = __fmaf_rn(w, x.x, y[h][2 * j]);
                y[h][2 * j + 1] = __fmaf_rn(w, x.y, y[h][2 * j + 1]);
            }
        }
    };
#pragma unroll
    for (int i = 0; i < single_positions; ++i) {
        if (i < positions) {
            add_value(values[i], i);
        }
    }
    for (int i = positions; i < keys; ++i) {
        const int stream = stream_of_key(__shfl_sync(whole_warp, key, i));
        element_words<columns> v = {};
        if (has_columns) {
            v = load_elements<columns>(
                static_cast<const uint16_t*>(f.stream_v) + stream * f.stream_v_row + kv_head * f.stream_v_head + column,
                f.stream_vectors);
        }
        add_value(v, i);
    }

    if (!has_columns) {
        return;
    }
#pragma unroll
    for (int h = 0; h < H; ++h) {
        const float factor = __frcp_rn(total[h]);
        const int64_t to = row * f.y_row + (first_head + h) * f.y_head;
#pragma unroll
        for (int i = 0; i < columns; ++i) {
            y[h][i] = __fmul_rn(y[h][i], factor);
        }
        if constexpr (columns == 2) {
            store_two(f, to + column, y[h][0], y[h][1]);
        } else {
#pragma unroll
            for (int i = 0; i < columns; i += 4) {
                store4(f.y, f.y_dtype, to, column + i, a.head_dim, f.y_vectors,
                       {y[h][i], y[h][i + 1], y[h][i + 2], y[h][i + 3]});
            }
        }
    }
}

template <class T, int D, int H>
trib_status launch_finish(const context& context, const attention_view& a, const finish_view& f) {
    const int64_t warps = static_cast<int64_t>(a.bound_main + a.bound_stream) * (a.group / H);
    const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(warps, finish_warps)), static_cast<unsigned>(a.kv_heads));
    return launch(context, "multi_stream_attention", finish_attention<T, D, H>,
                  {.grid = grid, .block = dim3(finish_threads)}, a, f);
}

template <class T, int D>
trib_status launch_finish(const context& context, const attention_view& a, const finish_view& f) {
    // Two heads a warp once that leaves two warps to each scheduler.
    const int64_t warps = static_cast<int64_t>(a.bound_main + a.bound_stream) * a.q_heads / 2;
    if (a.group % 2 == 0 && warps >= int64_t{8} * context.multiprocessors) {
        return launch_finish<T, D, 2>(context, a, f);
    }
    return launch_finish<T, D, 1>(context, a, f);
}

template <class T>
trib_status launch_finish(const context& context, const attention_view& a, const finish_view& f) {
    if (a.head_dim <= 64) {
        return launch_finish<T, 64>(context, a, f);
    }
    if (a.head_dim <= 128) {
        return launch_finish<T, 128>(context, a, f);
    }
    return launch_finish<T, 256>(context, a, f);
}

// ---------------------------------------------------------------- workspace

// Bytes of (m, l), then of o, of so many rows' states.
struct state_bytes {
    uint64_t ml, o;
};
state_bytes bytes_of_states(int64_t rows, int64_t q_heads, int64_t chunks, int64_t head_dim) {
    const auto states = static_cast<uint64_t>(rows * q_heads * chunks);
    return {ceil_div<uint64_t>(states * sizeof(float2), 64) * 64,
            states * sizeof(float) * static_cast<uint64_t>(head_dim)};
}

}  // namespace

uint64_t multi_stream_attention_workspace(const context&, const trib_multi_stream_attention_params& params) {
    const trib_step& step = *params.step;
    const int64_t rows = ((params.rows & TRIB_ROWS_MAIN) != 0 ? int64_t{step.max_main_rows} : 0) +
                         ((params.rows & TRIB_ROWS_STREAM) != 0 ? int64_t{step.max_stream_rows} : 0);
    const int chunks = tile_chunks(static_cast<int>(step.max_pages) * TRIB_PAGE_TOKENS);
    const state_bytes bytes = bytes_of_states(rows, params.q.shape[1], chunks, params.cache.head_dim);
    return bytes.ml + bytes.o;
}

trib_status launch_attention_tiles(context& context, const attention_view& a, uint32_t dtype) {
    return dtype == TRIB_DTYPE_BF16 ? portable_tiles::launch<bf16>(context, a)
                                    : portable_tiles::launch<f16>(context, a);
}

trib_status multi_stream_attention(context& context, const trib_multi_stream_attention_params& params) {
    const trib_step& step = *params.step;
    const trib_kv_cache& cache = params.cache;
    const int64_t layer_elements =
        static_cast<int64_t>(cache.pages) * 2 * cache.kv_heads * TRIB_PAGE_TOKENS * cache.head_dim;
    attention_view a = {};
    a.step = view(step);
    a.bound_main = (params.rows & TRIB_ROWS_MAIN) != 0 ? bound_main_rows(step) : 0;
    a.bound_stream = (params.rows & TRIB_ROWS_STREAM) != 0 ? bound_stream_rows(step) : 0;
    a.q_heads = static_cast<int>(params.q.shape[1]);
    a.kv_heads = static_cast<int>(cache.kv_heads);
    a.group = a.q_heads / a.kv_heads;
    a.head_dim = static_cast<int>(cache.head_dim);
    a.chunks = tile_chunks(bound_context(step));
    constexpr float log2_e = 1.44269504F;
    a.scale = params.scale * log2_e > FLT_MIN ? params.scale * log2_e : FLT_MIN;
    a.q = pointer<const uint16_t>(params.q.address);
    a.q_row = params.q.stride[0];
    a.q_head = params.q.stride[1];
    a.q_pairs = a.q_row % 2 == 0 && a.q_head % 2 == 0;
    a.cache = pointer<const uint16_t>(cache.address) + params.layer * layer_elements;
    a.pages = static_cast<int>(cache.pages);
    const int64_t rows = int64_t{a.bound_main} + a.bound_stream;
    if (rows == 0) {
        return TRIB_OK;
    }
    if (rows * a.q_heads > INT_MAX) {
        return fail(TRIB_UNSUPPORTED,
                    "multi_stream_attention: %lld rows of %d q heads, expected at most %d of both on a GPU",
                    static_cast<long long>(rows), a.q_heads, INT_MAX);
    }
    if (a.kv_heads > 65535) {
        return fail(TRIB_UNSUPPORTED, "multi_stream_attention: cache.kv_heads is %d, expected at most 65535 on a GPU",
                    a.kv_heads);
    }
    if (layer_elements / a.head_dim > INT_MAX) {
        return fail(TRIB_UNSUPPORTED,
                    "multi_stream_attention: cache.pages is %u with %d KV heads, expected at most %d on a GPU",
                    cache.pages, a.kv_heads, INT_MAX / (2 * TRIB_PAGE_TOKENS * a.kv_heads));
    }
    a.state_ml = pointer<float2>(params.workspace);
    a.state_o = pointer<float>(params.workspace + bytes_of_states(rows, a.q_heads, a.chunks, a.head_dim).ml);

    finish_view f = {};
    f.stream_k = pointer<const void>(params.stream_k.address);
    f.stream_v = pointer<const void>(params.stream_v.address);
    f.stream_k_row = params.stream_k.stride[0];
    f.stream_k_head = params.stream_k.stride[1];
    f.stream_v_row = params.stream_v.stride[0];
    f.stream_v_head = params.stream_v.stride[1];
    f.y = pointer<void>(params.y.address);
    f.y_row = params.y.stride[0];
    f.y_head = params.y.stride[1];
    f.y_dtype = params.y.dtype;
    f.q_vectors = takes_vectors(params.q);
    f.y_vectors = takes_vectors(params.y);
    f.stream_vectors =
        f.stream_k_row % 8 == 0 && f.stream_k_head % 8 == 0 && f.stream_v_row % 8 == 0 && f.stream_v_head % 8 == 0;

    if (a.chunks > 0) {
        const bool hopper = context.path == code_path::hopper && has_hopper_tiles(a.head_dim) &&
                            launch_attention_tiles_sm90a != nullptr;
        const trib_status status = hopper ? launch_attention_tiles_sm90a(context, a, cache.dtype)
                                          : launch_attention_tiles(context, a, cache.dtype);
        if (status != TRIB_OK) {
            return status;
        }
    }
    return cache.dtype == TRIB_DTYPE_BF16 ? launch_finish<bf16>(context, a, f) : launch_finish<f16>(context, a, f);
}

}  // namespace tributary::device
