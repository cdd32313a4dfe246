// SPDX-License-Identifier: Apache-2.0
//
// The packed order is the backend's own secret, so it is read back through embed (rows as they are) and, for gate
// weights, through linear's tests.
#include <gtest/gtest.h>

#include "support/ragged_step.hpp"

namespace tributary::test {
namespace {

class pack_weight : public operation_test {
protected:
    // All rows of a table, through embed.
    std::vector<float> read_back(const packed_weight& table, int rows, int columns) {
        sequence_spec sequence;
        sequence.chunk = rows;
        const ragged_step step(random, {sequence}, 0);
        std::vector<int32_t> tokens(step.R, index_poison);
        for (int i = 0; i < rows; ++i) tokens[i] = i;
        const device_array<int32_t> device_tokens(tokens);
        row_tensor y(step.R, 0, columns);
        trib_embed_params params{};
        params.struct_size = sizeof params;
        params.step = step.header();
        params.tokens = device_tokens.address();
        params.table = table.tensor();
        params.y = y.tensor();
        EXPECT_TRUE(calls(trib_embed, ctx, params));
        std::vector<float> result;
        for (int i = 0; i < rows; ++i) {
            const std::vector<float> row = y.row(i);
            result.insert(result.end(), row.begin(), row.end());
        }
        return result;
    }
};

TEST_F(pack_weight, keeps_every_value_of_every_shape) {
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        for (const int rows : {1, 2, 15, 16, 17, 33, 100}) {
            for (const int columns : {1, 2, 3, 8, 24, 63, 64, 65, 200}) {
                const std::vector<uint16_t> values =
                    encoded(dtype, random.normals(static_cast<size_t>(rows) * columns));
                const packed_weight packed(ctx, dtype, TRIB_LAYOUT_PACKED, rows, columns, values);
                ASSERT_TRUE(same_bits(read_back(packed, rows, columns), to_float(decoded(dtype, values))))
                    << dtype_name(dtype) << " [" << rows << ", " << columns << "]";
            }
        }
    }
}

TEST_F(pack_weight, joins_parts_at_any_row) {
    for (int round = 0; round < 12; ++round) {
        std::vector<int64_t> parts;
        int rows = 0;
        for (int part = random.integer(2, 4); part > 0; --part) {
            parts.push_back(random.integer(1, 40));
            rows += static_cast<int>(parts.back());
        }
        const int columns = random.integer(1, 80);
        const std::vector<uint16_t> values =
            encoded(TRIB_DTYPE_BF16, random.normals(static_cast<size_t>(rows) * columns));
        const packed_weight packed(ctx, TRIB_DTYPE_BF16, TRIB_LAYOUT_PACKED, rows, columns, values, parts);
        ASSERT_TRUE(same_bits(read_back(packed, rows, columns), to_float(decoded(TRIB_DTYPE_BF16, values))))
            << testing::PrintToString(parts) << " × " << columns;
    }
}

TEST_F(pack_weight, reads_a_source_with_gaps_between_its_rows) {
    const int rows = 20, columns = 30, pitch = 37;
    const std::vector<uint16_t> values = encoded(TRIB_DTYPE_F16, random.normals(static_cast<size_t>(rows) * columns));
    std::vector<uint16_t> spread(static_cast<size_t>(rows - 1) * pitch + columns, 0xffff);
    for (int row = 0; row < rows; ++row) {
        std::copy_n(values.begin() + row * columns, columns, spread.begin() + row * pitch);
    }
    const device_array<uint16_t> source(spread);
    packed_weight packed(ctx, TRIB_DTYPE_F16, TRIB_LAYOUT_PACKED, rows, columns,
                         std::vector<uint16_t>(values.size(), 0));
    uint64_t bytes = 0;
    ASSERT_EQ(trib_packed_size(ctx.get(), TRIB_DTYPE_F16, TRIB_LAYOUT_PACKED, rows, columns, &bytes), TRIB_OK);
    device_memory destination(bytes);
    destination.poison(0);
    trib_pack_weight_params params{};
    params.struct_size = sizeof params;
    params.source = tensor_at(source.address(), TRIB_DTYPE_F16, 1, rows, columns);
    params.source.stride[1] = pitch;
    params.destination = packed.tensor();
    params.destination.address = destination.address();
    ASSERT_TRUE(calls(trib_pack_weight, ctx, params));
    // The same bytes as packing without gaps.
    const packed_weight dense(ctx, TRIB_DTYPE_F16, TRIB_LAYOUT_PACKED, rows, columns, values);
    std::vector<uint8_t> got(bytes);
    std::vector<uint8_t> expected(bytes);
    destination.download(got.data(), bytes);
    test_backend().download(expected.data(), dense.address(), bytes);
    EXPECT_TRUE(same_bits(got, expected));
}

}  // namespace
}  // namespace tributary::test
