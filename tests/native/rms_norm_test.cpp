// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <optional>

#include "support/attention_reference.hpp"

namespace tributary::test {
namespace {

class rms_norm : public operation_test {
protected:
    std::unique_ptr<device_memory> weight_memory;

    trib_tensor upload_weight(uint32_t dtype, const std::vector<double>& weight) {
        if (dtype == TRIB_DTYPE_F32) {
            weight_memory = std::make_unique<device_memory>(weight.size() * 4);
            weight_memory->upload(to_float(weight).data(), weight.size() * 4);
        } else {
            weight_memory = std::make_unique<device_memory>(weight.size() * 2);
            weight_memory->upload(encoded(dtype, weight).data(), weight.size() * 2);
        }
        weight_memory->freeze();
        return tensor_at(weight_memory->address(), dtype, 1, 1, static_cast<int64_t>(weight.size()));
    }
};

// F32 throughout: the sum of n squares is off by at most n/2 · 2⁻²⁴ of itself after the root, whatever its order, and
// the five roundings that follow by 2⁻²⁴ each.
TEST_F(rms_norm, is_exact_up_to_the_roundings_of_f32) {
    int round = 0;
    for (const int width : {1, 7, 8, 16, 24, 63, 64, 65, 100, 256, 1000, 4096}) {
        for (const uint32_t dtype : {TRIB_DTYPE_F32, TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
            const int groups = width <= 256 ? 1 + round % 4 : 1;
            const uint32_t which = static_cast<uint32_t>(1 + round % 3);
            const bool in_place = round % 2 == 0;
            ++round;
            batch_shape batch;
            batch.sequences = 3;
            const ragged_step step(random, random_sequences(random, batch), batch.gamma);
            std::vector<double> weight = rounded(dtype, random.normals(width));
            row_tensor x(step.R + step.Q, groups, width, round % 5, round % 3);
            row_tensor separate(step.R + step.Q, groups, width, round % 5, round % 3);
            row_tensor& y = in_place ? x : separate;
            x.randomize(random, step.indices(which), std::pow(10, random.integer(-3, 3)));
            std::vector<std::vector<double>> inputs(step.R + step.Q);
            for (const int row : step.indices(which)) inputs[row] = x.row_values(row);
            if (!in_place) x.freeze();
            trib_rms_norm_params params{};
            params.struct_size = sizeof params;
            params.rows = which;
            params.step = step.header();
            params.x = x.tensor();
            params.weight = upload_weight(dtype, weight);
            params.y = y.tensor();
            params.epsilon = 1e-5f;
            ASSERT_TRUE(calls(trib_rms_norm, ctx, params)) << "width " << width << " groups " << groups;
            for (const int row : step.indices(which)) {
                std::vector<double> exact(inputs[row].size());
                std::vector<double> bound(exact.size());
                for (int group = 0; group < groups; ++group) {
                    double squares = 0;
                    for (int i = 0; i < width; ++i) squares += std::pow(inputs[row][group * width + i], 2);
                    const double root = std::sqrt(squares / width + static_cast<double>(1e-5f));
                    for (int i = 0; i < width; ++i) {
                        const size_t at = static_cast<size_t>(group) * width + i;
                        exact[at] = inputs[row][at] / root * weight[i];
                        bound[at] = (0.5 * width + 5) * 0x1p-24 * std::fabs(exact[at]) + 1e-40;
                    }
                }
                ASSERT_TRUE(within(y.row(row), exact, bound)) << "width " << width << " row " << row;
            }
            EXPECT_TRUE(y.only_written(step.indices(which)));
        }
    }
}

TEST_F(rms_norm, a_row_does_not_depend_on_threads_or_on_other_rows) {
    batch_shape batch;
    batch.nodes = 64;
    const ragged_step step(random, random_sequences(random, batch), batch.gamma);
    const int width = 200;
    row_tensor x(step.R + step.Q, 1, width);
    x.randomize(random, step.indices(TRIB_ROWS_ALL));
    x.freeze();
    const trib_tensor weight = upload_weight(TRIB_DTYPE_BF16, random.normals(width));
    std::optional<std::vector<float>> expected;
    for (const uint32_t threads : {1u, 2u, 3u}) {
        const context other(threads);
        row_tensor y(step.R + step.Q, 1, width);
        trib_rms_norm_params params{};
        params.struct_size = sizeof params;
        params.rows = TRIB_ROWS_ALL;
        params.step = step.header();
        params.x = x.tensor();
        params.weight = weight;
        params.y = y.tensor();
        params.epsilon = 1e-6f;
        ASSERT_TRUE(calls(trib_rms_norm, other, params));
        const std::vector<float> got = rows_of(y, step.indices(TRIB_ROWS_ALL));
        if (!expected) expected = got;
        EXPECT_TRUE(same_bits(got, *expected)) << threads << " threads";
    }
    for (const int row : step.indices(TRIB_ROWS_ALL)) {
        sequence_spec single;
        single.chunk = 1;
        const ragged_step alone(random, {single}, 0);
        row_tensor one(alone.R, 1, width);
        one.set_row(0, x.row(row).data());
        trib_rms_norm_params params{};
        params.struct_size = sizeof params;
        params.rows = TRIB_ROWS_MAIN;
        params.step = alone.header();
        params.x = params.y = one.tensor();
        params.weight = weight;
        params.epsilon = 1e-6f;
        ASSERT_TRUE(calls(trib_rms_norm, ctx, params));
        const auto& all = step.indices(TRIB_ROWS_ALL);
        const auto place = std::find(all.begin(), all.end(), row) - all.begin();
        ASSERT_TRUE(same_bits(one.row(0), std::vector<float>(expected->begin() + place * width,
                                                             expected->begin() + (place + 1) * width)));
    }
}

}  // namespace
}  // namespace tributary::test
