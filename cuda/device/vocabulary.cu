// SPDX-License-Identifier: Apache-2.0
//
// For every row of logits x[0 … V − 1]:
//     max = max_i x[i],   argmax = the lowest i with x[i] = max,   log_sum_exp = max + log Σ_i e^(x[i] − max),
// and the k largest, descending, ties to the lower id. NaN counts as −∞. Every result is one of a row alone, in an order
// that depends on V only.
//
// Two kernels. The first reads the logits once: a warp takes a chunk of 512 (four 16-byte loads a lane, in flight
// together) and leaves the maximum of each group of 128 and one sum of exponentials against the chunk's maximum, so it
// needs no barrier, and one row of 32,000 already is 63 warps. The second takes one block a row: it merges those few
// numbers, and finds the k largest exactly by reading little again: whatever is among the k largest lies in one of the k
// groups with the greatest maxima (each of these holds an element that beats all of any other group), and is not below
// the least of the k maxima. Of V = 32,000 and k = 64 some 75 candidates in 8,192 logits are left; the groups are chosen
// by bisection of the ordered bits, the candidates sorted by counting who is greater.
//
// Bound: 4 · V bytes a row read once (160 × 32,000: 20 MB, mostly from the second-level cache; 160 × 128,256: 82 MB,
// 20 µs at 4.2 TB/s), 20 bytes a chunk written, 512 · k bytes a row read again.
#include "device/vocabulary.cuh"

#include "device/launch.cuh"

namespace tributary::device {
namespace {

constexpr int group_tokens = 128;  // one 16-byte load of every lane
constexpr int chunk_groups = 4;    // groups that one warp has in flight
constexpr int chunk_tokens = group_tokens * chunk_groups;
constexpr int scan_warps = 8;
constexpr int merge_threads = 256;
constexpr int merge_warps = merge_threads / 32;
constexpr int keys_per_thread = 8;  // 2,048 groups in registers: V ≤ 262,144; beyond, neighbours are taken together
constexpr int max_candidates = merge_threads;
constexpr unsigned all_lanes = 0xffffffffU;

constexpr int chunks_of(int64_t vocabulary) { return static_cast<int>(ceil_div<int64_t>(vocabulary, chunk_tokens)); }

// What the scan leaves for the merge.
struct scan_results {
    uint32_t* keys;  // [rows, chunks, chunk_groups]: order_key of each group's maximum
    float* sums;     // [rows, chunks]: Σ e^(x − the chunk's maximum)
};

__device__ __forceinline__ int rows_of(const vocabulary_reduction& v) {
    const int count = v.count != nullptr ? *v.count : select_rows(v.step, v.rows).count;
    return min(max(count, 0), v.max_rows);
}

__device__ __forceinline__ int place_of(const vocabulary_reduction& v, int row) {
    return v.count != nullptr ? row : select_rows(v.step, v.rows)[row];
}

__device__ __forceinline__ const float* logits_of(const vocabulary_reduction& v, int row) {
    return v.logits + (v.logits_at_place ? place_of(v, row) : row) * v.row_stride;
}

__device__ __forceinline__ bool takes_vectors(const vocabulary_reduction& v) { return v.row_stride % 4 == 0; }

__device__ __forceinline__ float sum_of_exp(float4 x, float reference) {
    return (__expf(x.x - reference) + __expf(x.y - reference)) + (__expf(x.z - reference) + __expf(x.w - reference));
}

__device__ __forceinline__ float warp_sum(float x) {
    for (int distance = 16; distance > 0; distance /= 2) {
        x += __shfl_xor_sync(all_lanes, x, distance);
    }
    return x;
}

// Grid: (rows, ⌈chunks / scan_warps⌉).
__global__ void __launch_bounds__(scan_warps * 32)
    scan_vocabulary(const __grid_constant__ vocabulary_reduction v, const scan_results results) {
    allow_successor();
    wait_for_predecessor();
    const int row = static_cast<int>(blockIdx.x);
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int chunk = static_cast<int>(blockIdx.y) * scan_warps + static_cast<int>(threadIdx.x) / 32;
    const int chunks = chunks_of(v.vocabulary);
    if (row >= rows_of(v) || chunk >= chunks) {
        return;
    }
    const float* logits = logits_of(v, row);
    const bool vector = takes_vectors(v);
    float4 x[chunk_groups];
#pragma unroll
    for (int group = 0; group < chunk_groups; ++group) {
        x[group] = load_logits(logits, chunk * chunk_tokens + group * group_tokens + lane * 4, v.vocabulary, vector);
    }
    uint32_t keys[chunk_groups];
#pragma unroll
    for (int group = 0; group < chunk_groups; ++group) {
        const float highest = fmaxf(fmaxf(x[group].x, x[group].y), fmaxf(x[group].z, x[group].w));
        keys[group] = __reduce_max_sync(all_lanes, order_key(highest));
    }
    const int64_t at = static_cast<int64_t>(row) * chunks + chunk;
    if (lane == 0) {
        reinterpret_cast<uint4*>(results.keys)[at] = {keys[0], keys[1], keys[2], keys[3]};
    }
    if (v.log_sum_exp != nullptr) {
        const float highest = value_of_key(max(max(keys[0], keys[1]), max(keys[2], keys[3])));
        const float reference = highest == -INFINITY ? 0.0F : highest;
        float sum = 0.0F;
#pragma unroll
        for (int group = 0; group < chunk_groups; ++group) {
            sum += sum_of_exp(x[group], reference);
        }
        sum = warp_sum(sum);
        if (lane == 0) {
            results.sums[at] = sum;
        }
    }
}

struct merge_shared {
    uint64_t candidates[max_candidates];
    uint64_t best[merge_warps];
    float sums[merge_warps];
    int counts[2][merge_warps];
    int selected[TRIB_MAX_TOP_K];  // groups that may hold one of the k largest
    int selected_count;
    int candidate_count;
    uint32_t floor;  // the least maximum of the selected groups
};

// The sum of a small number over the block, for every thread. Calls alternate between two rows of `counts`, so one
// barrier each is enough.
__device__ __forceinline__ int block_count(merge_shared& shared, int mine, int& turn) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int sum = __reduce_add_sync(all_lanes, mine);
    if (threadIdx.x % 32 == 0) {
        shared.counts[turn][warp] = sum;
    }
    __syncthreads();
    int total = 0;
#pragma unroll
    for (int i = 0; i < merge_warps; ++i) {
        total += shared.counts[turn][i];
    }
    turn ^= 1;
    return total;
}

// A border with exactly k of a set of unique keys at or above it, given that more than k lie at or above 1 and none at or
// above `end`. `count_from(border)` is the same in every thread.
template <class Count>
__device__ __forceinline__ uint64_t border_of_largest(int k, uint64_t end, const Count& count_from) {
    uint64_t low = 1;
    uint64_t high = end;
    while (high - low > 1) {
        const uint64_t middle = low + (high - low) / 2;
        const int count = count_from(middle);
        if (count == k) {
            return middle;
        }
        (count > k ? low : high) = middle;
    }
    return low;
}

// Calls visit(key, id) for every token of the selected groups that is not below `floor`, each by one thread.
template <class Visit>
__device__ __forceinline__ void visit_selected(const merge_shared& shared, int selected, const float* logits,
                                               int vocabulary, bool vector, int width, uint32_t floor,
                                               const Visit& visit) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (int i = warp; i < selected; i += merge_warps) {
        const int64_t begin = static_cast<int64_t>(shared.selected[i]) * width;
        for (int at = lane * 4; at < width && begin + at < vocabulary; at += group_tokens) {
            const auto id = static_cast<int32_t>(begin + at);
            const float4 x = load_logits(logits, id, vocabulary, vector);
            const float values[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const uint32_t key = order_key(values[j]);
                if (key >= floor && id + j < vocabulary) {
                    visit(key, id + j);
                }
            }
        }
    }
}

// Grid: rows. `shift`: 2^shift neighbouring groups count as one, so that registers hold a key of each.
__global__ void __launch_bounds__(merge_threads)
    merge_vocabulary(const __grid_constant__ vocabulary_reduction v, const scan_results results, int shift) {
    __shared__ merge_shared shared;
    allow_successor();
    wait_for_predecessor();
    const int row = static_cast<int>(blockIdx.x);
    if (row >= rows_of(v)) {
        return;
    }
    const int thread = static_cast<int>(threadIdx.x);
    const int warp = thread / 32;
    const int lane = thread % 32;
    const int chunks = chunks_of(v.vocabulary);
    const int place = place_of(v, row);
    const float* logits = logits_of(v, row);
    const bool vector = takes_vectors(v);
    const uint32_t* row_keys = results.keys + static_cast<int64_t>(row) * chunks * chunk_groups;
    const int groups = static_cast<int>(ceil_div<int64_t>(v.vocabulary, int64_t{group_tokens} << shift));

    // Each group as a token_key of its own: descending maximum, then ascending index.
    uint64_t keys[keys_per_thread];
    uint64_t best = 0;
#pragma unroll
    for (int j = 0; j < keys_per_thread; ++j) {
        const int group = thread + j * merge_threads;
        uint32_t key = 0;
        if (shift == 0) {
            key = group < groups ? row_keys[group] : 0;
        } else if (group < groups) {
            const int64_t begin = static_cast<int64_t>(group) << shift;
            for (int64_t i = begin; i < begin + (int64_t{1} << shift) && i < int64_t{chunks} * chunk_groups; ++i) {
                key = max(key, row_keys[i]);
            }
        }
        keys[j] = group < groups ? token_key(key, group) : 0;
        best = max(best, keys[j]);
    }
    for (int distance = 16; distance > 0; distance /= 2) {
        best = max(best, __shfl_xor_sync(all_lanes, best, distance));
    }
    if (lane == 0) {
        shared.best[warp] = best;
    }
    if (thread == 0) {
        shared.selected_count = 0;
        shared.candidate_count = 0;
        shared.floor = 0xffffffffU;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < merge_warps; ++i) {
        best = max(best, shared.best[i]);
    }
    const auto max_key = static_cast<uint32_t>(best >> 32);
    const float max_logit = value_of_key(max_key);
    if (thread == 0 && v.max_logit != nullptr) {
        v.max_logit[place] = max_logit;
    }

    if (v.log_sum_exp != nullptr) {
        const float reference = max_logit == -INFINITY ? 0.0F : max_logit;
        float sum = 0.0F;
        for (int chunk = thread; chunk < chunks; chunk += merge_threads) {
            const uint4 of = reinterpret_cast<const uint4*>(row_keys)[chunk];
            const float highest = value_of_key(max(max(of.x, of.y), max(of.z, of.w)));
            sum += results.sums[static_cast<int64_t>(row) * chunks + chunk] * __expf(highest - reference);
        }
        sum = warp_sum(sum);
        if (lane == 0) {
            shared.sums[warp] = sum;
        }
        __syncthreads();
        if (thread == 0) {
            float total = 0.0F;
            for (int i = 0; i < merge_warps; ++i) {
                total += shared.sums[i];
            }
            v.log_sum_exp[place] = max_logit + logf(total);
        }
    }

    const int width = group_tokens << shift;
    if (v.k == 0) {
        // The lowest id with the maximum stands in the first group that has it.
        if (warp == 0 && v.argmax != nullptr) {
            const int64_t begin = static_cast<int64_t>(id_of_token_key(best)) * width;
            int32_t lowest = INT32_MAX;
            for (int at = lane * 4; at < width && begin + at < v.vocabulary; at += group_tokens) {
                const auto id = static_cast<int32_t>(begin + at);
                const float4 x = load_logits(logits, id, v.vocabulary, vector);
                const float values[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
                for (int j = 3; j >= 0; --j) {
                    if (order_key(values[j]) == max_key) {
                        lowest = min(lowest, id + j);
                    }
                }
            }
            lowest = __reduce_min_sync(all_lanes, lowest);
            if (lane == 0) {
                v.argmax[place] = lowest + v.id_offset;
            }
        }
        return;
    }

    int turn = 0;
    uint64_t border = 1;
    if (groups > v.k) {
        border = border_of_largest(v.k, best + 1, [&](uint64_t from) {
            int mine = 0;
#pragma unroll
            for (int j = 0; j < keys_per_thread; ++j) {
                mine += keys[j] >= from ? 1 : 0;
            }
            return block_count(shared, mine, turn);
        });
    }
#pragma unroll
    for (int j = 0; j < keys_per_thread; ++j) {
        if (keys[j] >= border) {
            shared.selected[atomicAdd(&shared.selected_count, 1)] = id_of_token_key(keys[j]);
            atomicMin(&shared.floor, static_cast<uint32_t>(keys[j] >> 32));
        }
    }
    __syncthreads();
    const int selected = shared.selected_count;  // min(k, groups)
    const uint32_t floor = groups > v.k ? shared.floor : 0;
    visit_selected(shared, selected, logits, v.vocabulary, vector, width, floor, [&](uint32_t key, int32_t id) {
        const int at = atomicAdd(&shared.candidate_count, 1);
        if (at < max_candidates) {
            shared.candidates[at] = token_key(key, id);
        }
    });
    __syncthreads();
    int candidates = shared.candidate_count;
    if (candidates > max_candidates) {
        // Rows whose large values crowd together, and small vocabularies: the border itself, from the logits.
        const uint64_t exact = border_of_largest(v.k, best + (uint64_t{1} << 32), [&](uint64_t from) {
            int mine = 0;
            visit_selected(shared, selected, logits, v.vocabulary, vector, width, floor,
                           [&](uint32_t key, int32_t id) { mine += token_key(key, id) >= from ? 1 : 0; });
            return block_count(shared, mine, turn);
        });
        __syncthreads();
        if (thread == 0) {
            shared.candidate_count = 0;
        }
        __syncthreads();
        visit_selected(shared, selected, logits, v.vocabulary, vector, width, floor, [&](uint32_t key, int32_t id) {
            if (token_key(key, id) >= exact) {
                shared.candidates[atomicAdd(&shared.candidate_count, 1)] = token_key(key, id);
            }
        });
        __syncthreads();
        candidates = v.k;
    }
    if (thread < candidates) {
        const uint64_t mine = shared.candidates[thread];
        int rank = 0;
        for (int i = 0; i < candidates; ++i) {
            rank += shared.candidates[i] > mine ? 1 : 0;
        }
        if (rank < v.k) {
            const int32_t id = id_of_token_key(mine);
            const int64_t at = static_cast<int64_t>(place) * v.k + rank;
            v.top_ids[at] = id + v.id_offset;
            v.top_logits[at] = without_nan(logits[id]);
            if (rank == 0 && v.argmax != nullptr) {
                v.argmax[place] = id + v.id_offset;
            }
        }
    }
}

}  // namespace

uint64_t vocabulary_workspace(int64_t rows, int64_t vocabulary) {
    return static_cast<uint64_t>(rows) * static_cast<uint64_t>(chunks_of(vocabulary)) *
           (chunk_groups * sizeof(uint32_t) + sizeof(float));
}

trib_status reduce_vocabulary(context& context, const char* operation, const vocabulary_reduction& v) {
    if (v.max_rows == 0) {
        return TRIB_OK;
    }
    const int chunks = chunks_of(v.vocabulary);
    auto* keys = static_cast<uint32_t*>(v.workspace);
    const scan_results results = {
        keys, reinterpret_cast<float*>(keys + static_cast<int64_t>(v.max_rows) * chunks * chunk_groups)};
    int shift = 0;
    while (ceil_div<int64_t>(v.vocabulary, int64_t{group_tokens} << shift) > merge_threads * keys_per_thread) {
        ++shift;
    }
    const launch_shape scan = {
        .grid = dim3(static_cast<unsigned>(v.max_rows), static_cast<unsigned>(ceil_div(chunks, scan_warps))),
        .block = dim3(scan_warps * 32),
    };
    if (const trib_status status = launch(context, operation, scan_vocabulary, scan, v, results); status != TRIB_OK) {
        return status;
    }
    return launch(context, operation, merge_vocabulary,
                  {.grid = dim3(static_cast<unsigned>(v.max_rows)), .block = dim3(merge_threads)}, v, results, shift);
}

}  // namespace tributary::device
