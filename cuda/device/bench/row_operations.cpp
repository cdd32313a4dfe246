// SPDX-License-Identifier: Apache-2.0
//
// The operations that move rows: small beside the linears, so each is a launch more than bytes. What they read was just
// written in a pass and lies in the L2 cache there, so nothing is rotated here except embedding and cache pages.
#include <algorithm>
#include <cmath>
#include <vector>

#include "ceilings.hpp"
#include "session.hpp"
#include "steps.hpp"

namespace tributary::bench {
namespace {

constexpr int hidden = 4096;
constexpr int q_heads = 32;
constexpr int kv_heads = 8;
constexpr int head_dim = 128;
constexpr int layers = 32;
constexpr int vocabulary = 32000;
constexpr int positions = 1024;
constexpr row_capacity capacity = {256, 512};

struct row_bench {
    explicit row_bench(session& given)
        : s(given),
          x(rows * hidden * 4),
          y(rows * hidden * 4),
          qkv(rows * qkv_columns * 4),
          queries(rows * q_heads * head_dim * 2),
          norm(hidden * 2),
          stream_k(size_t{capacity.stream_rows} * kv_heads * head_dim * 2),
          stream_v(size_t{capacity.stream_rows} * kv_heads * head_dim * 2),
          argmax(rows * 4) {
        fill_f32(x.as<void>(), rows * hidden, 1, s.stream());
        fill_f32(qkv.as<void>(), rows * qkv_columns, 2, s.stream());
        fill_rotations();
        fill_bf16(norm.as<void>(), hidden, 0, 4, s.stream());
    }

    // Real angles.
    void fill_rotations() {
        std::vector<float> table;
        for (int position = 0; position < positions; ++position) {
            for (int i = 0; i < head_dim; ++i) {
                const double angle = position * std::pow(10000.0, -2.0 * (i % (head_dim / 2)) / head_dim);
                table.push_back(static_cast<float>(i < head_dim / 2 ? std::cos(angle) : std::sin(angle)));
            }
        }
        cos_sin = buffer(table);
    }

    static constexpr size_t rows = capacity.main_rows + capacity.stream_rows;
    static constexpr size_t qkv_columns = (q_heads + 2 * kv_heads) * head_dim;

    bench_case named(const char* operation, const device_step& step, double bytes) const {
        return {.operation = operation, .shape = "4096", .rows = step.rows(), .least = {bytes, 0}};
    }
    // Of a pass without streams nothing asks for their rows.
    static uint32_t selected(const device_step& step) {
        return step.stream_rows() != 0 ? TRIB_ROWS_ALL : TRIB_ROWS_MAIN;
    }
    trib_kv_cache cache(const device_step& step) const {
        return {s.pool(), TRIB_DTYPE_BF16, layers, static_cast<uint32_t>(step.pages()), kv_heads, head_dim, 0};
    }

    void embed(const device_step& step) {
        trib_embed_params p = {};
        p.struct_size = sizeof p;
        p.step = step.get();
        p.tokens = step.get()->tree_token;
        p.table = packed(s.pool(), TRIB_LAYOUT_PACKED, vocabulary, hidden);
        p.y = matrix(y.address(), TRIB_DTYPE_F32, rows, hidden);
        bench_case c = named("embed", step, step.main_rows() * hidden * 6.0);
        c.rows = step.main_rows();
        s.run(c, [&](int) { return trib_embed(s.context(), &p); });
    }

    void rms_norm(const device_step& step) {
        trib_rms_norm_params p = {};
        p.struct_size = sizeof p;
        p.rows = selected(step);
        p.step = step.get();
        p.x = groups_of(x.address(), TRIB_DTYPE_F32, rows, 1, hidden, hidden);
        p.weight = {norm.address(), 0, {1, 1, hidden}, {hidden, hidden, 1}, TRIB_DTYPE_BF16, 0, 0, 0};
        p.y = groups_of(y.address(), TRIB_DTYPE_BF16, rows, 1, hidden, hidden);
        p.epsilon = 1e-5F;
        s.run(named("rms_norm", step, step.rows() * hidden * 6.0), [&](int) { return trib_rms_norm(s.context(), &p); });
    }

    void rope_append(const device_step& step) {
        trib_rope_append_params p = {};
        p.struct_size = sizeof p;
        p.rows = selected(step);
        p.step = step.get();
        p.q = groups_of(qkv.address(), TRIB_DTYPE_F32, rows, q_heads, head_dim, qkv_columns);
        p.k = groups_of(qkv.address() + q_heads * head_dim * 4, TRIB_DTYPE_F32, rows, kv_heads, head_dim, qkv_columns);
        p.v = groups_of(qkv.address() + (q_heads + kv_heads) * head_dim * 4, TRIB_DTYPE_F32, rows, kv_heads, head_dim,
                        qkv_columns);
        p.cos_sin = matrix(cos_sin.address(), TRIB_DTYPE_F32, positions, head_dim);
        p.cache = cache(step);
        p.stream_k = groups_of(stream_k.address(), TRIB_DTYPE_BF16, capacity.stream_rows, kv_heads, head_dim,
                               kv_heads * head_dim);
        p.stream_v = groups_of(stream_v.address(), TRIB_DTYPE_BF16, capacity.stream_rows, kv_heads, head_dim,
                               kv_heads * head_dim);
        p.rotary_dim = head_dim;
        p.rotated_q = groups_of(queries.address(), TRIB_DTYPE_BF16, rows, q_heads, head_dim, q_heads * head_dim);
        // q, k and v are read in fp32 and written in 16 bits.
        bench_case c = named("rope_append", step, step.rows() * head_dim * (q_heads * 6.0 + kv_heads * 12.0));
        c.copies = layers;
        s.run(c, [&](int copy) {
            p.layer = static_cast<uint32_t>(copy);
            return trib_rope_append(s.context(), &p);
        });
    }

    void gather_rows(const device_step& step) {
        trib_gather_rows_params p = {};
        p.struct_size = sizeof p;
        p.max_rows = static_cast<uint32_t>(step.rows());
        p.index = step.live_rows();
        p.count = step.live_count();
        p.x = matrix(x.address(), TRIB_DTYPE_F32, rows, hidden);
        p.y = matrix(y.address(), TRIB_DTYPE_F32, rows, hidden);
        s.run(named("gather_rows", step, step.rows() * hidden * 8.0),
              [&](int) { return trib_gather_rows(s.context(), &p); });
    }

    void insert_streams(const device_step& step) {
        if (step.stream_rows() == 0) {
            return;
        }
        trib_insert_streams_params p = {};
        p.struct_size = sizeof p;
        p.step = step.get();
        p.source = matrix(x.address(), TRIB_DTYPE_F32, rows, hidden);
        p.row_source = step.row_source();
        p.embeddings = matrix(s.pool(), TRIB_DTYPE_BF16, step.get()->gamma, hidden);
        p.x = matrix(x.address(), TRIB_DTYPE_F32, rows, hidden);
        bench_case c = named("insert_streams", step, step.stream_rows() * hidden * 8.0);
        c.rows = step.stream_rows();
        s.run(c, [&](int) { return trib_insert_streams(s.context(), &p); });
    }

    void verify_tree(const device_step& step, const trib_tensor& logits, const buffer& sampling, const char* variant) {
        trib_verify_tree_params p = {};
        p.struct_size = sizeof p;
        p.step = step.get();
        p.sampling = sampling.address();
        p.argmax = argmax.address();
        p.logits = logits;
        const buffer count(size_t{step.get()->max_sequences} * 4);
        const buffer nodes(size_t{step.get()->max_sequences} * TRIB_MAX_PATH * 4);
        const buffer path_rows(size_t{step.get()->max_sequences} * TRIB_MAX_PATH * 4);
        const buffer bonus(size_t{step.get()->max_sequences} * 4);
        p.accepted_count = count.address();
        p.accepted_node = nodes.address();
        p.accepted_row = path_rows.address();
        p.bonus = bonus.address();
        require(trib_workspace_size(s.context(), TRIB_OP_VERIFY_TREE, &p, &p.workspace_bytes));
        const buffer workspace(p.workspace_bytes);
        p.workspace = workspace.address();
        // Of the logits the rows that the walk meets must be read: one here, the root's children being wrong.
        bench_case c = named("verify_tree", step, logits.address != 0 ? vocabulary * 4.0 : 0);
        c.rows = step.main_rows();
        c.variant = variant;
        s.run(c, [&](int) { return trib_verify_tree(s.context(), &p); });
    }

    void commit_path(const device_step& step) {
        const std::vector<int32_t> count = {4};
        std::vector<int32_t> path = {0, 2, 5, 9};
        path.resize(TRIB_MAX_PATH, 0);
        const buffer counts(count);
        const buffer nodes(path);
        trib_commit_path_params p = {};
        p.struct_size = sizeof p;
        p.step = step.get();
        p.cache = cache(step);
        p.accepted_count = counts.address();
        p.accepted_node = nodes.address();
        require(trib_workspace_size(s.context(), TRIB_OP_COMMIT_PATH, &p, &p.workspace_bytes));
        const buffer workspace(p.workspace_bytes);
        p.workspace = workspace.address();
        // Three of four nodes move, in 32 layers, keys and values, read and written.
        bench_case c = named("commit_path", step, 3.0 * layers * 2 * kv_heads * head_dim * 2 * 2);
        c.shape = "32 layers, 8 kv heads, 4 accepted";
        c.rows = step.main_rows();
        s.run(c, [&](int) { return trib_commit_path(s.context(), &p); });
    }

    void edge_confidence(const device_step& step) {
        constexpr int rank = 64;
        const buffer confidence(rows * 4);
        const buffer kept(rows * 4);
        // down, up and the head at different places of the pool.
        const uint64_t down_bytes = uint64_t{rank} * hidden * 2;
        trib_edge_confidence_params p = {};
        p.struct_size = sizeof p;
        p.threshold = 0;  // nothing is pruned, so that the step stays what it is
        p.step = step.get();
        p.x = matrix(x.address(), TRIB_DTYPE_F32, rows, hidden);
        p.down = packed(s.pool(), TRIB_LAYOUT_PACKED, rank, hidden);
        p.up = packed(s.pool() + down_bytes, TRIB_LAYOUT_PACKED, hidden, rank);
        p.lm_head = packed(s.pool() + 2 * down_bytes, TRIB_LAYOUT_PACKED, vocabulary, hidden);
        p.row_source = step.row_source();
        p.confidence = confidence.address();
        p.kept = kept.address();
        require(trib_workspace_size(s.context(), TRIB_OP_EDGE_CONFIDENCE, &p, &p.workspace_bytes));
        const buffer workspace(p.workspace_bytes);
        p.workspace = workspace.address();
        bench_case c = named("edge_confidence", step, 2.0 * vocabulary * hidden);
        c.shape = "V 32000, rank 64";
        c.rows = step.main_rows();
        c.least.flops = 2.0 * vocabulary * hidden * step.main_rows();
        s.run(c, [&](int) { return trib_edge_confidence(s.context(), &p); });
    }

    // verify_tree trusts lm_head's argmax.
    void find_greatest(const buffer& logits, int count) {
        std::vector<float> values(static_cast<size_t>(count) * vocabulary);
        check(cudaStreamSynchronize(s.stream()), "cudaStreamSynchronize");
        check(cudaMemcpy(values.data(), logits.as<void>(), values.size() * 4, cudaMemcpyDeviceToHost), "cudaMemcpy");
        std::vector<int32_t> best(argmax.bytes() / 4);
        for (int row = 0; row < count; ++row) {
            const auto begin = values.begin() + static_cast<int64_t>(row) * vocabulary;
            best[row] = static_cast<int32_t>(std::max_element(begin, begin + vocabulary) - begin);
        }
        argmax = buffer(best);
    }

    void top_k(int count) {
        constexpr uint32_t k = 8;
        const buffer logits(static_cast<size_t>(count) * vocabulary * 4);
        fill_f32(logits.as<void>(), logits.bytes() / 4, 9, s.stream());
        const buffer ids(static_cast<size_t>(count) * k * 4);
        const buffer values(static_cast<size_t>(count) * k * 4);
        const buffer row_count(std::vector<int32_t>{count});
        trib_top_k_params p = {};
        p.struct_size = sizeof p;
        p.k = k;
        p.logits = matrix(logits.address(), TRIB_DTYPE_F32, count, vocabulary);
        p.row_count = row_count.address();
        p.top_ids = ids.address();
        p.top_logits = values.address();
        require(trib_workspace_size(s.context(), TRIB_OP_TOP_K, &p, &p.workspace_bytes));
        const buffer workspace(p.workspace_bytes);
        p.workspace = workspace.address();
        const bench_case c = {
            .operation = "top_k", .shape = "V 32000, k 8", .rows = count, .least = {4.0 * count * vocabulary, 0}};
        s.run(c, [&](int) { return trib_top_k(s.context(), &p); });
    }

    session& s;
    buffer x, y, qkv, queries, norm, stream_k, stream_v, argmax;
    buffer cos_sin;  // [positions, head_dim]
};

}  // namespace

void bench_row_operations(session& s) {
    if (s.quick()) {
        return;
    }
    s.heading("operations on rows (what they read is warm, as in a pass)");
    row_bench bench(s);
    const std::vector<trib_sampling> greedy = {{.seed = 1, .temperature = 0, .top_p = 1, .active = 1}};
    const std::vector<trib_sampling> sampled = {
        {.seed = 1, .temperature = 0.8F, .top_p = 0.95F, .min_p = 0.02F, .top_k = 50, .active = 1}};
    const buffer greedy_table(greedy);
    const buffer sampled_table(sampled);
    const buffer top_p_table(std::vector<trib_sampling>{{.seed = 1, .temperature = 0.8F, .top_p = 0.95F, .active = 1}});
    const buffer whole_table(std::vector<trib_sampling>{{.seed = 1, .temperature = 0.8F, .top_p = 1, .active = 1}});
    const buffer logits(size_t{32} * vocabulary * 4);
    fill_f32(logits.as<void>(), size_t{32} * vocabulary, 8, s.stream());
    bench.find_greatest(logits, 32);
    const trib_tensor table = matrix(logits.address(), TRIB_DTYPE_F32, 32, vocabulary);
    for (const auto& [main_rows, stream_rows] : {std::pair{1, 0}, {32, 0}, {32, 128}}) {
        const device_step step = plain_rows(capacity, main_rows, stream_rows);
        if (stream_rows == 0) {
            bench.embed(step);
        }
        bench.rms_norm(step);
        bench.rope_append(step);
        bench.gather_rows(step);
        bench.insert_streams(step);
        bench.top_k(main_rows + stream_rows);
        if (stream_rows == 0) {
            bench.verify_tree(step, {}, greedy_table, "greedy");
            bench.verify_tree(step, table, sampled_table, "sampled, V 32000");
            bench.verify_tree(step, table, top_p_table, "sampled by top-p alone, V 32000");
            bench.verify_tree(step, table, whole_table, "sampled without filters, V 32000");
        }
        if (main_rows == 32 && stream_rows == 0) {
            bench.commit_path(step);
            bench.edge_confidence(step);
        }
    }
}

}  // namespace tributary::bench
