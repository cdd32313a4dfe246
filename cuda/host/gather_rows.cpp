// SPDX-License-Identifier: Apache-2.0
//
// y[i] = x[index[i]], i < *count. Bound by copying.
#include <string.h>

#include "host/operations.hpp"
#include "host/packed.hpp"

namespace tributary::host::TRIBUTARY_ISA {

trib_status gather_rows(context& context, const trib_gather_rows_params& params) {
    const int32_t count = *pointer<const int32_t>(params.count);
    const auto* index = pointer<const int32_t>(params.index);
    if (count < 0 || static_cast<uint32_t>(count) > params.max_rows) {
        return fail(TRIB_INVALID_ARGUMENT, "gather_rows: *count is %d, expected 0 to %u (max_rows)", count,
                    params.max_rows);
    }
    for (int32_t i = 0; i < count; ++i) {
        if (index[i] < 0 || index[i] >= params.x.shape[1]) {
            return fail(TRIB_INVALID_ARGUMENT, "gather_rows: index[%d] is %d, expected 0 to %lld", i, index[i],
                        static_cast<long long>(params.x.shape[1] - 1));
        }
    }
    const auto* x = pointer<const float>(params.x.address);
    auto* y = pointer<float>(params.y.address);
    const int64_t x_stride = params.x.stride[1];
    const int64_t y_stride = params.y.stride[1];
    const size_t bytes = sizeof(float) * static_cast<size_t>(params.x.shape[2]);
    constexpr int rows_per_task = 16;
    context.pool.run(static_cast<int>(ceil_div(count, rows_per_task)), [&](int task) {
        const int end = (task + 1) * rows_per_task < count ? (task + 1) * rows_per_task : count;
        for (int i = task * rows_per_task; i < end; ++i) {
            memcpy(y + i * y_stride, x + index[i] * x_stride, bytes);
        }
    });
    return TRIB_OK;
}

}  // namespace tributary::host::TRIBUTARY_ISA
