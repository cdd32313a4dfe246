// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <numeric>

#include "support/operation_test.hpp"

namespace tributary::test {
namespace {

class top_k : public operation_test {
protected:
    void expect_right(const std::vector<std::vector<float>>& rows, int V, int k, int count, int gap,
                      const context& on) {
        const int capacity = static_cast<int>(rows.size());
        row_tensor logits(capacity, 0, V, gap);
        for (int row = 0; row < count; ++row) logits.set_row(row, rows[row].data());
        logits.freeze();
        const device_array<int32_t> row_count(std::vector<int32_t>{count});
        device_array<int32_t> ids(static_cast<size_t>(capacity) * k);
        device_array<float> values(static_cast<size_t>(capacity) * k);
        trib_top_k_params params{};
        params.struct_size = sizeof params;
        params.k = static_cast<uint32_t>(k);
        params.logits = logits.tensor();
        params.row_count = row_count.address();
        params.top_ids = ids.address();
        params.top_logits = values.address();
        const workspace space(on, TRIB_OP_TOP_K, params);
        ASSERT_TRUE(calls(trib_top_k, on, params));
        const std::vector<int32_t> got_ids = ids.values();
        const std::vector<float> got_values = values.values();
        for (int row = 0; row < capacity; ++row) {
            std::vector<int32_t> order(V);
            std::iota(order.begin(), order.end(), 0);
            if (row < count) {
                std::stable_sort(order.begin(), order.end(),
                                 [&](int32_t a, int32_t b) { return rows[row][a] > rows[row][b]; });
            }
            for (int i = 0; i < k; ++i) {
                const size_t at = static_cast<size_t>(row) * k + i;
                if (row < count) {
                    ASSERT_EQ(got_ids[at], order[i]) << "row " << row << " rank " << i << " V " << V << " k " << k;
                    ASSERT_EQ(std::bit_cast<uint32_t>(got_values[at]), std::bit_cast<uint32_t>(rows[row][order[i]]));
                } else {
                    ASSERT_EQ(got_ids[at], -1) << "row " << row << " is beyond the count";
                }
            }
        }
    }
};

TEST_F(top_k, is_the_head_of_a_stable_sort) {
    for (int round = 0; round < 60; ++round) {
        const int k = round < 4 ? std::vector<int>{1, 2, 63, 64}[round] : random.integer(1, 64);
        const int V = random.chance(0.2) ? k : random.integer(k, 2000);
        const int capacity = random.integer(1, 9);
        const int kind = round % 4;
        std::vector<std::vector<float>> rows(capacity);
        for (std::vector<float>& row : rows) {
            row.resize(V);
            for (int i = 0; i < V; ++i) {
                switch (kind) {
                    case 0: row[i] = static_cast<float>(random.normal()); break;
                    case 1: row[i] = static_cast<float>(random.integer(-3, 3)); break;  // ties everywhere
                    case 2: row[i] = static_cast<float>(i); break;                      // ascending: every one enters
                    default: row[i] = random.chance(0.9) ? -INFINITY : static_cast<float>(random.normal());
                }
            }
        }
        expect_right(rows, V, k, random.integer(0, capacity), random.integer(0, 3), ctx);
        if (HasFatalFailure()) return;
    }
}

TEST_F(top_k, takes_a_vocabulary_of_128256_with_any_number_of_threads) {
    std::vector<std::vector<float>> rows(2);
    for (std::vector<float>& row : rows) row = to_float(random.normals(128256));
    rows[1][128255] = rows[1][128254] = rows[1][0] = 100;
    for (const uint32_t threads : {1u, 2u, 3u}) expect_right(rows, 128256, 64, 2, 0, context(threads));
}

}  // namespace
}  // namespace tributary::test
