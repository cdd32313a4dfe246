// SPDX-License-Identifier: Apache-2.0
//
// The k largest logits of each row, descending, ties to the lower id; NaN counts as −∞. One pass over V values with 16
// comparisons at once against the k-th so far, which few values beat: bound by reading 4 · V bytes a row.
#include "host/top_k.hpp"
#include "host/operations.hpp"

namespace tributary::host::TRIBUTARY_ISA {

uint64_t top_k_workspace(const context&, const trib_top_k_params&) { return 0; }

trib_status top_k(context& context, const trib_top_k_params& params) {
    const int rows = *pointer<const int32_t>(params.row_count);
    const int max_rows = static_cast<int>(params.logits.shape[1]);
    if (rows < 0 || rows > max_rows) {
        return fail(TRIB_INVALID_ARGUMENT, "top_k: *row_count is %d, expected 0 … %d rows of logits", rows, max_rows);
    }
    const int vocabulary = static_cast<int>(params.logits.shape[2]);
    const int k = static_cast<int>(params.k);
    const auto reduce_row = [&](int row) {
        const float* logits = pointer<const float>(params.logits.address) + row * params.logits.stride[1];
        largest_values largest(k);
        find_largest(
            vocabulary,
            [&](int i) { return vocabulary - i < 16 ? load_first(logits + i, vocabulary - i) : load(logits + i); },
            largest);
        int32_t* ids = pointer<int32_t>(params.top_ids) + static_cast<int64_t>(row) * k;
        float* values = pointer<float>(params.top_logits) + static_cast<int64_t>(row) * k;
        for (int i = 0; i < largest.count; ++i) {
            ids[i] = largest.id[i];
            values[i] = largest.value[i];
        }
    };
    // 2¹⁵ logits take a few microseconds, about what it costs to hand a row to another thread.
    if (static_cast<int64_t>(rows) * vocabulary < (1 << 15)) {
        for (int row = 0; row < rows; ++row) {
            reduce_row(row);
        }
    } else {
        context.pool.run(rows, reduce_row);
    }
    return TRIB_OK;
}

}  // namespace tributary::host::TRIBUTARY_ISA
