// SPDX-License-Identifier: Apache-2.0
//
// Whole passes through a small decoder, as the engine enqueues them: kernel behind kernel without a wait. Captured once
// as a CUDA graph and replayed over other device data, a pass must give the bits of direct calls; repeated without a
// pause it must give them again; and no row's bits may depend on the count of rows, on its place, or on bounds.
#include <gtest/gtest.h>

#include "support/cuda_memory.hpp"
#include "support/device_host.hpp"

namespace tributary::test {
namespace {

// A decoder of two layers, its capacities and buffers. Streams join at the second layer, with LoRA.
class small_decoder {
public:
    small_decoder(const context& ctx, uint32_t dtype, bool pruning, uint64_t seed)
        : ctx_(ctx),
          dtype_(dtype),
          pruning_(pruning),
          weights_(seed),
          table_(weight(vocabulary, hidden, 1)),
          down_edge_(weight(rank, hidden, 1 / std::sqrt(hidden))),
          up_edge_(weight(hidden, rank, 1 / std::sqrt(rank))),
          stream_embeddings_(encoded(dtype, weights_.normals(gamma * hidden))),
          norm_(to_float(weights_.normals(hidden))),
          cos_sin_(rotations()),
          x_(rows * hidden * 4),
          pruned_(rows * hidden * 4),
          normed_(rows * hidden * 2),
          qkv_(rows * fused * 4),
          queries_(rows * q_heads * head_dim * 2),
          attended_(rows * q_heads * head_dim * 2),
          gated_(rows * inner * 2),
          stream_k_(Q * kv_heads * head_dim * 2),
          stream_v_(Q * kv_heads * head_dim * 2),
          tokens_(size_t{R}),
          row_source_(size_t{Q}),
          segments_(size_t{3}),
          segment_count_(std::vector<int32_t>{1}),
          confidence_(size_t{R}),
          kept_(size_t{R}),
          argmax_(size_t{rows}),
          log_sum_exp_(size_t{rows}),
          top_ids_(size_t{rows} * k),
          top_logits_(size_t{rows} * k),
          logits_(rows * vocabulary * 4),
          sampling_(size_t{S}),
          accepted_count_(size_t{S}),
          accepted_node_(size_t{S} * TRIB_MAX_PATH),
          accepted_row_(size_t{S} * TRIB_MAX_PATH),
          bonus_(size_t{S}) {
        for (int layer = 0; layer < 2; ++layer) layers_.push_back(make_layer(layer));
        random_source random(seed + 1);
        step_ = make_step(random);
        cache_ = std::make_unique<kv_cache>(dtype, 2, step_->pages, kv_heads, head_dim);
        build();
    }

    // The data of one pass; everything a step holds, and the cache before it.
    void load(uint64_t seed) {
        random_source random(seed);
        const std::unique_ptr<ragged_step> next = make_step(random);
        step_->become(*next);
        const auto set = [](device_array<int32_t>& array, std::vector<int32_t> values) {
            values.resize(array.size(), index_poison);
            array.set(values);
        };
        std::vector<int32_t> tokens;
        for (int row = 0; row < next->main_rows; ++row) tokens.push_back(random.integer(0, vocabulary - 1));
        set(tokens_, tokens);
        std::vector<int32_t> sources;
        for (const int row : next->stream_indices()) sources.push_back(next->rows[row].anchor_row);
        set(row_source_, sources);
        set(segments_, {R, R + next->stream_rows, 0});
        std::vector<trib_sampling> how(S);
        std::memset(how.data(), nan_poison, sizeof(trib_sampling) * how.size());
        for (size_t s = 0; s < next->sequences.size(); ++s) {
            how[s] = {};
            how[s].seed = random.bits();
            how[s].temperature = s % 2 == 0 ? 0 : 0.8f;
            how[s].top_p = 0.95f;
            how[s].generated = random.integer(0, 900);
            how[s].active = 1;
        }
        sampling_.set(how);
        std::fill(cache_->mirror.begin(), cache_->mirror.end(), 0xffff);
        cache_->fill_visible(random, *next);
        for (device_memory* buffer : {&x_,
                                      &pruned_,
                                      &normed_,
                                      &qkv_,
                                      &queries_,
                                      &attended_,
                                      &gated_,
                                      &stream_k_,
                                      &stream_v_,
                                      &logits_,
                                      &argmax_.memory(),
                                      &log_sum_exp_.memory(),
                                      &top_ids_.memory(),
                                      &top_logits_.memory(),
                                      &accepted_count_.memory(),
                                      &accepted_node_.memory(),
                                      &accepted_row_.memory(),
                                      &bonus_.memory(),
                                      &confidence_.memory(),
                                      &kept_.memory()}) {
            buffer->thaw();
            buffer->poison();
        }
        if (pruning_) step_->thaw_rows();
        rows_now_ = next->indices(TRIB_ROWS_ALL);
        sequences_now_ = static_cast<int>(next->sequences.size());
    }

    void enqueue() {
        call(trib_embed, embed_);
        run_layer(layers_[0], x_, TRIB_ROWS_MAIN, false);
        device_memory& x = pruning_ ? pruned_ : x_;
        if (pruning_) {
            call(trib_edge_confidence, edges_);
            call(trib_gather_rows, gather_);
        }
        insert_.source = insert_.x = matrix(x.address(), TRIB_DTYPE_F32, hidden);
        call(trib_insert_streams, insert_);
        run_layer(layers_[1], x, TRIB_ROWS_ALL, true);
        norm(x, TRIB_ROWS_ALL);
        call(trib_lm_head, head_);
        call(trib_verify_tree, verify_);
        call(trib_commit_path, commit_);
    }

    // Everything that a pass leaves for the engine. Rows beyond the counts are poison, and stay so.
    results outcome() {
        EXPECT_TRUE(device_memory::all_intact());
        results result;
        result.add("argmax", argmax_.values());
        result.add_bits("log_sum_exp", log_sum_exp_.values());
        result.add("top_ids", top_ids_.values());
        result.add_bits("top_logits", top_logits_.values());
        std::vector<float> values(rows * vocabulary);
        logits_.download(values.data(), logits_.bytes());
        result.add_bits("logits", values);
        const auto of_sequences = [&](const device_array<int32_t>& array) {
            const std::vector<int32_t> all = array.values();
            return std::vector<int32_t>(all.begin(), all.begin() + sequences_now_);
        };
        result.add("accepted_count", of_sequences(accepted_count_));
        result.add("bonus", of_sequences(bonus_));
        const std::vector<int32_t> nodes = accepted_node_.values();
        for (int s = 0; s < sequences_now_; ++s) {
            const int length = std::clamp(accepted_count_.values()[s], 0, TRIB_MAX_PATH);
            const auto from = nodes.begin() + static_cast<int64_t>(s) * TRIB_MAX_PATH;
            result.add("path " + std::to_string(s), std::vector<int32_t>(from, from + length));
        }
        result.add("cache", cache_->contents());
        if (pruning_) result.add("counts", step_->counts->values());
        return result;
    }

private:
    static constexpr int R = 128, gamma = 3, Q = 60, S = 5, rows = R + Q;
    static constexpr int hidden = 256, q_heads = 8, kv_heads = 2, head_dim = 64, inner = 384, vocabulary = 600;
    static constexpr int fused = (q_heads + 2 * kv_heads) * head_dim, rank = 8, k = 8, positions = 512;

    struct layer {
        std::unique_ptr<packed_weight> qkv, out, gate_up, down;
        std::vector<std::unique_ptr<packed_weight>> adapters;
        std::unique_ptr<device_array<trib_lora>> lora;
        trib_linear_params to_qkv{}, to_out{}, to_gate{}, to_down{};
        trib_rope_append_params append{};
        trib_multi_stream_attention_params attend{};
    };

    std::unique_ptr<packed_weight> weight(int n, int columns, double deviation, uint32_t layout = TRIB_LAYOUT_PACKED) {
        return std::make_unique<packed_weight>(
            ctx_, dtype_, layout, n, columns,
            encoded(dtype_, weights_.normals(static_cast<size_t>(n) * columns, deviation)));
    }
    static std::vector<float> rotations() {
        std::vector<float> table(static_cast<size_t>(positions) * head_dim);
        for (int p = 0; p < positions; ++p) {
            for (int i = 0; i < head_dim / 2; ++i) {
                const double angle = p * std::pow(10000.0, -2.0 * i / head_dim);
                table[p * head_dim + i] = static_cast<float>(std::cos(angle));
                table[p * head_dim + head_dim / 2 + i] = static_cast<float>(std::sin(angle));
            }
        }
        return table;
    }
    std::unique_ptr<ragged_step> make_step(random_source& random) const {
        std::vector<sequence_spec> sequences(3);
        for (int s = 0; s < 2; ++s) {
            sequences[s].length = random.integer(1, 300);
            sequences[s].tree = random_tree(random, random.integer(1, 40), vocabulary);
            const int nodes = sequences[s].tree.size();
            for (int i = 0; i < std::min(nodes, 6); ++i) sequences[s].anchors.push_back(i * (nodes - 1) / 6);
            if (nodes > 1) {
                std::vector<int>& anchors = sequences[s].anchors;
                anchors.erase(std::unique(anchors.begin(), anchors.end()), anchors.end());
            } else {
                sequences[s].anchors = {0};
            }
        }
        sequences[2].length = random.integer(0, 200);
        sequences[2].chunk = random.chance(0.5) ? 1 : random.integer(2, 30);
        sequences[2].anchors = {sequences[2].chunk - 1};
        ragged_step::options with;
        with.main_rows = R;
        with.stream_rows = Q;
        with.sequences = S;
        with.pages_of_sequence = 7;
        with.pages = 24;
        with.nodes = 90;
        with.mask_words = 100;
        return std::make_unique<ragged_step>(random, sequences, gamma, with);
    }

    trib_tensor matrix(uint64_t address, uint32_t dtype, int columns) const {
        return tensor_at(address, dtype, 1, rows, columns);
    }
    trib_tensor heads(int first, int count) const {
        trib_tensor result =
            tensor_at(qkv_.address() + sizeof(float) * first * head_dim, TRIB_DTYPE_F32, rows, count, head_dim);
        result.stride[0] = fused;
        return result;
    }
    template <class Params>
    void with_workspace(uint32_t operation, Params& params) {
        workspaces_.push_back(std::make_unique<workspace>(ctx_, operation, params));
    }
    template <class Params>
    void call(trib_status (*operation)(trib_context*, const Params*), const Params& params) {
        EXPECT_EQ(operation(ctx_.get(), &params), TRIB_OK) << trib_last_error();
    }

    trib_linear_params product(const packed_weight& w, uint64_t x, int, int N, uint64_t y, uint32_t epilogue,
                               std::vector<int> parts, const layer& of, uint32_t which) {
        trib_linear_params params{};
        params.struct_size = sizeof params;
        params.rows = which;
        params.step = step_->header();
        const trib_tensor packed = w.tensor();
        params.x = matrix(x, dtype_, static_cast<int>(packed.shape[2]));
        params.weight = packed;
        params.epilogue = epilogue;
        params.y = epilogue == TRIB_EPILOGUE_SILU_GATE ? matrix(y, dtype_, N / 2) : matrix(y, TRIB_DTYPE_F32, N);
        params.parts = static_cast<uint32_t>(parts.size());
        std::copy(parts.begin(), parts.end(), params.part_columns);
        if (of.lora != nullptr && epilogue == TRIB_EPILOGUE_NONE) {
            params.adapters = 1;
            params.max_rank = rank;
            params.max_segments = 1;
            params.lora_table = of.lora->address();
            params.segments = segments_.address();
            params.segment_count = segment_count_.address();
        }
        return params;
    }
    layer make_layer(int index) {
        layer result;
        const double deviation = 1 / std::sqrt(hidden);
        result.qkv = weight(fused, hidden, deviation);
        result.out = weight(hidden, q_heads * head_dim, 0.5 * deviation);
        result.gate_up = weight(2 * inner, hidden, deviation, TRIB_LAYOUT_PACKED_GATE);
        result.down = weight(hidden, inner, 0.5 * deviation);
        if (index == 1) {
            std::vector<trib_lora> table;
            for (const int columns : {q_heads * head_dim, kv_heads * head_dim, kv_heads * head_dim}) {
                trib_lora entry{};
                result.adapters.push_back(weight(rank, hidden, deviation));
                entry.a = result.adapters.back()->address();
                result.adapters.push_back(weight(columns, rank, 1));
                entry.b = result.adapters.back()->address();
                entry.rank = rank;
                entry.scale = 2;
                entry.dtype = dtype_;
                table.push_back(entry);
            }
            result.lora = std::make_unique<device_array<trib_lora>>(table);
        }
        return result;
    }
    void build_layer(layer& of, int index, const device_memory& x) {
        const uint32_t which = index == 0 ? TRIB_ROWS_MAIN : TRIB_ROWS_ALL;
        of.to_qkv = product(*of.qkv, normed_.address(), hidden, fused, qkv_.address(), TRIB_EPILOGUE_NONE,
                            {q_heads * head_dim, kv_heads * head_dim, kv_heads * head_dim}, of, which);
        of.to_out = product(*of.out, attended_.address(), q_heads * head_dim, hidden, x.address(),
                            TRIB_EPILOGUE_RESIDUAL, {hidden}, of, which);
        of.to_gate = product(*of.gate_up, normed_.address(), hidden, 2 * inner, gated_.address(),
                             TRIB_EPILOGUE_SILU_GATE, {inner, inner}, of, which);
        of.to_down = product(*of.down, gated_.address(), inner, hidden, x.address(), TRIB_EPILOGUE_RESIDUAL, {hidden},
                             of, which);
        for (trib_linear_params* params : {&of.to_qkv, &of.to_out, &of.to_gate, &of.to_down}) {
            with_workspace(TRIB_OP_LINEAR, *params);
        }
        trib_rope_append_params& append = of.append;
        append.struct_size = sizeof append;
        append.rows = which;
        append.step = step_->header();
        append.q = heads(0, q_heads);
        append.rotated_q = tensor_at(queries_.address(), dtype_, rows, q_heads, head_dim);
        append.k = heads(q_heads, kv_heads);
        append.v = heads(q_heads + kv_heads, kv_heads);
        append.cos_sin = tensor_at(cos_sin_.address(), TRIB_DTYPE_F32, 1, positions, head_dim);
        append.cache = cache_->header();
        append.stream_k = tensor_at(stream_k_.address(), dtype_, Q, kv_heads, head_dim);
        append.stream_v = tensor_at(stream_v_.address(), dtype_, Q, kv_heads, head_dim);
        append.layer = static_cast<uint32_t>(index);
        append.rotary_dim = head_dim;
        trib_multi_stream_attention_params& attend = of.attend;
        attend.struct_size = sizeof attend;
        attend.rows = which;
        attend.step = step_->header();
        attend.q = append.rotated_q;
        attend.y = tensor_at(attended_.address(), dtype_, rows, q_heads, head_dim);
        attend.cache = append.cache;
        attend.stream_k = append.stream_k;
        attend.stream_v = append.stream_v;
        attend.layer = append.layer;
        attend.scale = 0.125f;
        with_workspace(TRIB_OP_ATTENTION, attend);
    }
    void build() {
        device_memory& second = pruning_ ? pruned_ : x_;
        build_layer(layers_[0], 0, x_);
        build_layer(layers_[1], 1, second);
        embed_.struct_size = sizeof embed_;
        embed_.step = step_->header();
        embed_.tokens = tokens_.address();
        embed_.table = table_->tensor();
        embed_.y = matrix(x_.address(), TRIB_DTYPE_F32, hidden);
        insert_.struct_size = sizeof insert_;
        insert_.step = step_->header();
        insert_.row_source = row_source_.address();
        insert_.embeddings = tensor_at(stream_embeddings_.address(), dtype_, 1, gamma, hidden);
        if (pruning_) {
            edges_.struct_size = sizeof edges_;
            edges_.threshold = 0.001f;
            edges_.step = step_->header();
            edges_.x = matrix(x_.address(), TRIB_DTYPE_F32, hidden);
            edges_.down = down_edge_->tensor();
            edges_.up = up_edge_->tensor();
            edges_.lm_head = table_->tensor();
            edges_.row_source = row_source_.address();
            edges_.confidence = confidence_.address();
            edges_.kept = kept_.address();
            with_workspace(TRIB_OP_EDGE_CONFIDENCE, edges_);
            gather_.struct_size = sizeof gather_;
            gather_.max_rows = R;
            gather_.index = kept_.address();
            gather_.count = step_->counts->address() + sizeof(int32_t);
            gather_.x = edges_.x;
            gather_.y = matrix(pruned_.address(), TRIB_DTYPE_F32, hidden);
        }
        head_.struct_size = sizeof head_;
        head_.rows = TRIB_ROWS_ALL;
        head_.step = step_->header();
        head_.x = matrix(normed_.address(), dtype_, hidden);
        head_.weight = table_->tensor();
        head_.max_rows = rows;
        head_.k = k;
        head_.argmax = argmax_.address();
        head_.log_sum_exp = log_sum_exp_.address();
        head_.top_ids = top_ids_.address();
        head_.top_logits = top_logits_.address();
        head_.logits = matrix(logits_.address(), TRIB_DTYPE_F32, vocabulary);
        with_workspace(TRIB_OP_LM_HEAD, head_);
        verify_.struct_size = sizeof verify_;
        verify_.step = step_->header();
        verify_.sampling = sampling_.address();
        verify_.argmax = argmax_.address();
        verify_.logits = head_.logits;
        verify_.accepted_count = accepted_count_.address();
        verify_.accepted_node = accepted_node_.address();
        verify_.accepted_row = accepted_row_.address();
        verify_.bonus = bonus_.address();
        with_workspace(TRIB_OP_VERIFY_TREE, verify_);
        commit_.struct_size = sizeof commit_;
        commit_.step = step_->header();
        commit_.cache = cache_->header();
        commit_.accepted_count = accepted_count_.address();
        commit_.accepted_node = accepted_node_.address();
        with_workspace(TRIB_OP_COMMIT_PATH, commit_);
    }
    void norm(const device_memory& x, uint32_t which) {
        trib_rms_norm_params params{};
        params.struct_size = sizeof params;
        params.rows = which;
        params.step = step_->header();
        params.x = tensor_at(x.address(), TRIB_DTYPE_F32, rows, 1, hidden);
        params.weight = tensor_at(norm_.address(), TRIB_DTYPE_F32, 1, 1, hidden);
        params.y = tensor_at(normed_.address(), dtype_, rows, 1, hidden);
        params.epsilon = 1e-5f;
        call(trib_rms_norm, params);
    }
    void run_layer(const layer& of, const device_memory& x, uint32_t which, bool) {
        norm(x, which);
        call(trib_linear, of.to_qkv);
        call(trib_rope_append, of.append);
        call(trib_multi_stream_attention, of.attend);
        call(trib_linear, of.to_out);
        norm(x, which);
        call(trib_linear, of.to_gate);
        call(trib_linear, of.to_down);
    }

    const context& ctx_;
    uint32_t dtype_;
    bool pruning_;
    random_source weights_;
    std::unique_ptr<packed_weight> table_, down_edge_, up_edge_;
    device_array<uint16_t> stream_embeddings_;
    device_array<float> norm_;
    device_array<float> cos_sin_;
    device_memory x_, pruned_, normed_, qkv_, queries_, attended_, gated_, stream_k_, stream_v_;
    device_array<int32_t> tokens_, row_source_, segments_, segment_count_;
    device_array<float> confidence_;
    device_array<int32_t> kept_, argmax_;
    device_array<float> log_sum_exp_;
    device_array<int32_t> top_ids_;
    device_array<float> top_logits_;
    device_memory logits_;
    device_array<trib_sampling> sampling_;
    device_array<int32_t> accepted_count_, accepted_node_, accepted_row_, bonus_;
    std::vector<layer> layers_;
    std::unique_ptr<ragged_step> step_;
    std::unique_ptr<kv_cache> cache_;
    std::vector<std::unique_ptr<workspace>> workspaces_;
    trib_embed_params embed_{};
    trib_insert_streams_params insert_{};
    trib_edge_confidence_params edges_{};
    trib_gather_rows_params gather_{};
    trib_lm_head_params head_{};
    trib_verify_tree_params verify_{};
    trib_commit_path_params commit_{};
    std::vector<int> rows_now_;
    int sequences_now_ = 0;
};

class whole_pass : public operation_test {};

// On the host, where there are no graphs, the pass is called again instead.
TEST_F(whole_pass, as_a_graph_gives_the_bits_of_direct_calls_over_other_data) {
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        for (const bool pruning : {false, true}) {
            SCOPED_TRACE(testing::Message() << dtype_name(dtype) << (pruning ? " with pruning" : ""));
            small_decoder decoder(ctx, dtype, pruning, base_seed());
            std::vector<results> direct;
            for (int data = 0; data < 4; ++data) {
                decoder.load(base_seed() + 100 + data);
                decoder.enqueue();
                direct.push_back(decoder.outcome());
            }
            EXPECT_FALSE(agree(direct[1], direct[0])) << "other data, other results";
            decoder.load(base_seed() + 100);
            std::unique_ptr<cuda_graph> graph;
            if (test_backend().kind() == TRIB_BACKEND_CUDA) {
                graph = std::make_unique<cuda_graph>([&] { decoder.enqueue(); });
                EXPECT_GT(graph->nodes(), 15u);
            }
            for (const int data : {0, 1, 2, 3, 1, 0}) {
                decoder.load(base_seed() + 100 + data);
                if (graph != nullptr) {
                    graph->replay();
                } else {
                    decoder.enqueue();
                }
                ASSERT_TRUE(agree(decoder.outcome(), direct[data])) << "data " << data;
            }
        }
    }
}

// Nothing waits between passes, so kernels of one overlap those of the next wherever they are allowed to; a missing
// order between two of them shows here.
TEST_F(whole_pass, repeated_without_a_pause_gives_the_same_bits) {
    const int repetitions = test_backend().kind() == TRIB_BACKEND_CUDA ? 100 : 2;
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        small_decoder decoder(ctx, dtype, false, base_seed());
        for (int data = 0; data < 3; ++data) {
            decoder.load(base_seed() + 200 + data);
            decoder.enqueue();
            const results once = decoder.outcome();
            for (int i = 0; i < repetitions; ++i) decoder.enqueue();
            ASSERT_TRUE(agree(decoder.outcome(), once)) << dtype_name(dtype) << " data " << data;
        }
    }
}

// ------------------------------------------------------------------ rows alone and among others

class row_invariance : public operation_test {
protected:
    // Where row `row` of a step with `rows` rows takes its input from: every input meets every place.
    static int source_of(int row, int rows, int inputs) { return (row * 7 + rows) % inputs; }
};

TEST_F(row_invariance, of_linears_for_any_count_of_rows_place_and_bound) {
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        for (const uint32_t epilogue : {TRIB_EPILOGUE_NONE, TRIB_EPILOGUE_RESIDUAL, TRIB_EPILOGUE_SILU_GATE}) {
            // A K that is cut into parts, and one that is not.
            for (const int K : {epilogue == TRIB_EPILOGUE_NONE ? 1000 : 512, 320}) {
                const int N = 384;
                const int outputs = epilogue == TRIB_EPILOGUE_SILU_GATE ? N / 2 : N;
                const int inputs = 40;
                quick_values values(random, dtype, 1 / std::sqrt(K));
                const packed_weight packed(
                    ctx, dtype, epilogue == TRIB_EPILOGUE_SILU_GATE ? TRIB_LAYOUT_PACKED_GATE : TRIB_LAYOUT_PACKED, N,
                    K, values(static_cast<size_t>(N) * K), {N / 2, N / 2});
                quick_values operands(random, dtype, 1);
                const std::vector<uint16_t> operand = operands(static_cast<size_t>(inputs) * K);
                const std::vector<float> residual = to_float(random.normals(outputs));
                std::vector<std::vector<float>> expected(inputs);
                for (const int rows : {1,  2,  7,   8,   9,   15,  16,  17,  31,  32,  33,  63,   64,
                                       65, 96, 127, 128, 129, 160, 192, 256, 257, 400, 512, 1000, 2560}) {
                    sequence_spec sequence;
                    sequence.chunk = rows;
                    for (int i = 0; i < std::min(rows, 5); ++i) sequence.anchors.push_back(i);
                    const ragged_step step(random, {sequence}, 3);
                    std::vector<uint16_t> x(static_cast<size_t>(step.R + step.Q) * K, 0xffff);
                    for (const int row : step.indices(TRIB_ROWS_ALL)) {
                        std::copy_n(operand.begin() + static_cast<int64_t>(source_of(row, rows, inputs)) * K, K,
                                    x.begin() + static_cast<int64_t>(row) * K);
                    }
                    const device_array<uint16_t> device_x(x);
                    row_tensor y(step.R + step.Q, 0, outputs);
                    trib_linear_params params{};
                    params.struct_size = sizeof params;
                    params.rows = TRIB_ROWS_ALL;
                    params.x = tensor_at(device_x.address(), dtype, 1, step.R + step.Q, K);
                    params.weight = packed.tensor();
                    params.y = y.tensor();
                    params.epilogue = epilogue;
                    params.parts = 2;
                    params.part_columns[0] = params.part_columns[1] = N / 2;
                    for (const bool bounded : {false, true}) {
                        trib_step header = step.copy_of_header();
                        if (bounded) {
                            header.bound_main_rows = static_cast<uint32_t>(step.main_rows);
                            header.bound_stream_rows = static_cast<uint32_t>(step.stream_rows);
                        }
                        params.step = &header;
                        y.poison();
                        if (epilogue == TRIB_EPILOGUE_RESIDUAL) {
                            for (const int row : step.indices(TRIB_ROWS_ALL)) y.set_row(row, residual.data());
                        }
                        const workspace space(ctx, TRIB_OP_LINEAR, params);
                        ASSERT_TRUE(calls(trib_linear, ctx, params));
                        for (const int row : step.indices(TRIB_ROWS_ALL)) {
                            std::vector<float>& of_source = expected[source_of(row, rows, inputs)];
                            const std::vector<float> got = y.row(row);
                            if (of_source.empty()) of_source = got;
                            ASSERT_TRUE(same_bits(got, of_source))
                                << dtype_name(dtype) << " epilogue " << epilogue << " row " << row << " of " << rows
                                << (bounded ? ", bounded" : "");
                        }
                    }
                }
            }
        }
    }
}

// A weight as wide as models', of which blocks take uneven shares, and two adapters whose rows lie among others.
TEST_F(row_invariance, of_wide_linears_with_adapters) {
    const uint32_t dtype = TRIB_DTYPE_BF16;
    const int K = 192, N = 12288, inputs = 39, rank = 16;
    for (const uint32_t epilogue : {TRIB_EPILOGUE_NONE, TRIB_EPILOGUE_SILU_GATE}) {
        const bool gate = epilogue == TRIB_EPILOGUE_SILU_GATE;
        const int outputs = gate ? N / 2 : N;
        quick_values values(random, dtype, 1 / std::sqrt(K));
        const packed_weight packed(ctx, dtype, gate ? TRIB_LAYOUT_PACKED_GATE : TRIB_LAYOUT_PACKED, N, K,
                                   values(static_cast<size_t>(N) * K), {N / 2, N / 2});
        std::vector<std::unique_ptr<packed_weight>> adapters;
        std::vector<trib_lora> table;
        for (int i = 0; i < 4; ++i) {  // two adapters of two parts
            adapters.push_back(std::make_unique<packed_weight>(ctx, dtype, TRIB_LAYOUT_PACKED, rank, K,
                                                               values(static_cast<size_t>(rank) * K)));
            trib_lora entry{};
            entry.a = adapters.back()->address();
            adapters.push_back(std::make_unique<packed_weight>(ctx, dtype, TRIB_LAYOUT_PACKED, N / 2, rank,
                                                               values(static_cast<size_t>(N / 2) * rank)));
            entry.b = adapters.back()->address();
            entry.rank = rank;
            entry.scale = 2;
            entry.dtype = dtype;
            table.push_back(entry);
        }
        const device_array<trib_lora> lora(table);
        quick_values operands(random, dtype, 1);
        const std::vector<uint16_t> operand = operands(static_cast<size_t>(inputs) * K);
        std::vector<std::vector<float>> expected(inputs);
        for (const int rows : {1, 9, 33, 64, 65, 96, 128, 160, 200, 256, 300, 512}) {
            sequence_spec sequence;
            sequence.chunk = rows;
            sequence.anchors = {0};
            const ragged_step step(random, {sequence}, 2);
            const int all = step.R + step.Q;
            // Runs of rows without an adapter, with the first, with the second; an input always meets the same.
            std::vector<int32_t> segments;
            std::vector<int> sources(static_cast<size_t>(all));
            std::vector<uint16_t> x(static_cast<size_t>(all) * K, 0xffff);
            for (const int row : step.indices(TRIB_ROWS_ALL)) {
                sources[row] = 3 * ((row + rows) % (inputs / 3)) + row / 7 % 3;
                std::copy_n(operand.begin() + static_cast<int64_t>(sources[row]) * K, K,
                            x.begin() + static_cast<int64_t>(row) * K);
                const int adapter = sources[row] % 3 - 1;
                if (segments.empty() || segments.back() != adapter || segments[segments.size() - 2] != row) {
                    segments.insert(segments.end(), {row, row + 1, adapter});
                } else {
                    segments[segments.size() - 2] = row + 1;
                }
            }
            const device_array<uint16_t> device_x(x);
            const device_array<int32_t> device_segments(segments);
            const device_array<int32_t> segment_count(std::vector<int32_t>{static_cast<int32_t>(segments.size() / 3)});
            row_tensor y(all, 0, outputs);
            trib_linear_params params{};
            params.struct_size = sizeof params;
            params.rows = TRIB_ROWS_ALL;
            params.x = tensor_at(device_x.address(), dtype, 1, all, K);
            params.weight = packed.tensor();
            params.y = y.tensor();
            params.epilogue = epilogue;
            params.parts = 2;
            params.part_columns[0] = params.part_columns[1] = N / 2;
            params.adapters = 2;
            params.max_rank = rank;
            params.max_segments = static_cast<uint32_t>(segments.size() / 3);
            params.lora_table = lora.address();
            params.segments = device_segments.address();
            params.segment_count = segment_count.address();
            trib_step header = step.copy_of_header();
            header.bound_main_rows = static_cast<uint32_t>(step.main_rows);
            header.bound_stream_rows = static_cast<uint32_t>(step.stream_rows);
            params.step = &header;
            const workspace space(ctx, TRIB_OP_LINEAR, params);
            ASSERT_TRUE(calls(trib_linear, ctx, params));
            for (const int row : step.indices(TRIB_ROWS_ALL)) {
                std::vector<float>& of_source = expected[sources[row]];
                const std::vector<float> got = y.row(row);
                if (of_source.empty()) of_source = got;
                ASSERT_TRUE(same_bits(got, of_source)) << "epilogue " << epilogue << " row " << row << " of " << rows;
            }
        }
    }
}

TEST_F(row_invariance, of_heads_for_any_count_of_rows_and_place) {
    const int V = 1500, hidden = 320, k = 16, inputs = 30;
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        quick_values values(random, dtype, 3 / std::sqrt(hidden));
        const packed_weight packed(ctx, dtype, TRIB_LAYOUT_PACKED, V, hidden, values(static_cast<size_t>(V) * hidden));
        quick_values operands(random, dtype, 1);
        const std::vector<uint16_t> operand = operands(static_cast<size_t>(inputs) * hidden);
        std::vector<std::vector<uint32_t>> expected(inputs);
        for (const int rows : {1, 2, 8, 16, 17, 63, 64, 65, 128, 129, 160, 256, 300}) {
            sequence_spec sequence;
            sequence.chunk = rows;
            sequence.anchors = {0};
            const ragged_step step(random, {sequence}, 2);
            const int all = step.R + step.Q;
            std::vector<uint16_t> x(static_cast<size_t>(all) * hidden, 0xffff);
            for (const int row : step.indices(TRIB_ROWS_ALL)) {
                std::copy_n(operand.begin() + static_cast<int64_t>(source_of(row, rows, inputs)) * hidden, hidden,
                            x.begin() + static_cast<int64_t>(row) * hidden);
            }
            const device_array<uint16_t> device_x(x);
            device_array<int32_t> argmax(static_cast<size_t>(all));
            device_array<float> log_sum_exp(static_cast<size_t>(all));
            device_array<int32_t> top_ids(static_cast<size_t>(all) * k);
            device_array<float> top_logits(static_cast<size_t>(all) * k);
            trib_lm_head_params params{};
            params.struct_size = sizeof params;
            params.rows = TRIB_ROWS_ALL;
            params.step = step.header();
            params.x = tensor_at(device_x.address(), dtype, 1, all, hidden);
            params.weight = packed.tensor();
            params.max_rows = static_cast<uint32_t>(all);
            params.k = k;
            params.argmax = argmax.address();
            params.log_sum_exp = log_sum_exp.address();
            params.top_ids = top_ids.address();
            params.top_logits = top_logits.address();
            const workspace space(ctx, TRIB_OP_LM_HEAD, params);
            ASSERT_TRUE(calls(trib_lm_head, ctx, params));
            const std::vector<int32_t> best = argmax.values();
            const std::vector<float> lse = log_sum_exp.values();
            const std::vector<int32_t> ids = top_ids.values();
            const std::vector<float> top = top_logits.values();
            for (const int row : step.indices(TRIB_ROWS_ALL)) {
                std::vector<uint32_t> got = {static_cast<uint32_t>(best[row]), std::bit_cast<uint32_t>(lse[row])};
                for (int i = row * k; i < (row + 1) * k; ++i) {
                    got.push_back(static_cast<uint32_t>(ids[i]));
                    got.push_back(std::bit_cast<uint32_t>(top[i]));
                }
                std::vector<uint32_t>& of_source = expected[source_of(row, rows, inputs)];
                if (of_source.empty()) of_source = got;
                ASSERT_TRUE(same_bits(got, of_source)) << dtype_name(dtype) << " row " << row << " of " << rows;
            }
        }
    }
}

// The same rows in larger capacities, with and without bounds.
TEST_F(row_invariance, of_attention_for_any_capacity_and_bound) {
    for (const int head_dim : {64, 80, 128}) {
        for (const int length : {5, 140, 1100}) {
            sequence_spec sequence;
            sequence.length = length;
            sequence.tree = random_tree(random, 33);
            sequence.anchors = {0, 5, 32};
            attention_case shape;
            shape.head_dim = head_dim;
            shape.layers = 1;
            shape.layer = 0;
            shape.q_heads = 8;
            const uint64_t data = random.bits();
            std::vector<float> expected;
            for (const int pages : {0, 40}) {
                for (const int spare : {0, 100}) {
                    random_source same(data);
                    ragged_step::options with;
                    with.spare_rows = spare;
                    with.spare_groups = spare / 10;
                    with.pages_of_sequence = pages;
                    const ragged_step step(same, {sequence}, 3, with);
                    attention_inputs in(step, shape);
                    random_source contents(data + 1);
                    in.randomize(contents);
                    for (const bool bounded : {false, true}) {
                        trib_multi_stream_attention_params params = in.params();
                        trib_step header = step.copy_of_header();
                        if (bounded) {
                            header.bound_main_rows = static_cast<uint32_t>(step.main_rows);
                            header.bound_stream_rows = static_cast<uint32_t>(step.stream_rows);
                            header.bound_context = static_cast<uint32_t>(length + TRIB_MAX_PATH);
                        }
                        params.step = &header;
                        in.y.poison();
                        const workspace space(ctx, TRIB_OP_ATTENTION, params);
                        ASSERT_TRUE(calls(trib_multi_stream_attention, ctx, params));
                        const std::vector<float> got = rows_of(in.y, step.indices(TRIB_ROWS_ALL));
                        if (expected.empty()) expected = got;
                        ASSERT_TRUE(same_bits(got, expected))
                            << "d " << head_dim << " L " << length << " pages " << pages << " spare " << spare
                            << (bounded ? " bounded" : "");
                    }
                }
            }
        }
    }
}

}  // namespace
}  // namespace tributary::test
