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
// NaN counts as −∞; a row of nothing but −∞ gives token 0; a temperature that is not > 0 is greedy; a row on the walk
// whose results are nowhere (row_logits −1) ends the walk with bonus −1. The greatest logit is that of lm_head's argmax.
//
// Four kernels; the last alone when nothing is sampled.
//   list_rows   one block: the main rows that need a draw (rows of active trees, last rows of active causal sequences).
//   cut_rows    one block a row with top-k or top-p: two reads of the row. The first fills 512 bins of width 1/16 in
//               max z − z with counts or weights, the second collects the tokens of the bin in which the prefix ends, on
//               which the border is bisected. A bin of more than 2,048 tokens is bisected on the row itself.
//   draw_rows   tasks (row, 4,096 tokens) over a grid that fills the device once. A token can win only if
//               w ≤ E ≤ e^(z − best), so Philox (ten rounds, about 80 instructions) runs for tokens within 22.88 of the
//               best score so far only, and the logarithms for the few that its word lets through.
//   walk        one warp a sequence; the maximum over a row's tasks is taken when the walk comes to the row.
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

// A main row whose choice is drawn.
struct drawn_row {
    int32_t row;
    int32_t sequence;
    int32_t depth;
    int32_t place;  // of its logits and argmax
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
    int32_t* accepted_count;
    int32_t* accepted_node;
    int32_t* accepted_row;
    int32_t* bonus;
    drawn_row* rows;  // [R]
    int32_t* count;   // [1]
    uint64_t* cuts;   // [R], by index in rows: token_key of the last token that top-k and top-p let through; 0 = all
    uint64_t* best;   // [R, segments], by row: token_key of the best score; 0 = no token passed

    __device__ int place_of(int row) const { return row_logits == nullptr ? row : row_logits[row]; }
    __device__ bool draws(const trib_sampling& how) const { return logits != nullptr && how.temperature > 0.0F; }
};

// ---------------------------------------------------------------- rows

__global__ void __launch_bounds__(list_threads) list_rows(const __grid_constant__ verify_arguments a) {
    __shared__ int warp_counts[list_threads / 32];
    allow_successor();
    wait_for_predecessor();
    const int thread = static_cast<int>(threadIdx.x);
    const int main_rows = a.step.main_rows();
    int before = 0;
    for (int begin = 0; begin < main_rows; begin += list_threads) {
        const int row = begin + thread;
        drawn_row drawn = {row, 0, 0, -1};
        if (row < main_rows) {
            const int sequence = a.step.row_sequence[row];
            if (sequence >= 0 && sequence < a.step.max_sequences) {
                const bool tree = a.step.nodes(sequence) > 0;
                const trib_sampling& how = a.sampling[sequence];
                if (how.active != 0 && how.temperature > 0.0F &&
                    (tree || row == a.step.sequence_rows[sequence + 1] - 1)) {
                    const int place = a.place_of(row);
                    drawn = {row, sequence, tree ? a.step.row_position[row] - a.step.sequence_length[sequence] : 0,
                             place < a.logits_rows ? place : -1};
                }
            }
        }
        const unsigned wanted = __ballot_sync(all_lanes, drawn.place >= 0);
        if (thread % 32 == 0) {
            warp_counts[thread / 32] = __popc(wanted);
        }
        __syncthreads();
        int at = before;
        for (int warp = 0; warp < list_threads / 32; ++warp) {
            at += warp < thread / 32 ? warp_counts[warp] : 0;
            before += warp_counts[warp];
        }
        if (drawn.place >= 0) {
            a.rows[at + __popc(wanted & ((1U << (thread % 32)) - 1U))] = drawn;
        }
        __syncthreads();
    }
    if (thread == 0) {
        *a.count = before;
    }
}

// ---------------------------------------------------------------- one row

// One row of logits as z = logit / temperature.
struct scaled_row {
    const float* logits;
    float temperature, inverse;
    // When the division would overflow, z = (logit − shift) / temperature: the same law, and the greatest is 0.
    bool shifted;
    float shift;
    float greatest;  // z of the best token
    int32_t best;

    __device__ scaled_row(const verify_arguments& a, const drawn_row& drawn, float temperature)
        : logits(a.logits + drawn.place * a.logits_stride), temperature(temperature), inverse(1.0F / temperature) {
        best = min(max(a.argmax[drawn.place], 0), a.vocabulary - 1);
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
            x[j] = load_logits(row.logits, begin + j * 4 * cut_threads, a.vocabulary, a.vector);
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
        if (limited || top_p < 1.0F) {
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
        const uint64_t cut = a.cuts[item];
        const scaled_row row(a, drawn, how.temperature);
        const uint32_t position = static_cast<uint32_t>(how.generated) + static_cast<uint32_t>(drawn.depth);
        uint64_t best = 0;
        if (row.greatest == -INFINITY) {
            best = segment == 0 ? token_key(0, 0) : 0;
        } else {
            float4 x[draw_vectors];
            const int first = segment * segment_tokens + thread * 4;
#pragma unroll
            for (int j = 0; j < draw_vectors; ++j) {
                x[j] = load_logits(row.logits, first + j * 4 * draw_threads, a.vocabulary, a.vector);
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

// The target's token at main row `row`, −1 when its results are nowhere. The same in every lane.
__device__ __forceinline__ int32_t choice_at(const verify_arguments& a, bool draws, int row, int lane) {
    const int place = a.place_of(row);
    if (place < 0) {
        return -1;
    }
    if (!draws) {
        return a.argmax[place];
    }
    if (place >= a.logits_rows) {
        return -1;
    }
    uint64_t best = 0;
    for (int segment = lane; segment < a.segments; segment += 32) {
        best = max(best, a.best[static_cast<int64_t>(row) * a.segments + segment]);
    }
    for (int distance = 16; distance > 0; distance /= 2) {
        best = max(best, __shfl_xor_sync(all_lanes, best, distance));
    }
    return best == 0 ? 0 : id_of_token_key(best);
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
    const bool draws = a.draws(how);
    const int end = min(a.step.sequence_rows[sequence + 1], a.step.main_rows());
    int row = a.step.sequence_rows[sequence];
    int32_t entry_node = -1;  // lane i keeps entry i of the path
    int32_t entry_row = -1;
    int count = 0;
    int32_t bonus = -1;
    if (how.active != 0 && row >= 0 && row < end) {
        const int nodes = a.step.nodes(sequence);
        if (nodes <= 0) {
            entry_row = lane == 0 ? end - 1 : -1;
            bonus = choice_at(a, draws, end - 1, lane);
        } else {
            const int32_t* parent = a.step.tree_parent + a.step.tree_begin[sequence];
            const int32_t* token = a.step.tree_token + a.step.tree_begin[sequence];
            for (bool descended = true; descended;) {
                const int node = a.step.row_node[row];
                if (lane == count) {
                    entry_node = node;
                    entry_row = row;
                }
                bonus = choice_at(a, draws, row, lane);
                ++count;
                descended = false;
                // Children stand behind their parent. Siblings differ in token, so there is at most one.
                for (int begin = row + 1; begin < end && count < TRIB_MAX_PATH && !descended; begin += 32) {
                    const int child = begin + lane;
                    const int child_node = child < end ? a.step.row_node[child] : -1;
                    const bool is_next = child_node >= 0 && child_node < nodes && parent[child_node] == node &&
                                         token[child_node] == bonus;
                    const unsigned found = __ballot_sync(all_lanes, is_next);
                    if (found != 0) {
                        row = begin + __ffs(static_cast<int>(found)) - 1;
                        descended = true;
                    }
                }
            }
        }
    }
    if (lane < TRIB_MAX_PATH) {
        const int64_t at = static_cast<int64_t>(sequence) * TRIB_MAX_PATH + lane;
        a.accepted_node[at] = entry_node;
        a.accepted_row[at] = entry_row;
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

// Offsets into the workspace; rows stand first.
struct workspace_plan {
    uint64_t count, cuts, best, bytes;

    explicit workspace_plan(const trib_verify_tree_params& params) {
        const uint64_t rows = params.step->max_main_rows;
        count = aligned(rows * sizeof(drawn_row));
        cuts = aligned(count + sizeof(int32_t));
        best = aligned(cuts + rows * sizeof(uint64_t));
        bytes = aligned(best + rows * static_cast<uint64_t>(segments_of(params)) * sizeof(uint64_t));
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
        .accepted_count = pointer<int32_t>(params.accepted_count),
        .accepted_node = pointer<int32_t>(params.accepted_node),
        .accepted_row = pointer<int32_t>(params.accepted_row),
        .bonus = pointer<int32_t>(params.bonus),
        .rows = nullptr,
        .count = nullptr,
        .cuts = nullptr,
        .best = nullptr,
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
        trib_status status =
            launch(context, "verify_tree", list_rows, {.grid = dim3(1), .block = dim3(list_threads)}, arguments);
        if (status == TRIB_OK) {
            const int blocks = bound < context.multiprocessors ? bound : context.multiprocessors;
            status = launch(context, "verify_tree", cut_rows,
                            {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(cut_threads)}, arguments);
        }
        if (status == TRIB_OK) {
            const int64_t tasks = static_cast<int64_t>(bound) * arguments.segments;
            const int64_t most = int64_t{context.multiprocessors} * 4;
            status =
                launch(context, "verify_tree", draw_rows,
                       {.grid = dim3(static_cast<unsigned>(tasks < most ? tasks : most)), .block = dim3(draw_threads)},
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
