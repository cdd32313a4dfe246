// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdio>

#include "support/operation_test.hpp"

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    if (testing::GTEST_FLAG(list_tests)) return RUN_ALL_TESTS();
    tributary::test::memory_backend& backend = tributary::test::test_backend();
    trib_context_params params{};
    params.struct_size = sizeof params;
    params.backend = backend.kind();
    params.stream = backend.stream();
    trib_context* context = nullptr;
    if (const trib_status status = trib_context_create(&params, &context); status != TRIB_OK) {
        std::fprintf(stderr, "%s: %s\n", status == TRIB_UNSUPPORTED ? "skipped" : "no context", trib_last_error());
        return status == TRIB_UNSUPPORTED ? tributary::test::no_device_exit_status : 1;
    }
    std::printf("%s, seed %llu\n", trib_context_description(context),
                static_cast<unsigned long long>(tributary::test::base_seed()));
    trib_context_destroy(context);
    return RUN_ALL_TESTS();
}
