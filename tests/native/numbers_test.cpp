// SPDX-License-Identifier: Apache-2.0
//
// The judges are judged: 16-bit arithmetic of the tests, the rule, and the guards must be right and able to fail.
#include "support/numbers.hpp"

#include <gtest/gtest.h>

#include "support/operation_test.hpp"

namespace tributary::test {
namespace {

TEST(sixteen_bit_types, survive_a_round_trip_of_every_finite_value) {
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        for (int bits = 0; bits < 65536; ++bits) {
            const double value = decoded(dtype, static_cast<uint16_t>(bits));
            if (std::isnan(value)) continue;
            ASSERT_EQ(encoded(dtype, value), bits) << dtype_name(dtype) << " " << value;
        }
    }
}

TEST(sixteen_bit_types, round_to_nearest_even) {
    EXPECT_EQ(rounded(TRIB_DTYPE_BF16, 1 + 0x1p-8), 1);           // a tie, down to even
    EXPECT_EQ(rounded(TRIB_DTYPE_BF16, 1 + 0x3p-8), 1 + 0x1p-6);  // a tie, up to even
    EXPECT_EQ(rounded(TRIB_DTYPE_BF16, 1 + 0x1.01p-8), 1 + 0x1p-7);
    EXPECT_EQ(rounded(TRIB_DTYPE_F16, 1 + 0x1p-11), 1);
    EXPECT_EQ(rounded(TRIB_DTYPE_F16, 65519), 65504);
    EXPECT_TRUE(std::isinf(rounded(TRIB_DTYPE_F16, 65520)));
    EXPECT_EQ(rounded(TRIB_DTYPE_F16, 0x1p-24), 0x1p-24);  // subnormal
    EXPECT_EQ(rounded(TRIB_DTYPE_F16, 0x1p-25), 0);
}

TEST(the_rule, accepts_twice_the_plain_error_and_no_more) {
    const std::vector<double> exact = {1, 2};
    const std::vector<double> plain = {1.01, 2};
    EXPECT_TRUE(obeys_the_rule({1, 2.0199f}, exact, plain));
    EXPECT_FALSE(obeys_the_rule({1, 2.0201f}, exact, plain));
    EXPECT_FALSE(obeys_the_rule({1, NAN}, exact, plain));
    EXPECT_FALSE(obeys_the_rule({1}, exact, plain));
}

TEST(guards, discover_a_write_before_or_behind_a_buffer_and_into_a_frozen_one) {
    if (test_backend().guard() == 0) GTEST_SKIP() << "exact allocations stand without guards";
    device_array<int32_t> buffer(std::vector<int32_t>{1, 2, 3});
    ASSERT_TRUE(device_memory::all_intact());
    const auto overwrite = [](uint64_t address) {
        uint8_t before = 0;
        test_backend().permit(address & ~uint64_t{7}, 16);
        test_backend().download(&before, address, 1);
        const uint8_t after = static_cast<uint8_t>(before ^ 1);
        test_backend().upload(address, &after, 1);
        EXPECT_FALSE(device_memory::all_intact());
        test_backend().permit(address & ~uint64_t{7}, 16);
        test_backend().upload(address, &before, 1);
        EXPECT_TRUE(device_memory::all_intact());
    };
    overwrite(buffer.address() - 1);
    overwrite(buffer.address() + 12);
    overwrite(buffer.address() + 4);
}

TEST(guards, discover_a_write_to_a_row_that_is_nobodys) {
    row_tensor tensor(4, 2, 3, 1, 1);
    tensor.set_row(1, std::vector<double>(6, 1));
    EXPECT_TRUE(tensor.only_written({1}));
    EXPECT_TRUE(tensor.only_written({1, 2}));
    EXPECT_FALSE(tensor.only_written({2}));
}

}  // namespace
}  // namespace tributary::test
