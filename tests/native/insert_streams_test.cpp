// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>

#include "support/ragged_step.hpp"

namespace tributary::test {
namespace {

class insert_streams : public operation_test {};

// One addition in F32: there is one right answer. Every other pair of rounds has the embeddings of several adapters.
TEST_F(insert_streams, adds_the_stream_embedding_to_the_anchors_state) {
    for (int round = 0; round < 48; ++round) {
        const int adapters = round / 2 % 2 == 0 ? 0 : 1 + round % 5;
        const uint32_t dtype = std::vector<uint32_t>{TRIB_DTYPE_BF16, TRIB_DTYPE_F16, TRIB_DTYPE_F32}[round % 3];
        const bool from_x = round % 2 == 0;
        batch_shape batch;
        batch.gamma = 1 + round % TRIB_MAX_GAMMA;
        const ragged_step step(random, random_sequences(random, batch), batch.gamma);
        const int hidden = random.pick(std::vector<int>{1, 8, 33, 64, 200});
        const std::vector<double> embeddings =
            rounded(dtype, random.normals(static_cast<size_t>(std::max(1, adapters)) * batch.gamma * hidden));
        device_memory table(embeddings.size() * (dtype == TRIB_DTYPE_F32 ? 4 : 2));
        if (dtype == TRIB_DTYPE_F32) {
            table.upload(to_float(embeddings).data(), table.bytes());
        } else {
            table.upload(encoded(dtype, embeddings).data(), table.bytes());
        }
        table.freeze();
        row_tensor x(step.R + step.Q, 0, hidden, 3);
        row_tensor kept(50, 0, hidden, 1);
        std::vector<int> all_kept(50);
        for (int i = 0; i < 50; ++i) all_kept[i] = i;
        kept.randomize(random, all_kept);
        kept.freeze();
        x.randomize(random, step.main_indices());
        const row_tensor& source = from_x ? x : kept;
        const int source_rows = from_x ? step.main_rows : 50;
        if (source_rows == 0) continue;
        std::vector<int32_t> row_source(step.Q, index_poison);
        for (int i = 0; i < step.stream_rows; ++i) {
            const int anchor = step.rows[step.R + i].anchor_row;
            row_source[i] = from_x && anchor >= 0 ? anchor : random.integer(0, source_rows - 1);
        }
        const device_array<int32_t> device_source(row_source);
        std::vector<int32_t> row_embedding(step.Q, index_poison);
        for (int i = 0; i < step.stream_rows; ++i) {
            const int stream = step.rows[step.R + i].stream;
            row_embedding[i] = random.integer(0, std::max(1, adapters) - 1) * batch.gamma + stream - 1;
            if (adapters == 0) row_embedding[i] = stream - 1;
        }
        const device_array<int32_t> device_embedding(row_embedding);
        trib_insert_streams_params params{};
        params.struct_size = sizeof params;
        params.step = step.header();
        params.source = source.tensor();
        params.row_source = device_source.address();
        params.embeddings = tensor_at(table.address(), dtype, 1, std::max(1, adapters) * batch.gamma, hidden);
        params.row_embedding = adapters == 0 ? 0 : device_embedding.address();
        params.x = x.tensor();
        const std::vector<float> main_before = [&] {
            std::vector<float> rows;
            for (const int row : step.main_indices()) {
                for (const float value : x.row(row)) rows.push_back(value);
            }
            return rows;
        }();
        ASSERT_TRUE(calls(trib_insert_streams, ctx, params));
        for (int i = 0; i < step.stream_rows; ++i) {
            const std::vector<float> state = source.row(row_source[i]);
            std::vector<float> expected(hidden);
            for (int t = 0; t < hidden; ++t) {
                const size_t at = static_cast<size_t>(row_embedding[i]) * hidden + t;
                expected[t] = state[t] + static_cast<float>(embeddings[at]);
            }
            ASSERT_TRUE(same_bits(x.row(step.R + i), expected)) << "stream row " << i;
        }
        std::vector<float> main_after;
        for (const int row : step.main_indices()) {
            for (const float value : x.row(row)) main_after.push_back(value);
        }
        EXPECT_TRUE(same_bits(main_after, main_before)) << "main rows never hear of streams";
        EXPECT_TRUE(x.only_written(step.indices(TRIB_ROWS_ALL)));
    }
}

}  // namespace
}  // namespace tributary::test
