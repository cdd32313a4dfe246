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

// One group of one row, to element `at` of y. The type of y is known at compile time: the loop is too short to ask.
template <uint32_t type>
void normalise(const float* x, int64_t width, const trib_tensor& weight, float epsilon, void* y, int64_t at) {
    const auto* weights = pointer<const void>(weight.address);
    const uint32_t weight_type = weight.dtype;
    const float mean = sum_of_squares(x, width) / static_cast<float>(width);
    const f32x16 factor = splat(1.0F / __builtin_sqrtf(mean + epsilon));
    int64_t i = 0;
    for (; i + lanes <= width; i += lanes) {
        store_values(y, type, at + i, load(x + i) * factor * load_values(weights, weight_type, i, lanes), lanes);
    }
    if (i < width) {
        const int left = static_cast<int>(width - i);
        store_values(y, type, at + i, load_first(x + i, left) * factor * load_values(weights, weight_type, i, left),
                     left);
    }
}

using normalise_function = void (*)(const float* x, int64_t width, const trib_tensor& weight, float epsilon, void* y,
                                    int64_t at);

normalise_function normalise_to(uint32_t type) {
    switch (type) {
        case TRIB_DTYPE_F32: return normalise<TRIB_DTYPE_F32>;
        case TRIB_DTYPE_BF16: return normalise<TRIB_DTYPE_BF16>;
        default: return normalise<TRIB_DTYPE_F16>;
    }
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
    auto* y = pointer<void>(params.y.address);
    const normalise_function normalise_group = normalise_to(params.y.dtype);
    // Enough work to pay for waking a thread.
    constexpr int64_t elements_per_task = 8192;
    const int64_t row_elements = groups * width;
    const int rows_per_task = static_cast<int>(row_elements < elements_per_task ? elements_per_task / row_elements : 1);
    context.pool.run(static_cast<int>(ceil_div(rows.count, rows_per_task)), [&](int task) {
        const int end = (task + 1) * rows_per_task < rows.count ? (task + 1) * rows_per_task : rows.count;
        for (int row = task * rows_per_task; row < end; ++row) {
            for (int64_t group = 0; group < groups; ++group) {
                const float* from = x + rows[row] * params.x.stride[0] + group * params.x.stride[1];
                const int64_t to = rows[row] * params.y.stride[0] + group * params.y.stride[1];
                normalise_group(from, width, params.weight, params.epsilon, y, to);
            }
        }
    });
    return TRIB_OK;
}

}  // namespace tributary::host::TRIBUTARY_ISA
