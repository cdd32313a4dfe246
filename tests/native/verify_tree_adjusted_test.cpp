// SPDX-License-Identifier: Apache-2.0
//
// Bias, penalties, allowed tokens, log-probabilities and typical acceptance, against the header's words.
#include <gtest/gtest.h>

#include "support/verification.hpp"

namespace tributary::test {
namespace {

class verify_tree_adjusted : public verify_tree {
protected:
    static void without_penalties(trib_sampling& how) { how.repetition_penalty = 1; }

    void random_penalties(trib_sampling& how) {
        how.repetition_penalty = random.chance(0.6) ? static_cast<float>(0.6 + 1.4 * random.real()) : 1.0f;
        how.presence_penalty = random.chance(0.6) ? static_cast<float>(2 * random.real() - 1) : 0.0f;
        how.frequency_penalty = random.chance(0.6) ? static_cast<float>(random.real() - 0.3) : 0.0f;
    }

    std::vector<int32_t> random_tokens(int count, int V) {
        std::vector<int32_t> tokens;
        for (int i = 0; i < count; ++i) tokens.push_back(random.integer(0, V - 1));
        return tokens;
    }

    // At least one token of each mask is allowed; bits beyond V are noise.
    std::vector<uint32_t> random_masks(int count, int V) {
        const int words = (V + 31) / 32;
        std::vector<uint32_t> masks;
        for (int i = 0; i < count; ++i) {
            const double density = random.real();
            for (int word = 0; word < words; ++word) {
                uint32_t bits = 0;
                for (int bit = 0; bit < 32; ++bit) bits |= static_cast<uint32_t>(random.chance(density)) << bit;
                masks.push_back(bits);
            }
            const int one = random.integer(0, V - 1);
            masks[static_cast<size_t>(i) * words + one / 32] |= 1U << (one % 32);
        }
        return masks;
    }
};

TEST_F(verify_tree_adjusted, walks_random_trees_by_the_text_up_to_each_node) {
    int deep = 0;
    int ambiguous = 0;
    int walks = 0;
    int typical_walks = 0;
    for (int round = 0; round < 60; ++round) {
        SCOPED_TRACE(testing::Message() << "round " << round);
        const int V = round % 10 == 0 ? 5000 : random.integer(6, 80);
        batch_shape batch;
        batch.nodes = std::vector<int>{1, 2, 5, 33, 64, 65, 128}[round % 7];
        batch.sequences = 1 + round % 6;
        std::vector<sequence_spec> sequences = random_sequences(random, batch);
        std::vector<trib_sampling> how;
        std::vector<text_state> texts;
        for (sequence_spec& sequence : sequences) {
            if (sequence.tree.size() > 0) {
                sequence.tree = random_tree(random, sequence.tree.size(), V);
                for (int node = 1; node < sequence.tree.size(); ++node) {
                    sequence.surviving[node] = sequence.surviving[sequence.tree.parent[node]] && random.chance(0.9);
                }
                sequence.anchors.clear();
            }
            trib_sampling of =
                sampling_of(random.bits(), random.chance(0.4) ? 0.0f : static_cast<float>(0.3 + random.real()),
                            random.integer(0, 100000));
            of.choice = random.integer(0, 5);
            of.active = random.chance(0.9) && (sequence.tree.size() > 0 || sequence.chunk > 0);
            if (random.chance(0.3)) of.top_k = random.integer(1, V + 3);
            if (random.chance(0.3)) of.top_p = static_cast<float>(0.05 + 0.9 * random.real());
            if (random.chance(0.3)) of.min_p = static_cast<float>(0.5 * random.real());
            if (random.chance(0.2)) {
                of.typical_epsilon = static_cast<float>(0.05 + 0.3 * random.real());
                of.typical_delta = static_cast<float>(0.2 + 0.5 * random.real());
                ++typical_walks;
            }
            random_penalties(of);
            std::map<int32_t, float> bias;
            for (int i = random.integer(0, 4); i > 0; --i) {
                bias[random.integer(0, V - 1)] = static_cast<float>(8 * random.real() - 4);
            }
            text_state text;
            if (random.chance(0.8)) {
                text = text_state::of(random_tokens(random.integer(0, 2 * V), V),
                                      random_tokens(random.integer(0, V), V), sequence.tree.token, bias);
                random.shuffle(text.entries);
            }
            if (random.chance(0.4)) text.allowed = random_masks(std::max(1, sequence.tree.size()), V);
            how.push_back(of);
            texts.push_back(text);
        }
        const ragged_step step(random, sequences, 3);
        std::vector<int32_t> places;
        std::vector<std::vector<float>> logits(static_cast<size_t>(step.R) + 4);
        for (std::vector<float>& row : logits) row = to_float(random.normals(V, 2));
        if (round % 2 == 0) {
            std::vector<int32_t> order(logits.size());
            std::iota(order.begin(), order.end(), 0);
            random.shuffle(order);
            places.assign(order.begin(), order.begin() + step.main_rows);
            for (int row = 0; row < step.main_rows; ++row) {
                const step_row& of = step.rows[row];
                if (step.sequences[of.sequence].tree.size() == 0 && row + 1 < step.sequence_rows[of.sequence + 1]) {
                    places[row] = -1;
                }
            }
        }
        for (int row = 0; row < step.main_rows; ++row) {
            const step_row& of = step.rows[row];
            const token_tree& tree = step.sequences[of.sequence].tree;
            for (int node = 0; node < tree.size(); ++node) {
                if (tree.parent[node] == of.node && random.chance(0.7)) {
                    logits[places.empty() ? row : places[row]][tree.token[node]] += 6;
                }
            }
        }
        const verified got = run(ctx, step, how, logits, places, true, texts);
        for (size_t s = 0; s < sequences.size(); ++s) {
            ++walks;
            ambiguous += expect_walk(got, step, static_cast<int>(s), how[s], logits, places, &texts[s]);
            deep += got.nodes[s].size() > 1;
        }
        const verified again = run(context(1 + round % 3), step, how, logits, places, true, texts);
        EXPECT_EQ(again.nodes, got.nodes);
        EXPECT_EQ(again.bonus, got.bonus);
        EXPECT_EQ(again.log_probabilities, got.log_probabilities);
        if (HasFailure()) return;
    }
    EXPECT_GT(deep, walks / 10) << "more walks should go deeper than the root";
    EXPECT_GT(typical_walks, 10);
    EXPECT_LT(ambiguous, walks / 15) << "too few choices were decided";
}

// With everything on, a text is the same whether a pass verifies one token or a tree, to the bits of log-probabilities.
TEST_F(verify_tree_adjusted, a_text_is_the_same_through_trees_and_step_by_step) {
    const int V = 40;
    std::map<std::pair<int, int>, std::vector<float>> model;
    const auto logits_after = [&](const std::vector<int32_t>& text) -> const std::vector<float>& {
        const std::pair<int, int> key = {text[text.size() - 2], text.back()};
        auto found = model.find(key);
        if (found == model.end()) found = model.emplace(key, to_float(random.normals(V, 2.5))).first;
        return found->second;
    };
    // What a grammar might say: by the last token.
    const auto allowed_after = [&](int32_t last) {
        std::vector<uint32_t> words((V + 31) / 32, 0);
        for (int token = 0; token < V; ++token) {
            if ((token + last) % 3 != 0) words[token / 32] |= 1U << (token % 32);
        }
        return words;
    };
    for (int round = 0; round < 16; ++round) {
        SCOPED_TRACE(testing::Message() << "round " << round);
        trib_sampling how = sampling_of(random.bits(), round % 3 == 0 ? 0.0f : 0.8f);
        how.repetition_penalty = round % 2 == 0 ? 1.3f : 1.0f;
        how.presence_penalty = round % 4 < 2 ? 0.4f : 0.0f;
        how.frequency_penalty = round % 8 < 4 ? 0.25f : 0.0f;
        if (round % 3 == 1) how.top_k = 10;
        const bool constrained = round % 5 < 2;
        const std::map<int32_t, float> bias = {{3, 2.0f}, {17, -50.0f}};
        const std::vector<int32_t> prompt = {1, 2, 3, 2};
        std::vector<int32_t> plain = prompt;
        std::vector<float> plain_told;
        sequence_spec decoding;
        decoding.length = 3;
        decoding.chunk = 1;
        const ragged_step single(random, {decoding}, 0);
        for (int i = 0; i < 60; ++i) {
            how.generated = i;
            text_state text =
                text_state::of(prompt, {plain.begin() + static_cast<int64_t>(prompt.size()), plain.end()}, {}, bias);
            if (constrained) text.allowed = allowed_after(plain.back());
            const verified got = run(ctx, single, {how}, {logits_after(plain)}, {0}, true, {text});
            plain.push_back(got.bonus[0]);
            plain_told.push_back(got.log_probabilities[0][0]);
            if (constrained) {
                ASSERT_NE((plain[plain.size() - 2] + plain.back()) % 3, 0);
            }
        }
        // The root of a tree is generated, but not committed.
        std::vector<int32_t> text = {plain.begin(), plain.begin() + static_cast<int64_t>(prompt.size()) + 1};
        std::vector<float> told = {plain_told[0]};
        int passes = 0;
        while (text.size() < plain.size()) {
            sequence_spec sequence;
            sequence.length = 10;
            token_tree& tree = sequence.tree;
            tree.add(-1, text.back());
            int along = 0;
            for (size_t i = text.size(); i < plain.size() && random.chance(0.7) && tree.depth[along] < 8; ++i) {
                for (int other = random.integer(0, 3); other > 0; --other) {
                    const int token = random.integer(0, V - 1);
                    if (!tree.has_child(along, token) && token != plain[i]) tree.add(along, token);
                }
                along = tree.add(along, plain[i]);
            }
            const ragged_step step(random, {sequence}, 0);
            std::vector<std::vector<float>> logits;
            text_state state = text_state::of(
                prompt, {text.begin() + static_cast<int64_t>(prompt.size()), text.end() - 1}, tree.token, bias);
            for (int node = 0; node < tree.size(); ++node) {
                std::vector<int32_t> context_tokens(text.begin(), text.end() - 1);
                for (const int at : tree.path_to(node)) context_tokens.push_back(tree.token[at]);
                logits.push_back(logits_after(context_tokens));
                if (constrained) {
                    for (const uint32_t word : allowed_after(tree.token[node])) state.allowed.push_back(word);
                }
            }
            how.generated = static_cast<int>(text.size() - prompt.size());
            const verified got = run(ctx, step, {how}, logits, {}, true, {state});
            ASSERT_FALSE(got.nodes[0].empty());
            for (size_t i = 1; i < got.nodes[0].size(); ++i) text.push_back(tree.token[got.nodes[0][i]]);
            text.push_back(got.bonus[0]);
            for (size_t i = 0; i < got.nodes[0].size(); ++i) told.push_back(got.log_probabilities[0][i]);
            ++passes;
        }
        text.resize(plain.size());
        told.resize(plain_told.size());
        EXPECT_EQ(text, plain);
        EXPECT_EQ(told, plain_told);
        EXPECT_LT(passes, 60);
    }
}

// Draws follow the softmax of adjusted logits.
TEST_F(verify_tree_adjusted, draws_follow_the_adjusted_distribution) {
    const int V = 40;
    const std::vector<float> logits = to_float(random.normals(V, 1.5));
    trib_sampling base = sampling_of(0, 0.9f);
    base.repetition_penalty = 1.4f;
    base.presence_penalty = 0.5f;
    base.frequency_penalty = 0.2f;
    base.top_p = 0.95f;
    text_state text = text_state::of(random_tokens(20, V), random_tokens(15, V), {}, {{4, 3.0f}, {9, -2.0f}});
    text.allowed = random_masks(1, V);
    text.allowed[0] |= 0x00ff00ffU;
    constexpr int draws_per_call = 500;
    std::vector<sequence_spec> sequences(draws_per_call);
    for (sequence_spec& sequence : sequences) {
        sequence.length = 1;
        sequence.chunk = 1;
    }
    ragged_step::options with;
    with.spare_rows = 0;
    const ragged_step step(random, sequences, 0, with);
    std::vector<int> counts(V, 0);
    for (int call = 0; call < 12; ++call) {
        std::vector<trib_sampling> how(draws_per_call, base);
        for (int i = 0; i < draws_per_call; ++i) how[i].seed = (call * 1000ULL + i) * 0x9e3779b97f4a7c15;
        const std::vector<text_state> texts(draws_per_call, text);
        for (const int32_t token :
             run(ctx, step, how, {logits}, std::vector<int32_t>(draws_per_call, 0), true, texts).bonus) {
            ++counts[token];
        }
    }
    EXPECT_TRUE(follows(counts, filtered(text.adjusted(logits, base, {}, 0), base).probability));
}

TEST_F(verify_tree_adjusted, a_mask_with_one_token_decides_alone) {
    const int V = 100;
    std::vector<float> logits = to_float(random.normals(V, 3));
    for (const float temperature : {0.0f, 0.01f, 1.0f, 100.0f}) {
        for (const int only : {0, 31, 32, 99}) {
            logits[only] = -80;
            sequence_spec decoding;
            decoding.length = 3;
            decoding.chunk = 1;
            const ragged_step step(random, {decoding}, 0);
            trib_sampling how = sampling_of(5, temperature);
            without_penalties(how);
            text_state text;
            text.allowed.assign(4, 0);
            text.allowed[3] = 0xfffffff0U;  // beyond V
            text.allowed[only / 32] |= 1U << (only % 32);
            EXPECT_EQ(run(ctx, step, {how}, {logits}, {0}, true, {text}).bonus[0], only);
        }
    }
}

// Where the allowed tokens have no probability the choice is still one of them: nobody draws what a mask forbids.
TEST_F(verify_tree_adjusted, what_is_forbidden_is_not_chosen_where_all_that_is_allowed_is_impossible) {
    const int V = 5000;  // more than one segment of a row on a device
    std::vector<float> impossible = to_float(random.normals(V, 3));
    std::vector<float> nothing(V, -INFINITY);
    for (const int first : {1, 31, 32, 4097, 4999}) {
        for (const float none : {-INFINITY, NAN}) {
            for (int token = first; token < V; ++token) impossible[token] = none;
            sequence_spec decoding;
            decoding.length = 3;
            decoding.chunk = 4;
            sequence_spec drafting;
            drafting.length = 5;
            drafting.tree.add(-1, 7);
            const ragged_step step(random, {decoding, drafting}, 0);
            text_state text;
            text.allowed.assign((V + 31) / 32, 0);
            for (int token = first; token < V; ++token) text.allowed[token / 32] |= 1U << (token % 32);
            for (const std::vector<float>& logits : {impossible, nothing}) {
                for (const float temperature : {0.0f, 1.0f}) {
                    trib_sampling how = sampling_of(5, temperature);
                    without_penalties(how);
                    const std::vector<std::vector<float>> rows(step.main_rows, logits);
                    const verified got = run(ctx, step, {how, how}, rows, {}, true, {text, text});
                    EXPECT_EQ(got.bonus[0], first) << "temperature " << temperature;
                    EXPECT_EQ(got.bonus[1], first) << "temperature " << temperature;
                }
            }
            impossible.assign(V, 1);
        }
    }
}

TEST_F(verify_tree_adjusted, a_drafted_token_that_is_none_is_never_typical) {
    const int V = 100;
    const std::vector<float> level(V, 1.0f);  // every token exceeds the bar
    for (const int32_t none : {-3, V, 1 << 28}) {
        sequence_spec drafting;
        drafting.length = 5;
        drafting.tree.add(-1, 7);
        drafting.tree.add(0, none);
        const ragged_step step(random, {drafting}, 0);
        trib_sampling how = sampling_of(5, 1);
        without_penalties(how);
        how.typical_epsilon = 0.001f;
        how.typical_delta = 1;
        const std::vector<std::vector<float>> rows(step.main_rows, level);
        const verified got = run(ctx, step, {how}, rows, {}, true, {text_state{}});
        EXPECT_EQ(got.nodes[0], std::vector<int32_t>{0}) << none;
        EXPECT_TRUE(got.bonus[0] >= 0 && got.bonus[0] < V) << got.bonus[0];
    }
}

}  // namespace
}  // namespace tributary::test
