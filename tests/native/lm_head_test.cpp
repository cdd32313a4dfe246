// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <numeric>
#include <optional>

#include "support/attention_reference.hpp"

namespace tributary::test {
namespace {

// Ids of a row in descending order of their logits, ties to the lower id.
std::vector<int32_t> ranking(const std::vector<double>& logits) {
    std::vector<int32_t> ids(logits.size());
    std::iota(ids.begin(), ids.end(), 0);
    std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
    return ids;
}

// Everything that lm_head can write.
struct head_outputs {
    head_outputs(int rows, int k, int V)
        : rows(rows),
          k(k),
          argmax(rows),
          max_logit(rows),
          log_sum_exp(rows),
          top_ids(static_cast<size_t>(rows) * k),
          top_logits(static_cast<size_t>(rows) * k),
          logits(rows, 0, V) {}
    void attach(trib_lm_head_params& params, bool with_logits) {
        params.struct_size = sizeof params;
        params.max_rows = static_cast<uint32_t>(rows);
        params.k = static_cast<uint32_t>(k);
        params.argmax = argmax.address();
        params.max_logit = max_logit.address();
        params.log_sum_exp = log_sum_exp.address();
        params.top_ids = k > 0 ? top_ids.address() : 0;
        params.top_logits = k > 0 ? top_logits.address() : 0;
        params.logits = with_logits ? logits.tensor() : trib_tensor{};
    }
    // Bits of all results of a row, full logits left out.
    std::vector<uint32_t> bits_of(int row) const {
        std::vector<uint32_t> result = {static_cast<uint32_t>(argmax.values()[row]),
                                        std::bit_cast<uint32_t>(max_logit.values()[row]),
                                        std::bit_cast<uint32_t>(log_sum_exp.values()[row])};
        const std::vector<int32_t> ids = top_ids.values();
        const std::vector<float> values = top_logits.values();
        for (int i = row * k; i < (row + 1) * k; ++i) {
            result.push_back(static_cast<uint32_t>(ids[i]));
            result.push_back(std::bit_cast<uint32_t>(values[i]));
        }
        return result;
    }
    int rows;
    int k;
    device_array<int32_t> argmax;
    device_array<float> max_logit;
    device_array<float> log_sum_exp;
    device_array<int32_t> top_ids;
    device_array<float> top_logits;
    row_tensor logits;
};

class lm_head : public operation_test {
protected:
    // What the reductions say must follow from the logits.
    void expect_reductions(const head_outputs& out, int row, const std::vector<double>& logits, int offset,
                           double lse_slack = 0) {
        const std::vector<int32_t> order = ranking(logits);
        const int V = static_cast<int>(logits.size());
        ASSERT_EQ(out.argmax.values()[row], order[0] + offset) << "row " << row;
        ASSERT_EQ(out.max_logit.values()[row], static_cast<float>(logits[order[0]]));
        double sum = 0;
        for (const double logit : logits) sum += std::exp(logit - logits[order[0]]);
        const double lse = logits[order[0]] + std::log(sum);
        // V additions and one exponential each, in F32.
        ASSERT_NEAR(out.log_sum_exp.values()[row], lse, (V + 16) * 0x1p-24 + 2 * ulp(TRIB_DTYPE_F32, lse) + lse_slack);
        const std::vector<int32_t> ids = out.top_ids.values();
        const std::vector<float> values = out.top_logits.values();
        for (int i = 0; i < out.k; ++i) {
            ASSERT_EQ(ids[row * out.k + i], order[i] + offset) << "row " << row << " rank " << i;
            ASSERT_EQ(values[row * out.k + i], static_cast<float>(logits[order[i]]));
        }
    }
};

TEST_F(lm_head, reduces_whole_numbers_exactly_with_ties_to_the_lowest_id) {
    int round = 0;
    for (const int nodes : {1, 2, 63, 64, 65, 128}) {
        for (const int k : {0, 1, 3, 5, 16, 64}) {
            const uint32_t dtype = round % 2 == 0 ? TRIB_DTYPE_BF16 : TRIB_DTYPE_F16;
            const int V = random.integer(64, 300);
            const int hidden = random.integer(1, 70);
            const uint32_t which = static_cast<uint32_t>(1 + round % 3);
            const int offset = random.pick(std::vector<int>{0, 1000});
            ++round;
            sequence_spec sequence;
            sequence.tree = random_tree(random, nodes);
            sequence.anchors = {0, nodes - 1};
            const ragged_step step(random, {sequence}, 3);
            // Few values, so that ties are everywhere.
            const std::vector<double> weight = random.integers(static_cast<size_t>(V) * hidden, -1, 1);
            const packed_weight packed(ctx, dtype, TRIB_LAYOUT_PACKED, V, hidden, encoded(dtype, weight));
            row_tensor x(step.R + step.Q, 0, hidden, 2);
            for (const int row : step.indices(TRIB_ROWS_ALL)) x.set_row(row, random.integers(hidden, -2, 2));
            x.freeze();
            head_outputs out(step.R + step.Q, k, V);
            trib_lm_head_params params{};
            out.attach(params, round % 2 == 0);
            params.rows = which;
            params.step = step.header();
            params.x = x.tensor();
            params.weight = packed.tensor();
            params.vocabulary_offset = offset;
            const workspace space(ctx, TRIB_OP_LM_HEAD, params);
            ASSERT_TRUE(calls(trib_lm_head, ctx, params));
            for (const int row : step.indices(which)) {
                const std::vector<double> logits = product(x.row_values(row), weight, 1, V, hidden);
                expect_reductions(out, row, logits, offset);
                if (HasFatalFailure()) return;
                if (params.logits.address != 0) {
                    ASSERT_EQ(out.logits.row_values(row), logits);
                }
            }
            ASSERT_TRUE(out.logits.only_written(params.logits.address != 0 ? step.indices(which) : std::vector<int>{}));
            const std::vector<int> rows = step.indices(which);
            const std::vector<int32_t> argmax = out.argmax.values();
            for (int row = 0; row < step.R + step.Q; ++row) {
                if (std::find(rows.begin(), rows.end(), row) == rows.end()) {
                    ASSERT_EQ(argmax[row], -1) << "row " << row << " is nobody's and was written";
                }
            }
        }
    }
}

TEST_F(lm_head, obeys_the_rule_and_reduces_its_own_logits) {
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        const int V = 1003, hidden = 256, k = 64;
        sequence_spec sequence;
        sequence.chunk = 5;
        sequence.anchors = {4};
        const ragged_step step(random, {sequence}, 4);
        const std::vector<double> weight =
            rounded(dtype, random.normals(static_cast<size_t>(V) * hidden, 4 / std::sqrt(hidden)));
        const packed_weight packed(ctx, dtype, TRIB_LAYOUT_PACKED, V, hidden, encoded(dtype, weight));
        row_tensor x(step.R + step.Q, 0, hidden);
        x.randomize(random, step.indices(TRIB_ROWS_ALL));
        head_outputs out(step.R + step.Q, k, V);
        trib_lm_head_params params{};
        out.attach(params, true);
        params.rows = TRIB_ROWS_ALL;
        params.step = step.header();
        params.x = x.tensor();
        params.weight = packed.tensor();
        const workspace space(ctx, TRIB_OP_LM_HEAD, params);
        ASSERT_TRUE(calls(trib_lm_head, ctx, params));
        std::vector<double> exact;
        std::vector<double> plain;
        for (const int row : step.indices(TRIB_ROWS_ALL)) {
            const std::vector<double> values = x.row_values(row);
            for (const double value : product(values, weight, 1, V, hidden)) exact.push_back(value);
            for (const double value : product(rounded(dtype, values), weight, 1, V, hidden)) {
                plain.push_back(rounded(dtype, value));
            }
            expect_reductions(out, row, out.logits.row_values(row), 0);
        }
        EXPECT_TRUE(obeys_the_rule(rows_of(out.logits, step.indices(TRIB_ROWS_ALL)), exact, plain));
    }
}

TEST_F(lm_head, takes_rows_by_index) {
    const int V = 90, hidden = 33, k = 4;
    const ragged_step step(random, random_sequences(random, {}), 3);
    const std::vector<double> weight = random.integers(static_cast<size_t>(V) * hidden, -3, 3);
    const packed_weight packed(ctx, TRIB_DTYPE_BF16, TRIB_LAYOUT_PACKED, V, hidden, encoded(TRIB_DTYPE_BF16, weight));
    row_tensor x(step.R + step.Q, 0, hidden);
    for (const int row : step.indices(TRIB_ROWS_ALL)) x.set_row(row, random.integers(hidden, -3, 3));
    x.freeze();
    const std::vector<int> rows = step.indices(TRIB_ROWS_ALL);
    for (const int count : {0, 1, 7}) {
        std::vector<int32_t> index(9, index_poison);
        for (int i = 0; i < count; ++i) index[i] = random.pick(rows);
        const device_array<int32_t> device_index(index);
        const device_array<int32_t> device_count(std::vector<int32_t>{count});
        head_outputs out(9, k, V);
        trib_lm_head_params params{};
        out.attach(params, true);
        params.step = step.header();
        params.x = x.tensor();
        params.weight = packed.tensor();
        params.row_index = device_index.address();
        params.row_count = device_count.address();
        const workspace space(ctx, TRIB_OP_LM_HEAD, params);
        ASSERT_TRUE(calls(trib_lm_head, ctx, params));
        std::vector<int> written;
        for (int i = 0; i < count; ++i) {
            expect_reductions(out, i, product(x.row_values(index[i]), weight, 1, V, hidden), 0);
            if (HasFatalFailure()) return;
            written.push_back(i);
        }
        EXPECT_TRUE(out.logits.only_written(written));
        const std::vector<int32_t> argmax = out.argmax.values();
        for (int i = count; i < 9; ++i) EXPECT_EQ(argmax[i], -1) << "entry " << i << " is beyond the count";
    }
}

TEST_F(lm_head, a_row_does_not_depend_on_threads_on_other_rows_or_on_whether_logits_are_wanted) {
    const int V = 777, hidden = 200, k = 20;
    sequence_spec sequence;
    sequence.chunk = 66;
    sequence.anchors = {3};
    const ragged_step step(random, {sequence}, 3);
    const std::vector<uint16_t> weight = encoded(TRIB_DTYPE_BF16, random.normals(static_cast<size_t>(V) * hidden, 0.3));
    const packed_weight packed(ctx, TRIB_DTYPE_BF16, TRIB_LAYOUT_PACKED, V, hidden, weight);
    row_tensor x(step.R + step.Q, 0, hidden);
    x.randomize(random, step.indices(TRIB_ROWS_ALL));
    std::optional<std::vector<std::vector<uint32_t>>> expected;
    for (const uint32_t threads : {1u, 2u, 3u}) {
        for (const bool with_logits : {true, false}) {
            const context other(threads);
            head_outputs out(step.R + step.Q, k, V);
            trib_lm_head_params params{};
            out.attach(params, with_logits);
            params.rows = TRIB_ROWS_ALL;
            params.step = step.header();
            params.x = x.tensor();
            params.weight = packed.tensor();
            const workspace space(other, TRIB_OP_LM_HEAD, params);
            ASSERT_TRUE(calls(trib_lm_head, other, params));
            std::vector<std::vector<uint32_t>> got;
            for (const int row : step.indices(TRIB_ROWS_ALL)) got.push_back(out.bits_of(row));
            if (!expected) expected = got;
            ASSERT_EQ(got, *expected) << threads << " threads, logits " << with_logits;
        }
    }
    const std::vector<int> rows = step.indices(TRIB_ROWS_ALL);
    for (size_t i = 0; i < rows.size(); i += 5) {
        const device_array<int32_t> index(std::vector<int32_t>{rows[i]});
        const device_array<int32_t> count(std::vector<int32_t>{1});
        head_outputs out(1, k, V);
        trib_lm_head_params params{};
        out.attach(params, false);
        params.step = step.header();
        params.x = x.tensor();
        params.weight = packed.tensor();
        params.row_index = index.address();
        params.row_count = count.address();
        const workspace space(ctx, TRIB_OP_LM_HEAD, params);
        ASSERT_TRUE(calls(trib_lm_head, ctx, params));
        ASSERT_EQ(out.bits_of(0), (*expected)[i]) << "row " << rows[i] << " alone";
    }
}

TEST_F(lm_head, shards_of_the_vocabulary_merge_to_the_whole) {
    const int V = 500, hidden = 96, k = 16, rows = 7;
    sequence_spec sequence;
    sequence.chunk = rows;
    const ragged_step step(random, {sequence}, 0);
    std::vector<uint16_t> weight = encoded(TRIB_DTYPE_BF16, random.normals(static_cast<size_t>(V) * hidden, 0.3));
    // Tokens that tie across the border.
    std::copy_n(weight.begin(), 40 * hidden, weight.begin() + 300 * hidden);
    row_tensor x(step.R, 0, hidden);
    x.randomize(random, step.main_indices());
    const auto shard = [&](int begin, int end, head_outputs& out) {
        const packed_weight packed(ctx, TRIB_DTYPE_BF16, TRIB_LAYOUT_PACKED, end - begin, hidden,
                                   {weight.begin() + begin * hidden, weight.begin() + end * hidden});
        trib_lm_head_params params{};
        out.attach(params, false);
        params.rows = TRIB_ROWS_MAIN;
        params.step = step.header();
        params.x = x.tensor();
        params.weight = packed.tensor();
        params.vocabulary_offset = begin;
        const workspace space(ctx, TRIB_OP_LM_HEAD, params);
        ASSERT_TRUE(calls(trib_lm_head, ctx, params));
    };
    head_outputs whole(step.R, k, V);
    shard(0, V, whole);
    for (const int border : {64, 203, 301}) {
        head_outputs low(step.R, k, border);
        head_outputs high(step.R, k, V - border);
        shard(0, border, low);
        shard(border, V, high);
        for (int row = 0; row < rows; ++row) {
            std::vector<std::pair<float, int32_t>> merged;
            for (const head_outputs* part : {&low, &high}) {
                for (int i = row * k; i < (row + 1) * k; ++i) {
                    merged.emplace_back(-part->top_logits.values()[i], part->top_ids.values()[i]);
                }
            }
            std::sort(merged.begin(), merged.end());
            for (int i = 0; i < k; ++i) {
                ASSERT_EQ(merged[i].second, whole.top_ids.values()[row * k + i]) << "border " << border;
                ASSERT_EQ(-merged[i].first, whole.top_logits.values()[row * k + i]);
            }
            ASSERT_EQ(whole.argmax.values()[row], merged[0].second);
            const double a = low.log_sum_exp.values()[row];
            const double b = high.log_sum_exp.values()[row];
            EXPECT_NEAR(whole.log_sum_exp.values()[row], std::max(a, b) + std::log1p(std::exp(-std::fabs(a - b))),
                        3 * (V + 16) * 0x1p-24);
        }
    }
}

}  // namespace
}  // namespace tributary::test
