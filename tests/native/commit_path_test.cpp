// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "support/ragged_step.hpp"

namespace tributary::test {
namespace {

class commit_path : public operation_test {
protected:
    // Paths by sequence (empty = nothing accepted), against a copy done by hand. Every slot of the cache is random.
    void expect_moves(const ragged_step& step, const std::vector<std::vector<int>>& paths, kv_cache& cache,
                      const context& on) {
        for (uint16_t& value : cache.mirror) value = static_cast<uint16_t>(random.bits());
        cache.upload();
        std::vector<int32_t> counts(step.S, index_poison);
        std::vector<int32_t> nodes(static_cast<size_t>(step.S) * TRIB_MAX_PATH, index_poison);
        std::vector<uint16_t> expected = cache.mirror;
        for (size_t s = 0; s < paths.size(); ++s) {
            counts[s] = static_cast<int32_t>(paths[s].size());
            std::copy(paths[s].begin(), paths[s].end(), nodes.begin() + static_cast<int64_t>(s) * TRIB_MAX_PATH);
            const int L = step.sequences[s].length;
            for (size_t i = 0; i < paths[s].size(); ++i) {
                for (int layer = 0; layer < cache.layers; ++layer) {
                    for (int value = 0; value < 2; ++value) {
                        for (int head = 0; head < cache.kv_heads; ++head) {
                            const int sequence = static_cast<int>(s);
                            std::copy_n(
                                &cache.mirror[cache.at(step, sequence, L + paths[s][i], layer, value, head)],
                                cache.head_dim,
                                &expected[cache.at(step, sequence, L + static_cast<int>(i), layer, value, head)]);
                        }
                    }
                }
            }
        }
        const device_array<int32_t> accepted_count(counts);
        const device_array<int32_t> accepted_node(nodes);
        trib_commit_path_params params{};
        params.struct_size = sizeof params;
        params.step = step.header();
        params.cache = cache.header();
        params.accepted_count = accepted_count.address();
        params.accepted_node = accepted_node.address();
        const workspace space(on, TRIB_OP_COMMIT_PATH, params);
        ASSERT_TRUE(calls(trib_commit_path, on, params));
        ASSERT_TRUE(same_bits(cache.contents(), expected));
    }
};

TEST_F(commit_path, moves_random_paths_and_leaves_every_other_slot_bit_for_bit) {
    for (int round = 0; round < 40; ++round) {
        SCOPED_TRACE(testing::Message() << "round " << round);
        batch_shape batch;
        batch.nodes = std::vector<int>{1, 2, 16, 63, 64, 65, 128}[round % 7];
        batch.sequences = 1 + round % 5;
        const ragged_step step(random, random_sequences(random, batch), round % 2 == 0 ? 3 : 0);
        std::vector<std::vector<int>> paths;
        for (const sequence_spec& sequence : step.sequences) {
            paths.emplace_back();
            if (sequence.tree.size() == 0 || random.chance(0.2)) continue;
            std::vector<int> surviving;
            for (int node = 0; node < sequence.tree.size(); ++node) {
                if (sequence.surviving[node]) surviving.push_back(node);
            }
            paths.back() = sequence.tree.path_to(random.pick(surviving));
        }
        kv_cache cache(round % 2 == 0 ? TRIB_DTYPE_BF16 : TRIB_DTYPE_F16, 1 + round % 3, step.pages, 1 + round % 4,
                       8 * random.integer(1, 8));
        expect_moves(step, paths, cache, context(1 + static_cast<uint32_t>(round % 3)));
        if (HasFatalFailure()) return;
    }
}

// Destination i may be the source of a later node: the path is read before anything is written.
TEST_F(commit_path, moves_overlapping_slots_as_if_at_once) {
    token_tree tree;
    tree.add(-1, 0);
    tree.add(0, 1);  // 1: a branch not taken
    tree.add(0, 2);  // 2 goes to 1
    tree.add(2, 3);  // 3 goes to 2, where 2 was
    for (int node = 4; node <= TRIB_MAX_DEPTH + 1; ++node) tree.add(node - 1, node);
    for (int length = 0; length < 130; ++length) {
        sequence_spec sequence;
        sequence.length = length;
        sequence.tree = tree;
        const ragged_step step(random, {sequence}, 0);
        kv_cache cache(TRIB_DTYPE_BF16, 2, step.pages, 2, 8);
        expect_moves(step, {tree.path_to(tree.size() - 1)}, cache, ctx);
        if (HasFatalFailure()) return;
    }
}

TEST_F(commit_path, of_a_changed_node_is_noticed) {
    sequence_spec sequence;
    sequence.length = 60;
    sequence.tree = random_tree(random, 20);
    const ragged_step step(random, {sequence}, 0);
    kv_cache cache(TRIB_DTYPE_BF16, 1, step.pages, 1, 8);
    for (uint16_t& value : cache.mirror) value = static_cast<uint16_t>(random.bits());
    cache.upload();
    const auto commit = [&](const std::vector<int32_t>& path) {
        cache.upload();
        std::vector<int32_t> counts(step.S, 0);
        counts[0] = static_cast<int32_t>(path.size());
        std::vector<int32_t> nodes(static_cast<size_t>(step.S) * TRIB_MAX_PATH, index_poison);
        std::copy(path.begin(), path.end(), nodes.begin());
        const device_array<int32_t> accepted_count(counts);
        const device_array<int32_t> accepted_node(nodes);
        trib_commit_path_params params{};
        params.struct_size = sizeof params;
        params.step = step.header();
        params.cache = cache.header();
        params.accepted_count = accepted_count.address();
        params.accepted_node = accepted_node.address();
        const workspace space(ctx, TRIB_OP_COMMIT_PATH, params);
        EXPECT_TRUE(calls(trib_commit_path, ctx, params));
        return cache.contents();
    };
    EXPECT_TRUE(same_bits(commit({0, 5, 9}), commit({0, 5, 9})));
    EXPECT_FALSE(same_bits(commit({0, 5, 9}), commit({0, 5, 8})));
    EXPECT_FALSE(same_bits(commit({0, 5, 9}), commit({0, 5})));
}

}  // namespace
}  // namespace tributary::test
