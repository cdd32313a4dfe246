// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "support/attention_reference.hpp"

namespace tributary::test {
namespace {

class rope_append : public operation_test {
protected:
    // A value in a 16-bit slot must be the nearest one, up to what F32 arithmetic may move it across a tie.
    static testing::AssertionResult nearest(uint32_t dtype, uint16_t got, double exact, double slack) {
        const double value = decoded(dtype, got);
        if (std::fabs(value - exact) <= 0.5 * ulp(dtype, std::max(std::fabs(value), std::fabs(exact))) + slack) {
            return testing::AssertionSuccess();
        }
        return testing::AssertionFailure() << value << " stored for " << exact;
    }
};

TEST_F(rope_append, rotates_halves_and_writes_every_row_to_its_slot_and_nothing_else) {
    int round = 0;
    for (const int d : {8, 24, 32, 64, 80, 96, 128, 256}) {
        for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
            for (const uint32_t which : {TRIB_ROWS_MAIN, TRIB_ROWS_STREAM, TRIB_ROWS_ALL}) {
                attention_case shape;
                shape.dtype = dtype;
                shape.head_dim = d;
                shape.kv_heads = 1 + round % 3;
                shape.q_heads = shape.kv_heads * (1 + round % 8);
                shape.layers = 3;
                shape.layer = round % 3;
                shape.rows = which;
                shape.row_gap = round % 4;
                shape.group_gap = round % 3;
                const int rotary = round % 2 == 0 ? d : d / 4 * 2;
                batch_shape batch;
                batch.sequences = 3;
                batch.gamma = 1 + round % TRIB_MAX_GAMMA;
                batch.nodes = std::vector<int>{1, 2, 63, 64, 65, 128}[round % 6];
                ragged_step::options with;
                with.offset_positions = round % 2 == 0;
                ++round;
                SCOPED_TRACE(testing::Message() << dtype_name(dtype) << " d " << d << " rotary " << rotary << " rows "
                                                << which << " gamma " << batch.gamma);
                const ragged_step step(random, random_sequences(random, batch), batch.gamma, with);
                const int positions = 400;
                std::vector<float> table(static_cast<size_t>(positions) * rotary);
                for (int p = 0; p < positions; ++p) {
                    for (int i = 0; i < rotary / 2; ++i) {
                        const double angle = p * std::pow(10000.0, -2.0 * i / rotary);
                        table[p * rotary + i] = static_cast<float>(std::cos(angle));
                        table[p * rotary + rotary / 2 + i] = static_cast<float>(std::sin(angle));
                    }
                }
                const device_array<float> cos_sin(table);
                attention_inputs in(step, shape);
                in.cache.fill_visible(random, step);
                row_tensor k(step.R + step.Q, shape.kv_heads, d, shape.row_gap, shape.group_gap);
                row_tensor v(step.R + step.Q, shape.kv_heads, d, shape.row_gap, shape.group_gap);
                row_tensor q(step.R + step.Q, shape.q_heads, d, shape.row_gap, shape.group_gap);
                q.randomize(random, step.indices(TRIB_ROWS_ALL));
                k.randomize(random, step.indices(TRIB_ROWS_ALL));
                v.randomize(random, step.indices(TRIB_ROWS_ALL));
                std::vector<std::vector<double>> q_before(step.R + step.Q);
                std::vector<std::vector<double>> k_before(step.R + step.Q);
                for (const int row : step.indices(TRIB_ROWS_ALL)) {
                    q_before[row] = q.row_values(row);
                    k_before[row] = k.row_values(row);
                }
                trib_rope_append_params params{};
                params.struct_size = sizeof params;
                params.rows = which;
                params.step = step.header();
                params.q = q.tensor();
                params.rotated_q = in.q.tensor();
                params.k = k.tensor();
                params.v = v.tensor();
                params.cos_sin = tensor_at(cos_sin.address(), TRIB_DTYPE_F32, 1, positions, rotary);
                params.cache = in.cache.header();
                params.stream_k = in.stream_k.tensor();
                params.stream_v = in.stream_v.tensor();
                params.layer = static_cast<uint32_t>(shape.layer);
                params.rotary_dim = static_cast<uint32_t>(rotary);
                ASSERT_TRUE(calls(trib_rope_append, ctx, params));

                // Element i of a head after rotation, and how far F32 may be off: two products and a sum.
                const auto rotated = [&](const std::vector<double>& x, int first, int position, int i, double& slack) {
                    slack = 0;
                    if (i >= rotary) return x[first + i];
                    const int half = rotary / 2;
                    const bool lower = i < half;
                    const double cosine = table[position * rotary + i % half];
                    const double sine = table[position * rotary + half + i % half];
                    const double other = x[first + (lower ? i + half : i - half)];
                    const double a = x[first + i] * cosine;
                    const double b = lower ? -other * sine : other * sine;
                    slack = 2 * 0x1p-24 * (std::fabs(a) + std::fabs(b));
                    return a + b;
                };
                std::vector<uint16_t> cache_expected = in.cache.mirror;
                const std::vector<uint16_t> cache_got = in.cache.contents();
                std::vector<uint16_t> k_expected = in.stream_k.mirror;
                std::vector<uint16_t> v_expected = in.stream_v.mirror;
                const std::vector<uint16_t> k_got = in.stream_k.contents();
                const std::vector<uint16_t> v_got = in.stream_v.contents();
                for (const int row : step.indices(which)) {
                    const step_row& of = step.rows[row];
                    const std::vector<uint16_t> q_got = encoded(dtype, in.q.row_values(row));
                    const std::vector<double> v_row = v.row_values(row);
                    for (int head = 0; head < shape.q_heads; ++head) {
                        for (int i = 0; i < d; ++i) {
                            double slack = 0;
                            const double exact = rotated(q_before[row], head * d, of.rotary, i, slack);
                            ASSERT_TRUE(nearest(dtype, q_got[head * d + i], exact, slack))
                                << "q, row " << row << " element " << i;
                        }
                    }
                    for (int head = 0; head < shape.kv_heads; ++head) {
                        const bool main = row < step.R;
                        const size_t k_at = main
                                                ? in.cache.at(step, of.sequence, step.slot_of(of), shape.layer, 0, head)
                                                : in.stream_k.at(row - step.R, head);
                        const size_t v_at = main
                                                ? in.cache.at(step, of.sequence, step.slot_of(of), shape.layer, 1, head)
                                                : in.stream_v.at(row - step.R, head);
                        for (int i = 0; i < d; ++i) {
                            double slack = 0;
                            const double exact = rotated(k_before[row], head * d, of.rotary, i, slack);
                            const uint16_t got = main ? cache_got[k_at + i] : k_got[k_at + i];
                            ASSERT_TRUE(nearest(dtype, got, exact, slack)) << "k, row " << row << " element " << i;
                            (main ? cache_expected[k_at + i] : k_expected[k_at + i]) = got;
                            (main ? cache_expected[v_at + i] : v_expected[v_at + i]) =
                                encoded(dtype, v_row[head * d + i]);
                        }
                    }
                }
                // v is one rounding and has one answer; whatever is not of this step's rows is as it was.
                ASSERT_TRUE(same_bits(cache_got, cache_expected));
                ASSERT_TRUE(same_bits(k_got, k_expected));
                ASSERT_TRUE(same_bits(v_got, v_expected));
                ASSERT_TRUE(in.q.only_written(step.indices(which)));
            }
        }
    }
}

// An infinite value in a page would turn weights of 0 into NaN for every row that does not see it.
TEST_F(rope_append, writes_the_greatest_finite_value_for_what_the_cache_cannot_hold) {
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        for (const int d : {16, 24}) {
            const int rotary = d == 16 ? 8 : 2;  // in vectors, and singly
            SCOPED_TRACE(testing::Message() << dtype_name(dtype) << " d " << d);
            attention_case shape;
            shape.dtype = dtype;
            shape.head_dim = d;
            shape.kv_heads = shape.q_heads = 1;
            sequence_spec sequence;
            sequence.tree = random_tree(random, 1);
            sequence.anchors = {0};
            const ragged_step step(random, {sequence}, 1);
            const std::vector<int> rows = step.indices(TRIB_ROWS_ALL);
            const float greatest = dtype == TRIB_DTYPE_BF16 ? std::ldexp(255.0F, 120) : 65504.0F;
            std::vector<float> values(d, 1.0F);
            values[0] = std::numeric_limits<float>::infinity();
            values[1] = -std::numeric_limits<float>::max();
            values[d - 1] = dtype == TRIB_DTYPE_BF16 ? std::ldexp(511.5F, 119) : 65520.0F;  // rounds up to infinity
            attention_inputs in(step, shape);
            in.cache.fill_visible(random, step);
            row_tensor x(step.R + step.Q, 1, d);
            for (const int row : rows) x.set_row(row, values.data());
            std::vector<float> table(static_cast<size_t>(400) * rotary);
            for (size_t i = 0; i < table.size(); ++i)
                table[i] = static_cast<int>(i) % rotary < rotary / 2 ? 1.0F : 0.0F;
            const device_array<float> no_rotation(table);
            trib_rope_append_params params{};
            params.struct_size = sizeof params;
            params.rows = TRIB_ROWS_ALL;
            params.step = step.header();
            params.q = params.k = params.v = x.tensor();
            params.rotated_q = in.q.tensor();
            params.cos_sin = tensor_at(no_rotation.address(), TRIB_DTYPE_F32, 1, 400, rotary);
            params.cache = in.cache.header();
            params.stream_k = in.stream_k.tensor();
            params.stream_v = in.stream_v.tensor();
            params.layer = 1;
            params.rotary_dim = static_cast<uint32_t>(rotary);
            ASSERT_TRUE(calls(trib_rope_append, ctx, params));
            values[d - 1] = greatest;
            // Rotation multiplies infinities by 0; v is not rotated.
            const std::vector<uint16_t> contents = in.cache.contents();
            const size_t at = in.cache.at(step, 0, step.slot_of(step.rows[0]), 1, 1, 0);
            EXPECT_EQ(decoded(dtype, contents[at]), greatest);
            EXPECT_EQ(decoded(dtype, contents[at + 1]), -greatest);
            for (const int row : rows) EXPECT_EQ(in.q.row(row)[d - 1], greatest);
            EXPECT_EQ(decoded(dtype, in.stream_v.contents()[in.stream_v.at(0, 0)]), greatest);
        }
    }
}

}  // namespace
}  // namespace tributary::test
