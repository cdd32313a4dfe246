// SPDX-License-Identifier: Apache-2.0
//
// Lossless to the bit: one layer's rope_append and attention for the tokens of a text, run as chunks of prefill, as
// plain decoding, and as token trees with streams whose accepted paths are committed. Every row must come out the same.
#include <gtest/gtest.h>

#include "support/attention_reference.hpp"

namespace tributary::test {
namespace {

// What the layer below hands over for one token (or one stream) of a text: q, k, v before rotation.
struct row_input {
    std::vector<float> q, k, v;
};

struct layer_shape {
    uint32_t dtype;
    int q_heads, kv_heads, head_dim, window;
};

// A paged cache of one text that grows step by step, by whichever kinds of step.
class text_run {
public:
    text_run(random_source& random, const layer_shape& shape, uint32_t threads)
        : random_(random), shape_(shape), ctx_(threads), cos_sin_(rotations(shape.head_dim)) {
        for (int page = 0; page < cache_pages; ++page) pages_.push_back(page);
        random.shuffle(pages_);
        cache_ = std::make_unique<kv_cache>(shape.dtype, 1, cache_pages, shape.kv_heads, shape.head_dim);
    }

    int length = 0;

    // Runs rows of one sequence; in(step row) gives their inputs. Returns y by row index.
    template <class Inputs>
    std::vector<std::vector<float>> step(sequence_spec sequence, int gamma, Inputs in, uint32_t rows = TRIB_ROWS_ALL) {
        sequence.length = length;
        sequence.window = shape_.window;
        plan_ = std::make_unique<ragged_step>(random_, std::vector<sequence_spec>{sequence}, gamma);
        ragged_step& plan = *plan_;
        // The text keeps its pages from step to step.
        std::vector<int32_t> table = plan.device_page_table->values();
        for (int page = 0; page < plan.P; ++page) table[page] = pages_.at(page);
        plan.device_page_table->set(table);
        attention_case shape;
        shape.dtype = shape_.dtype;
        shape.q_heads = shape_.q_heads;
        shape.kv_heads = shape_.kv_heads;
        shape.head_dim = shape_.head_dim;
        shape.rows = rows;
        stream_scratch stream_k(plan, shape);
        stream_scratch stream_v(plan, shape);
        // One fused buffer of q | k | v, as a fused linear leaves it; the operations see views of it.
        const int heads = shape.q_heads + 2 * shape.kv_heads;
        row_tensor qkv(plan.R + plan.Q, heads, shape.head_dim);
        const auto view = [&](int first_head, int count) {
            trib_tensor tensor = qkv.tensor();
            tensor.address += sizeof(float) * first_head * shape.head_dim;
            tensor.shape[1] = count;
            return tensor;
        };
        const trib_tensor q = view(0, shape.q_heads);
        const trib_tensor k = view(shape.q_heads, shape.kv_heads);
        const trib_tensor v = view(shape.q_heads + shape.kv_heads, shape.kv_heads);
        row_tensor rotated_q(plan.R + plan.Q, shape.q_heads, shape.head_dim, 0, 0, shape.dtype);
        row_tensor y(plan.R + plan.Q, shape.q_heads, shape.head_dim);
        for (const int row : plan.indices(rows)) {
            const row_input& input = in(plan.rows[row]);
            std::vector<float> fused = input.q;
            fused.insert(fused.end(), input.k.begin(), input.k.end());
            fused.insert(fused.end(), input.v.begin(), input.v.end());
            qkv.set_row(row, fused.data());
        }
        trib_rope_append_params append{};
        append.struct_size = sizeof append;
        append.rows = rows;
        append.step = plan.header();
        append.q = q;
        append.rotated_q = rotated_q.tensor();
        append.k = k;
        append.v = v;
        append.cos_sin = tensor_at(cos_sin_.address(), TRIB_DTYPE_F32, 1, positions, shape.head_dim);
        append.cache = cache_->header();
        append.stream_k = stream_k.tensor();
        append.stream_v = stream_v.tensor();
        append.rotary_dim = static_cast<uint32_t>(shape.head_dim);
        EXPECT_TRUE(calls(trib_rope_append, ctx_, append));
        trib_multi_stream_attention_params attend{};
        attend.struct_size = sizeof attend;
        attend.rows = rows;
        attend.step = plan.header();
        attend.q = rotated_q.tensor();
        attend.y = y.tensor();
        attend.cache = cache_->header();
        attend.stream_k = stream_k.tensor();
        attend.stream_v = stream_v.tensor();
        attend.scale = static_cast<float>(1 / std::sqrt(shape.head_dim));
        const workspace space(ctx_, TRIB_OP_ATTENTION, attend);
        EXPECT_TRUE(calls(trib_multi_stream_attention, ctx_, attend));
        std::vector<std::vector<float>> result(plan.R + plan.Q);
        for (const int row : plan.indices(rows)) result[row] = y.row(row);
        return result;
    }

    // Accepts a path of the last step's tree.
    void commit(const std::vector<int>& path) {
        std::vector<int32_t> counts(plan_->S, index_poison);
        std::vector<int32_t> nodes(static_cast<size_t>(plan_->S) * TRIB_MAX_PATH, index_poison);
        counts[0] = static_cast<int32_t>(path.size());
        std::copy(path.begin(), path.end(), nodes.begin());
        const device_array<int32_t> accepted_count(counts);
        const device_array<int32_t> accepted_node(nodes);
        trib_commit_path_params params{};
        params.struct_size = sizeof params;
        params.step = plan_->header();
        params.cache = cache_->header();
        params.accepted_count = accepted_count.address();
        params.accepted_node = accepted_node.address();
        const workspace space(ctx_, TRIB_OP_COMMIT_PATH, params);
        EXPECT_TRUE(calls(trib_commit_path, ctx_, params));
        length += static_cast<int>(path.size());
    }

    const ragged_step& plan() const { return *plan_; }

private:
    static constexpr int cache_pages = 40;
    static constexpr int positions = 2400;

    static std::vector<float> rotations(int d) {
        std::vector<float> table(static_cast<size_t>(positions) * d);
        for (int p = 0; p < positions; ++p) {
            for (int i = 0; i < d / 2; ++i) {
                const double angle = p * std::pow(10000.0, -2.0 * i / d);
                table[p * d + i] = static_cast<float>(std::cos(angle));
                table[p * d + d / 2 + i] = static_cast<float>(std::sin(angle));
            }
        }
        return table;
    }

    random_source& random_;
    layer_shape shape_;
    context ctx_;
    device_array<float> cos_sin_;
    std::vector<int> pages_;
    std::unique_ptr<kv_cache> cache_;
    std::unique_ptr<ragged_step> plan_;
};

class losslessness : public operation_test {
protected:
    row_input random_input(const layer_shape& shape) {
        const auto values = [&](int heads) { return to_float(random.normals(heads * shape.head_dim, 1.5)); };
        return {values(shape.q_heads), values(shape.kv_heads), values(shape.kv_heads)};
    }

    // y of every token, by plain decoding after a prefill in chunks of the given sizes.
    std::vector<std::vector<float>> by_chunks(const layer_shape& shape, const std::vector<row_input>& text,
                                              const std::vector<int>& chunks, uint32_t threads) {
        text_run run(random, shape, threads);
        std::vector<std::vector<float>> result;
        size_t next = 0;
        while (result.size() < text.size()) {
            sequence_spec sequence;
            const int left = static_cast<int>(text.size() - result.size());
            sequence.chunk = std::min(left, next < chunks.size() ? chunks[next++] : 1);
            const auto y = run.step(
                sequence, 0, [&](const step_row& row) -> const row_input& { return text[run.length + row.node]; });
            for (int i = 0; i < sequence.chunk; ++i) result.push_back(y[i]);
            run.length += sequence.chunk;
        }
        return result;
    }

    // Speculation over a text gives each token, and each stream of an accepted node, the bits that plain decoding gives.
    void expect_plain_decoding(const layer_shape& shape, int prompt, int tokens, int gamma) {
        SCOPED_TRACE(testing::Message() << "d " << shape.head_dim << " window " << shape.window << " prompt " << prompt
                                        << " gamma " << gamma);
        std::vector<row_input> text;
        for (int i = 0; i < prompt + tokens; ++i) text.push_back(random_input(shape));
        const auto plain = by_chunks(shape, text, {prompt}, 1);

        // Speculation: trees whose random path carries the text; other nodes carry something else.
        text_run run(random, shape, 2);
        sequence_spec prefill;
        prefill.chunk = prompt;
        run.step(prefill, 0, [&](const step_row& row) -> const row_input& { return text[row.node]; });
        run.length = prompt;
        while (run.length + TRIB_MAX_PATH < static_cast<int>(text.size())) {
            sequence_spec sequence;
            sequence.tree = random_tree(random, random.pick(std::vector<int>{1, 2, 9, 33, 64, 65, 128}));
            const token_tree& tree = sequence.tree;
            const std::vector<int> path = tree.path_to(random.integer(0, tree.size() - 1));
            const int accepted = path.back();
            sequence.surviving.assign(tree.size(), true);
            for (int node = 1; node < tree.size(); ++node) {
                const bool on_path = std::find(path.begin(), path.end(), node) != path.end();
                sequence.surviving[node] = on_path || (sequence.surviving[tree.parent[node]] && random.chance(0.8));
            }
            int rows = 0;
            std::vector<int> row_of_node(tree.size(), -1);
            for (int node = 0; node < tree.size(); ++node) {
                if (sequence.surviving[node]) row_of_node[node] = rows++;
            }
            // Streams on the node that will be accepted last, and on some others.
            for (int row = 0; row < rows; ++row) {
                if (row == row_of_node[accepted] || random.chance(0.2)) sequence.anchors.push_back(row);
            }
            std::vector<row_input> of_node;
            for (int node = 0; node < tree.size(); ++node) of_node.push_back(random_input(shape));
            for (size_t i = 0; i < path.size(); ++i) of_node[path[i]] = text[run.length + i];
            std::vector<row_input> of_stream;  // the same for every anchor; only the accepted one's are compared
            for (int j = 0; j < gamma; ++j) of_stream.push_back(random_input(shape));
            const auto y = run.step(sequence, gamma, [&](const step_row& row) -> const row_input& {
                return row.stream > 0 ? of_stream[row.stream - 1] : of_node[row.node];
            });
            for (size_t i = 0; i < path.size(); ++i) {
                ASSERT_TRUE(same_bits(y[row_of_node[path[i]]], plain[run.length + i]))
                    << "node " << path[i] << " at position " << run.length + i << " of a tree of " << tree.size();
            }
            std::vector<std::vector<float>> in_pass;
            for (const int row : run.plan().stream_indices()) {
                if (run.plan().rows[row].node == accepted) in_pass.push_back(y[row]);
            }
            run.commit(path);
            // The same streams, deferred until their anchor is committed.
            sequence_spec later;
            later.deferred = {run.length - 1};
            const auto deferred = run.step(
                later, gamma, [&](const step_row& row) -> const row_input& { return of_stream[row.stream - 1]; },
                TRIB_ROWS_STREAM);
            ASSERT_EQ(in_pass.size(), static_cast<size_t>(gamma));
            for (int j = 0; j < gamma; ++j) {
                ASSERT_TRUE(same_bits(deferred[run.plan().R + j], in_pass[j]))
                    << "stream " << j + 1 << " of the anchor at " << run.length - 1;
            }
        }
        // Plain decoding goes on from the cache that speculation left.
        while (run.length < static_cast<int>(text.size())) {
            sequence_spec one;
            one.chunk = 1;
            const auto y = run.step(one, 0, [&](const step_row&) -> const row_input& { return text[run.length]; });
            ASSERT_TRUE(same_bits(y[0], plain[run.length])) << "position " << run.length;
            ++run.length;
        }
    }
};

TEST_F(losslessness, prefill_computes_what_decoding_computes_whatever_the_chunks) {
    for (const layer_shape& shape :
         {layer_shape{TRIB_DTYPE_BF16, 4, 2, 64, 0}, layer_shape{TRIB_DTYPE_F16, 3, 1, 24, 0},
          layer_shape{TRIB_DTYPE_BF16, 8, 1, 80, 50}}) {
        std::vector<row_input> text;
        for (int i = 0; i < 270; ++i) text.push_back(random_input(shape));
        const auto decoded_one_by_one = by_chunks(shape, text, {}, 1);
        for (const std::vector<int>& chunks :
             std::vector<std::vector<int>>{{270}, {64, 64, 64, 64, 14}, {1, 63, 65, 2, 100}, {17, 128, 3, 80}, {200}}) {
            const auto got = by_chunks(shape, text, chunks, 2 + static_cast<uint32_t>(chunks.size()) % 2);
            for (size_t i = 0; i < text.size(); ++i) {
                ASSERT_TRUE(same_bits(got[i], decoded_one_by_one[i]))
                    << "position " << i << ", chunks " << testing::PrintToString(chunks) << ", d " << shape.head_dim;
            }
        }
    }
}

TEST_F(losslessness, accepted_nodes_and_their_streams_compute_what_plain_decoding_computes) {
    int round = 0;
    for (const layer_shape& shape :
         {layer_shape{TRIB_DTYPE_BF16, 4, 2, 64, 0}, layer_shape{TRIB_DTYPE_F16, 5, 1, 32, 0},
          layer_shape{TRIB_DTYPE_BF16, 6, 2, 40, 30}, layer_shape{TRIB_DTYPE_F16, 2, 2, 128, 0},
          layer_shape{TRIB_DTYPE_BF16, 7, 1, 8, 5}, layer_shape{TRIB_DTYPE_BF16, 2, 1, 256, 100}}) {
        for (const int prompt : {1, 45, 64, 110}) {
            expect_plain_decoding(shape, prompt, 110, 1 + round++ % 4);
            if (HasFailure()) return;
        }
    }
}

// Where a long context's reduction is cut into pieces, and where a backend may take other tiles than for a short one.
TEST_F(losslessness, holds_across_the_borders_of_a_long_context) {
    int round = 0;
    for (const layer_shape& shape :
         {layer_shape{TRIB_DTYPE_BF16, 8, 2, 128, 0}, layer_shape{TRIB_DTYPE_F16, 8, 1, 64, 0},
          layer_shape{TRIB_DTYPE_BF16, 4, 1, 80, 0}, layer_shape{TRIB_DTYPE_BF16, 4, 2, 128, 700}}) {
        for (const int prompt : {500, 1010, 1270, 2040}) {
            expect_plain_decoding(shape, prompt, 60, 1 + round++ % TRIB_MAX_GAMMA);
            if (HasFailure()) return;
        }
    }
}

// The comparison above can fail: one node of the path exchanged for its sibling shows in the next token.
TEST_F(losslessness, of_a_wrongly_committed_path_is_lost) {
    const layer_shape shape{TRIB_DTYPE_BF16, 4, 2, 64, 0};
    std::vector<row_input> text;
    for (int i = 0; i < 84; ++i) text.push_back(random_input(shape));
    const auto plain = by_chunks(shape, text, {80}, 1);
    for (const bool right : {true, false}) {
        text_run run(random, shape, 2);
        sequence_spec prefill;
        prefill.chunk = 80;
        run.step(prefill, 0, [&](const step_row& row) -> const row_input& { return text[row.node]; });
        run.length = 80;
        sequence_spec sequence;
        sequence.tree.add(-1, 0);
        sequence.tree.add(0, 1);
        sequence.tree.add(0, 2);
        sequence.tree.add(2, 3);
        const row_input sibling = random_input(shape);
        run.step(sequence, 0, [&](const step_row& row) -> const row_input& {
            return row.node == 1 ? sibling : text[80 + std::max(0, row.node - 1)];
        });
        run.commit(right ? std::vector<int>{0, 2, 3} : std::vector<int>{0, 1, 3});
        sequence_spec one;
        one.chunk = 1;
        const auto y = run.step(one, 0, [&](const step_row&) -> const row_input& { return text[83]; });
        EXPECT_EQ(static_cast<bool>(same_bits(y[0], plain[83])), right);
    }
}

}  // namespace
}  // namespace tributary::test
