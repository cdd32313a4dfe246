// SPDX-License-Identifier: Apache-2.0
//
// y = x / sqrt(mean(x²) + ε) · weight, for every group of `width` elements of a row.
//
// The sum of squares runs in 16 lanes with four interleaved accumulators (one chain would wait for the adder), joined
// in a fixed order; the order depends on the width only.
#include "host/operations.hpp"
#include "host/packed.hpp"
#include "host/step.hpp"
#include "host/vector.hpp"

namespace tributary::host::TRIBUTARY_ISA {
namespace {

constexpr int lanes = 16;

float sum_of_squares(const float* x, int64_t width) {
    f32x16 total[4] = {zero(), zero(), zero(), zero()};
    int64_t i = 0;
    for (; i + 4 * lanes <= width; i += 4 * lanes) {
        for (int chain = 0; chain < 4; ++chain) {
            const f32x16 v = load(x + i + chain * lanes);
            total[chain] = fma(v, v, total[chain]);
        }
    }
    for (; i < width; i += lanes) {
        const int64_t left = width - i;
        const f32x16 v = left >= lanes ? load(x + i) : load_first(x + i, static_cast<int>(left));
        total[0] = fma(v, v, total[0]);
    }
    return sum((total[0] + total[1]) + (total[2] + total[3]));
}

}  // namespace

trib_status rms_norm(context& context, const trib_rms_norm_params& params) {
    step_view step;
    if (const trib_status status = read_step("rms_norm", *params.step, step); status != TRIB_OK) {
        return status;
    }
    const row_selection rows = select_rows(step, params.rows);
    const int64_t groups = params.x.shape[1];
    const int64_t width = params.x.shape[2];
    const auto* x = pointer<const float>(params.x.address);
    auto* y = pointer<float>(params.y.address);
    const auto* weight = pointer<const void>(params.weight.address);
    const uint32_t weight_type = params.weight.dtype;
    // Enough work to pay for waking a thread.
    constexpr int64_t elements_per_task = 8192;
    const int64_t row_elements = groups * width;
    const int rows_per_task = static_cast<int>(row_elements < elements_per_task ? elements_per_task / row_elements : 1);
    context.pool.run(static_cast<int>(ceil_div(rows.count, rows_per_task)), [&](int task) {
        const int end = (task + 1) * rows_per_task < rows.count ? (task + 1) * rows_per_task : rows.count;
        for (int row = task * rows_per_task; row < end; ++row) {
            for (int64_t group = 0; group < groups; ++group) {
                const float* from = x + rows[row] * params.x.stride[0] + group * params.x.stride[1];
                float* to = y + rows[row] * params.y.stride[0] + group * params.y.stride[1];
                const float mean = sum_of_squares(from, width) / static_cast<float>(width);
                const f32x16 factor = splat(1.0F / __builtin_sqrtf(mean + params.epsilon));
                int64_t i = 0;
                for (; i + lanes <= width; i += lanes) {
                    store(to + i, load(from + i) * factor * load_values(weight, weight_type, i, lanes));
                }
                if (i < width) {
                    const int left = static_cast<int>(width - i);
                    store_first(to + i, load_first(from + i, left) * factor * load_values(weight, weight_type, i, left),
                                left);
                }
            }
        }
    });
    return TRIB_OK;
}

}  // namespace tributary::host::TRIBUTARY_ISA
