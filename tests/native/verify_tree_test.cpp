// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "support/verification.hpp"

namespace tributary::test {
namespace {

TEST(philox_reference, gives_the_known_answers) {
    EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
    constexpr uint32_t ones = 0xffffffff;
    EXPECT_EQ(philox({ones, ones, ones, ones}, {ones, ones}),
              (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
    EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
              (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST_F(verify_tree, walks_random_trees_greedily_and_by_draws) {
    int deep = 0;
    int ambiguous = 0;
    int walks = 0;
    for (int round = 0; round < 60; ++round) {
        SCOPED_TRACE(testing::Message() << "round " << round);
        const int V = round % 10 == 0 ? 2500 : random.integer(6, 40);
        batch_shape batch;
        batch.nodes = std::vector<int>{1, 2, 5, 63, 64, 65, 128}[round % 7];
        batch.sequences = 1 + round % 6;
        std::vector<sequence_spec> sequences = random_sequences(random, batch);
        std::vector<trib_sampling> how;
        bool any_sampled = false;
        for (sequence_spec& sequence : sequences) {
            if (sequence.tree.size() > 0) {
                // Few tokens, so that children are met often.
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
            of.active = random.chance(0.85) && (sequence.tree.size() > 0 || sequence.chunk > 0);
            if (random.chance(0.3)) of.top_k = random.integer(1, V + 3);
            if (random.chance(0.3)) of.top_p = static_cast<float>(0.05 + 0.9 * random.real());
            if (random.chance(0.3)) of.min_p = static_cast<float>(0.5 * random.real());
            any_sampled |= of.active != 0 && of.temperature > 0;
            how.push_back(of);
        }
        const ragged_step step(random, sequences, 3);
        // Rows store their logits in a random order, with rows that are nobody's between them.
        std::vector<int32_t> places;
        std::vector<std::vector<float>> logits(static_cast<size_t>(step.R) + 4);
        for (std::vector<float>& row : logits) row = to_float(random.normals(V, 2));
        if (round % 2 == 0) {
            std::vector<int32_t> order(logits.size());
            std::iota(order.begin(), order.end(), 0);
            random.shuffle(order);
            places.assign(order.begin(), order.begin() + step.main_rows);
            for (int row = 0; row < step.main_rows; ++row) {
                // Of a causal sequence only the last row has logits.
                const step_row& of = step.rows[row];
                if (step.sequences[of.sequence].tree.size() == 0 && row + 1 < step.sequence_rows[of.sequence + 1]) {
                    places[row] = -1;
                }
            }
        }
        // Let each node's favourite be one of its children, mostly.
        for (int row = 0; row < step.main_rows; ++row) {
            const step_row& of = step.rows[row];
            const token_tree& tree = step.sequences[of.sequence].tree;
            for (int node = 0; node < tree.size(); ++node) {
                if (tree.parent[node] == of.node && random.chance(0.7)) {
                    logits[places.empty() ? row : places[row]][tree.token[node]] += 5;
                }
            }
        }
        const verified got = run(ctx, step, how, logits, places, any_sampled || round % 4 == 0);
        for (size_t s = 0; s < sequences.size(); ++s) {
            ++walks;
            ambiguous += expect_walk(got, step, static_cast<int>(s), how[s], logits, places);
            deep += got.nodes[s].size() > 1;
        }
        // Threads change nothing.
        const verified again = run(context(1 + round % 3), step, how, logits, places, any_sampled || round % 4 == 0);
        EXPECT_EQ(again.nodes, got.nodes);
        EXPECT_EQ(again.bonus, got.bonus);
        if (HasFailure()) return;
    }
    EXPECT_GT(deep, walks / 10) << "more walks should go deeper than the root";
    EXPECT_LT(ambiguous, walks / 20) << "too few choices were decided";
}

TEST_F(verify_tree, draws_follow_the_filtered_distribution) {
    const int V = 40;
    const std::vector<float> logits = to_float(random.normals(V, 1.5));
    struct filters {
        const char* name;
        float temperature;
        int top_k;
        float top_p;
        float min_p;
    };
    for (const filters& of : {filters{"plain", 1, 0, 1, 0}, filters{"hot", 2, 0, 1, 0}, filters{"cold", 0.5, 0, 1, 0},
                              filters{"top-k", 1, 7, 1, 0}, filters{"top-p", 1, 0, 0.8f, 0},
                              filters{"min-p", 1, 0, 1, 0.1f}, filters{"all", 0.8f, 20, 0.9f, 0.05f}}) {
        for (const char* varied : {"seed", "position", "choice"}) {
            SCOPED_TRACE(testing::Message() << of.name << " over " << varied);
            std::vector<int> counts(V, 0);
            trib_sampling base = sampling_of(0x1234, of.temperature);
            base.top_k = of.top_k;
            base.top_p = of.top_p;
            base.min_p = of.min_p;
            constexpr int draws_per_call = 500;
            for (int call = 0; call < 12; ++call) {
                std::vector<trib_sampling> how(draws_per_call, base);
                for (int i = 0; i < draws_per_call; ++i) {
                    const int number = call * draws_per_call + i;
                    if (varied[0] == 's') how[i].seed = static_cast<uint64_t>(number) * 0x9e3779b97f4a7c15;
                    if (varied[0] == 'p') how[i].generated = number;
                    if (varied[0] == 'c') how[i].choice = number;
                }
                for (const int32_t token : draws(logits, how)) {
                    ASSERT_GE(token, 0);
                    ASSERT_LT(token, V);
                    ++counts[token];
                }
            }
            const std::vector<double> expected = filtered(logits, base).probability;
            EXPECT_TRUE(follows(counts, expected));
            // The test can tell: another temperature is refused.
            trib_sampling other = base;
            other.temperature *= 1.5f;
            if (of.top_k == 0 && of.top_p == 1 && of.min_p == 0) {
                EXPECT_FALSE(follows(counts, filtered(logits, other).probability));
            }
        }
    }
}

// Two tokens from one pass: the joint law is the product, whichever branches the tree happens to hold.
TEST_F(verify_tree, pairs_of_tokens_follow_the_joint_law) {
    const int V = 4;
    const std::vector<float> root = {0.3f, -0.2f, 0.9f, 0.1f};
    const std::vector<std::vector<float>> child = {{1, 0, 0, -1}, {0, 2, 0, 0}, {-1, 0, 0.5f, 0.5f}};
    const auto softmax = [](const std::vector<float>& logits) {
        return filtered(logits, sampling_of(0, 1)).probability;
    };
    std::vector<double> expected;
    for (int y = 0; y < V; ++y) {
        for (int z = 0; z < V; ++z) {
            expected.push_back(y < 3 ? softmax(root)[y] * softmax(child[y])[z] : z == 0 ? softmax(root)[y] : 0);
        }
    }
    std::vector<int> counts(expected.size(), 0);
    sequence_spec sequence;
    sequence.tree.add(-1, 0);
    for (int y = 2; y >= 0; --y) sequence.tree.add(0, y);
    const std::vector<std::vector<float>> logits = {root, child[2], child[1], child[0]};
    constexpr int draws_per_call = 400;
    const ragged_step step(random, std::vector<sequence_spec>(draws_per_call, sequence), 0);
    std::vector<int32_t> places;
    for (int row = 0; row < step.main_rows; ++row) places.push_back(row % 4);
    for (int call = 0; call < 20; ++call) {
        std::vector<trib_sampling> how;
        for (int i = 0; i < draws_per_call; ++i) how.push_back(sampling_of(77, 1, 2 * (call * draws_per_call + i)));
        const verified got = run(ctx, step, how, logits, places);
        for (int i = 0; i < draws_per_call; ++i) {
            const bool deep = got.nodes[i].size() == 2;
            const int first = deep ? sequence.tree.token[got.nodes[i][1]] : got.bonus[i];
            ++counts[first * V + (deep ? got.bonus[i] : 0)];
        }
    }
    EXPECT_TRUE(follows(counts, expected));
}

// A draw depends on seed, position and token only: the text is the same whether a pass verifies one token or a tree.
TEST_F(verify_tree, a_text_is_the_same_through_trees_and_step_by_step) {
    const int V = 30;
    // The "model": logits by the last two tokens.
    std::map<std::pair<int, int>, std::vector<float>> model;
    const auto logits_after = [&](const std::vector<int>& text) -> const std::vector<float>& {
        const std::pair<int, int> key = {text[text.size() - 2], text.back()};
        auto found = model.find(key);
        if (found == model.end()) found = model.emplace(key, to_float(random.normals(V, 2.5))).first;
        return found->second;
    };
    for (int round = 0; round < 12; ++round) {
        SCOPED_TRACE(testing::Message() << "round " << round);
        trib_sampling how = sampling_of(random.bits(), round % 4 == 0 ? 0.0f : 0.8f);
        how.choice = round;
        if (round % 3 == 0) how.top_p = 0.9f;
        if (round % 3 == 1) how.top_k = 10;
        std::vector<int> plain = {1, 2};
        sequence_spec decoding;
        decoding.length = 3;
        decoding.chunk = 1;
        const ragged_step single(random, {decoding}, 0);
        for (int i = 0; i < 60; ++i) {
            how.generated = i;
            plain.push_back(run(ctx, single, {how}, {logits_after(plain)}, {0}).bonus[0]);
        }
        std::vector<int> text = {1, 2};
        int passes = 0;
        while (text.size() < plain.size()) {
            sequence_spec sequence;
            sequence.length = 10;
            token_tree& tree = sequence.tree;
            tree.add(-1, text.back());
            // Candidates: mostly what plain decoding says next, among others.
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
            for (int node = 0; node < tree.size(); ++node) {
                std::vector<int> context_tokens(text.begin(), text.end() - 1);
                for (const int at : tree.path_to(node)) context_tokens.push_back(tree.token[at]);
                logits.push_back(logits_after(context_tokens));
            }
            how.generated = static_cast<int>(text.size()) - 2;
            const verified got = run(ctx, step, {how}, logits);
            ASSERT_FALSE(got.nodes[0].empty());
            for (size_t i = 1; i < got.nodes[0].size(); ++i) text.push_back(tree.token[got.nodes[0][i]]);
            text.push_back(got.bonus[0]);
            ++passes;
        }
        text.resize(plain.size());
        EXPECT_EQ(text, plain);
        EXPECT_LT(passes, 60);
    }
}

class verify_tree_filters : public verify_tree {
protected:
    // Every token that 400 seeds choose.
    std::set<int32_t> support(const std::vector<float>& logits, trib_sampling how) {
        std::vector<trib_sampling> all;
        for (uint64_t seed = 0; seed < 400; ++seed) {
            how.seed = seed * 0x9e3779b97f4a7c15;
            all.push_back(how);
        }
        const std::vector<int32_t> tokens = draws(logits, all);
        return {tokens.begin(), tokens.end()};
    }
    static std::vector<float> log_of(const std::vector<double>& probabilities) {
        std::vector<float> result;
        for (const double p : probabilities) result.push_back(static_cast<float>(std::log(p)));
        return result;
    }
};

TEST_F(verify_tree_filters, break_ties_by_the_lowest_id) {
    const std::vector<float> level(9, 0.25f);
    trib_sampling how = sampling_of(0, 1);
    how.top_k = 3;
    EXPECT_EQ(support(level, how), (std::set<int32_t>{0, 1, 2}));
    how.top_k = 0;
    how.top_p = 0.5f;  // ⌈0.5 · 9⌉ of equals
    EXPECT_EQ(support(level, how), (std::set<int32_t>{0, 1, 2, 3, 4}));
    how.top_p = 1e-9f;  // the first always stays
    EXPECT_EQ(support(level, how), (std::set<int32_t>{0}));
    const std::vector<float> later = {0, 1, 5, 5, 5, 2};
    how.top_p = 1;
    how.top_k = 2;
    EXPECT_EQ(support(later, how), (std::set<int32_t>{2, 3}));
}

TEST_F(verify_tree_filters, work_in_order_each_on_what_the_one_before_left) {
    const std::vector<float> logits = log_of({0.4, 0.3, 0.2, 0.1});
    trib_sampling how = sampling_of(0, 1);
    // Top-k first: of {0.4, 0.3} the first holds 0.571 of the mass, which is enough for 0.55; of all it holds 0.4.
    how.top_k = 2;
    how.top_p = 0.55f;
    EXPECT_EQ(support(logits, how), (std::set<int32_t>{0}));
    how.top_k = 0;
    EXPECT_EQ(support(logits, how), (std::set<int32_t>{0, 1}));
    // Top-p before min-p: 0.57 of the whole needs two; if min-p came first, of {0.4, 0.3} it would need one.
    how.top_p = 0.57f;
    how.min_p = 0.6f;
    EXPECT_EQ(support(logits, how), (std::set<int32_t>{0, 1}));
    how.top_p = 0.85f;
    how.min_p = 0.45f;
    EXPECT_EQ(support(logits, how), (std::set<int32_t>{0, 1, 2}));
    // Temperature before all: at ½ the masses are 0.533, 0.3, 0.133, 0.033.
    how = sampling_of(0, 0.5f);
    how.top_p = 0.52f;
    EXPECT_EQ(support(logits, how), (std::set<int32_t>{0}));
}

TEST_F(verify_tree_filters, never_let_a_token_of_zero_probability_through) {
    std::vector<float> logits(50, -INFINITY);
    logits[7] = 0;
    logits[31] = 0.5f;
    trib_sampling how = sampling_of(0, 1);
    EXPECT_EQ(support(logits, how), (std::set<int32_t>{7, 31}));
    how.top_k = 10;
    EXPECT_EQ(support(logits, how), (std::set<int32_t>{7, 31}));
    how.top_p = 0.999f;
    EXPECT_EQ(support(logits, how), (std::set<int32_t>{7, 31}));
    logits[7] = -INFINITY;
    EXPECT_EQ(support(logits, how), (std::set<int32_t>{31}));
    logits[12] = -1000;  // e⁻¹⁰⁰⁰ is zero in F32 and in any other type
    EXPECT_EQ(support(logits, sampling_of(0, 1)), (std::set<int32_t>{31}));
    logits[12] = 0.5f - 150 * 0.1f;  // at temperature 0.1: e⁻¹⁵⁰
    EXPECT_EQ(support(logits, sampling_of(0, 0.1f)), (std::set<int32_t>{31}));
}

TEST_F(verify_tree_filters, do_not_overflow_at_any_temperature) {
    std::vector<float> logits = to_float(random.normals(64, 3));
    for (float& logit : logits) logit += 20000;
    for (const float temperature : {0.01f, 0.05f, 1.0f, 100.0f}) {
        for (uint64_t seed = 1; seed < 20; ++seed) {
            trib_sampling how = sampling_of(seed, temperature);
            how.top_p = 0.95f;
            const filtered_distribution target = filtered(logits, how);
            const int32_t token = draws(logits, {how})[0];
            ASSERT_GE(token, 0);
            ASSERT_GT(target.probability[token], 0) << "temperature " << temperature;
        }
    }
}

// Draws of seed 0x5eed whose Philox word is all zeros or all ones, found by search among 128,256 tokens: there w would
// round to 0 or to 1 in F32, and log E would be infinite.
struct extreme_draw {
    int position;
    int token;
    uint32_t word;
};
constexpr extreme_draw extreme_draws[] = {
    {9875, 23748, 0}, {64074, 23942, 0}, {32437, 41090, 0xffffffff}, {83034, 22941, 0xffffffff}};
constexpr int extreme_vocabulary = 128256;

class verify_tree_extremes : public verify_tree {
protected:
    verify_tree_extremes() {
        for (const extreme_draw& of : extreme_draws) {
            EXPECT_EQ(draw_word(sampling_of(0x5eed, 1), of.position, of.token), of.word);
        }
    }
    int32_t draw(const std::vector<float>& logits, int position) {
        return draws(logits, {sampling_of(0x5eed, 1, position)})[0];
    }
};

TEST_F(verify_tree_extremes, a_word_of_zeros_gives_a_large_but_finite_advantage) {
    for (const extreme_draw& of : extreme_draws) {
        if (of.word != 0) continue;
        std::vector<float> logits(extreme_vocabulary, 0);
        // −log E = 22.87. Level with the others the token wins; 30 below, 128,255 others win, the best of them above 0.
        EXPECT_EQ(draw(logits, of.position), of.token);
        logits[of.token] = -30;
        const choice expected = chosen(logits, sampling_of(0x5eed, 1), of.position);
        ASSERT_FALSE(expected.ambiguous);
        ASSERT_NE(expected.token, of.token);
        EXPECT_EQ(draw(logits, of.position), expected.token);
        // Impossible stays impossible.
        logits[of.token] = -INFINITY;
        EXPECT_EQ(draw(logits, of.position), expected.token);
    }
}

TEST_F(verify_tree_extremes, a_word_of_ones_gives_a_small_but_finite_handicap) {
    for (const extreme_draw& of : extreme_draws) {
        if (of.word == 0) continue;
        // −log E = −3.13: a lead of 30 cannot be lost to anyone, whose best is 22.88.
        std::vector<float> logits(extreme_vocabulary, 0);
        logits[of.token] = 30;
        EXPECT_EQ(draw(logits, of.position), of.token);
        // The only token left is chosen whatever its draw.
        logits.assign(extreme_vocabulary, -INFINITY);
        logits[of.token] = 0;
        EXPECT_EQ(draw(logits, of.position), of.token);
    }
}

// 128,256 tokens of equal weight: the winner has the greatest word, whichever it is, and the F32 neighbours of 1 − w
// must not tie.
TEST_F(verify_tree_extremes, every_token_of_a_level_vocabulary_can_win) {
    const std::vector<float> logits(extreme_vocabulary, -3.5f);
    int decided = 0;
    for (int position = 0; position < 40; ++position) {
        const choice expected = chosen(logits, sampling_of(0x5eed, 1), position);
        if (expected.ambiguous) continue;
        ++decided;
        EXPECT_EQ(draw(logits, position), expected.token) << "position " << position;
    }
    EXPECT_GT(decided, 35);
}

}  // namespace
}  // namespace tributary::test
