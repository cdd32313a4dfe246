// SPDX-License-Identifier: Apache-2.0
//
// y[r] = table[tokens[r]]. The table is the packed weight of a tied LM head, so a row is gathered with a stride of one
// cache line; 2·h bytes of use per row, far from any limit.
#include "host/operations.hpp"
#include "host/packed.hpp"
#include "host/step.hpp"
#include "host/vector.hpp"

namespace tributary::host::TRIBUTARY_ISA {

trib_status embed(context& context, const trib_embed_params& params) {
    step_view step;
    if (const trib_status status = read_step("embed", *params.step, step); status != TRIB_OK) {
        return status;
    }
    const packed_weight table = packed_view(params.table);
    const auto* tokens = pointer<const int32_t>(params.tokens);
    for (int row = 0; row < step.main_rows; ++row) {
        if (tokens[row] < 0 || tokens[row] >= table.rows) {
            return fail(TRIB_INVALID_ARGUMENT, "embed: tokens[%d] is %d, expected 0 to %lld", row, tokens[row],
                        static_cast<long long>(table.rows - 1));
        }
    }
    auto* y = pointer<float>(params.y.address);
    const int64_t y_stride = params.y.stride[1];
    constexpr int rows_per_task = 16;
    const int tasks = static_cast<int>(ceil_div(step.main_rows, rows_per_task));
    context.pool.run(tasks, [&](int task) {
        const int end = (task + 1) * rows_per_task < step.main_rows ? (task + 1) * rows_per_task : step.main_rows;
        for (int row = task * rows_per_task; row < end; ++row) {
            const uint16_t* from = table.row(tokens[row]);
            float* to = y + row * y_stride;
            for (int64_t i = 0; i < table.columns; ++i) {
                to[i] = half_to_f32(from[i / 2 * pair_elements + i % 2 * table.odd_offset()], table.dtype);
            }
        }
    });
    return TRIB_OK;
}

}  // namespace tributary::host::TRIBUTARY_ISA
