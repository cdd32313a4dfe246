// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "support/attention_reference.hpp"

namespace tributary::test {
namespace {

class edge_confidence : public operation_test {
protected:
    struct weights {
        weights(edge_confidence& test, uint32_t dtype, int hidden, int rank, int V)
            : dtype(dtype),
              hidden(hidden),
              rank(rank),
              V(V),
              down(rounded(dtype, test.random.normals(static_cast<size_t>(rank) * hidden, 1 / std::sqrt(hidden)))),
              up(rounded(dtype, test.random.normals(static_cast<size_t>(hidden) * rank, 1 / std::sqrt(rank)))),
              head(rounded(dtype, test.random.normals(static_cast<size_t>(V) * hidden, 2 / std::sqrt(hidden)))),
              packed_down(test.ctx, dtype, TRIB_LAYOUT_PACKED, rank, hidden, encoded(dtype, down)),
              packed_up(test.ctx, dtype, TRIB_LAYOUT_PACKED, hidden, rank, encoded(dtype, up)),
              packed_head(test.ctx, dtype, TRIB_LAYOUT_PACKED, V, hidden, encoded(dtype, head)) {}

        // softmax(LMHead(up (down x)))[token], with every result before the softmax rounded by `round`.
        template <class Round>
        double confidence(std::vector<double> x, int token, Round round) const {
            for (double& value : x) value = round(value);
            std::vector<double> inner = product(x, down, 1, rank, hidden);
            for (double& value : inner) value = round(value);
            std::vector<double> state = product(inner, up, 1, hidden, rank);
            for (double& value : state) value = round(value);
            std::vector<double> logits = product(state, head, 1, V, hidden);
            for (double& value : logits) value = round(value);
            const double top = *std::max_element(logits.begin(), logits.end());
            double sum = 0;
            for (const double logit : logits) sum += std::exp(logit - top);
            return std::exp(logits[token] - top) / sum;
        }

        uint32_t dtype;
        int hidden, rank, V;
        std::vector<double> down, up, head;
        packed_weight packed_down, packed_up, packed_head;
    };

    // A batch whose stream rows name the main rows of their anchors; no deferred streams, which have none.
    std::vector<sequence_spec> batch(int nodes, int V, int gamma) {
        batch_shape shape;
        shape.nodes = nodes;
        shape.gamma = gamma;
        std::vector<sequence_spec> result = random_sequences(random, shape);
        for (sequence_spec& sequence : result) {
            sequence.deferred.clear();
            if (sequence.tree.size() > 0) sequence.tree = random_tree(random, nodes, V);
            sequence.surviving.clear();
        }
        return result;
    }
};

TEST_F(edge_confidence, obeys_the_rule_and_compacts_the_step_in_place) {
    int round = 0;
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        // Judged together, as a single edge of the plain implementation may be right by luck; logarithms, so that small
        // confidences count as well.
        std::vector<float> logs;
        std::vector<double> exact;
        std::vector<double> plain;
        for (const int nodes : {1, 2, 16, 63, 64, 65, 128}) {
            for (const double threshold : {0.0, 0.004, 0.01, 0.5}) {
                const weights of(*this, dtype, 48, 8, 150);
                const int gamma = round % 4;
                ++round;
                SCOPED_TRACE(testing::Message() << dtype_name(dtype) << " T " << nodes << " threshold " << threshold
                                                << " gamma " << gamma);
                ragged_step step(random, batch(nodes, of.V, gamma), gamma);
                row_tensor x(step.R + step.Q, 0, of.hidden, 1);
                x.randomize(random, step.main_indices(), 2);
                x.freeze();
                std::vector<int32_t> sources(step.Q, index_poison);
                for (int i = 0; i < step.stream_rows; ++i) sources[i] = step.rows[step.R + i].anchor_row;
                device_array<int32_t> row_source(static_cast<size_t>(step.Q));
                row_source.set(sources);
                device_array<float> confidence(static_cast<size_t>(step.R));
                device_array<int32_t> kept(static_cast<size_t>(step.R));
                step.thaw_rows();
                trib_edge_confidence_params params{};
                params.struct_size = sizeof params;
                params.threshold = static_cast<float>(threshold);
                params.step = step.header();
                params.x = x.tensor();
                params.down = of.packed_down.tensor();
                params.up = of.packed_up.tensor();
                params.lm_head = of.packed_head.tensor();
                params.row_source = step.Q == 0 ? 0 : row_source.address();
                params.confidence = confidence.address();
                params.kept = kept.address();
                const workspace space(ctx, TRIB_OP_EDGE_CONFIDENCE, params);
                ASSERT_TRUE(calls(trib_edge_confidence, ctx, params));

                // Confidences.
                const std::vector<float> got = confidence.values();
                for (int row = 0; row < step.main_rows; ++row) {
                    const step_row& at = step.rows[row];
                    const token_tree& tree = step.sequences[at.sequence].tree;
                    if (tree.size() == 0 || at.node == 0) {
                        ASSERT_EQ(got[row], 1.0f) << "roots and causal rows are certain";
                        continue;
                    }
                    const std::vector<double> parent = x.row_values(step.row_of(at.sequence, tree.parent[at.node]));
                    logs.push_back(std::log(got[row]));
                    exact.push_back(
                        std::log(of.confidence(parent, tree.token[at.node], [](double value) { return value; })));
                    plain.push_back(std::log(of.confidence(parent, tree.token[at.node],
                                                           [&](double value) { return rounded(dtype, value); })));
                }

                // The step afterwards, from the confidences that were reported.
                std::vector<bool> stays(step.main_rows);
                std::vector<int> new_row(step.main_rows, -1);
                std::vector<int32_t> expected_kept;
                std::vector<int32_t> expected_rows = {0};
                for (size_t s = 0; s < step.sequences.size(); ++s) {
                    for (int row = step.sequence_rows[s]; row < step.sequence_rows[s + 1]; ++row) {
                        const token_tree& tree = step.sequences[s].tree;
                        const int node = step.rows[row].node;
                        stays[row] = tree.size() == 0 || node == 0 ||
                                     (got[row] >= params.threshold &&
                                      stays[step.row_of(static_cast<int>(s), tree.parent[node])]);
                        if (!stays[row]) continue;
                        new_row[row] = static_cast<int>(expected_kept.size());
                        expected_kept.push_back(row);
                    }
                    expected_rows.push_back(static_cast<int>(expected_kept.size()));
                }
                std::vector<int> streams;
                for (const int row : step.stream_indices()) {
                    if (stays[step.rows[row].anchor_row]) streams.push_back(row);
                }
                const int main_now = static_cast<int>(expected_kept.size());
                ASSERT_EQ(step.counts->values(),
                          (std::vector<int32_t>{static_cast<int32_t>(step.sequences.size()), main_now,
                                                static_cast<int32_t>(streams.size()), 0}));
                const std::vector<int32_t> kept_now = kept.values();
                ASSERT_EQ(std::vector<int32_t>(kept_now.begin(), kept_now.begin() + main_now), expected_kept);
                const std::vector<int32_t> rows_now = step.device_sequence_rows->values();
                ASSERT_EQ(std::vector<int32_t>(rows_now.begin(),
                                               rows_now.begin() + static_cast<int64_t>(expected_rows.size())),
                          expected_rows);
                const std::pair<const ragged_step::int_array&, int step_row::*> arrays[] = {
                    {step.row_sequence, &step_row::sequence},           {step.row_node, &step_row::node},
                    {step.row_position, &step_row::position},           {step.row_rotary, &step_row::rotary},
                    {step.row_first_visible, &step_row::first_visible}, {step.row_stream, &step_row::stream}};
                for (const auto& [array, member] : arrays) {
                    const std::vector<int32_t> now = array->values();
                    for (int row = 0; row < main_now; ++row) ASSERT_EQ(now[row], step.rows[expected_kept[row]].*member);
                    for (size_t i = 0; i < streams.size(); ++i) {
                        ASSERT_EQ(now[step.R + i], step.rows[streams[i]].*member) << "stream row " << i;
                    }
                }
                const std::vector<int32_t> sources_now = row_source.values();
                for (size_t i = 0; i < streams.size(); ++i) {
                    ASSERT_EQ(sources_now[i], new_row[step.rows[streams[i]].anchor_row]);
                }
            }
        }
        EXPECT_TRUE(obeys_the_rule(logs, exact, plain)) << dtype_name(dtype);
    }
}

TEST_F(edge_confidence, does_not_depend_on_threads) {
    const weights of(*this, TRIB_DTYPE_BF16, 64, 8, 500);
    std::vector<float> expected;
    const std::vector<sequence_spec> sequences = batch(64, of.V, 2);
    std::vector<std::vector<double>> states;
    for (const uint32_t threads : {1u, 2u, 3u}) {
        const context other(threads);
        random_source pages(5);
        ragged_step step(pages, sequences, 2);
        row_tensor x(step.R + step.Q, 0, of.hidden);
        for (int row = 0; row < step.main_rows; ++row) {
            if (threads == 1) states.push_back(random.normals(of.hidden));
            x.set_row(row, states[row]);
        }
        std::vector<int32_t> sources(step.Q, index_poison);
        for (int i = 0; i < step.stream_rows; ++i) sources[i] = step.rows[step.R + i].anchor_row;
        device_array<int32_t> row_source(static_cast<size_t>(step.Q));
        row_source.set(sources);
        device_array<float> confidence(static_cast<size_t>(step.R));
        device_array<int32_t> kept(static_cast<size_t>(step.R));
        step.thaw_rows();
        trib_edge_confidence_params params{};
        params.struct_size = sizeof params;
        params.threshold = 0.002f;
        params.step = step.header();
        params.x = x.tensor();
        params.down = of.packed_down.tensor();
        params.up = of.packed_up.tensor();
        params.lm_head = of.packed_head.tensor();
        params.row_source = row_source.address();
        params.confidence = confidence.address();
        params.kept = kept.address();
        const workspace space(other, TRIB_OP_EDGE_CONFIDENCE, params);
        ASSERT_TRUE(calls(trib_edge_confidence, other, params));
        if (expected.empty()) expected = confidence.values();
        EXPECT_TRUE(same_bits(confidence.values(), expected)) << threads << " threads";
    }
}

}  // namespace
}  // namespace tributary::test
