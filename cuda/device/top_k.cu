// SPDX-License-Identifier: Apache-2.0
//
// The k largest logits of each row, descending, ties to the lower id; NaN counts as −∞. The work, its split and its bound
// are those of vocabulary.cu: the logits are read once.
#include "device/operations.hpp"
#include "device/vocabulary.cuh"

namespace tributary::device {

uint64_t top_k_workspace(const context&, const trib_top_k_params& params) {
    return vocabulary_workspace(params.logits.shape[1], params.logits.shape[2]);
}

trib_status top_k(context& context, const trib_top_k_params& params) {
    return reduce_vocabulary(context, "top_k",
                             {
                                 .logits = pointer<const float>(params.logits.address),
                                 .row_stride = params.logits.stride[1],
                                 .vocabulary = static_cast<int>(params.logits.shape[2]),
                                 .max_rows = static_cast<int>(params.logits.shape[1]),
                                 .count = pointer<const int32_t>(params.row_count),
                                 .step = {},
                                 .rows = 0,
                                 .logits_at_place = false,
                                 .k = static_cast<int>(params.k),
                                 .id_offset = 0,
                                 .argmax = nullptr,
                                 .max_logit = nullptr,
                                 .log_sum_exp = nullptr,
                                 .top_ids = pointer<int32_t>(params.top_ids),
                                 .top_logits = pointer<float>(params.top_logits),
                                 .workspace = pointer<void>(params.workspace),
                             });
}

}  // namespace tributary::device
