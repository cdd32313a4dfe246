// SPDX-License-Identifier: Apache-2.0
//
// Logits reduced as they are made: for every row the greatest logit and its token, the log-sum-exp, and the k largest.
// Shared by lm_head and edge_confidence.
//
// Work: the vocabulary is cut into segments of 256 tokens, whatever the number of threads; a task reduces one segment
// for all rows, and the segments' results are merged in order. So the weights are read once, no bit depends on who did
// what, and the logits live in the first-level cache only.
//
// Top k is exact, hence free to skip: tasks share, per row, the greatest k-th value that any segment has shown, and
// keep only what is not below it.
#pragma once

#include "host/product.hpp"
#include "host/step.hpp"

namespace tributary::host::TRIBUTARY_ISA {
namespace {

constexpr int segment_panels = 16;
constexpr int segment_tokens = segment_panels * panel_rows;

struct scored_token {
    float logit;
    int32_t id;
};

// What one segment found for one row.
struct segment_result {
    float max, sum;  // sum of exp(logit − max)
    int32_t argmax;
    int32_t kept;  // entries of its part of `kept`, descending, ties by ascending id
};

struct row_result {
    float max, log_sum_exp;
    int32_t argmax;
};

struct vocabulary_reduction {
    packed_weight weight;
    const char* operands;  // operand rows [rows]
    int64_t operand_stride;
    int rows;
    int k;
    float* logits;  // [*, V], row i at places[i]; null = not wanted
    int64_t logits_stride;
    row_selection places;
    segment_result* results;  // [rows, segments]
    scored_token* kept;       // [rows, segments, k]
    uint32_t* floor;          // [rows], the bits of a float: no token below it is among the k largest

    int64_t segments() const { return ceil_div(weight.rows, segment_tokens); }
};

[[maybe_unused]] inline uint64_t results_bytes(int64_t vocabulary, int64_t rows) {
    return static_cast<uint64_t>(rows * ceil_div(vocabulary, segment_tokens)) * sizeof(segment_result);
}
[[maybe_unused]] inline uint64_t kept_bytes(int64_t vocabulary, int64_t rows, int64_t k) {
    return static_cast<uint64_t>(rows * ceil_div(vocabulary, segment_tokens) * k) * sizeof(scored_token);
}

// Inserts into a list of at most k, descending; an equal logit goes behind those that are there (lower ids came first).
TRIBUTARY_INLINE void insert(scored_token* list, int32_t& count, int k, scored_token token) {
    int at = count < k ? count++ : k - 1;
    for (; at > 0 && list[at - 1].logit < token.logit; --at) {
        list[at] = list[at - 1];
    }
    list[at] = token;
}

TRIBUTARY_INLINE float read_floor(const uint32_t* floor) { return float_of(__atomic_load_n(floor, __ATOMIC_RELAXED)); }

TRIBUTARY_INLINE void raise_floor(uint32_t* floor, float value) {
    uint32_t now = __atomic_load_n(floor, __ATOMIC_RELAXED);
    while (value > float_of(now) &&
           !__atomic_compare_exchange_n(floor, &now, bits_of(value), true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

// Reduces the logits of one row and segment, [count] padded with −∞ to whole vectors.
TRIBUTARY_INLINE void reduce_segment(const vocabulary_reduction& v, int row, int64_t segment, const float* logits,
                                     int count) {
    segment_result& result = v.results[row * v.segments() + segment];
    const auto first_id = static_cast<int32_t>(segment * segment_tokens);
    const int vectors = (count + panel_rows - 1) / panel_rows;
    f32x16 highest = load(logits);
    for (int i = 1; i < vectors; ++i) {
        highest = max(highest, load(logits + i * panel_rows));
    }
    result.max = max_lane(highest);
    result.argmax = first_id;
    for (int i = 0; i < count; ++i) {
        if (logits[i] == result.max) {
            result.argmax = first_id + i;
            break;
        }
    }
    f32x16 total = zero();
    const f32x16 reference = splat(result.max);
    for (int i = 0; i < vectors; ++i) {
        total = total + exp(load(logits + i * panel_rows) - reference);
    }
    result.sum = sum(total);
    result.kept = 0;
    if (v.k == 0) {
        return;
    }
    float floor = read_floor(v.floor + row);
    if (result.max < floor) {
        return;
    }
    scored_token* list = v.kept + (row * v.segments() + segment) * v.k;
    for (int i = 0; i < vectors; ++i) {
        const float* at = logits + i * panel_rows;
        if (max_lane(load(at)) < floor) {
            continue;
        }
        for (int lane = 0; lane < panel_rows && i * panel_rows + lane < count; ++lane) {
            const bool full = result.kept == v.k;
            if (at[lane] >= floor && (!full || at[lane] > list[v.k - 1].logit)) {
                insert(list, result.kept, v.k, {at[lane], first_id + i * panel_rows + lane});
                if (result.kept == v.k && list[v.k - 1].logit > floor) {
                    floor = list[v.k - 1].logit;
                }
            }
        }
    }
    if (result.kept == v.k) {
        raise_floor(v.floor + row, list[v.k - 1].logit);
    }
}

[[maybe_unused]] inline void reduce_vocabulary(context& context, const vocabulary_reduction& v) {
    const even_cut blocks = cut_rows(v.rows);
    const float lowest = -__builtin_inff();
    for (int row = 0; row < v.rows && v.k > 0; ++row) {
        v.floor[row] = bits_of(lowest);
    }
    context.pool.run(static_cast<int>(v.segments()), [&](int segment) {
        const int64_t first_panel = int64_t{segment} * segment_panels;
        const int64_t first_token = int64_t{segment} * segment_tokens;
        const int64_t left = v.weight.rows - first_token;
        const int count = static_cast<int>(left < segment_tokens ? left : segment_tokens);
        const int panels = (count + panel_rows - 1) / panel_rows;
        for (int64_t block = 0; block < blocks.count; ++block) {
            const int64_t first = blocks.begin(block);
            const int rows = static_cast<int>(blocks.size(block));
            alignas(64) float out[max_tile_rows * segment_tokens];
            product(v.weight, first_panel, panels, v.operands + first * v.operand_stride, v.operand_stride, rows, out);
            for (int r = 0; r < rows; ++r) {
                const auto row = static_cast<int>(first + r);
                float* logits = out + r * panels * panel_rows;
                if (v.logits != nullptr) {
                    memcpy(v.logits + v.places[row] * v.logits_stride + first_token, logits,
                           sizeof(float) * static_cast<size_t>(count));
                }
                for (int i = count; i < panels * panel_rows; ++i) {
                    logits[i] = lowest;
                }
                reduce_segment(v, row, segment, logits, count);
            }
        }
    });
}

// Merges the segments of a row, in order.
[[maybe_unused]] inline row_result merge_segments(const vocabulary_reduction& v, int row) {
    const segment_result* results = v.results + row * v.segments();
    row_result merged = {results[0].max, 0.0F, results[0].argmax};
    for (int64_t i = 1; i < v.segments(); ++i) {
        if (results[i].max > merged.max) {
            merged.max = results[i].max;
            merged.argmax = results[i].argmax;
        }
    }
    f32x16 total = zero();
    for (int64_t i = 0; i < v.segments(); i += panel_rows) {
        alignas(64) float shift[panel_rows];
        alignas(64) float sums[panel_rows];
        for (int lane = 0; lane < panel_rows; ++lane) {
            const bool inside = i + lane < v.segments();
            shift[lane] = inside ? results[i + lane].max - merged.max : 0.0F;
            sums[lane] = inside ? results[i + lane].sum : 0.0F;
        }
        total = total + exp(load(shift)) * load(sums);
    }
    merged.log_sum_exp = merged.max + __builtin_logf(sum(total));
    return merged;
}

// The k largest of a row, from the segments' lists; ids without offset.
[[maybe_unused]] inline void merge_top_k(const vocabulary_reduction& v, int row, scored_token* top) {
    int32_t count = 0;
    for (int64_t i = 0; i < v.segments(); ++i) {
        const segment_result& result = v.results[row * v.segments() + i];
        const scored_token* list = v.kept + (row * v.segments() + i) * v.k;
        for (int32_t j = 0; j < result.kept; ++j) {
            if (count == v.k && !(list[j].logit > top[v.k - 1].logit)) {
                break;
            }
            insert(top, count, v.k, list[j]);
        }
    }
    for (; count < v.k; ++count) {  // only rows of NaN leave places
        top[count] = {-__builtin_inff(), -1};
    }
}

}  // namespace
}  // namespace tributary::host::TRIBUTARY_ISA
