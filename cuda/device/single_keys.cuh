// SPDX-License-Identifier: Apache-2.0
//
// The single keys of multi-stream attention: of a row at position p those at positions b … p (attention.cuh), at most 17,
// then its own streams 1 … j. Where they stand, and their scores, for a warp at a time; a key a lane.
//
// Scores. Eight lanes have a key: lane t holds the 16-byte units t, t + 8, … of its row and of q, so a load of the warp is
// four rows of 128 consecutive bytes. The eight partial sums of eight such quadruples of keys are added crosswise (7
// exchanges instead of 24), which leaves lane 8u + t with the score of key 4t + u.
#pragma once

#include "device/attention.cuh"
#include "device/vectors.cuh"

namespace tributary::device {

inline constexpr int single_positions = TRIB_MAX_DEPTH + 1;
inline constexpr int single_keys = single_positions + TRIB_MAX_GAMMA;
inline constexpr int key_quads = (single_keys + 3) / 4;
static_assert(single_keys <= 32 && key_quads <= 8);
inline constexpr unsigned whole_warp = 0xffffffff;

// What single keys and results need beyond the view.
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
inline constexpr int no_key = -1;
__device__ __forceinline__ int stream_key(int row) { return -2 - row; }
__device__ __forceinline__ int stream_of_key(int key) { return -2 - key; }

// The lane that holds the score of key i.
__device__ __forceinline__ int lane_of_score(int i) { return i / 4 + i % 4 * 8; }

// The key of this lane: of `keys` keys, the first `positions` are those at begin … begin + positions − 1, the others the
// streams 1, 2, … of stream row `stream_row`. A tree's node at depth i is the i-th ancestor: the masks' bits are in order of
// depth.
__device__ __forceinline__ int find_single_key(const attention_view& a, int sequence, int length, int nodes, int node,
                                               int begin, int positions, int keys, int first_visible, int stream_row,
                                               int kv_head) {
    const step_view& step = a.step;
    const int lane = static_cast<int>(threadIdx.x) % 32;
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
        return (step.page(sequence, slot) * 2 * a.kv_heads + kv_head) * TRIB_PAGE_TOKENS + slot % TRIB_PAGE_TOKENS;
    }
    if (lane >= positions && lane < keys) {
        return stream_key(max(stream_row - (keys - positions - 1), 0) + (lane - positions));
    }
    return no_key;
}

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

}  // namespace tributary::device
