// SPDX-License-Identifier: Apache-2.0
//
// Multi-stream attention, y[row, head] = softmax(scale · q Kᵀ) V over the keys that the row sees, in two kernels: tiles on
// the tensor cores for the keys below the row's border (attention.cuh, attention_tiles_sm80.cuh and
// multi_stream_attention_sm90a.cu), and a finishing kernel (here) for the others and the merge.
#include <cfloat>

#include "device/attention_tiles_sm80.cuh"
#include "device/operations.hpp"
#include "device/single_keys.cuh"

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

constexpr int finish_threads = 128;
constexpr int finish_warps = finish_threads / 32;
constexpr int chunk_rounds = (greatest_chunk_count + 31) / 32;

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

    const int key =
        find_single_key(a, sequence, length, nodes, node, begin, positions, keys, first_visible, stream_row, kv_head);
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

bool has_hopper_kernel(const context& context, int head_dim) {
    return context.path == code_path::hopper && has_hopper_tiles(head_dim) && launch_attention_sm90a != nullptr;
}

}  // namespace

uint64_t multi_stream_attention_workspace(const context& context, const trib_multi_stream_attention_params& params) {
    const trib_step& step = *params.step;
    const int64_t rows = ((params.rows & TRIB_ROWS_MAIN) != 0 ? int64_t{step.max_main_rows} : 0) +
                         ((params.rows & TRIB_ROWS_STREAM) != 0 ? int64_t{step.max_stream_rows} : 0);
    const auto head_dim = static_cast<int>(params.cache.head_dim);
    if (has_hopper_kernel(context, head_dim)) {
        return attention_workspace_sm90a(rows, step.max_sequences, params.q.shape[1] / params.cache.kv_heads,
                                         params.cache.kv_heads, head_dim);
    }
    const int chunks = tile_chunks(static_cast<int>(step.max_pages) * TRIB_PAGE_TOKENS);
    const state_bytes bytes = bytes_of_states(rows, params.q.shape[1], chunks, head_dim);
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

    if (has_hopper_kernel(context, a.head_dim)) {
        a.chunks = strand_tile_count(bound_context(step));
        return launch_attention_sm90a(context, a, f, cache.dtype,
                                      {params.workspace, params.next_read, params.next_read_bytes});
    }
    if (a.chunks > 0) {
        if (const trib_status status = launch_attention_tiles(context, a, cache.dtype); status != TRIB_OK) {
            return status;
        }
    }
    return cache.dtype == TRIB_DTYPE_BF16 ? launch_finish<bf16>(context, a, f) : launch_finish<f16>(context, a, f);
}

}  // namespace tributary::device
