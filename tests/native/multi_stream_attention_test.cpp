// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "support/attention_reference.hpp"

namespace tributary::test {
namespace {

class multi_stream_attention : public operation_test {
protected:
    void expect_rule(const ragged_step& step, const attention_case& shape) {
        attention_inputs in(step, shape);
        in.randomize(random);
        ASSERT_TRUE(in.run(ctx));
        const attention_results expected = reference_attention(in);
        EXPECT_TRUE(obeys_the_rule(rows_of(in.y, step.indices(shape.rows)), expected.exact, expected.plain));
        EXPECT_TRUE(in.y.only_written(step.indices(shape.rows)));
    }
};

TEST_F(multi_stream_attention, obeys_the_rule_for_every_head_size_grouping_and_type) {
    const std::vector<int> head_sizes = {8, 24, 32, 64, 80, 96, 128, 256};
    int round = 0;
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        for (size_t i = 0; i < head_sizes.size(); ++i) {
            attention_case shape;
            shape.dtype = dtype;
            shape.head_dim = head_sizes[i];
            shape.kv_heads = 1 + round % 2;
            // Every group of 1 … 8 query heads to a KV head, in both types.
            shape.q_heads = shape.kv_heads * static_cast<int>(dtype == TRIB_DTYPE_BF16 ? 1 + i : 8 - i);
            shape.key_scale = 2;
            batch_shape batch;
            batch.sequences = 3;
            batch.gamma = 1 + round % TRIB_MAX_GAMMA;
            batch.nodes = 12;
            batch.max_length = 180;
            SCOPED_TRACE(testing::Message() << dtype_name(dtype) << " d " << shape.head_dim << " heads "
                                            << shape.q_heads << "/" << shape.kv_heads << " gamma " << batch.gamma);
            const ragged_step step(random, random_sequences(random, batch), batch.gamma);
            expect_rule(step, shape);
            if (HasFatalFailure()) return;
            ++round;
        }
    }
}

TEST_F(multi_stream_attention, obeys_the_rule_for_trees_across_mask_words_and_page_borders) {
    for (const int nodes : {1, 2, 63, 64, 65, 128}) {
        for (const int length : {0, 1, 63, 64, 65, 79, 80, 81, 130, 200}) {
            SCOPED_TRACE(testing::Message() << "T " << nodes << " L " << length);
            sequence_spec sequence;
            sequence.length = length;
            sequence.tree = random_tree(random, nodes);
            sequence.anchors = {0, nodes / 2, nodes - 1};
            const ragged_step step(random, {sequence}, 2);
            attention_case shape;
            shape.head_dim = 16;
            shape.key_scale = 2;
            expect_rule(step, shape);
            if (HasFatalFailure()) return;
        }
    }
}

TEST_F(multi_stream_attention, takes_main_rows_or_stream_rows_alone) {
    for (const uint32_t rows : {TRIB_ROWS_MAIN, TRIB_ROWS_STREAM, TRIB_ROWS_ALL}) {
        attention_case shape;
        shape.rows = rows;
        const ragged_step step(random, random_sequences(random, {}), 3);
        expect_rule(step, shape);
    }
}

TEST_F(multi_stream_attention, keeps_to_the_strides_of_its_tensors) {
    attention_case shape;
    shape.row_gap = 5;
    shape.group_gap = 3;
    const ragged_step step(random, random_sequences(random, {}), 3);
    expect_rule(step, shape);
}

TEST_F(multi_stream_attention, computes_nothing_for_a_step_without_rows) {
    sequence_spec sequence;
    sequence.length = 5;
    const ragged_step step(random, {sequence}, 2);
    expect_rule(step, {});
}

// With q = 0 every key weighs the same, so a row is the mean of the values it sees: with small integers as values, the
// sum is exact in any order and one division remains. A key too many or too few shows at once.
TEST_F(multi_stream_attention, with_zero_queries_is_the_mean_of_exactly_the_visible_values) {
    for (int round = 0; round < 24; ++round) {
        SCOPED_TRACE(testing::Message() << "round " << round);
        batch_shape batch;
        batch.gamma = 1 + round % TRIB_MAX_GAMMA;
        batch.nodes = random.pick(std::vector<int>{1, 2, 17, 63, 64, 65, 128});
        batch.window_chance = 0.5;
        batch.max_length = 300;
        const ragged_step step(random, random_sequences(random, batch), batch.gamma);
        attention_case shape;
        shape.dtype = round % 2 == 0 ? TRIB_DTYPE_BF16 : TRIB_DTYPE_F16;
        shape.head_dim = 8;
        attention_inputs in(step, shape);
        in.randomize(random);
        for (int page = 0; page < in.cache.pages; ++page) {
            for (int head = 0; head < shape.kv_heads; ++head) {
                uint16_t* values = &in.cache.mirror[in.cache.at(shape.layer, page, 1, head, 0)];
                for (int i = 0; i < TRIB_PAGE_TOKENS * shape.head_dim; ++i) {
                    if (values[i] != 0xffff) values[i] = encoded(shape.dtype, random.integer(-100, 100));
                }
            }
        }
        in.cache.upload();
        for (uint16_t& value : in.stream_v.mirror) {
            if (value != 0xffff) value = encoded(shape.dtype, random.integer(-100, 100));
        }
        in.stream_v.upload();
        for (const int row : step.indices(TRIB_ROWS_ALL)) in.q.set_row(row, std::vector<double>(in.q.row_size(), 0));
        ASSERT_TRUE(in.run(ctx));
        for (const int row : step.indices(TRIB_ROWS_ALL)) {
            const std::vector<float> got = in.y.row(row);
            for (int head = 0; head < shape.q_heads; ++head) {
                const std::vector<const uint16_t*> values = in.seen(row, head / 2, 1);
                for (int t = 0; t < shape.head_dim; ++t) {
                    double sum = 0;
                    for (const uint16_t* value : values) sum += decoded(shape.dtype, value[t]);
                    const double mean = sum / static_cast<double>(values.size());
                    ASSERT_NEAR(got[head * shape.head_dim + t], mean, 2 * ulp(TRIB_DTYPE_F32, mean))
                        << "row " << row << " node " << step.rows[row].node << " stream " << step.rows[row].stream
                        << " position " << step.rows[row].position << " head " << head;
                }
            }
        }
    }
}

TEST_F(multi_stream_attention, a_row_does_not_depend_on_threads_or_on_what_else_is_in_the_step) {
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        batch_shape batch;
        batch.sequences = 5;
        const ragged_step together(random, random_sequences(random, batch), batch.gamma);
        attention_case shape;
        shape.dtype = dtype;
        shape.q_heads = 6;
        shape.head_dim = 40;
        attention_inputs in(together, shape);
        in.randomize(random);
        ASSERT_TRUE(in.run(ctx));
        const std::vector<float> expected = rows_of(in.y, together.indices(TRIB_ROWS_ALL));
        for (const uint32_t threads : {1u, 2u, 3u}) {
            const context other(threads);
            in.y.poison();
            ASSERT_TRUE(in.run(other));
            EXPECT_TRUE(same_bits(rows_of(in.y, together.indices(TRIB_ROWS_ALL)), expected)) << threads << " threads";
        }
        // Each sequence alone, on other pages.
        for (int s = 0; s < batch.sequences; ++s) {
            const ragged_step alone(random, {together.sequences[s]}, batch.gamma);
            attention_inputs single(alone, shape);
            const sequence_spec& spec = together.sequences[s];
            for (int slot = 0; slot < spec.length + std::max(spec.chunk, spec.tree.size()); ++slot) {
                for (int value = 0; value < 2; ++value) {
                    for (int head = 0; head < shape.kv_heads; ++head) {
                        std::copy_n(&in.cache.mirror[in.cache.at(together, s, slot, shape.layer, value, head)],
                                    shape.head_dim,
                                    &single.cache.mirror[single.cache.at(alone, 0, slot, shape.layer, value, head)]);
                    }
                }
            }
            single.cache.upload();
            std::vector<int> of_sequence;
            for (const int row : together.indices(TRIB_ROWS_ALL)) {
                if (together.rows[row].sequence == s) of_sequence.push_back(row);
            }
            const std::vector<int> alone_rows = alone.indices(TRIB_ROWS_ALL);
            ASSERT_EQ(of_sequence.size(), alone_rows.size());
            for (size_t i = 0; i < of_sequence.size(); ++i) {
                single.q.set_row(alone_rows[i], in.q.row(of_sequence[i]).data());
                if (alone_rows[i] < alone.R) continue;
                const size_t size = static_cast<size_t>(shape.kv_heads) * shape.head_dim;
                const size_t from = in.stream_k.at(of_sequence[i] - together.R, 0);
                const size_t to = single.stream_k.at(alone_rows[i] - alone.R, 0);
                std::copy_n(&in.stream_k.mirror[from], size, &single.stream_k.mirror[to]);
                std::copy_n(&in.stream_v.mirror[from], size, &single.stream_v.mirror[to]);
            }
            single.stream_k.upload();
            single.stream_v.upload();
            ASSERT_TRUE(single.run(ctx));
            EXPECT_TRUE(same_bits(rows_of(single.y, alone_rows), rows_of(in.y, of_sequence))) << "sequence " << s;
        }
    }
}

// The tests above can fail: each change of one thing that decides what a row sees must show in the results.
class visibility_mutation : public operation_test {
protected:
    visibility_mutation() {
        sequence_spec sequence;
        sequence.length = 100;
        sequence.tree = chain(6);
        sequence.anchors = {2};
        step = std::make_unique<ragged_step>(random, std::vector<sequence_spec>{sequence}, 2);
        in = std::make_unique<attention_inputs>(*step, attention_case{});
        in->randomize(random);
        in->cache.memory.poison(
            0);  // unwritten slots as zeros, so that reading one changes numbers and not to NaN only
        for (uint16_t& value : in->cache.mirror) value = value == 0xffff ? 0 : value;
        in->cache.upload();
    }
    void expect_discovery(const char* what) {
        ASSERT_TRUE(in->run(ctx)) << what;
        const attention_results expected = reference_attention(*in);
        EXPECT_FALSE(obeys_the_rule(rows_of(in->y, step->indices(TRIB_ROWS_ALL)), expected.exact, expected.plain))
            << what << " went unnoticed";
    }
    std::unique_ptr<ragged_step> step;
    std::unique_ptr<attention_inputs> in;
};

TEST_F(visibility_mutation, of_a_mask_bit_is_noticed) {
    std::vector<uint64_t> words = step->masks->values();
    std::vector<int32_t> first = step->mask_begin->values();
    words[first[0] + 4] ^= 1 << 2;  // node 4 no longer sees its ancestor 2
    step->masks->set(words);
    expect_discovery("a mask bit");
}

TEST_F(visibility_mutation, of_a_page_entry_is_noticed) {
    std::vector<int32_t> table = step->device_page_table->values();
    std::swap(table[0], table[1]);
    step->device_page_table->set(table);
    expect_discovery("a page entry");
}

TEST_F(visibility_mutation, of_the_first_visible_position_is_noticed) {
    std::vector<int32_t> first = step->row_first_visible->values();
    first[3] = 1;
    // One of a hundred keys weighs little: make it weigh.
    std::vector<float> q = in->q.row(3);
    for (int head = 0; head < in->shape.q_heads; ++head) {
        const uint16_t* key = in->seen(3, head / 2, 0)[0];
        for (int t = 0; t < in->shape.head_dim; ++t) {
            q[head * in->shape.head_dim + t] = static_cast<float>(4 * decoded(in->shape.dtype, key[t]));
        }
    }
    in->q.set_row(3, q.data());
    step->row_first_visible->set(first);
    expect_discovery("a first visible position");
}

TEST_F(visibility_mutation, of_a_stream_number_is_noticed) {
    std::vector<int32_t> streams = step->row_stream->values();
    const int second = step->R + 1;
    const uint16_t* key = in->seen(second, 0, 0).back();
    std::vector<float> q = in->q.row(second);
    for (int t = 0; t < in->shape.head_dim; ++t) q[t] = static_cast<float>(4 * decoded(in->shape.dtype, key[t]));
    in->q.set_row(second, q.data());
    // Streams 1, 2 of the anchor: the reference now believes that the second is stream 1 of the group.
    step->rows[second].stream = 1;
    expect_discovery("a stream number");
}

}  // namespace
}  // namespace tributary::test
