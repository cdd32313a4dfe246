// SPDX-License-Identifier: Apache-2.0
//
// logits = x Wᵀ with argmax, maximum, log-sum-exp and the k largest per row. Bound by reading W once: 2·V·h bytes.
#include "host/operations.hpp"
#include "host/vocabulary.hpp"

namespace tributary::host::TRIBUTARY_ISA {
namespace {

constexpr uint64_t alignment = 64;

uint64_t aligned(uint64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

// Offsets into the workspace; operand rows stand first.
struct workspace_plan {
    int64_t operand_stride;
    uint64_t results, kept, floor, bytes;

    explicit workspace_plan(const trib_lm_head_params& p) {
        const int64_t vocabulary = p.weight.shape[1];
        operand_stride = tributary::host::TRIBUTARY_ISA::operand_stride(p.weight.shape[2]);
        results = aligned(uint64_t{p.max_rows} * static_cast<uint64_t>(operand_stride));
        kept = aligned(results + results_bytes(vocabulary, p.max_rows));
        floor = aligned(kept + kept_bytes(vocabulary, p.max_rows, p.k));
        bytes = aligned(floor + uint64_t{p.max_rows} * sizeof(uint32_t));
    }
};

}  // namespace

uint64_t lm_head_workspace(const context&, const trib_lm_head_params& params) { return workspace_plan(params).bytes; }

trib_status lm_head(context& context, const trib_lm_head_params& params) {
    step_view step;
    if (const trib_status status = read_step("lm_head", *params.step, step); status != TRIB_OK) {
        return status;
    }
    const auto* index = pointer<const int32_t>(params.row_index);
    const row_selection rows = index == nullptr ? select_rows(step, params.rows) : row_selection{};
    const int count = index == nullptr ? rows.count : *pointer<const int32_t>(params.row_count);
    if (count < 0 || static_cast<uint32_t>(count) > params.max_rows) {
        return fail(TRIB_INVALID_ARGUMENT, "lm_head: *row_count is %d, expected 0 to %u (max_rows)", count,
                    params.max_rows);
    }
    for (int i = 0; index != nullptr && i < count; ++i) {
        if (index[i] < 0 || index[i] >= params.x.shape[1]) {
            return fail(TRIB_INVALID_ARGUMENT, "lm_head: row_index[%d] is %d, expected 0 to %lld", i, index[i],
                        static_cast<long long>(params.x.shape[1] - 1));
        }
    }
    if (count == 0) {
        return TRIB_OK;
    }

    const workspace_plan plan(params);
    auto* workspace = pointer<char>(params.workspace);
    // Without row_index the outputs stand where the rows do.
    const row_selection places = index == nullptr ? rows : row_selection{count, 0, count};
    const vocabulary_reduction v = {
        .weight = packed_view(params.weight),
        .operands = workspace,
        .operand_stride = plan.operand_stride,
        .rows = count,
        .k = static_cast<int>(params.k),
        .logits = pointer<float>(params.logits.address),
        .logits_stride = params.logits.stride[1],
        .places = places,
        .results = reinterpret_cast<segment_result*>(workspace + plan.results),
        .kept = reinterpret_cast<scored_token*>(workspace + plan.kept),
        .floor = reinterpret_cast<uint32_t*>(workspace + plan.floor),
    };
    for (int i = 0; i < count; ++i) {
        const int row = index == nullptr ? rows[i] : index[i];
        write_operand_row(params.x, row, v.weight.dtype, workspace + i * plan.operand_stride);
    }
    reduce_vocabulary(context, v);

    auto* argmax = pointer<int32_t>(params.argmax);
    auto* max_logit = pointer<float>(params.max_logit);
    auto* log_sum_exp = pointer<float>(params.log_sum_exp);
    auto* top_ids = pointer<int32_t>(params.top_ids);
    auto* top_logits = pointer<float>(params.top_logits);
    // A merge is short: worth a thread only when there are many segments.
    constexpr int64_t segments_per_task = 512;
    const even_cut tasks = even_cut::by(count, v.segments() < segments_per_task ? segments_per_task / v.segments() : 1);
    context.pool.run(static_cast<int>(tasks.count), [&](int task) {
        for (int64_t i = tasks.begin(task); i < tasks.begin(task + 1); ++i) {
            const auto row = static_cast<int>(i);
            const int at = places[row];
            const row_result merged = merge_segments(v, row);
            argmax[at] = merged.argmax + params.vocabulary_offset;
            log_sum_exp[at] = merged.log_sum_exp;
            if (max_logit != nullptr) {
                max_logit[at] = merged.max;
            }
            if (v.k > 0) {
                scored_token top[TRIB_MAX_TOP_K];
                merge_top_k(v, row, top);
                for (int j = 0; j < v.k; ++j) {
                    top_ids[int64_t{at} * v.k + j] = top[j].id + params.vocabulary_offset;
                    top_logits[int64_t{at} * v.k + j] = top[j].logit;
                }
            }
        }
    });
    return TRIB_OK;
}

}  // namespace tributary::host::TRIBUTARY_ISA
