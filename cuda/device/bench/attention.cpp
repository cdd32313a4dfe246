// SPDX-License-Identifier: Apache-2.0
//
// multi_stream_attention: trees, trees with streams, single rows, batches, a chunk of a prompt. What it reads is the KV
// pages of a layer; the launches rotate over layers.
//
// Each launch stands behind rope_append of the same step, as in a pass: that writes q and the rows' own keys and values and
// reads the step's arrays, so that the L2 cache holds them, while the pages of the context are cold.
#include <algorithm>
#include <cmath>

#include "ceilings.hpp"
#include "session.hpp"
#include "steps.hpp"

namespace tributary::bench {
namespace {

constexpr int q_heads = 32;
constexpr int head_dim = 128;
constexpr int gamma = 4;
constexpr double unlimited = 0;
constexpr int positions = 65536 + 1024;  // the longest context, and rows behind it

std::string in_thousands(int tokens) { return std::to_string(tokens / 1024) + "k"; }

class attention_bench {
public:
    explicit attention_bench(session& s) : session_(s) {
        s.fill_pool(-1);  // keys and values of ordinary size
        // One angle for all, with a cosine of 0.6.
        std::vector<float> table;
        table.reserve(static_cast<size_t>(positions) * head_dim);
        for (int position = 0; position < positions; ++position) {
            table.insert(table.end(), head_dim / 2, 0.6F);
            table.insert(table.end(), head_dim / 2, 0.8F);
        }
        cos_sin_ = buffer(table);
    }

    void measure(const char* kind, const std::vector<sequence>& sequences, int kv_heads, int context,
                 const target& goal) {
        int main_rows = 0;
        int streams = 0;
        for (const sequence& s : sequences) {
            main_rows += s.main_rows();
            streams += s.anchors * gamma;
        }
        bench_case c = {
            .operation = "attention",
            .shape = std::string(kind) + ", " + std::to_string(kv_heads) + " kv heads, " + in_thousands(context),
            .rows = main_rows + streams,
            .goal = goal};
        if (!session_.wanted(c) || (session_.quick() && goal.what == target::kind::none)) {
            return;
        }
        const device_step step({std::max(main_rows, 256), std::max(streams, 512)}, gamma, sequences);
        const double page_bytes = 2.0 * 2 * TRIB_PAGE_TOKENS * kv_heads * head_dim;
        const double layer_bytes = page_bytes * step.pages();
        c.least.bytes = 2.0 * 2 * kv_heads * head_dim * step.slots();
        c.least.flops = 4.0 * q_heads * head_dim * step.visible_keys();
        c.copies = session_.copies_of(layer_bytes);
        c.bytes_per_copy = layer_bytes;
        if (c.goal.what == target::kind::floor_ratio && c.goal.limit == unlimited) {
            c.goal.limit = long_context_limit(c.least);
        }

        const int rows = step.capacity();
        const int64_t qkv_columns = int64_t{q_heads + 2 * kv_heads} * head_dim;
        const buffer qkv(static_cast<size_t>(rows * qkv_columns) * 4);
        const buffer queries(static_cast<size_t>(rows) * q_heads * head_dim * 2);
        const buffer y(static_cast<size_t>(rows) * q_heads * head_dim * 2);
        const size_t scratch_elements =
            static_cast<size_t>(step.get()->max_stream_rows) * static_cast<size_t>(kv_heads) * head_dim;
        const buffer stream_k(scratch_elements * 2);
        const buffer stream_v(scratch_elements * 2);
        fill_f32(qkv.as<void>(), qkv.bytes() / 4, 2, session_.stream());
        fill_bf16(stream_k.as<void>(), scratch_elements, -1, 3, session_.stream());
        fill_bf16(stream_v.as<void>(), scratch_elements, -1, 4, session_.stream());
        check(cudaMemset(y.as<void>(), 0xff, y.bytes()), "cudaMemset");  // NaN: what is not written shows

        trib_multi_stream_attention_params p = {};
        p.struct_size = sizeof p;
        p.rows = streams != 0 ? TRIB_ROWS_ALL : TRIB_ROWS_MAIN;
        p.step = step.get();
        p.q = groups_of(queries.address(), TRIB_DTYPE_BF16, rows, q_heads, head_dim, q_heads * head_dim);
        p.y = groups_of(y.address(), TRIB_DTYPE_BF16, rows, q_heads, head_dim, q_heads * head_dim);
        p.cache = {session_.pool(),
                   TRIB_DTYPE_BF16,
                   static_cast<uint32_t>(c.copies),
                   static_cast<uint32_t>(step.pages()),
                   static_cast<uint32_t>(kv_heads),
                   head_dim,
                   0};
        const auto scratch_rows = static_cast<int64_t>(step.get()->max_stream_rows);
        p.stream_k =
            groups_of(stream_k.address(), TRIB_DTYPE_BF16, scratch_rows, kv_heads, head_dim, kv_heads * head_dim);
        p.stream_v =
            groups_of(stream_v.address(), TRIB_DTYPE_BF16, scratch_rows, kv_heads, head_dim, kv_heads * head_dim);
        p.scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
        require(trib_workspace_size(session_.context(), TRIB_OP_ATTENTION, &p, &p.workspace_bytes));
        const buffer workspace(p.workspace_bytes);
        p.workspace = workspace.address();

        trib_rope_append_params rope = {};
        rope.struct_size = sizeof rope;
        rope.rows = p.rows;
        rope.step = p.step;
        rope.q = groups_of(qkv.address(), TRIB_DTYPE_F32, rows, q_heads, head_dim, qkv_columns);
        rope.rotated_q = p.q;
        rope.k = groups_of(qkv.address() + uint64_t{q_heads} * head_dim * 4, TRIB_DTYPE_F32, rows, kv_heads, head_dim,
                           qkv_columns);
        rope.v = groups_of(rope.k.address + static_cast<uint64_t>(kv_heads) * head_dim * 4, TRIB_DTYPE_F32, rows,
                           kv_heads, head_dim, qkv_columns);
        rope.cos_sin = matrix(cos_sin_.address(), TRIB_DTYPE_F32, positions, head_dim);
        rope.cache = p.cache;
        rope.stream_k = p.stream_k;
        rope.stream_v = p.stream_v;
        rope.rotary_dim = head_dim;
        session_.run(
            c,
            [&](int copy) {
                p.layer = static_cast<uint32_t>(copy);
                return trib_multi_stream_attention(session_.context(), &p);
            },
            [&]() -> std::string {
                const int64_t width = int64_t{q_heads} * head_dim;
                const int64_t bad =
                    count_not_finite(y.as<void>(), false, step.main_rows(), width, width, session_.stream()) +
                    (streams == 0 ? 0
                                  : count_not_finite(y.as<uint16_t>() + step.get()->max_main_rows * width, false,
                                                     step.stream_rows(), width, width, session_.stream()));
                return bad == 0 ? "" : std::to_string(bad) + " elements of y are not finite or not written";
            },
            [&](int copy) {
                rope.layer = static_cast<uint32_t>(copy);
                return trib_rope_append(session_.context(), &rope);
            });
    }

private:
    // From 16k on: what binds decides how near the floor a kernel must come.
    static double long_context_limit(const work& least) {
        // The ridge of the chip that the targets were set for, in FLOP a byte.
        constexpr double ridge = 650e12 / 4.2e12;
        return least.flops / least.bytes > ridge ? 1.6 : 1.35;
    }

    session& session_;
    buffer cos_sin_;  // fp32 [positions, head_dim]
};

}  // namespace

void bench_attention(session& s) {
    s.heading(
        "multi_stream_attention: 32 query heads, head size 128, merge included, paged bf16 cache; each launch behind "
        "rope_append, whose time is subtracted");
    attention_bench bench(s);
    constexpr target none = {};
    constexpr target by_what_binds = {target::kind::floor_ratio, unlimited};
    for (const int kv_heads : {8, 32}) {
        for (const int context : {1024, 4096, 16384, 65536}) {
            const target goal = context == 1024   ? target{target::kind::microseconds, kv_heads == 8 ? 8.0 : 10.0}
                                : context == 4096 ? target{target::kind::floor_ratio, 2.0}
                                                  : by_what_binds;
            bench.measure("tree of 64", {{.committed = context, .parents = random_tree(64, 1)}}, kv_heads, context,
                          goal);
        }
    }
    for (const int context : {4096, 16384}) {
        bench.measure("tree of 32, 4 streams on all",
                      {{.committed = context, .parents = random_tree(32, 1), .anchors = 32}}, 8, context,
                      {target::kind::floor_ratio, 2.0});
    }
    for (const int kv_heads : {8, 32}) {
        for (const int context : {1024, 4096, 16384, 65536}) {
            bench.measure("one row", {{.committed = context, .parents = {-1}}}, kv_heads, context,
                          context >= 16384 ? target{target::kind::floor_ratio, 1.35} : none);
        }
    }
    std::vector<sequence> trees;
    std::vector<sequence> single;
    for (uint32_t i = 0; i < 8; ++i) {
        const int committed = 1500 + 150 * static_cast<int>(i);
        trees.push_back({.committed = committed, .parents = random_tree(16, i), .anchors = 16});
        single.push_back({.committed = committed, .parents = {-1}});
    }
    bench.measure("8 trees of 16, 4 streams on all", trees, 8, 2048, none);
    bench.measure("8 sequences of one row", single, 8, 2048, none);
    bench.measure("chunk of a prompt", {{.committed = 4096, .causal_rows = 256}}, 8, 4096, none);
}

}  // namespace tributary::bench
