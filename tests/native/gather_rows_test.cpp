// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "support/operation_test.hpp"

namespace tributary::test {
namespace {

class gather_rows : public operation_test {};

TEST_F(gather_rows, copies_the_named_rows_and_touches_nothing_beyond_the_count) {
    for (int round = 0; round < 30; ++round) {
        const int rows = random.integer(1, 130);
        const int width = random.pick(std::vector<int>{1, 5, 16, 64, 333});
        const int capacity = random.integer(1, 140);
        const int count = round == 0 ? 0 : random.integer(1, capacity);
        row_tensor x(rows, 0, width, random.integer(0, 4));
        row_tensor y(capacity + random.integer(0, 3), 0, width, random.integer(0, 4));
        std::vector<int> all(rows);
        for (int row = 0; row < rows; ++row) all[row] = row;
        x.randomize(random, all);
        x.freeze();
        std::vector<int32_t> index(capacity, index_poison);
        std::vector<int> written;
        for (int i = 0; i < count; ++i) {
            index[i] = random.integer(0, rows - 1);
            written.push_back(i);
        }
        const device_array<int32_t> device_index(index);
        const device_array<int32_t> device_count(std::vector<int32_t>{count});
        trib_gather_rows_params params{};
        params.struct_size = sizeof params;
        params.max_rows = static_cast<uint32_t>(capacity);
        params.index = device_index.address();
        params.count = device_count.address();
        params.x = x.tensor();
        params.y = y.tensor();
        ASSERT_TRUE(calls(trib_gather_rows, ctx, params));
        for (int i = 0; i < count; ++i) ASSERT_TRUE(same_bits(y.row(i), x.row(index[i]))) << "row " << i;
        ASSERT_TRUE(y.only_written(written));
    }
}

}  // namespace
}  // namespace tributary::test
