// SPDX-License-Identifier: Apache-2.0
//
// logits = x Wᵀ, and per row their argmax, maximum, log-sum-exp and k largest.
//
// Two kernels: the product of linear.cuh writes fp32 logits to the caller's tensor or to workspace, and the reduction of
// vocabulary.cuh reads them back. Bound by reading W once: V = 32,000 × h = 4,096 is 262 MB, 62 µs at 4.2 TB/s. A row's
// logits are 128 kB; those of 64 rows stay in the second-level cache between the kernels, and are some 3 % of W's bytes each
// way.
#include "device/linear.cuh"
#include "device/operations.hpp"
#include "device/vocabulary.cuh"

namespace tributary::device {
namespace {

constexpr uint64_t alignment = 128;

uint64_t aligned(uint64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

// Offsets into the workspace; the product's stands first.
struct workspace_plan {
    int64_t logits_stride;  // elements, of logits in workspace
    uint64_t reduction, logits, bytes;

    workspace_plan(const context& context, const trib_lm_head_params& p) {
        const packed_view weight = view_packed(p.weight);
        logits_stride = ceil_div<int64_t>(weight.rows, 32) * 32;
        reduction = aligned(head_product_workspace(context, weight, p.x, p.max_rows));
        logits = aligned(reduction + vocabulary_workspace(p.max_rows, weight.rows));
        bytes = logits;
        if (p.logits.address == 0) {
            bytes += uint64_t{p.max_rows} * static_cast<uint64_t>(logits_stride) * sizeof(float);
        }
    }
};

}  // namespace

uint64_t lm_head_workspace(const context& context, const trib_lm_head_params& params) {
    return workspace_plan(context, params).bytes;
}

trib_status lm_head(context& context, const trib_lm_head_params& params) {
    const bool by_index = params.row_index != 0;
    // An index names distinct rows of the step, so a pass has no more of them than rows.
    const int of_step = bound_rows(*params.step, by_index ? uint32_t{TRIB_ROWS_ALL} : params.rows);
    const int capacity = static_cast<int>(params.max_rows);
    const int bound = by_index && capacity < of_step ? capacity : of_step;
    if (bound == 0) {
        return TRIB_OK;
    }
    const workspace_plan plan(context, params);
    auto* workspace = pointer<char>(params.workspace);
    const bool wanted = params.logits.address != 0;
    const packed_view weight = view_packed(params.weight);
    float* logits = wanted ? pointer<float>(params.logits.address) : reinterpret_cast<float*>(workspace + plan.logits);
    const int64_t stride = wanted ? (params.max_rows == 1 ? weight.rows : params.logits.stride[1]) : plan.logits_stride;
    const auto* count = pointer<const int32_t>(params.row_count);
    const head_product head = {
        .weight = weight,
        .x = params.x,
        .step = params.step,
        .rows = params.rows,
        .index = pointer<const int32_t>(params.row_index),
        .count = count,
        .max_rows = bound,
        .y_at_place = wanted && !by_index,
        .y = logits,
        .y_stride = stride,
        .workspace = workspace,
    };
    if (const trib_status status = multiply_head(context, "lm_head", head); status != TRIB_OK) {
        return status;
    }
    const vocabulary_reduction reduction = {
        .logits = logits,
        .row_stride = stride,
        .vocabulary = static_cast<int>(weight.rows),
        .max_rows = bound,
        .count = count,
        .step = view(*params.step),
        .rows = params.rows,
        .logits_at_place = wanted && !by_index,
        .k = static_cast<int>(params.k),
        .id_offset = params.vocabulary_offset,
        .argmax = pointer<int32_t>(params.argmax),
        .max_logit = pointer<float>(params.max_logit),
        .log_sum_exp = pointer<float>(params.log_sum_exp),
        .top_ids = pointer<int32_t>(params.top_ids),
        .top_logits = pointer<float>(params.top_logits),
        .workspace = workspace + plan.reduction,
    };
    return reduce_vocabulary(context, "lm_head", reduction);
}

}  // namespace tributary::device
