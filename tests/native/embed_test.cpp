// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "support/ragged_step.hpp"

namespace tributary::test {
namespace {

class embed : public operation_test {};

TEST_F(embed, copies_the_rows_of_the_table_bit_for_bit) {
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        for (const int nodes : {1, 2, 63, 64, 65, 128}) {
            const int vocabulary = random.integer(1, 90);
            const int hidden = random.pick(std::vector<int>{1, 8, 40, 64, 100, 257});
            batch_shape batch;
            batch.nodes = nodes;
            const ragged_step step(random, random_sequences(random, batch), batch.gamma);
            const std::vector<uint16_t> values =
                encoded(dtype, random.normals(static_cast<size_t>(vocabulary) * hidden));
            const packed_weight table(ctx, dtype, TRIB_LAYOUT_PACKED, vocabulary, hidden, values);
            std::vector<int32_t> tokens(step.R, index_poison);
            for (int row = 0; row < step.main_rows; ++row) tokens[row] = random.integer(0, vocabulary - 1);
            const device_array<int32_t> device_tokens(tokens);
            row_tensor y(step.R + step.Q, 0, hidden, random.integer(0, 5));
            trib_embed_params params{};
            params.struct_size = sizeof params;
            params.step = step.header();
            params.tokens = device_tokens.address();
            params.table = table.tensor();
            params.y = y.tensor();
            ASSERT_TRUE(calls(trib_embed, ctx, params));
            for (int row = 0; row < step.main_rows; ++row) {
                const auto first = values.begin() + static_cast<int64_t>(tokens[row]) * hidden;
                ASSERT_TRUE(
                    same_bits(y.row(row), to_float(decoded(dtype, std::vector<uint16_t>(first, first + hidden)))))
                    << "row " << row;
            }
            EXPECT_TRUE(y.only_written(step.main_indices()));
        }
    }
}

}  // namespace
}  // namespace tributary::test
