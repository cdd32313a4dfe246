// SPDX-License-Identifier: Apache-2.0
//
// lm_head with its reductions (argmax, log-sum-exp, top k), on the rows that the engine lists.
#include "ceilings.hpp"
#include "session.hpp"
#include "steps.hpp"

namespace tributary::bench {
namespace {

constexpr int hidden = 4096;
constexpr uint32_t top = 8;
constexpr row_capacity capacity = {256, 512};

void measure(session& s, int vocabulary, int main_rows, int stream_rows) {
    bench_case c = {.operation = "lm_head",
                    .shape = std::to_string(vocabulary) + " x " + std::to_string(hidden),
                    .rows = main_rows + stream_rows,
                    .variant = "k " + std::to_string(top)};
    if (!s.wanted(c)) {
        return;
    }
    const double weight_bytes = 2.0 * vocabulary * hidden;
    c.least = {weight_bytes, weight_bytes * c.rows};
    c.copies = s.copies_of(weight_bytes);
    const device_step step = plain_rows(capacity, main_rows, stream_rows);
    const auto rows = static_cast<size_t>(step.capacity());
    const buffer x(rows * hidden * 2);
    fill_bf16(x.as<void>(), rows * hidden, -1, 5, s.stream());
    const buffer argmax(rows * 4);
    const buffer sums(rows * 4);
    const buffer ids(rows * top * 4);
    const buffer logits(rows * top * 4);
    check(cudaMemset(logits.as<void>(), 0xff, logits.bytes()), "cudaMemset");
    trib_lm_head_params p = {};
    p.struct_size = sizeof p;
    p.rows = TRIB_ROWS_ALL;
    p.step = step.get();
    p.x = matrix(x.address(), TRIB_DTYPE_BF16, step.capacity(), hidden);
    p.weight = packed(s.pool(), TRIB_LAYOUT_PACKED, vocabulary, hidden);
    p.row_index = step.live_rows();
    p.row_count = step.live_count();
    p.max_rows = static_cast<uint32_t>(c.rows);
    p.k = top;
    p.argmax = argmax.address();
    p.log_sum_exp = sums.address();
    p.top_ids = ids.address();
    p.top_logits = logits.address();
    require(trib_workspace_size(s.context(), TRIB_OP_LM_HEAD, &p, &p.workspace_bytes));
    const buffer workspace(p.workspace_bytes);
    p.workspace = workspace.address();
    s.run(
        c,
        [&](int copy) {
            p.weight.address = s.pool() + static_cast<uint64_t>(copy) * static_cast<uint64_t>(weight_bytes);
            return trib_lm_head(s.context(), &p);
        },
        [&]() -> std::string {
            const int64_t bad = count_not_finite(logits.as<void>(), true, c.rows, top, top, s.stream());
            return bad == 0 ? "" : std::to_string(bad) + " candidates are not finite or not written";
        });
}

}  // namespace

void bench_lm_head(session& s) {
    s.heading("lm_head: hidden size 4096, fused argmax, log-sum-exp and top 8");
    for (const int vocabulary : {32000, 128256}) {
        measure(s, vocabulary, 1, 0);
        measure(s, vocabulary, 32, 0);
        measure(s, vocabulary, 32, 128);
    }
}

}  // namespace tributary::bench
