// SPDX-License-Identifier: Apache-2.0
//
// Verification: the target's choice at the rows that the walk may meet, the accepted path and the bonus token.
//
// A choice is the argmax (greedy), or Gumbel-max over the tokens that the filters leave: y = argmax(z + g), with
// z = logit / temperature and g = −log E, E = −log1p(−w), w = (x + ½) · 2⁻³², x = word 0 of Philox for (seed, position,
// token, choice). In fp32 E is formed from w where w is small and from 1 − w where that is, both from the integer x, so
// that neither logarithm can meet 0 or 1 and −3.14 < g < 22.88.
//
// Filters. Top-k, top-p and min-p each keep the beginning of one order, descending z, ties by lower id. So what passes
// the first two is one border in (key of z, id), and min-p is e^(z − max z) ≥ min_p. Top-p compares
// float(Σ weights of the prefix / Σ weights) with p. Weights are summed as integers of 2⁻⁴⁰: sums of any order are the
// same bits, so histograms may be filled by atomics; what is lost is less than 2⁻⁴¹ of the greatest weight per token.
// No probability is ever written to memory.
//
// NaN counts as −∞; a row of nothing but −∞ gives its first allowed token, without a mask token 0; a temperature that is
// not > 0 is greedy; a row on the walk whose results are nowhere (row_logits −1) ends the walk with bonus −1. The greatest
// logit is that of lm_head's argmax.
//
// Five kernels; the last alone without logits, the second where rows may be adjusted only.
//   list_rows   one block: the main rows that need a draw, or an adjusted choice (rows of active trees, last rows of
//               active causal sequences).
//   adjust_rows tasks (row, 4,096 tokens): a copy of the row in workspace with bias, penalties and mask applied, from here
//               on the row's logits; its greatest tokens (the greedy choice); for typical acceptance the parts of its
//               softmax and entropy. A task applies those of the sequence's entries whose tokens it holds; the row's path
//               is read off its ancestor bits.
//   cut_rows    one block a row with top-k or top-p: two reads of the row. The first fills 512 bins of width 1/16 in
//               max z − z with counts or weights, the second collects the tokens of the bin in which the prefix ends, on
//               which the border is bisected. A bin of more than 2,048 tokens is bisected on the row itself.
//   draw_rows   tasks (row, 4,096 tokens) over a grid that fills the device once. A token can win only if
//               w ≤ E ≤ e^(z − best), so Philox (ten rounds, about 80 instructions) runs for tokens within 22.88 of the
//               best score so far only, and the logarithms for the few that its word lets through.
//   walk        one warp a sequence; the maximum over a row's tasks is taken when the walk comes to the row.
//
// An adjusted row costs V · 8 bytes more (read and copy, both in the second-level cache) and 16 bytes an entry and task:
// 32 rows of 128,256 with 1,500 entries each are 33 MB and 25 MB of cached reads. Measured on an H200, seed and
// temperature alone against penalties with 1,500 entries, cold caches: 27 and 40 µs for a row of 32,000; 45 and 66 µs for
// 32 of 128,256; a mask takes 37 and 58, typical acceptance 40 and 67.
//
// Bound: a pass over V · 4 bytes a sampled row (128 KB of 32,000, from the second-level cache) and 80 instructions for
// up to V tokens: 32 rows of 128,256 are 330 M lane instructions, 11 µs of 132 multiprocessors; two passes more where
// top-k or top-p are on. A greedy walk is a chain of a few dependent reads per accepted token.
#include "device/launch.cuh"
#include "device/operations.hpp"
#include "device/philox.cuh"
#include "device/step.cuh"
#include "device/vocabulary.cuh"

namespace tributary::device {
namespace {

constexpr unsigned all_lanes = 0xffffffffU;
constexpr float greatest_noise = 22.88F;
constexpr uint32_t purpose_choice = 0;

constexpr int list_threads = 1024;
constexpr int cut_threads = 512;
constexpr int cut_warps = cut_threads / 32;
constexpr int bins = 512;  // one a thread of cut_rows
static_assert(bins <= cut_threads && cut_warps <= 32);
constexpr float bins_per_unit = 16.0F;
constexpr int max_candidates = 2048;
constexpr int draw_threads = 256;
constexpr int draw_warps = draw_threads / 32;
constexpr int draw_vectors = 4;  // fours of tokens that a thread has in flight
constexpr int segment_tokens = draw_threads * 4 * draw_vectors;
constexpr int walk_warps = 4;
static_assert(TRIB_MAX_TREE <= draw_threads, "a thread of adjust_rows for each node of a tree");

// A main row whose choice is not lm_head's argmax.
struct drawn_row {
    int32_t row;
    int32_t sequence;
    int32_t depth;
    int32_t place;  // of its logits and argmax
    int32_t copy;   // of its adjusted logits; −1 = it has none, plain_row = nor does it need them
};
constexpr int32_t plain_row = -2;

// Part of a row's softmax at its temperature, over one segment of tokens.
struct softmax_part {
    float greatest;  // logit
    float sum;       // Σ e^d, d = (logit − greatest) / temperature
    float moment;    // Σ e^d d
};

struct verify_arguments {
    step_view step;
    const trib_sampling* sampling;
    const int32_t* row_logits;  // null: row r at r
    const int32_t* argmax;
    const float* logits;  // null: all greedy
    int64_t logits_stride, logits_rows;
    int vocabulary, segments;
    bool vector;
    int max_copies;  // 0 = no row is adjusted
    const float* log_sum_exp;
    float* log_probability;  // [S, TRIB_MAX_PATH]; null = none
    int32_t* accepted_count;
    int32_t* accepted_node;
    int32_t* accepted_row;
    int32_t* bonus;
    drawn_row* rows;  // [R]
    int32_t* count;   // [1]
    uint64_t* cuts;   // [R], by index in rows: token_key of the last token that top-k and top-p let through; 0 = all
    uint64_t* best;   // [R, segments], by row: token_key of the best score; 0 = no token passed
    // Of adjusted rows, by row:
    int32_t* copy_of;       // [R]
    uint64_t* peaks;        // [R, segments]: token_key of the greatest adjusted logit; 0 = all are −∞
    softmax_part* softmax;  // [R, segments], with typical acceptance
    float* copies;          // [max_copies, copy_stride]
    int64_t copy_stride;

    __device__ int place_of(int row) const { return row_logits == nullptr ? row : row_logits[row]; }
    __device__ bool draws(const trib_sampling& how) const { return logits != nullptr && how.temperature > 0.0F; }
    __device__ bool typical(const trib_sampling& how) const {
        return max_copies > 0 && draws(how) && how.typical_epsilon > 0.0F;
    }
    __device__ bool adjusts(const trib_sampling& how) const {
        return max_copies > 0 && (how.adjustments > 0 || how.allowed != 0 || typical(how));
    }
};

// ---------------------------------------------------------------- rows

__global__ void __launch_bounds__(list_threads) list_rows(const __grid_constant__ verify_arguments a) {
    __shared__ int warp_counts[list_threads / 32];
    __shared__ int warp_copies[list_threads / 32];
    allow_successor();
    wait_for_predecessor();
    const int thread = static_cast<int>(threadIdx.x);
    const int main_rows = a.step.main_rows();
    int before = 0;
    int copies_before = 0;
    for (int begin = 0; begin < main_rows; begin += list_threads) {
        const int row = begin + thread;
        drawn_row drawn = {row, 0, 0, -1, plain_row};
        if (row < main_rows) {
            const int sequence = a.step.row_sequence[row];
            if (sequence >= 0 && sequence < a.step.max_sequences) {
                const bool tree = a.step.nodes(sequence) > 0;
                const trib_sampling& how = a.sampling[sequence];
                const bool adjusted = a.adjusts(how);
                if (how.active != 0 && (adjusted || how.temperature > 0.0F) &&
                    (tree || row == a.step.sequence_rows[sequence + 1] - 1)) {
                    const int place = a.place_of(row);
                    drawn = {row, sequence, tree ? a.step.row_position[row] - a.step.sequence_length[sequence] : 0,
                             place < a.logits_rows ? place : -1, adjusted ? -1 : plain_row};
                }
            }
        }
        const unsigned wanted = __ballot_sync(all_lanes, drawn.place >= 0);
        const unsigned copied = __ballot_sync(all_lanes, drawn.place >= 0 && drawn.copy != plain_row);
        if (thread % 32 == 0) {
            warp_counts[thread / 32] = __popc(wanted);
            warp_copies[thread / 32] = __popc(copied);
        }
        __syncthreads();
        int at = before;
        int copy = copies_before;
        for (int warp = 0; warp < list_threads / 32; ++warp) {
            at += warp < thread / 32 ? warp_counts[warp] : 0;
            copy += warp < thread / 32 ? warp_copies[warp] : 0;
            before += warp_counts[warp];
            copies_before += warp_copies[warp];
        }
        if (drawn.place >= 0) {
            const unsigned lower = (1U << (thread % 32)) - 1U;
            if (drawn.copy != plain_row) {
                copy += __popc(copied & lower);
                drawn.copy = copy < a.max_copies ? copy : -1;
                a.copy_of[row] = drawn.copy;
            }
            a.rows[at + __popc(wanted & lower)] = drawn;
        }
        __syncthreads();
    }
    if (thread == 0) {
        *a.count = before;
    }
}

// ---------------------------------------------------------------- adjusted logits

__device__ __forceinline__ float adjusted_logit(float x, const trib_token_adjustment& entry, int on_path,
                                                const trib_sampling& how) {
    const int generated = entry.generated_count + on_path;
    x += entry.bias;
    if (entry.prompt_count + generated > 0) {
        x = x > 0.0F ? x / how.repetition_penalty : x * how.repetition_penalty;
    }
    if (generated > 0) {
        x = fmaf(-how.frequency_penalty, static_cast<float>(generated), x) - how.presence_penalty;
    }
    return without_nan(x);
}

__device__ __forceinline__ uint64_t warp_max(uint64_t x) {
    for (int distance = 16; distance > 0; distance /= 2) {
        x = max(x, __shfl_xor_sync(all_lanes, x, distance));
    }
    return x;
}

__device__ __forceinline__ float warp_sum(float x) {
    for (int distance = 16; distance > 0; distance /= 2) {
        x += __shfl_xor_sync(all_lanes, x, distance);
    }
    return x;
}

struct adjust_shared {
    float logits[segment_tokens];
    int32_t path[TRIB_MAX_PATH];  // tokens, in any order
    int path_length;
    uint64_t peaks[draw_warps];
    float sums[draw_warps], moments[draw_warps];
};

// Grid: as draw_rows.
__global__ void __launch_bounds__(draw_threads) adjust_rows(const __grid_constant__ verify_arguments a) {
    __shared__ adjust_shared shared;
    allow_successor();
    wait_for_predecessor();
    const int thread = static_cast<int>(threadIdx.x);
    const int warp = thread / 32;
    const int64_t tasks = static_cast<int64_t>(*a.count) * a.segments;
    const int64_t mask_words = (a.vocabulary + 31) / 32;
    for (int64_t task = blockIdx.x; task < tasks; task += gridDim.x) {
        const drawn_row drawn = a.rows[task / a.segments];
        if (drawn.copy == plain_row) {
            continue;
        }
        const auto segment = static_cast<int>(task % a.segments);
        const int begin = segment * segment_tokens;
        const trib_sampling how = a.sampling[drawn.sequence];
        const int nodes = a.step.nodes(drawn.sequence);
        const int node = nodes > 0 ? a.step.row_node[drawn.row] : 0;
        const float* raw = a.logits + drawn.place * a.logits_stride;
        if (thread == 0) {
            shared.path_length = 0;
        }
#pragma unroll
        for (int j = 0; j < draw_vectors; ++j) {
            const int at = (thread + j * draw_threads) * 4;
            *reinterpret_cast<float4*>(shared.logits + at) = load_logits(raw, begin + at, a.vocabulary, a.vector);
        }
        __syncthreads();
        if (how.adjustments > 0) {
            if (thread < nodes && (a.step.mask(drawn.sequence, node)[thread / 64] >> (thread % 64) & 1) != 0) {
                const int at = atomicAdd(&shared.path_length, 1);
                if (at < TRIB_MAX_PATH) {
                    shared.path[at] = a.step.tree_token[a.step.tree_begin[drawn.sequence] + thread];
                }
            }
            __syncthreads();
            const int path_length = min(shared.path_length, TRIB_MAX_PATH);
            const trib_token_adjustment* entries = reinterpret_cast<const trib_token_adjustment*>(how.adjustment);
            const int end = min(begin + segment_tokens, a.vocabulary);
            for (int i = thread; i < how.adjustments; i += draw_threads) {
                const int32_t token = entries[i].token;
                if (token >= begin && token < end) {
                    int on_path = 0;
                    for (int at = 0; at < path_length; ++at) {
                        on_path += shared.path[at] == token ? 1 : 0;
                    }
                    float& x = shared.logits[token - begin];
                    x = adjusted_logit(x, entries[i], on_path, how);
                }
            }
            __syncthreads();
        }

        const uint32_t* allowed =
            how.allowed == 0 ? nullptr : reinterpret_cast<const uint32_t*>(how.allowed) + node * mask_words;
        float values[draw_vectors][4];
        uint64_t peak = 0;
#pragma unroll
        for (int j = 0; j < draw_vectors; ++j) {
            const int at = (thread + j * draw_threads) * 4;
            const int token = begin + at;
            const float4 x = *reinterpret_cast<const float4*>(shared.logits + at);
            // Four tokens lie in one word.
            const uint32_t bits =
                allowed == nullptr || token >= a.vocabulary ? 0xfU : allowed[token / 32] >> (token % 32);
            values[j][0] = (bits & 1U) != 0 ? x.x : -INFINITY;
            values[j][1] = (bits & 2U) != 0 ? x.y : -INFINITY;
            values[j][2] = (bits & 4U) != 0 ? x.z : -INFINITY;
            values[j][3] = (bits & 8U) != 0 ? x.w : -INFINITY;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                if (values[j][i] != -INFINITY) {
                    peak = max(peak, token_key(order_key(values[j][i]), token + i));
                }
            }
            if (drawn.copy >= 0 && token < a.vocabulary) {
                // The copy's row is padded to whole vectors.
                *reinterpret_cast<float4*>(a.copies + drawn.copy * a.copy_stride + token) = {
                    values[j][0], values[j][1], values[j][2], values[j][3]};
            }
        }
        peak = warp_max(peak);
        if (thread % 32 == 0) {
            shared.peaks[warp] = peak;
        }
        __syncthreads();
        for (int other = 0; other < draw_warps; ++other) {
            peak = max(peak, shared.peaks[other]);
        }
        const int64_t result = static_cast<int64_t>(drawn.row) * a.segments + segment;
        if (thread == 0) {
            a.peaks[result] = peak;
        }
        if (a.typical(how)) {
            const float greatest = peak == 0 ? -INFINITY : value_of_key(static_cast<uint32_t>(peak >> 32));
            float sum = 0.0F;
            float moment = 0.0F;
#pragma unroll
            for (int j = 0; j < draw_vectors; ++j) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    if (values[j][i] != -INFINITY) {
                        const float d = (values[j][i] - greatest) / how.temperature;
                        const float w = expf(d);
                        sum += w;
                        moment = w > 0.0F ? fmaf(w, d, moment) : moment;
                    }
                }
            }
            sum = warp_sum(sum);
            moment = warp_sum(moment);
            if (thread % 32 == 0) {
                shared.sums[warp] = sum;
                shared.moments[warp] = moment;
            }
            __syncthreads();
            if (thread == 0) {
                for (int other = 1; other < draw_warps; ++other) {
                    sum += shared.sums[other];
                    moment += shared.moments[other];
                }
                a.softmax[result] = {greatest, sum, moment};
            }
        }
        __syncthreads();
    }
}

// The token_key of the greatest of a row's tasks. The same in every lane; all lanes call.
__device__ __forceinline__ uint64_t greatest_key(const uint64_t* keys, int segments) {
    uint64_t greatest = 0;
    for (int segment = static_cast<int>(threadIdx.x) % 32; segment < segments; segment += 32) {
        greatest = max(greatest, keys[segment]);
    }
    return warp_max(greatest);
}

// ---------------------------------------------------------------- one row

// One row of logits as z = logit / temperature. Made by whole warps.
struct scaled_row {
    const float* logits;
    bool vector;  // 16-byte loads are allowed
    float temperature, inverse;
    // When the division would overflow, z = (logit − shift) / temperature: the same law, and the greatest is 0.
    bool shifted;
    float shift;
    float greatest;  // z of the best token
    int32_t best;

    __device__ scaled_row(const verify_arguments& a, const drawn_row& drawn, float temperature)
        : logits(a.logits + drawn.place * a.logits_stride),
          vector(a.vector),
          temperature(temperature),
          inverse(1.0F / temperature) {
        best = min(max(a.argmax[drawn.place], 0), a.vocabulary - 1);
        if (drawn.copy >= 0) {
            logits = a.copies + drawn.copy * a.copy_stride;
            vector = true;
            const uint64_t peak = greatest_key(a.peaks + static_cast<int64_t>(drawn.row) * a.segments, a.segments);
            best = peak == 0 ? 0 : id_of_token_key(peak);
        }
        shift = without_nan(logits[best]);
        shifted = !isfinite(shift / temperature) || !isfinite(inverse);
        greatest = shift == -INFINITY ? shift : scale(shift);
    }

    __device__ __forceinline__ float scale(float logit) const {
        if (shifted && logit == shift) {
            return 0.0F;
        }
        const float x = shifted ? logit - shift : logit;
        // The quotient by its remainder: what division gives, without its branches.
        const float near = x * inverse;
        const float z = fmaf(fmaf(-near, temperature, x), inverse, near);
        return without_nan(isfinite(near) ? z : near);
    }

    __device__ __forceinline__ float weight(float z) const { return expf(z - greatest); }
};

// ---------------------------------------------------------------- filters

struct measure {
    uint64_t mass;  // Σ weights in units of 2⁻⁴⁰, or the count again
    int count;
};

struct cut_shared {
    uint64_t candidates[max_candidates];
    uint32_t low[bins], high[bins];  // words of each bin's mass
    uint64_t masses[2][cut_warps];
    int counts[2][cut_warps];
    uint64_t above;  // mass of the bins before the chosen one
    int chosen;
    int candidate_count;
};

__device__ __forceinline__ uint64_t warp_sum(uint64_t x) {
    for (int distance = 16; distance > 0; distance /= 2) {
        x += __shfl_xor_sync(all_lanes, x, distance);
    }
    return x;
}

// The sum over the block, for every thread. Calls alternate between two rows of the arrays, so one barrier is enough.
__device__ __forceinline__ measure block_sum(cut_shared& shared, measure mine, int& turn) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    mine.mass = warp_sum(mine.mass);
    mine.count = __reduce_add_sync(all_lanes, mine.count);
    if (lane == 0) {
        shared.masses[turn][warp] = mine.mass;
        shared.counts[turn][warp] = mine.count;
    }
    __syncthreads();
    const measure total = {warp_sum(lane < cut_warps ? shared.masses[turn][lane] : 0),
                           __reduce_add_sync(all_lanes, lane < cut_warps ? shared.counts[turn][lane] : 0)};
    turn ^= 1;
    return total;
}

__device__ __forceinline__ uint64_t block_max(cut_shared& shared, uint64_t mine, int& turn) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (int distance = 16; distance > 0; distance /= 2) {
        mine = max(mine, __shfl_xor_sync(all_lanes, mine, distance));
    }
    if (lane == 0) {
        shared.masses[turn][warp] = mine;
    }
    __syncthreads();
    uint64_t total = lane < cut_warps ? shared.masses[turn][lane] : 0;
    for (int distance = 16; distance > 0; distance /= 2) {
        total = max(total, __shfl_xor_sync(all_lanes, total, distance));
    }
    turn ^= 1;
    return total;
}

// Calls visit(z, id) for every token that is possible at all, each by one thread.
template <class Visit>
__device__ __forceinline__ void visit_row(const verify_arguments& a, const scaled_row& row, const Visit& visit) {
    constexpr int vectors = 4;
    for (int begin = static_cast<int>(threadIdx.x) * 4; begin < a.vocabulary; begin += vectors * 4 * cut_threads) {
        float4 x[vectors];
#pragma unroll
        for (int j = 0; j < vectors; ++j) {
            x[j] = load_logits(row.logits, begin + j * 4 * cut_threads, a.vocabulary, row.vector);
        }
#pragma unroll
        for (int j = 0; j < vectors; ++j) {
            const float values[4] = {x[j].x, x[j].y, x[j].z, x[j].w};
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float z = row.scale(values[i]);
                if (z != -INFINITY) {
                    visit(z, begin + j * 4 * cut_threads + i);
                }
            }
        }
    }
}

__device__ __forceinline__ int bin_of(const scaled_row& row, float z) {
    return min(__float2int_rd((row.greatest - z) * bins_per_unit), bins - 1);
}

// The token_key of the last token of the shortest prefix, among the tokens from `within` on, for which
// `reached(mass, total)` holds; 0 when all of them are needed. `by_mass`: mass is of weights, else it is a count.
template <bool by_mass, class Reached>
__device__ __forceinline__ uint64_t find_cut(const verify_arguments& a, const scaled_row& row, cut_shared& shared,
                                             uint64_t within, const Reached& reached) {
    const int thread = static_cast<int>(threadIdx.x);
    const int lane = thread % 32;
    const int warp = thread / 32;
    int turn = 0;
    const auto mass_of = [&](float z) {
        return by_mass ? __float2ull_rn(row.weight(z) * 0x1p40F) : static_cast<unsigned long long>(1);
    };
    const auto passes = [&](float z, int32_t id) { return token_key(order_key(z), id) >= within; };

    if (thread < bins) {
        shared.low[thread] = 0;
        shared.high[thread] = 0;
    }
    if (thread == 0) {
        shared.chosen = -1;
        shared.candidate_count = 0;
    }
    __syncthreads();
    int last = 0;  // of the last bin, which is long: counted apart; its weights are 0
    visit_row(a, row, [&](float z, int32_t id) {
        const int bin = bin_of(row, z);
        if (bin == bins - 1) {
            last += !by_mass && passes(z, id) ? 1 : 0;
        } else if (passes(z, id)) {
            const uint64_t mass = mass_of(z);
            const auto low = static_cast<uint32_t>(mass);
            const uint32_t old = atomicAdd(&shared.low[bin], low);
            const uint32_t high = static_cast<uint32_t>(mass >> 32) + (old + low < old ? 1U : 0U);
            if (high != 0) {
                atomicAdd(&shared.high[bin], high);
            }
        }
    });
    if (!by_mass) {
        last = __reduce_add_sync(all_lanes, last);
        if (lane == 0) {
            atomicAdd(&shared.low[bins - 1], static_cast<uint32_t>(last));
        }
    }
    __syncthreads();

    // Masses up to and before each bin, from the top; the prefix ends in the one bin that makes it reach.
    const uint64_t own = thread < bins ? static_cast<uint64_t>(shared.high[thread]) << 32 | shared.low[thread] : 0;
    uint64_t up_to = own;
    for (int distance = 1; distance < 32; distance *= 2) {
        const uint64_t lower = __shfl_up_sync(all_lanes, up_to, distance);
        up_to += lane >= distance ? lower : 0;
    }
    if (lane == 31) {
        shared.masses[turn][warp] = up_to;
    }
    __syncthreads();
    uint64_t total = 0;
    for (int i = 0; i < bins / 32; ++i) {
        up_to += i < warp ? shared.masses[turn][i] : 0;
        total += shared.masses[turn][i];
    }
    turn ^= 1;
    if (thread < bins && reached(up_to, total) && !reached(up_to - own, total)) {
        shared.chosen = thread;
        shared.above = up_to - own;
    }
    __syncthreads();
    const int chosen = shared.chosen;
    if (chosen < 0) {  // a count that the row does not have
        return within;
    }
    const uint64_t above = shared.above;

    visit_row(a, row, [&](float z, int32_t id) {
        if (bin_of(row, z) == chosen && passes(z, id)) {
            const int at = atomicAdd(&shared.candidate_count, 1);
            if (at < max_candidates) {
                shared.candidates[at] = token_key(order_key(z), id);
            }
        }
    });
    __syncthreads();
    const int candidates = shared.candidate_count;
    // Calls visit(key) for every token of the chosen bin.
    const auto visit_candidates = [&](const auto& visit) {
        if (candidates <= max_candidates) {
            for (int i = thread; i < candidates; i += cut_threads) {
                visit(shared.candidates[i]);
            }
        } else {
            visit_row(a, row, [&](float z, int32_t id) {
                if (bin_of(row, z) == chosen && passes(z, id)) {
                    visit(token_key(order_key(z), id));
                }
            });
        }
    };
    uint64_t greatest = 0;
    uint64_t least_complement = 0;
    visit_candidates([&](uint64_t key) {
        greatest = max(greatest, key);
        least_complement = max(least_complement, ~key);
    });
    // The prefix that ends at `low` reaches, one that ends at `high` does not; how many candidates each has.
    uint64_t high = block_max(shared, greatest, turn) + 1;
    uint64_t low = ~block_max(shared, least_complement, turn);
    int count_high = 0;
    int count_low = candidates;
    while (count_low - count_high > 1 && high - low > 1) {
        const uint64_t middle = low + (high - low) / 2;
        measure mine = {0, 0};
        visit_candidates([&](uint64_t key) {
            if (key >= middle) {
                mine.mass += mass_of(value_of_key(static_cast<uint32_t>(key >> 32)));
                mine.count += 1;
            }
        });
        const measure sum = block_sum(shared, mine, turn);
        if (reached(above + sum.mass, total)) {
            low = middle;
            count_low = sum.count;
        } else {
            high = middle;
            count_high = sum.count;
        }
    }
    __syncthreads();
    return low;
}

// Grid: as many blocks as rows can be, at most one a multiprocessor.
__global__ void __launch_bounds__(cut_threads) cut_rows(const __grid_constant__ verify_arguments a) {
    __shared__ cut_shared shared;
    allow_successor();
    wait_for_predecessor();
    const int count = *a.count;
    for (int item = static_cast<int>(blockIdx.x); item < count; item += static_cast<int>(gridDim.x)) {
        const drawn_row drawn = a.rows[item];
        const trib_sampling& how = a.sampling[drawn.sequence];
        const int32_t top_k = how.top_k;
        const float top_p = how.top_p;
        const bool limited = top_k > 0 && top_k < a.vocabulary;
        uint64_t cut = 0;
        if (how.temperature > 0.0F && (limited || top_p < 1.0F)) {
            const scaled_row row(a, drawn, how.temperature);
            if (row.greatest != -INFINITY) {
                if (limited) {
                    cut = find_cut<false>(a, row, shared, cut, [&](uint64_t tokens, uint64_t) {
                        return tokens >= static_cast<uint64_t>(top_k);
                    });
                }
                if (top_p < 1.0F) {
                    cut = find_cut<true>(a, row, shared, cut, [&](uint64_t mass, uint64_t total) {
                        return static_cast<float>(static_cast<double>(mass) / static_cast<double>(total)) >= top_p;
                    });
                }
            }
        }
        if (threadIdx.x == 0) {
            a.cuts[item] = cut;
        }
    }
}

// ---------------------------------------------------------------- Gumbel-max

__device__ __forceinline__ uint32_t draw_word(const trib_sampling& how, uint32_t position, int32_t token) {
    return philox({{position, static_cast<uint32_t>(token), purpose_choice, static_cast<uint32_t>(how.choice)}},
                  static_cast<uint32_t>(how.seed), static_cast<uint32_t>(how.seed >> 32))
        .word[0];
}

// −log E of a word. Either w or 1 − w = (~x + ½) · 2⁻³² is below ½ and then exact but for one rounding.
__device__ __forceinline__ float noise_of(uint32_t x) {
    const float e = x < 0x80000000U ? -log1pf(-((static_cast<float>(x) + 0.5F) * 0x1p-32F))
                                    : -logf((static_cast<float>(~x) + 0.5F) * 0x1p-32F);
    return -logf(e);
}

// Grid: as many blocks as the device holds at once, or fewer when there cannot be as many tasks.
__global__ void __launch_bounds__(draw_threads) draw_rows(const __grid_constant__ verify_arguments a) {
    __shared__ uint64_t warp_best[draw_warps];
    allow_successor();
    wait_for_predecessor();
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t tasks = static_cast<int64_t>(*a.count) * a.segments;
    for (int64_t task = blockIdx.x; task < tasks; task += gridDim.x) {
        const auto item = static_cast<int>(task / a.segments);
        const auto segment = static_cast<int>(task % a.segments);
        const drawn_row drawn = a.rows[item];
        const trib_sampling how = a.sampling[drawn.sequence];
        if (!(how.temperature > 0.0F)) {  // greedy: adjust_rows has chosen
            continue;
        }
        const uint64_t cut = a.cuts[item];
        const scaled_row row(a, drawn, how.temperature);
        const uint32_t position = static_cast<uint32_t>(how.generated) + static_cast<uint32_t>(drawn.depth);
        uint64_t best = 0;
        if (row.greatest != -INFINITY) {
            float4 x[draw_vectors];
            const int first = segment * segment_tokens + thread * 4;
#pragma unroll
            for (int j = 0; j < draw_vectors; ++j) {
                x[j] = load_logits(row.logits, first + j * 4 * draw_threads, a.vocabulary, row.vector);
            }
            // A score that is reached in any case, here or in another segment.
            float score = row.greatest + noise_of(draw_word(how, position, row.best));
            const float least = how.min_p > 0.0F ? row.greatest + logf(how.min_p) - 1.0e-3F : -INFINITY;
#pragma unroll
            for (int j = 0; j < draw_vectors; ++j) {
                const float values[4] = {x[j].x, x[j].y, x[j].z, x[j].w};
                // Room for the rounding of z + g and of z − score, and of what follows in fp32.
                const float bar = score - (1.0e-4F + fabsf(score) * 0x1p-21F);
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int32_t token = first + j * 4 * draw_threads + i;
                    const float z = row.scale(values[i]);
                    if (z == -INFINITY || z < bar - greatest_noise || z < least ||
                        (token_key(order_key(z), token) < cut && token != row.best)) {
                        continue;
                    }
                    const uint32_t word = draw_word(how, position, token);
                    if (!(static_cast<float>(word) * (0x1p-32F * 0.999F) < __expf(z - bar)) ||
                        !(row.weight(z) >= how.min_p)) {
                        continue;
                    }
                    const float candidate = z + noise_of(word);
                    best = max(best, token_key(order_key(candidate), token));
                    score = fmaxf(score, candidate);
                }
                score = value_of_key(__reduce_max_sync(all_lanes, order_key(score)));
            }
        }
        for (int distance = 16; distance > 0; distance /= 2) {
            best = max(best, __shfl_xor_sync(all_lanes, best, distance));
        }
        if (thread % 32 == 0) {
            warp_best[thread / 32] = best;
        }
        __syncthreads();
        if (thread == 0) {
            for (int warp = 1; warp < draw_warps; ++warp) {
                best = max(best, warp_best[warp]);
            }
            a.best[static_cast<int64_t>(drawn.row) * a.segments + segment] = best;
        }
        __syncthreads();
    }
}

// ---------------------------------------------------------------- the walk

// The lowest token that the mask of main row `row` allows; 0 when it allows none, or there is no mask.
__device__ __forceinline__ int32_t first_allowed(const verify_arguments& a, const trib_sampling& how, int row) {
    if (a.max_copies == 0 || how.allowed == 0) {
        return 0;
    }
    const int node = a.step.nodes(a.step.row_sequence[row]) > 0 ? a.step.row_node[row] : 0;
    const int64_t mask_words = (a.vocabulary + 31) / 32;
    const uint32_t* allowed = reinterpret_cast<const uint32_t*>(how.allowed) + node * mask_words;
    for (int begin = 0; begin < a.vocabulary; begin += 32) {
        if (allowed[begin / 32] != 0) {
            const int token = begin + __ffs(static_cast<int>(allowed[begin / 32])) - 1;
            return token < a.vocabulary ? token : 0;
        }
    }
    return 0;
}

// The target's token at main row `row`, −1 when its results are nowhere. The same in every lane.
__device__ __forceinline__ int32_t choice_at(const verify_arguments& a, const trib_sampling& how, int row) {
    const int place = a.place_of(row);
    if (place < 0) {
        return -1;
    }
    const bool draws = a.draws(how);
    if (!draws && !a.adjusts(how)) {
        return a.argmax[place];
    }
    if (place >= a.logits_rows) {
        return -1;
    }
    const uint64_t best = greatest_key((draws ? a.best : a.peaks) + static_cast<int64_t>(row) * a.segments, a.segments);
    return best == 0 ? first_allowed(a, how, row) : id_of_token_key(best);
}

// The row of the most probable child that typical acceptance lets through, −1 when there is none. The same in every lane.
__device__ __forceinline__ int typical_child(const verify_arguments& a, const trib_sampling& how, int row, int end,
                                             const int32_t* parent, const int32_t* token, int nodes) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const softmax_part* parts = a.softmax + static_cast<int64_t>(row) * a.segments;
    const int copy = a.copy_of[row];
    if (copy < 0) {
        return -1;
    }
    float greatest = -INFINITY;
    for (int segment = lane; segment < a.segments; segment += 32) {
        greatest = fmaxf(greatest, parts[segment].greatest);
    }
    for (int distance = 16; distance > 0; distance /= 2) {
        greatest = fmaxf(greatest, __shfl_xor_sync(all_lanes, greatest, distance));
    }
    float total = 0.0F;
    float moment = 0.0F;
    for (int segment = lane; segment < a.segments; segment += 32) {
        const softmax_part part = parts[segment];
        if (part.sum > 0.0F) {
            const float d = (part.greatest - greatest) / how.temperature;
            const float w = expf(d);
            total = fmaf(w, part.sum, total);
            moment = w > 0.0F ? fmaf(w, fmaf(d, part.sum, part.moment), moment) : moment;
        }
    }
    total = warp_sum(total);
    moment = warp_sum(moment);
    if (!(total > 0.0F)) {
        return -1;
    }
    const float entropy = logf(total) - moment / total;
    const float bar = fminf(how.typical_epsilon, how.typical_delta * expf(-entropy));
    const int node = a.step.row_node[row];
    uint64_t best = 0;
    int best_row = -1;
    for (int child = row + 1 + lane; child < end; child += 32) {
        const int child_node = a.step.row_node[child];
        if (child_node >= 0 && child_node < nodes && parent[child_node] == node) {
            const int32_t its = token[child_node];
            const float x = its >= 0 && its < a.vocabulary ? a.copies[copy * a.copy_stride + its] : -INFINITY;
            const float probability = expf((x - greatest) / how.temperature) / total;
            if (probability > bar && token_key(order_key(probability), its) > best) {
                best = token_key(order_key(probability), its);
                best_row = child;
            }
        }
    }
    const uint64_t greatest_of_all = warp_max(best);
    if (greatest_of_all == 0) {
        return -1;
    }
    const unsigned found = __ballot_sync(all_lanes, best == greatest_of_all);
    return __shfl_sync(all_lanes, best_row, __ffs(static_cast<int>(found)) - 1);
}

// Of a token at main row `row` under the raw logits; 0 when there is none.
__device__ __forceinline__ float log_probability_at(const verify_arguments& a, int row, int32_t token) {
    const int place = a.place_of(row);
    const bool known =
        a.log_probability != nullptr && place >= 0 && place < a.logits_rows && token >= 0 && token < a.vocabulary;
    return known ? a.logits[place * a.logits_stride + token] - a.log_sum_exp[place] : 0.0F;
}

// Grid: sequences, walk_warps a block.
__global__ void __launch_bounds__(walk_warps * 32) walk(const __grid_constant__ verify_arguments a) {
    allow_successor();
    wait_for_predecessor();
    const int sequence = static_cast<int>(blockIdx.x) * walk_warps + static_cast<int>(threadIdx.x) / 32;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    if (sequence >= a.step.sequences()) {
        return;
    }
    const trib_sampling& how = a.sampling[sequence];
    const int end = min(a.step.sequence_rows[sequence + 1], a.step.main_rows());
    int row = a.step.sequence_rows[sequence];
    int32_t entry_node = -1;  // lane i keeps entry i of the path
    int32_t entry_row = -1;
    float entry_log_probability = 0.0F;
    int count = 0;
    int32_t bonus = -1;
    if (how.active != 0 && row >= 0 && row < end) {
        const int nodes = a.step.nodes(sequence);
        if (nodes <= 0) {
            entry_row = lane == 0 ? end - 1 : -1;
            bonus = choice_at(a, how, end - 1);
            entry_log_probability = lane == 0 ? log_probability_at(a, end - 1, bonus) : 0.0F;
        } else {
            const int32_t* parent = a.step.tree_parent + a.step.tree_begin[sequence];
            const int32_t* token = a.step.tree_token + a.step.tree_begin[sequence];
            for (bool descended = true; descended;) {
                const int node = a.step.row_node[row];
                if (lane == count) {
                    entry_node = node;
                    entry_row = row;
                }
                bonus = choice_at(a, how, row);
                int next = -1;
                // Children stand behind their parent. Siblings differ in token, so there is at most one.
                for (int begin = row + 1; begin < end && count + 1 < TRIB_MAX_PATH && next < 0; begin += 32) {
                    const int child = begin + lane;
                    const int child_node = child < end ? a.step.row_node[child] : -1;
                    const bool is_next = child_node >= 0 && child_node < nodes && parent[child_node] == node &&
                                         token[child_node] == bonus;
                    const unsigned found = __ballot_sync(all_lanes, is_next);
                    if (found != 0) {
                        next = begin + __ffs(static_cast<int>(found)) - 1;
                    }
                }
                if (next < 0 && bonus >= 0 && count + 1 < TRIB_MAX_PATH && a.typical(how)) {
                    next = typical_child(a, how, row, end, parent, token, nodes);
                    bonus = next >= 0 ? token[a.step.row_node[next]] : bonus;
                }
                if (lane == count) {
                    entry_log_probability = log_probability_at(a, row, bonus);
                }
                ++count;
                descended = next >= 0;
                row = next;
            }
        }
    }
    if (lane < TRIB_MAX_PATH) {
        const int64_t at = static_cast<int64_t>(sequence) * TRIB_MAX_PATH + lane;
        a.accepted_node[at] = entry_node;
        a.accepted_row[at] = entry_row;
        if (a.log_probability != nullptr) {
            a.log_probability[at] = entry_log_probability;
        }
    }
    if (lane == 0) {
        a.accepted_count[sequence] = count;
        a.bonus[sequence] = bonus;
    }
}

// ---------------------------------------------------------------- launches

constexpr uint64_t alignment = 64;

uint64_t aligned(uint64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

int segments_of(const trib_verify_tree_params& params) {
    return static_cast<int>(ceil_div<int64_t>(params.logits.shape[2], segment_tokens));
}

// Elements from one adjusted row to the next, whole vectors.
int64_t copy_stride(const trib_verify_tree_params& params) { return ceil_div<int64_t>(params.logits.shape[2], 4) * 4; }

// Offsets into the workspace; rows stand first.
struct workspace_plan {
    uint64_t count, cuts, best, copy_of, peaks, softmax, copies, bytes;

    explicit workspace_plan(const trib_verify_tree_params& params) {
        const uint64_t rows = params.step->max_main_rows;
        count = aligned(rows * sizeof(drawn_row));
        cuts = aligned(count + sizeof(int32_t));
        best = aligned(cuts + rows * sizeof(uint64_t));
        const uint64_t results = rows * static_cast<uint64_t>(segments_of(params));
        bytes = aligned(best + results * sizeof(uint64_t));
        copy_of = peaks = softmax = copies = bytes;
        if (params.max_adjusted_rows > 0) {
            peaks = aligned(copy_of + rows * sizeof(int32_t));
            softmax = aligned(peaks + results * sizeof(uint64_t));
            copies = aligned(softmax + results * sizeof(softmax_part));
            bytes =
                aligned(copies + params.max_adjusted_rows * static_cast<uint64_t>(copy_stride(params)) * sizeof(float));
        }
    }
};

}  // namespace

uint64_t verify_tree_workspace(const context&, const trib_verify_tree_params& params) {
    // Where sizes alone are asked for addresses may be missing; a shape tells whether logits will come.
    return params.logits.shape[2] > 0 && params.step->max_main_rows > 0 ? workspace_plan(params).bytes : 0;
}

trib_status verify_tree(context& context, const trib_verify_tree_params& params) {
    verify_arguments arguments = {
        .step = view(*params.step),
        .sampling = pointer<const trib_sampling>(params.sampling),
        .row_logits = pointer<const int32_t>(params.row_logits),
        .argmax = pointer<const int32_t>(params.argmax),
        .logits = pointer<const float>(params.logits.address),
        .logits_stride = params.logits.stride[1],
        .logits_rows = params.logits.shape[1],
        .vocabulary = static_cast<int>(params.logits.shape[2]),
        .segments = 0,
        .vector = params.logits.shape[1] == 1 || params.logits.stride[1] % 4 == 0,
        .max_copies = 0,
        .log_sum_exp = pointer<const float>(params.log_sum_exp),
        .log_probability = pointer<float>(params.log_probability),
        .accepted_count = pointer<int32_t>(params.accepted_count),
        .accepted_node = pointer<int32_t>(params.accepted_node),
        .accepted_row = pointer<int32_t>(params.accepted_row),
        .bonus = pointer<int32_t>(params.bonus),
        .rows = nullptr,
        .count = nullptr,
        .cuts = nullptr,
        .best = nullptr,
        .copy_of = nullptr,
        .peaks = nullptr,
        .softmax = nullptr,
        .copies = nullptr,
        .copy_stride = copy_stride(params),
    };
    const int bound = bound_main_rows(*params.step);
    if (arguments.logits != nullptr && bound > 0) {
        const workspace_plan plan(params);
        char* workspace = pointer<char>(params.workspace);
        arguments.segments = segments_of(params);
        arguments.rows = reinterpret_cast<drawn_row*>(workspace);
        arguments.count = reinterpret_cast<int32_t*>(workspace + plan.count);
        arguments.cuts = reinterpret_cast<uint64_t*>(workspace + plan.cuts);
        arguments.best = reinterpret_cast<uint64_t*>(workspace + plan.best);
        arguments.max_copies = static_cast<int>(params.max_adjusted_rows);
        arguments.copy_of = reinterpret_cast<int32_t*>(workspace + plan.copy_of);
        arguments.peaks = reinterpret_cast<uint64_t*>(workspace + plan.peaks);
        arguments.softmax = reinterpret_cast<softmax_part*>(workspace + plan.softmax);
        arguments.copies = reinterpret_cast<float*>(workspace + plan.copies);
        const int64_t tasks = static_cast<int64_t>(bound) * arguments.segments;
        const int64_t most = int64_t{context.multiprocessors} * 4;
        const auto task_blocks = static_cast<unsigned>(tasks < most ? tasks : most);
        trib_status status =
            launch(context, "verify_tree", list_rows, {.grid = dim3(1), .block = dim3(list_threads)}, arguments);
        if (status == TRIB_OK && arguments.max_copies > 0) {
            status = launch(context, "verify_tree", adjust_rows,
                            {.grid = dim3(task_blocks), .block = dim3(draw_threads)}, arguments);
        }
        if (status == TRIB_OK) {
            const int blocks = bound < context.multiprocessors ? bound : context.multiprocessors;
            status = launch(context, "verify_tree", cut_rows,
                            {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(cut_threads)}, arguments);
        }
        if (status == TRIB_OK) {
            status = launch(context, "verify_tree", draw_rows, {.grid = dim3(task_blocks), .block = dim3(draw_threads)},
                            arguments);
        }
        if (status != TRIB_OK) {
            return status;
        }
    }
    return launch(context, "verify_tree", walk,
                  {.grid = dim3(static_cast<unsigned>(ceil_div(arguments.step.max_sequences, walk_warps))),
                   .block = dim3(walk_warps * 32)},
                  arguments);
}

}  // namespace tributary::device
