// SPDX-License-Identifier: Apache-2.0
//
// Every operation of the GPU against the host's, on random ragged steps. With TRIBUTARY_TEST_BACKEND=host the host is
// held against itself, which tests the tests.
#include <gtest/gtest.h>

#include <numeric>

#include "support/device_host.hpp"
#include "support/sampling_reference.hpp"

namespace tributary::test {
namespace {

std::vector<int> every_row(int count) {
    std::vector<int> rows(count);
    std::iota(rows.begin(), rows.end(), 0);
    return rows;
}

// ------------------------------------------------------------------ attention

enum class visibility { as_it_is, mask_bit_flipped, page_moved, window_moved };

struct attention_scenario {
    attention_case shape;
    std::vector<sequence_spec> sequences;
    int gamma = 2;
    visibility mutation = visibility::as_it_is;

    results operator()(random_source& random, const context& ctx, bool is_host) const {
        const ragged_step step(random, sequences, gamma);
        attention_inputs in(step, shape);
        in.randomize(random);
        mutate(step);
        EXPECT_TRUE(in.run(ctx));
        const std::vector<int> rows = step.indices(shape.rows);
        EXPECT_TRUE(in.y.only_written(rows));
        results result;
        measured& y = result.reals["y"];
        y.values = rows_of(in.y, rows);
        if (is_host && !rows.empty()) {
            // The plain implementation's error, from a few of the rows: no more than that of all.
            std::vector<int> some;
            for (size_t i = 0; i < rows.size(); i += 1 + rows.size() / 6) some.push_back(rows[i]);
            if (some.back() != rows.back()) some.push_back(rows.back());
            const attention_results of = reference_attention(in, some);
            double plain_error = 0;
            double magnitude = 0;
            for (size_t i = 0; i < of.exact.size(); ++i) {
                plain_error = std::max(plain_error, std::fabs(of.plain[i] - of.exact[i]));
                magnitude = std::max(magnitude, std::fabs(of.exact[i]));
            }
            y.absolute = 2 * plain_error + ulp(TRIB_DTYPE_F32, magnitude);
            EXPECT_TRUE(obeys_the_rule(rows_of(in.y, some), of.exact, of.plain)) << "the host itself";
        }
        return result;
    }

    void mutate(const ragged_step& step) const {
        if (mutation == visibility::mask_bit_flipped) {
            std::vector<uint64_t> words = step.masks->values();
            const int per_node = (step.sequences[0].tree.size() + 63) / 64;
            const int node = step.sequences[0].tree.size() - 1;
            words[step.mask_begin->values()[0] + node * per_node] ^= 1;  // the last node no longer sees the root
            step.masks->set(words);
        } else if (mutation == visibility::page_moved) {
            std::vector<int32_t> table = step.device_page_table->values();
            std::swap(table[0], table[1]);
            step.device_page_table->set(table);
        } else if (mutation == visibility::window_moved) {
            std::vector<int32_t> first = step.row_first_visible->values();
            first[step.main_rows - 1] += 3;
            step.row_first_visible->set(first);
        }
    }
};

sequence_spec tree_of(random_source& random, int length, int nodes, int anchors, double surviving = 1) {
    sequence_spec result;
    result.length = length;
    result.tree = random_tree(random, nodes);
    result.surviving.assign(nodes, true);
    int rows = 1;
    for (int node = 1; node < nodes; ++node) {
        result.surviving[node] = result.surviving[result.tree.parent[node]] && random.chance(surviving);
        rows += result.surviving[node];
    }
    for (int i = 0; i < anchors && i < rows; ++i) result.anchors.push_back(i * (rows - 1) / std::max(anchors - 1, 1));
    if (rows == 1 && anchors > 0) result.anchors = {0};
    return result;
}

class device_host_attention : public device_host {
protected:
    random_source shapes{base_seed()};
};

TEST_F(device_host_attention, agrees_for_every_head_size_and_grouping_in_mixed_batches) {
    const std::vector<int> trees = {1, 63, 64, 65, 128};
    const std::vector<int> lengths = {0, 17, 64, 130, 257, 511, 700, 1023, 1100};
    int round = 0;
    for (const int head_dim : {64, 80, 96, 128, 256}) {
        for (const int group : {1, 2, 4, 8, 16}) {
            attention_scenario of;
            of.shape.head_dim = head_dim;
            of.shape.kv_heads = group == 16 ? 1 : group == 1 ? 4 : 2;  // 16: all query heads on one KV head
            of.shape.q_heads = group * of.shape.kv_heads;
            of.shape.dtype = round % 2 == 0 ? TRIB_DTYPE_BF16 : TRIB_DTYPE_F16;
            of.shape.layers = 1;
            of.shape.layer = 0;
            of.shape.key_scale = 1.5;
            of.gamma = 1 + round % TRIB_MAX_GAMMA;
            const int nodes = trees[(round + head_dim) % trees.size()];
            of.sequences = {tree_of(shapes, lengths[round % lengths.size()], nodes, 4, round % 3 == 0 ? 0.85 : 1)};
            batch_shape others;
            others.sequences = 2;
            others.gamma = of.gamma;
            others.nodes = 1 + round % 40;
            others.max_chunk = 70;
            others.max_length = 300;
            for (sequence_spec& other : random_sequences(shapes, others)) of.sequences.push_back(std::move(other));
            SCOPED_TRACE(testing::Message() << "d " << head_dim << " heads " << of.shape.q_heads << "/"
                                            << of.shape.kv_heads << " " << dtype_name(of.shape.dtype) << " T " << nodes
                                            << " L " << of.sequences[0].length << " gamma " << of.gamma);
            expect_agreement(of);
            if (HasFatalFailure()) return;
            ++round;
        }
    }
}

// The borders of the reduction order: tiles of 64 and of 128, chunks of 128 below 1,024, four an octave after that.
TEST_F(device_host_attention, agrees_at_the_borders_of_tiles_and_chunks) {
    int round = 0;
    for (const int length : {0,   1,   15,  16,  17,  63,  64,   65,   79,   80,   81,   127,  128,  129,
                             143, 144, 145, 255, 256, 900, 1008, 1023, 1024, 1025, 1040, 1279, 1296, 2064}) {
        attention_scenario of;
        of.shape.head_dim = round % 2 == 0 ? 128 : 64;
        of.shape.layers = 1;
        of.shape.layer = 0;
        of.shape.key_scale = 1.5;
        of.shape.dtype = round % 4 < 2 ? TRIB_DTYPE_BF16 : TRIB_DTYPE_F16;
        of.sequences = {tree_of(shapes, length, std::vector<int>{1, 16, 65}[round % 3], 2)};
        sequence_spec decoding;
        decoding.length = length;
        decoding.chunk = 1;
        of.sequences.push_back(decoding);
        if (round % 3 == 0) of.sequences[0].window = length / 2 + 1;
        SCOPED_TRACE(testing::Message() << "L " << length << " d " << of.shape.head_dim);
        expect_agreement(of);
        if (HasFatalFailure()) return;
        ++round;
    }
}

TEST_F(device_host_attention, agrees_on_chunks_of_prefill) {
    for (const int length : {0, 100, 256, 1000}) {
        for (const int chunk : {1, 64, 200, 256}) {
            attention_scenario of;
            of.shape.head_dim = 128;
            of.shape.layers = 1;
            of.shape.layer = 0;
            sequence_spec causal;
            causal.length = length;
            causal.chunk = chunk;
            causal.anchors = {chunk - 1};
            of.sequences = {causal};
            SCOPED_TRACE(testing::Message() << "L " << length << " chunk " << chunk);
            expect_agreement(of);
            if (HasFatalFailure()) return;
        }
    }
}

// Few and many query rows to a KV head, with and without a window: a GPU shares the keys out differently in each case.
TEST_F(device_host_attention, agrees_over_long_contexts) {
    for (const int length : {20000, 70000}) {
        for (const int nodes : {1, 40}) {
            for (const int window : {0, 5000}) {
                attention_scenario of;
                of.shape.head_dim = nodes == 1 ? 128 : 64;
                of.shape.kv_heads = 1;
                of.shape.q_heads = 4;
                of.shape.layers = 1;
                of.shape.layer = 0;
                of.shape.dtype = window == 0 ? TRIB_DTYPE_BF16 : TRIB_DTYPE_F16;
                of.sequences = {tree_of(shapes, length, nodes, 1)};
                of.sequences[0].window = window;
                SCOPED_TRACE(testing::Message() << "L " << length << " T " << nodes << " window " << window);
                expect_agreement(of);
                if (HasFatalFailure()) return;
            }
        }
    }
}

TEST_F(device_host_attention, agrees_with_many_heads) {
    for (const int length : {300, 500, 900, 2600}) {
        for (const int nodes : {1, 20, 64}) {
            attention_scenario of;
            of.shape.head_dim = 64;
            of.shape.kv_heads = 16;
            of.shape.q_heads = nodes == 20 ? 48 : 16;
            of.shape.layers = 1;
            of.shape.layer = 0;
            of.sequences = {tree_of(shapes, length, nodes, 2)};
            SCOPED_TRACE(testing::Message() << "L " << length << " T " << nodes);
            expect_agreement(of);
            if (HasFatalFailure()) return;
        }
    }
}

TEST_F(device_host_attention, discovers_a_flipped_mask_bit_a_moved_window_and_a_moved_page) {
    attention_scenario of;
    of.shape.head_dim = 64;
    of.shape.key_scale = 2;
    sequence_spec sequence;
    sequence.length = 100;
    sequence.tree = chain(7);
    sequence.window = 12;  // few keys, so that each of them weighs
    of.sequences = {sequence};
    for (const visibility mutation : {visibility::mask_bit_flipped, visibility::window_moved}) {
        attention_scenario mutated = of;
        mutated.mutation = mutation;
        expect_discovery(of, mutated);
    }
    of.sequences[0].window = 0;
    attention_scenario mutated = of;
    mutated.mutation = visibility::page_moved;
    expect_discovery(of, mutated);
}

// ------------------------------------------------------------------ verification and acceptance

struct verify_scenario {
    int vocabulary = 100;
    int sequences = 4;
    int nodes = 16;
    bool greedy = false;
    bool adjusted = false;       // penalties, biases, allowed tokens, typical acceptance, by sequence
    bool token_changed = false;  // on the device only: one token of an accepted path
    bool count_changed = false;  // on the device only: the counts that penalties are made of

    results operator()(random_source& random, const context& ctx, bool is_host) const {
        batch_shape batch;
        batch.sequences = sequences;
        batch.nodes = nodes;
        std::vector<sequence_spec> specs = random_sequences(random, batch);
        std::vector<trib_sampling> how;
        std::vector<text_state> texts;
        for (sequence_spec& spec : specs) {
            if (spec.tree.size() > 0) spec.tree = random_tree(random, spec.tree.size(), vocabulary);
            trib_sampling of{};
            of.seed = random.bits();
            of.temperature = greedy ? 0 : static_cast<float>(0.4 + random.real());
            of.top_p = random.chance(0.5) ? 1 : static_cast<float>(0.1 + 0.85 * random.real());
            of.top_k = random.chance(0.5) ? 0 : random.integer(1, vocabulary);
            of.min_p = random.chance(0.5) ? 0 : static_cast<float>(0.3 * random.real());
            of.generated = random.integer(0, 5000);
            of.choice = random.integer(0, 3);
            of.active = spec.tree.size() > 0 || spec.chunk > 0;
            texts.push_back(adjusted ? random_text(random, spec, of) : text_state{});
            how.push_back(of);
        }
        const ragged_step step(random, specs, batch.gamma);
        std::vector<float> table = to_float(random.normals(8192, 1.5));
        std::vector<std::vector<float>> logits(step.R);
        for (std::vector<float>& row : logits) {
            row.resize(vocabulary);
            for (float& value : row) value = table[random.bits() % table.size()];
        }
        // Mostly, a node's favourite is one of its children.
        for (int row = 0; row < step.main_rows; ++row) {
            const token_tree& tree = step.sequences[step.rows[row].sequence].tree;
            for (int node = 0; node < tree.size(); ++node) {
                if (tree.parent[node] == step.rows[row].node && random.chance(0.7)) {
                    logits[row][tree.token[node]] += 12;
                }
            }
        }
        if (token_changed) {
            std::vector<int32_t> tokens = step.tree_token->values();
            for (size_t i = 1; i < tokens.size(); ++i) tokens[i] = (tokens[i] + 1) % vocabulary;
            step.tree_token->set(tokens);
        }
        row_tensor device_logits(step.R, 0, vocabulary);
        std::vector<int32_t> best(step.R, index_poison);
        std::vector<float> sums(step.R, 0);
        for (int row = 0; row < step.main_rows; ++row) {
            device_logits.set_row(row, logits[row].data());
            best[row] =
                static_cast<int32_t>(std::max_element(logits[row].begin(), logits[row].end()) - logits[row].begin());
        }
        for (int row = 0; row < step.main_rows; ++row) sums[row] = log_sum_exp(logits[row]);
        device_logits.freeze();
        std::vector<trib_sampling> all = how;
        std::vector<std::unique_ptr<device_array<trib_token_adjustment>>> entries;
        std::vector<std::unique_ptr<device_array<uint32_t>>> masks;
        for (size_t s = 0; s < texts.size(); ++s) {
            std::vector<trib_token_adjustment> listed = texts[s].entries;
            for (trib_token_adjustment& entry : listed) entry.generated_count += count_changed ? 3 : 0;
            if (!listed.empty()) {
                entries.push_back(std::make_unique<device_array<trib_token_adjustment>>(listed));
                all[s].adjustment = entries.back()->address();
                all[s].adjustments = static_cast<int32_t>(listed.size());
            }
            if (!texts[s].allowed.empty()) {
                masks.push_back(std::make_unique<device_array<uint32_t>>(texts[s].allowed));
                all[s].allowed = masks.back()->address();
            }
        }
        trib_sampling unused;
        std::memset(&unused, nan_poison, sizeof unused);
        all.resize(step.S, unused);
        const device_array<trib_sampling> sampling(all);
        const device_array<int32_t> argmax(best);
        device_array<int32_t> count(static_cast<size_t>(step.S));
        device_array<int32_t> node(static_cast<size_t>(step.S) * TRIB_MAX_PATH);
        device_array<int32_t> row(static_cast<size_t>(step.S) * TRIB_MAX_PATH);
        device_array<int32_t> bonus(static_cast<size_t>(step.S));
        const device_array<float> log_sums(sums);
        device_array<float> told(static_cast<size_t>(step.S) * TRIB_MAX_PATH);
        trib_verify_tree_params params{};
        params.struct_size = sizeof params;
        params.max_adjusted_rows = adjusted ? static_cast<uint32_t>(step.R) : 0;
        params.log_sum_exp = log_sums.address();
        params.log_probability = told.address();
        params.step = step.header();
        params.sampling = sampling.address();
        params.argmax = argmax.address();
        params.logits = device_logits.tensor();
        params.accepted_count = count.address();
        params.accepted_node = node.address();
        params.accepted_row = row.address();
        params.bonus = bonus.address();
        const workspace space(ctx, TRIB_OP_VERIFY_TREE, params);
        EXPECT_TRUE(calls(trib_verify_tree, ctx, params));

        results result;
        for (int s = 0; s < sequences; ++s) {
            const std::string name = "sequence " + std::to_string(s);
            const int length = std::clamp(count.values()[s], 0, TRIB_MAX_PATH);
            std::vector<int32_t> path = {count.values()[s], bonus.values()[s]};
            const auto at = static_cast<int64_t>(s) * TRIB_MAX_PATH;
            const std::vector<int32_t> nodes_of = node.values();
            const std::vector<int32_t> rows_now = row.values();
            const std::vector<float> told_now = told.values();
            for (int i = 0; i < std::max(1, length); ++i)
                path.push_back(static_cast<int32_t>(bits_of(told_now[at + i])));
            for (int i = 0; i < length; ++i) {
                path.push_back(nodes_of[at + i]);
                path.push_back(rows_now[at + i]);
                if (is_host && is_close_call(step, s, rows_now[at + i], nodes_of[at + i], how[s], texts[s],
                                             logits[rows_now[at + i]])) {
                    result.undecided.insert(name);
                }
            }
            if (is_host && how[s].active != 0 && length == 0) {
                const int last = step.sequence_rows[s + 1] - 1;
                if (is_close_call(step, s, last, 0, how[s], texts[s], logits[last])) result.undecided.insert(name);
            }
            result.add(name, path);
        }
        return result;
    }

    text_state random_text(random_source& random, const sequence_spec& spec, trib_sampling& of) const {
        const auto tokens = [&](int count) {
            std::vector<int32_t> result;
            for (int i = 0; i < count; ++i) result.push_back(random.integer(0, vocabulary - 1));
            return result;
        };
        of.repetition_penalty = random.chance(0.6) ? static_cast<float>(0.6 + 1.4 * random.real()) : 1.0f;
        of.presence_penalty = random.chance(0.6) ? static_cast<float>(2 * random.real() - 1) : 0.0f;
        of.frequency_penalty = random.chance(0.6) ? static_cast<float>(random.real()) : 0.0f;
        if (random.chance(0.3)) {
            of.typical_epsilon = static_cast<float>(0.05 + 0.3 * random.real());
            of.typical_delta = static_cast<float>(0.2 + 0.5 * random.real());
        }
        std::map<int32_t, float> bias;
        for (int i = random.integer(0, 6); i > 0; --i) {
            bias[random.integer(0, vocabulary - 1)] = static_cast<float>(8 * random.real() - 4);
        }
        text_state text;
        if (random.chance(0.85)) {
            text =
                text_state::of(tokens(random.integer(0, 2000)), tokens(random.integer(0, 500)), spec.tree.token, bias);
            random.shuffle(text.entries);
        }
        if (random.chance(0.4)) {
            const int words = (vocabulary + 31) / 32;
            text.allowed.resize(static_cast<size_t>(std::max(1, spec.tree.size())) * words);
            for (uint32_t& word : text.allowed) word = static_cast<uint32_t>(random.bits() | random.bits());
        }
        return text;
    }

    // Whether F32 may honestly decide otherwise at a row.
    static bool is_close_call(const ragged_step& step, int s, int row, int node, const trib_sampling& how,
                              const text_state& text, const std::vector<float>& raw) {
        const token_tree& tree = step.sequences[s].tree;
        std::vector<int32_t> path;
        if (tree.size() > 0) {
            for (const int at : tree.path_to(node)) path.push_back(tree.token[at]);
        }
        const std::vector<float> logits = text.adjusted(raw, how, path, node);
        const int depth = tree.size() > 0 ? tree.depth[node] : 0;
        if (chosen(logits, how, how.generated + depth).ambiguous) return true;
        if (how.temperature == 0 || how.typical_epsilon == 0) return false;
        std::vector<int32_t> children;
        for (int child = 0; child < tree.size(); ++child) {
            if (tree.parent[child] == node && step.row_of(s, child) > row) children.push_back(tree.token[child]);
        }
        return typically_accepted(logits, how, children).ambiguous;
    }

    static uint32_t bits_of(float value) {
        uint32_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        return bits;
    }
};

class device_host_acceptance : public device_host {};

TEST_F(device_host_acceptance, verifies_the_same_paths_and_draws_the_same_tokens) {
    int round = 0;
    for (const int nodes : {1, 2, 16, 63, 64, 65, 128}) {
        for (const int vocabulary : {40, 1000, 32000}) {
            if (vocabulary == 32000 && nodes > 64) continue;
            verify_scenario of;
            of.nodes = nodes;
            of.vocabulary = vocabulary;
            of.greedy = round % 4 == 0;
            SCOPED_TRACE(testing::Message() << "T " << nodes << " V " << vocabulary);
            expect_agreement(of);
            if (HasFatalFailure()) return;
            ++round;
        }
    }
    verify_scenario large;
    large.vocabulary = 128256;
    large.sequences = 3;
    large.nodes = 4;
    expect_agreement(large);
    EXPECT_LE(undecided_, words_ / 20) << "of " << words_ << " sequences";
}

TEST_F(device_host_acceptance, adjusts_logits_alike) {
    int round = 0;
    for (const int nodes : {1, 2, 16, 63, 65, 128}) {
        for (const int vocabulary : {41, 1000, 32000}) {
            if (vocabulary == 32000 && nodes > 64) continue;
            verify_scenario of;
            of.nodes = nodes;
            of.vocabulary = vocabulary;
            of.adjusted = true;
            of.greedy = round % 3 == 0;
            SCOPED_TRACE(testing::Message() << "T " << nodes << " V " << vocabulary);
            expect_agreement(of);
            if (HasFatalFailure()) return;
            ++round;
        }
    }
    verify_scenario large;
    large.vocabulary = 128256;
    large.sequences = 3;
    large.nodes = 4;
    large.adjusted = true;
    expect_agreement(large);
    EXPECT_LE(undecided_, words_ / 15) << "of " << words_ << " sequences";
}

TEST_F(device_host_acceptance, discovers_changed_counts) {
    verify_scenario of;
    of.greedy = true;
    of.adjusted = true;
    of.nodes = 64;
    of.sequences = 8;
    verify_scenario mutated = of;
    mutated.count_changed = true;
    expect_discovery(of, mutated);
}

TEST_F(device_host_acceptance, discovers_changed_tokens) {
    verify_scenario of;
    of.greedy = true;
    verify_scenario mutated = of;
    mutated.token_changed = true;
    expect_discovery(of, mutated);
}

struct commit_scenario {
    attention_case shape;
    int length = 60;
    int nodes = 20;
    bool page_moved = false;  // on the device only

    results operator()(random_source& random, const context& ctx, bool) const {
        std::vector<sequence_spec> specs;
        for (int s = 0; s < 3; ++s) {
            specs.push_back(tree_of(random, length + 7 * s, nodes, 0));
        }
        sequence_spec causal;
        causal.length = length;
        causal.chunk = 3;
        specs.push_back(causal);
        const ragged_step step(random, specs, 0);
        kv_cache cache(shape.dtype, shape.layers, step.pages, shape.kv_heads, shape.head_dim);
        for (uint16_t& value : cache.mirror) value = static_cast<uint16_t>(random.bits());
        cache.upload();
        std::vector<int32_t> counts(step.S, index_poison);
        std::vector<int32_t> paths(static_cast<size_t>(step.S) * TRIB_MAX_PATH, index_poison);
        for (int s = 0; s < 4; ++s) {
            const std::vector<int> path =
                s == 3 ? std::vector<int>{} : specs[s].tree.path_to(random.integer(nodes / 2, nodes - 1));
            counts[s] = static_cast<int32_t>(path.size());
            std::copy(path.begin(), path.end(), paths.begin() + s * TRIB_MAX_PATH);
        }
        if (page_moved) {
            std::vector<int32_t> table = step.device_page_table->values();
            std::swap(table[0], table[1]);
            step.device_page_table->set(table);
        }
        const device_array<int32_t> accepted_count(counts);
        const device_array<int32_t> accepted_node(paths);
        trib_commit_path_params params{};
        params.struct_size = sizeof params;
        params.step = step.header();
        params.cache = cache.header();
        params.accepted_count = accepted_count.address();
        params.accepted_node = accepted_node.address();
        const workspace space(ctx, TRIB_OP_COMMIT_PATH, params);
        EXPECT_TRUE(calls(trib_commit_path, ctx, params));
        results result;
        result.add("cache", cache.contents());
        return result;
    }
};

TEST_F(device_host_acceptance, commits_the_same_slots_across_page_borders) {
    int round = 0;
    for (const int length : {0, 1, 40, 50, 60, 62, 63, 64, 65, 100, 120, 127, 128}) {
        for (const int nodes : {1, 17, 64, 65, 128}) {
            commit_scenario of;
            of.length = length;
            of.nodes = nodes;
            of.shape.head_dim = std::vector<int>{64, 80, 96, 128, 256, 8}[round % 6];
            of.shape.kv_heads = 1 + round % 3;
            of.shape.layers = 1 + round % 3;
            SCOPED_TRACE(testing::Message() << "L " << length << " T " << nodes << " d " << of.shape.head_dim);
            expect_agreement(of);
            if (HasFailure()) return;
            ++round;
        }
    }
}

TEST_F(device_host_acceptance, discovers_a_moved_page) {
    commit_scenario of;
    commit_scenario mutated = of;
    mutated.page_moved = true;
    expect_discovery(of, mutated);
}

// ------------------------------------------------------------------ products

struct linear_scenario {
    uint32_t dtype = TRIB_DTYPE_BF16;
    uint32_t epilogue = TRIB_EPILOGUE_NONE;
    uint32_t rows = TRIB_ROWS_ALL;
    int main_rows = 16;
    int anchors = 2;
    int gamma = 4;
    int K = 256;
    std::vector<int> part_columns = {192};
    bool bias = false;
    bool sixteen_bit_operand = false;
    int rank = 0;                 // of adapter 0, on the stream rows
    bool weight_changed = false;  // one element, on the device only

    results operator()(random_source& random, const context& ctx, bool) const {
        sequence_spec sequence;
        sequence.chunk = main_rows;
        for (int i = 0; i < anchors; ++i) sequence.anchors.push_back(i % main_rows);
        const ragged_step step(random, {sequence}, gamma);
        const int all_rows = step.R + step.Q;
        const int N = std::accumulate(part_columns.begin(), part_columns.end(), 0);
        const bool gate = epilogue == TRIB_EPILOGUE_SILU_GATE;
        const int outputs = gate ? N / 2 : N;
        quick_values weights(random, dtype, 1 / std::sqrt(K));
        std::vector<uint16_t> values = weights(static_cast<size_t>(N) * K);
        if (weight_changed) values[values.size() / 2] ^= 0x0200;
        const packed_weight packed(ctx, dtype, gate ? TRIB_LAYOUT_PACKED_GATE : TRIB_LAYOUT_PACKED, N, K, values,
                                   {part_columns.begin(), part_columns.end()});
        quick_values operands(random, dtype, 1);
        std::vector<uint16_t> x16(static_cast<size_t>(all_rows) * K, 0xffff);
        for (const int row : step.indices(TRIB_ROWS_ALL)) {
            const std::vector<uint16_t> of_row = operands(K);
            std::copy(of_row.begin(), of_row.end(), x16.begin() + static_cast<int64_t>(row) * K);
        }
        const device_array<uint16_t> x_half(x16);
        const std::vector<float> x_values = to_float(decoded(dtype, x16));
        const device_array<float> x_float(x_values);
        row_tensor y(all_rows, 0, outputs);
        const std::vector<int> written = step.indices(rows);
        std::vector<float> residual = to_float(random.normals(outputs, 2));
        if (epilogue == TRIB_EPILOGUE_RESIDUAL) {
            for (const int row : written) y.set_row(row, residual.data());
        }
        const device_array<float> bias_values(to_float(random.normals(N)));

        trib_linear_params params{};
        params.struct_size = sizeof params;
        params.rows = rows;
        params.step = step.header();
        params.x = sixteen_bit_operand ? tensor_at(x_half.address(), dtype, 1, all_rows, K)
                                       : tensor_at(x_float.address(), TRIB_DTYPE_F32, 1, all_rows, K);
        params.weight = packed.tensor();
        if (bias) params.bias = tensor_at(bias_values.address(), TRIB_DTYPE_F32, 1, 1, N);
        params.y = y.tensor();
        params.epilogue = epilogue;
        params.parts = static_cast<uint32_t>(part_columns.size());
        std::copy(part_columns.begin(), part_columns.end(), params.part_columns);

        std::vector<std::unique_ptr<packed_weight>> adapters;
        std::vector<trib_lora> table;
        for (size_t part = 0; part < part_columns.size() && rank > 0; ++part) {
            quick_values b(random, dtype, 1 / std::sqrt(rank));
            adapters.push_back(std::make_unique<packed_weight>(ctx, dtype, TRIB_LAYOUT_PACKED, rank, K,
                                                               weights(static_cast<size_t>(rank) * K)));
            trib_lora entry{};
            entry.a = adapters.back()->address();
            adapters.push_back(std::make_unique<packed_weight>(ctx, dtype, TRIB_LAYOUT_PACKED, part_columns[part], rank,
                                                               b(static_cast<size_t>(part_columns[part]) * rank)));
            entry.b = adapters.back()->address();
            entry.rank = static_cast<uint32_t>(rank);
            entry.scale = 2;
            entry.dtype = dtype;
            table.push_back(entry);
        }
        const device_array<trib_lora> lora(table);
        const device_array<int32_t> segments(std::vector<int32_t>{step.R, step.R + step.stream_rows, 0});
        const device_array<int32_t> segment_count(std::vector<int32_t>{1});
        if (rank > 0) {
            params.adapters = 1;
            params.max_rank = static_cast<uint32_t>(rank);
            params.max_segments = 1;
            params.lora_table = lora.address();
            params.segments = segments.address();
            params.segment_count = segment_count.address();
        }
        const workspace space(ctx, TRIB_OP_LINEAR, params);
        EXPECT_TRUE(calls(trib_linear, ctx, params));
        EXPECT_TRUE(y.only_written(written));
        results result;
        measured& out = result.reals["y"];
        out.values = rows_of(y, written);
        if (rank > 0 || gate) {
            out.absolute = rounding_allowance(dtype, out.values);
        } else {
            // Both round the operands alike, so only the order of K additions differs: ‖x‖‖w‖ bounds Σ|x·w|.
            double row = 0;
            double column = 0;
            for (const double value : decoded(dtype, operands(4096))) row += value * value;
            for (const double value : decoded(dtype, weights(4096))) column += value * value;
            const double product = 1.5 * std::sqrt(row / 4096 * column / 4096) * K + 4;
            out.absolute = 2 * (K + 8) * 0x1p-24 * product;
        }
        return result;
    }
};

class device_host_products : public device_host {};

TEST_F(device_host_products, linears_agree_at_every_count_of_rows) {
    int round = 0;
    for (const int rows : {1, 2, 8, 15, 16, 17, 32, 63, 64, 65, 96, 128, 129, 160, 200, 256, 300}) {
        for (const uint32_t epilogue : {TRIB_EPILOGUE_NONE, TRIB_EPILOGUE_RESIDUAL, TRIB_EPILOGUE_SILU_GATE}) {
            linear_scenario of;
            of.main_rows = rows;
            of.epilogue = epilogue;
            of.dtype = round % 2 == 0 ? TRIB_DTYPE_BF16 : TRIB_DTYPE_F16;
            of.K = std::vector<int>{64, 256, 1024, 200, 520, 2048, 40}[round % 7];
            of.part_columns =
                epilogue == TRIB_EPILOGUE_SILU_GATE ? std::vector<int>{176, 176} : std::vector<int>{128, 64, 64, 20};
            of.bias = round % 3 == 0;
            of.sixteen_bit_operand = round % 4 < 2;
            of.rank = std::vector<int>{0, 16, 0, 8, 33}[round % 5];
            of.gamma = 1 + round % TRIB_MAX_GAMMA;
            SCOPED_TRACE(testing::Message() << rows << " rows, epilogue " << epilogue << ", K " << of.K << ", rank "
                                            << of.rank << ", " << dtype_name(of.dtype));
            expect_agreement(of);
            if (HasFailure()) return;
            ++round;
        }
    }
}

// The shapes of real models, where tiles, stages and splits are those that are measured.
TEST_F(device_host_products, linears_agree_at_the_shapes_of_models) {
    int round = 0;
    for (const auto& [N, K] : std::vector<std::pair<int, int>>{{4096, 1024}, {1024, 4096}, {6144, 512}, {2048, 2752}}) {
        for (const int rows : {1, 16, 64, 160}) {
            linear_scenario of;
            of.main_rows = rows;
            of.K = K;
            of.part_columns = {N};
            of.sixteen_bit_operand = true;
            of.dtype = round % 2 == 0 ? TRIB_DTYPE_BF16 : TRIB_DTYPE_F16;
            of.rank = round % 3 == 0 ? 16 : 0;
            of.epilogue = round % 2 == 0 ? TRIB_EPILOGUE_NONE : TRIB_EPILOGUE_RESIDUAL;
            SCOPED_TRACE(testing::Message() << rows << " rows, " << N << " x " << K);
            expect_agreement(of);
            if (HasFailure()) return;
            ++round;
        }
    }
}

TEST_F(device_host_products, discover_one_changed_weight) {
    linear_scenario of;
    linear_scenario mutated = of;
    mutated.weight_changed = true;
    expect_discovery(of, mutated);
}

struct head_scenario {
    uint32_t dtype = TRIB_DTYPE_BF16;
    int vocabulary = 1000;
    int hidden = 256;
    int main_rows = 20;
    int k = 8;
    bool with_logits = true;
    bool sixteen_bit_operand = false;

    results operator()(random_source& random, const context& ctx, bool) const {
        sequence_spec sequence;
        sequence.chunk = main_rows;
        sequence.anchors = {0, main_rows - 1};
        const ragged_step step(random, {sequence}, 3);
        const int all_rows = step.R + step.Q;
        quick_values weights(random, dtype, 3 / std::sqrt(hidden));
        const packed_weight packed(ctx, dtype, TRIB_LAYOUT_PACKED, vocabulary, hidden,
                                   weights(static_cast<size_t>(vocabulary) * hidden));
        quick_values operands(random, dtype, 1);
        const std::vector<uint16_t> x16 = operands(static_cast<size_t>(all_rows) * hidden);
        const device_array<uint16_t> x_half(x16);
        const device_array<float> x_float(to_float(decoded(dtype, x16)));
        device_array<int32_t> argmax(static_cast<size_t>(all_rows));
        device_array<float> max_logit(static_cast<size_t>(all_rows));
        device_array<float> log_sum_exp(static_cast<size_t>(all_rows));
        device_array<int32_t> top_ids(static_cast<size_t>(all_rows) * k);
        device_array<float> top_logits(static_cast<size_t>(all_rows) * k);
        row_tensor logits(all_rows, 0, vocabulary);
        trib_lm_head_params params{};
        params.struct_size = sizeof params;
        params.rows = TRIB_ROWS_ALL;
        params.step = step.header();
        params.x = sixteen_bit_operand ? tensor_at(x_half.address(), dtype, 1, all_rows, hidden)
                                       : tensor_at(x_float.address(), TRIB_DTYPE_F32, 1, all_rows, hidden);
        params.weight = packed.tensor();
        params.max_rows = static_cast<uint32_t>(all_rows);
        params.k = static_cast<uint32_t>(k);
        params.argmax = argmax.address();
        params.max_logit = max_logit.address();
        params.log_sum_exp = log_sum_exp.address();
        params.top_ids = top_ids.address();
        params.top_logits = top_logits.address();
        if (with_logits) params.logits = logits.tensor();
        const workspace space(ctx, TRIB_OP_LM_HEAD, params);
        EXPECT_TRUE(calls(trib_lm_head, ctx, params));

        const std::vector<int> rows = step.indices(TRIB_ROWS_ALL);
        const auto picked = [&](const std::vector<float>& values, int width) {
            std::vector<float> result;
            for (const int row : rows) {
                result.insert(result.end(), values.begin() + row * width, values.begin() + (row + 1) * width);
            }
            return result;
        };
        // The order of the additions; ‖x‖‖w‖ ≤ 1.5 · √hidden · 3.
        const double absolute = 2 * (hidden + 8) * 0x1p-24 * 4.5 * std::sqrt(hidden) + vocabulary * 0x1p-24;
        results result;
        result.reals["max_logit"] = {picked(max_logit.values(), 1), absolute, 0};
        result.reals["log_sum_exp"] = {picked(log_sum_exp.values(), 1), absolute, 0x1p-22};
        result.reals["top_logits"] = {picked(top_logits.values(), k), absolute, 0};
        if (with_logits) result.reals["logits"] = {rows_of(logits, rows), absolute, 0};
        // Ids where no neighbour in rank is near enough to change places.
        const std::vector<int32_t> ids = top_ids.values();
        const std::vector<float> ranked = top_logits.values();
        for (const int row : rows) {
            EXPECT_EQ(argmax.values()[row], ids[row * k]);
            for (int i = 0; i + 1 < k; ++i) {
                const int at = row * k + i;
                const std::string name = "id " + std::to_string(at);
                result.add(name, std::vector<int32_t>{ids[at]});
                if (ranked[at] - ranked[at + 1] <= 4 * absolute ||
                    (i > 0 && ranked[at - 1] - ranked[at] <= 4 * absolute)) {
                    result.undecided.insert(name);
                }
            }
        }
        return result;
    }
};

TEST_F(device_host_products, heads_agree) {
    int round = 0;
    for (const int vocabulary : {100, 1000, 5003, 32000}) {
        for (const int rows : {1, 63, 64, 65, 128}) {
            if (vocabulary == 32000 && rows > 1) continue;
            head_scenario of;
            of.vocabulary = vocabulary;
            of.main_rows = rows;
            of.hidden = std::vector<int>{64, 256, 200, 512}[round % 4];
            of.k = std::vector<int>{2, 8, 64}[round % 3];
            of.dtype = round % 2 == 0 ? TRIB_DTYPE_BF16 : TRIB_DTYPE_F16;
            of.with_logits = round % 3 != 1;
            of.sixteen_bit_operand = round % 4 < 2;
            SCOPED_TRACE(testing::Message() << "V " << vocabulary << " rows " << rows << " k " << of.k);
            expect_agreement(of);
            if (HasFailure()) return;
            ++round;
        }
    }
}

struct confidence_scenario {
    uint32_t dtype = TRIB_DTYPE_BF16;
    int nodes = 64;
    int gamma = 2;
    float threshold = 0;
    bool decisions = false;  // compare the pruned step: the threshold lies in a gap

    results operator()(random_source& random, const context& ctx, bool) const {
        const int hidden = 128;
        const int rank = 16;
        const int vocabulary = 300;
        batch_shape batch;
        batch.nodes = nodes;
        batch.gamma = gamma;
        std::vector<sequence_spec> specs = random_sequences(random, batch);
        for (sequence_spec& spec : specs) {
            spec.deferred.clear();
            if (spec.tree.size() > 0) spec.tree = random_tree(random, nodes, vocabulary);
            spec.surviving.clear();
        }
        ragged_step step(random, specs, gamma);
        const auto weight = [&](int n, int k, double scale) {
            return std::make_unique<packed_weight>(
                ctx, dtype, TRIB_LAYOUT_PACKED, n, k,
                encoded(dtype, random.normals(static_cast<size_t>(n) * k, scale / std::sqrt(k))));
        };
        const auto down = weight(rank, hidden, 1);
        const auto up = weight(hidden, rank, 1);
        const auto head = weight(vocabulary, hidden, 2);
        row_tensor x(step.R + step.Q, 0, hidden);
        x.randomize(random, step.main_indices(), 2);
        std::vector<int32_t> sources(step.Q, index_poison);
        for (int i = 0; i < step.stream_rows; ++i) sources[i] = step.rows[step.R + i].anchor_row;
        device_array<int32_t> row_source(static_cast<size_t>(step.Q));
        row_source.set(sources);
        device_array<float> confidence(static_cast<size_t>(step.R));
        device_array<int32_t> kept(static_cast<size_t>(step.R));
        step.thaw_rows();
        trib_edge_confidence_params params{};
        params.struct_size = sizeof params;
        params.threshold = threshold;
        params.step = step.header();
        params.x = x.tensor();
        params.down = down->tensor();
        params.up = up->tensor();
        params.lm_head = head->tensor();
        params.row_source = step.Q == 0 ? 0 : row_source.address();
        params.confidence = confidence.address();
        params.kept = kept.address();
        const workspace space(ctx, TRIB_OP_EDGE_CONFIDENCE, params);
        EXPECT_TRUE(calls(trib_edge_confidence, ctx, params));

        results result;
        measured& logs = result.reals["log confidence"];
        for (int row = 0; row < step.main_rows; ++row) logs.values.push_back(std::log(confidence.values()[row]));
        // Operands within a rounding of each other: 2⁻⁸ of logits of a few units, summed without correlation.
        logs.absolute = dtype == TRIB_DTYPE_BF16 ? 0.06 : 0.01;
        if (decisions) {
            const std::vector<int32_t> counts = step.counts->values();
            result.add("counts", counts);
            const auto head_of = [&](const device_array<int32_t>& array, int from, int count) {
                const std::vector<int32_t> values = array.values();
                return std::vector<int32_t>(values.begin() + from, values.begin() + from + count);
            };
            result.add("kept", head_of(kept, 0, counts[1]));
            result.add("sequence_rows", head_of(*step.device_sequence_rows, 0, counts[0] + 1));
            result.add("row_source", head_of(row_source, 0, counts[2]));
            for (const auto& [name, array] :
                 std::map<std::string, const ragged_step::int_array*>{{"row_sequence", &step.row_sequence},
                                                                      {"row_node", &step.row_node},
                                                                      {"row_position", &step.row_position},
                                                                      {"row_rotary", &step.row_rotary},
                                                                      {"row_first_visible", &step.row_first_visible},
                                                                      {"row_stream", &step.row_stream}}) {
                result.add(name, head_of(**array, 0, counts[1]));
                result.add(name + " of streams", head_of(**array, step.R, counts[2]));
            }
        }
        return result;
    }
};

TEST_F(device_host_products, prune_the_same_edges) {
    int round = 0;
    for (const int nodes : {1, 2, 16, 63, 64, 65, 128}) {
        confidence_scenario of;
        of.nodes = nodes;
        of.gamma = round % 5;
        of.dtype = round % 2 == 0 ? TRIB_DTYPE_BF16 : TRIB_DTYPE_F16;
        SCOPED_TRACE(testing::Message() << "T " << nodes << " gamma " << of.gamma);
        // A threshold in the widest gap between confidences, so that both decide alike.
        std::vector<float> logs = on_host(base_seed(), of).reals["log confidence"].values;
        std::sort(logs.begin(), logs.end());
        double widest = 0;
        for (size_t i = 1; i < logs.size(); ++i) {
            if (logs[i] - logs[i - 1] > widest && logs[i] < -0.7) {
                widest = logs[i] - logs[i - 1];
                of.threshold = static_cast<float>(std::exp((logs[i] + logs[i - 1]) / 2));
            }
        }
        of.decisions = true;
        const results expected = on_host(base_seed(), of);
        EXPECT_TRUE(agree(on_device(base_seed(), of), expected)) << "threshold " << of.threshold;
        ++round;
    }
}

// ------------------------------------------------------------------ operations by rows

class device_host_rows : public device_host {};

TEST_F(device_host_rows, packed_weights_embed_the_same_rows) {
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        for (const int hidden : {8, 64, 100, 576, 1024}) {
            expect_agreement([&](random_source& random, const context& ctx, bool) {
                const int vocabulary = 700;
                const ragged_step step(random, random_sequences(random, {}), 3);
                quick_values values(random, dtype, 1);
                const packed_weight table(ctx, dtype, TRIB_LAYOUT_PACKED, vocabulary, hidden,
                                          values(static_cast<size_t>(vocabulary) * hidden), {300, 1, 399});
                std::vector<int32_t> tokens(step.R, index_poison);
                for (int row = 0; row < step.main_rows; ++row) tokens[row] = random.integer(0, vocabulary - 1);
                const device_array<int32_t> device_tokens(tokens);
                row_tensor y(step.R + step.Q, 0, hidden);
                trib_embed_params params{};
                params.struct_size = sizeof params;
                params.step = step.header();
                params.tokens = device_tokens.address();
                params.table = table.tensor();
                params.y = y.tensor();
                EXPECT_TRUE(calls(trib_embed, ctx, params));
                EXPECT_TRUE(y.only_written(step.main_indices()));
                results result;
                result.add_bits("y", rows_of(y, step.main_indices()));
                return result;
            });
        }
    }
}

TEST_F(device_host_rows, norms_agree) {
    int round = 0;
    for (const int width : {8, 64, 100, 128, 576, 1024, 4096}) {
        for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16, TRIB_DTYPE_F32}) {
            const int groups = width <= 128 ? 1 + round % 5 : 1;
            const uint32_t which = static_cast<uint32_t>(1 + round % 3);
            ++round;
            expect_agreement([&](random_source& random, const context& ctx, bool) {
                const ragged_step step(random, random_sequences(random, {}), 3);
                row_tensor x(step.R + step.Q, groups, width);
                row_tensor y(step.R + step.Q, groups, width);
                x.randomize(random, step.indices(which), 3);
                x.freeze();
                const std::vector<double> weight = random.normals(width);
                const device_array<float> weight_float(to_float(weight));
                const device_array<uint16_t> weight_half(encoded(dtype, weight));
                trib_rms_norm_params params{};
                params.struct_size = sizeof params;
                params.rows = which;
                params.step = step.header();
                params.x = x.tensor();
                params.weight = dtype == TRIB_DTYPE_F32 ? tensor_at(weight_float.address(), dtype, 1, 1, width)
                                                        : tensor_at(weight_half.address(), dtype, 1, 1, width);
                params.y = y.tensor();
                params.epsilon = 1e-5f;
                EXPECT_TRUE(calls(trib_rms_norm, ctx, params));
                EXPECT_TRUE(y.only_written(step.indices(which)));
                results result;
                result.reals["y"] = {rows_of(y, step.indices(which)), 1e-38, (width + 10) * 0x1p-24};
                return result;
            });
        }
    }
}

TEST_F(device_host_rows, gathered_and_inserted_rows_are_equal) {
    for (const int hidden : {8, 33, 64, 200, 1024}) {
        expect_agreement([&](random_source& random, const context& ctx, bool) {
            results result;
            const int rows = 90;
            row_tensor x(rows, 0, hidden, 1);
            x.randomize(random, every_row(rows));
            x.freeze();
            std::vector<int32_t> index(70, index_poison);
            for (int i = 0; i < 65; ++i) index[i] = random.integer(0, rows - 1);
            const device_array<int32_t> device_index(index);
            const device_array<int32_t> count(std::vector<int32_t>{65});
            row_tensor y(72, 0, hidden);
            trib_gather_rows_params gather{};
            gather.struct_size = sizeof gather;
            gather.max_rows = 70;
            gather.index = device_index.address();
            gather.count = count.address();
            gather.x = x.tensor();
            gather.y = y.tensor();
            EXPECT_TRUE(calls(trib_gather_rows, ctx, gather));
            EXPECT_TRUE(y.only_written(every_row(65)));
            result.add_bits("gathered", rows_of(y, every_row(65)));

            batch_shape batch;
            batch.gamma = TRIB_MAX_GAMMA;
            const ragged_step step(random, random_sequences(random, batch), batch.gamma);
            const device_array<uint16_t> embeddings(
                encoded(TRIB_DTYPE_BF16, random.normals(static_cast<size_t>(batch.gamma) * hidden)));
            std::vector<int32_t> sources(step.Q, index_poison);
            for (int i = 0; i < step.stream_rows; ++i) sources[i] = random.integer(0, rows - 1);
            const device_array<int32_t> row_source(sources);
            row_tensor states(step.R + step.Q, 0, hidden);
            trib_insert_streams_params insert{};
            insert.struct_size = sizeof insert;
            insert.step = step.header();
            insert.source = x.tensor();
            insert.row_source = row_source.address();
            insert.embeddings = tensor_at(embeddings.address(), TRIB_DTYPE_BF16, 1, batch.gamma, hidden);
            insert.x = states.tensor();
            EXPECT_TRUE(calls(trib_insert_streams, ctx, insert));
            EXPECT_TRUE(states.only_written(step.stream_indices()));
            result.add_bits("inserted", rows_of(states, step.stream_indices()));
            return result;
        });
    }
}

TEST_F(device_host_rows, rotated_rows_and_appended_slots_agree) {
    int round = 0;
    for (const int d : {64, 80, 96, 128, 256}) {
        for (const uint32_t which : {TRIB_ROWS_MAIN, TRIB_ROWS_STREAM, TRIB_ROWS_ALL}) {
            attention_case shape;
            shape.head_dim = d;
            shape.kv_heads = 1 + round % 4;
            shape.q_heads = shape.kv_heads * std::vector<int>{1, 2, 4, 8}[round % 4];
            shape.dtype = round % 2 == 0 ? TRIB_DTYPE_BF16 : TRIB_DTYPE_F16;
            shape.rows = which;
            const int gamma = 1 + round % TRIB_MAX_GAMMA;
            const int nodes = std::vector<int>{1, 63, 64, 65, 128}[round % 5];
            ++round;
            SCOPED_TRACE(testing::Message() << "d " << d << " rows " << which << " T " << nodes);
            expect_agreement([&](random_source& random, const context& ctx, bool) {
                batch_shape batch;
                batch.nodes = nodes;
                batch.gamma = gamma;
                const ragged_step step(random, random_sequences(random, batch), gamma);
                attention_inputs in(step, shape);
                in.cache.fill_visible(random, step);
                row_tensor k(step.R + step.Q, shape.kv_heads, d);
                row_tensor v(step.R + step.Q, shape.kv_heads, d);
                row_tensor q(step.R + step.Q, shape.q_heads, d);
                for (row_tensor* tensor : {&q, &k, &v}) tensor->randomize(random, step.indices(TRIB_ROWS_ALL));
                const int positions = 400;
                std::vector<float> table(static_cast<size_t>(positions) * d);
                for (size_t i = 0; i < table.size(); ++i) {
                    table[i] = static_cast<float>(std::cos(static_cast<double>(i % 997)));
                }
                const device_array<float> cos_sin(table);
                trib_rope_append_params params{};
                params.struct_size = sizeof params;
                params.rows = which;
                params.step = step.header();
                params.q = q.tensor();
                params.rotated_q = in.q.tensor();
                params.k = k.tensor();
                params.v = v.tensor();
                params.cos_sin = tensor_at(cos_sin.address(), TRIB_DTYPE_F32, 1, positions, d);
                params.cache = in.cache.header();
                params.stream_k = in.stream_k.tensor();
                params.stream_v = in.stream_v.tensor();
                params.layer = 1;
                params.rotary_dim = static_cast<uint32_t>(d);
                EXPECT_TRUE(calls(trib_rope_append, ctx, params));
                // |q|, |k| stay below 8: two products and a sum in F32, then for the cache one rounding.
                const double in_f32 = 2 * 16 * 0x1p-24;
                const double to_cache = shape.dtype == TRIB_DTYPE_BF16 ? 0x1p-7 : 0x1p-10;
                results result;
                result.reals["q"] = {rows_of(in.q, step.indices(which)), in_f32, to_cache};
                EXPECT_TRUE(in.q.only_written(step.indices(which)));
                const auto stored = [&](const std::string& name, const std::vector<uint16_t>& bits) {
                    std::vector<float> values = to_float(decoded(shape.dtype, bits));
                    std::vector<int32_t> unwritten;
                    for (float& value : values) {
                        unwritten.push_back(std::isnan(value));
                        if (std::isnan(value)) value = 0;
                    }
                    result.add(name + ": NaN", unwritten);
                    result.reals[name] = {values, in_f32, to_cache};
                };
                stored("cache", in.cache.contents());
                stored("stream k", in.stream_k.contents());
                stored("stream v", in.stream_v.contents());
                return result;
            });
        }
    }
}

TEST_F(device_host_rows, the_largest_logits_are_the_same) {
    for (const int vocabulary : {64, 1000, 32000, 128256}) {
        for (const int k : {1, 8, 64}) {
            expect_agreement([&](random_source& random, const context& ctx, bool) {
                const int rows = 5;
                row_tensor logits(rows, 0, vocabulary, 3);
                const std::vector<double> table = random.integers(4096, -500, 500);
                for (int row = 0; row < 4; ++row) {
                    std::vector<double> values(vocabulary);
                    for (double& value : values) value = table[random.bits() % table.size()];  // ties everywhere
                    logits.set_row(row, values);
                }
                logits.freeze();
                const device_array<int32_t> count(std::vector<int32_t>{4});
                device_array<int32_t> ids(static_cast<size_t>(rows) * k);
                device_array<float> values(static_cast<size_t>(rows) * k);
                trib_top_k_params params{};
                params.struct_size = sizeof params;
                params.k = static_cast<uint32_t>(k);
                params.logits = logits.tensor();
                params.row_count = count.address();
                params.top_ids = ids.address();
                params.top_logits = values.address();
                const workspace space(ctx, TRIB_OP_TOP_K, params);
                EXPECT_TRUE(calls(trib_top_k, ctx, params));
                results result;
                result.add("ids", ids.values());
                result.add_bits("logits", values.values());
                return result;
            });
        }
    }
}

}  // namespace
}  // namespace tributary::test
