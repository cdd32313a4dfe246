// SPDX-License-Identifier: Apache-2.0
//
// Calls of verify_tree, and the walk that the header's words give.
#pragma once

#include <memory>

#include "support/sampling_reference.hpp"

namespace tributary::test {

inline trib_sampling sampling_of(uint64_t seed, float temperature, int generated = 0) {
    trib_sampling result{};
    result.seed = seed;
    result.temperature = temperature;
    result.top_p = 1;
    result.generated = generated;
    result.active = 1;
    return result;
}

struct verified {
    std::vector<std::vector<int32_t>> nodes;  // by sequence
    std::vector<std::vector<int32_t>> rows;
    std::vector<int32_t> bonus;
    std::vector<std::vector<float>> log_probabilities;  // [TRIB_MAX_PATH]; poison unless they were asked for
};

class verify_tree : public operation_test {
protected:
    // logits: one entry for each stored row; row_logits: which of them a main row has (empty: row r at r). With `texts`,
    // one for each sequence, the pass has adjusted rows and tells log-probabilities.
    verified run(const context& on, const ragged_step& step, std::vector<trib_sampling> how,
                 const std::vector<std::vector<float>>& logits, const std::vector<int32_t>& row_logits = {},
                 bool with_logits = true, const std::vector<text_state>& texts = {}) {
        const int V = static_cast<int>(logits[0].size());
        row_tensor device_logits(static_cast<int>(logits.size()), 0, V, 1);
        std::vector<int32_t> best;
        std::vector<float> sums;
        for (size_t i = 0; i < logits.size(); ++i) {
            if (with_logits) device_logits.set_row(static_cast<int>(i), logits[i].data());
            best.push_back(
                static_cast<int32_t>(std::max_element(logits[i].begin(), logits[i].end()) - logits[i].begin()));
            sums.push_back(log_sum_exp(logits[i]));
        }
        device_logits.freeze();
        const device_array<int32_t> argmax(best);
        const device_array<float> log_sums(sums);
        std::vector<std::unique_ptr<device_array<trib_token_adjustment>>> entries;
        std::vector<std::unique_ptr<device_array<uint32_t>>> masks;
        for (size_t s = 0; s < texts.size(); ++s) {
            if (!texts[s].entries.empty()) {
                entries.push_back(std::make_unique<device_array<trib_token_adjustment>>(texts[s].entries));
                how[s].adjustment = entries.back()->address();
                how[s].adjustments = static_cast<int32_t>(texts[s].entries.size());
            }
            if (!texts[s].allowed.empty()) {
                masks.push_back(std::make_unique<device_array<uint32_t>>(texts[s].allowed));
                how[s].allowed = masks.back()->address();
            }
        }
        std::vector<trib_sampling> table = how;
        trib_sampling unused;
        std::memset(&unused, nan_poison, sizeof unused);
        table.resize(step.S, unused);
        const device_array<trib_sampling> sampling(table);
        std::vector<int32_t> places = row_logits;
        places.resize(step.R, index_poison);
        const device_array<int32_t> device_places(places);
        device_array<int32_t> count(static_cast<size_t>(step.S));
        device_array<int32_t> node(static_cast<size_t>(step.S) * TRIB_MAX_PATH);
        device_array<int32_t> row(static_cast<size_t>(step.S) * TRIB_MAX_PATH);
        device_array<int32_t> bonus(static_cast<size_t>(step.S));
        device_array<float> told(static_cast<size_t>(step.S) * TRIB_MAX_PATH);
        trib_verify_tree_params params{};
        params.struct_size = sizeof params;
        params.max_adjusted_rows = texts.empty() ? 0 : static_cast<uint32_t>(step.R);
        params.step = step.header();
        params.sampling = sampling.address();
        params.row_logits = row_logits.empty() ? 0 : device_places.address();
        params.argmax = argmax.address();
        if (with_logits) params.logits = device_logits.tensor();
        params.accepted_count = count.address();
        params.accepted_node = node.address();
        params.accepted_row = row.address();
        params.bonus = bonus.address();
        if (!texts.empty()) {
            params.log_sum_exp = log_sums.address();
            params.log_probability = told.address();
        }
        const workspace space(on, TRIB_OP_VERIFY_TREE, params);
        EXPECT_TRUE(calls(trib_verify_tree, on, params));
        verified result;
        const std::vector<int32_t> counts = count.values();
        const std::vector<int32_t> all_nodes = node.values();
        const std::vector<int32_t> all_rows = row.values();
        const std::vector<float> all_told = told.values();
        for (size_t s = 0; s < step.sequences.size(); ++s) {
            EXPECT_GE(counts[s], 0);
            EXPECT_LE(counts[s], TRIB_MAX_PATH);
            const auto from = static_cast<int64_t>(s) * TRIB_MAX_PATH;
            const int length = std::clamp(counts[s], 0, TRIB_MAX_PATH);
            const bool causal = step.sequences[s].tree.size() == 0;
            result.nodes.emplace_back(all_nodes.begin() + from, all_nodes.begin() + from + length);
            result.rows.emplace_back(all_rows.begin() + from, all_rows.begin() + from + (causal ? 1 : length));
            result.bonus.push_back(bonus.values()[s]);
            result.log_probabilities.emplace_back(all_told.begin() + from, all_told.begin() + from + TRIB_MAX_PATH);
        }
        return result;
    }

    // The walk by the header's words. Returns whether any choice on it was ambiguous.
    bool expect_walk(const verified& got, const ragged_step& step, int s, const trib_sampling& how,
                     const std::vector<std::vector<float>>& logits, const std::vector<int32_t>& row_logits,
                     const text_state* given = nullptr) {
        const bool with_texts = given != nullptr;
        const text_state text = with_texts ? *given : text_state{};
        const auto raw_of = [&](int row) -> const std::vector<float>& {
            return logits[row_logits.empty() ? row : row_logits[row]];
        };
        const auto logits_of = [&](int row) {
            const token_tree& tree = step.sequences[s].tree;
            const int node = tree.size() == 0 ? 0 : step.rows[row].node;
            std::vector<int32_t> path;
            if (tree.size() > 0) {
                for (const int at : tree.path_to(node)) path.push_back(tree.token[at]);
            }
            return text.adjusted(raw_of(row), how, path, node);
        };
        const auto expect_told = [&](size_t entry, int row, int32_t token) {
            if (with_texts) {
                EXPECT_EQ(got.log_probabilities[s][entry], raw_of(row)[token] - log_sum_exp(raw_of(row)));
            }
        };
        if (how.active == 0) {
            EXPECT_TRUE(got.nodes[s].empty());
            EXPECT_EQ(got.bonus[s], -1);
            return false;
        }
        const token_tree& tree = step.sequences[s].tree;
        if (tree.size() == 0) {
            const int last = step.sequence_rows[s + 1] - 1;
            const choice expected = chosen(logits_of(last), how, how.generated);
            if (expected.ambiguous) return true;
            EXPECT_TRUE(got.nodes[s].empty());
            EXPECT_EQ(got.rows[s][0], last);
            EXPECT_EQ(got.bonus[s], expected.token);
            expect_told(0, last, expected.token);
            return false;
        }
        std::vector<int32_t> nodes = {0};
        std::vector<int32_t> rows = {step.row_of(s, 0)};
        while (true) {
            const std::vector<float> here = logits_of(rows.back());
            const choice expected = chosen(here, how, how.generated + tree.depth[nodes.back()]);
            if (expected.ambiguous) return true;
            int next = -1;
            for (int node = 0; node < tree.size(); ++node) {
                if (tree.parent[node] == nodes.back() && tree.token[node] == expected.token &&
                    step.row_of(s, node) >= 0) {
                    next = node;
                }
            }
            if (next < 0 && how.typical_epsilon > 0 && how.temperature > 0) {
                std::vector<int> children;
                std::vector<int32_t> tokens;
                for (int node = 0; node < tree.size(); ++node) {
                    if (tree.parent[node] == nodes.back() && step.row_of(s, node) >= 0) {
                        children.push_back(node);
                        tokens.push_back(tree.token[node]);
                    }
                }
                const typical_choice typical = typically_accepted(here, how, tokens);
                if (typical.ambiguous) return true;
                if (typical.index >= 0) next = children[typical.index];
            }
            expect_told(rows.size() - 1, rows.back(), next < 0 ? expected.token : tree.token[next]);
            if (next < 0) {
                EXPECT_EQ(got.nodes[s], nodes);
                EXPECT_EQ(got.rows[s], rows);
                EXPECT_EQ(got.bonus[s], expected.token);
                return false;
            }
            nodes.push_back(next);
            rows.push_back(step.row_of(s, next));
        }
    }

    // One draw for each entry of `how`, all from the same logits.
    std::vector<int32_t> draws(const std::vector<float>& logits, const std::vector<trib_sampling>& how) {
        std::vector<sequence_spec> sequences(how.size());
        for (sequence_spec& sequence : sequences) {
            sequence.length = 1;
            sequence.chunk = 1;
        }
        ragged_step::options with;
        with.spare_rows = 0;
        const ragged_step step(random, sequences, 0, with);
        return run(ctx, step, how, {logits}, std::vector<int32_t>(how.size(), 0)).bonus;
    }
};

}  // namespace tributary::test
