// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "support/ragged_step.hpp"

namespace tributary::test {
namespace {

TEST(library, reports_its_versions) {
    EXPECT_EQ(trib_abi_version(), static_cast<uint32_t>(TRIB_ABI_VERSION));
    const std::string version = trib_version();
    EXPECT_EQ(std::count(version.begin(), version.end(), '.'), 2) << version;
}

template <class Member>
void expect_field(const char* of, const char* field, size_t offset) {
    uint64_t found_offset = 0;
    uint64_t found_size = 0;
    ASSERT_EQ(trib_struct_layout(of, field, &found_offset, &found_size), TRIB_OK) << of << "." << field;
    EXPECT_EQ(found_offset, offset) << of << "." << field;
    EXPECT_EQ(found_size, sizeof(Member)) << of << "." << field;
}

template <class Struct>
void expect_struct(const char* of) {
    uint64_t offset = 1;
    uint64_t size = 0;
    ASSERT_EQ(trib_struct_layout(of, nullptr, &offset, &size), TRIB_OK) << of;
    EXPECT_EQ(offset, 0u);
    EXPECT_EQ(size, sizeof(Struct));
}

#define EXPECT_FIELD(of, field) expect_field<decltype(of::field)>(#of, #field, offsetof(of, field))

TEST(library, reports_the_layout_of_its_structs) {
    expect_struct<trib_tensor>("trib_tensor");
    expect_struct<trib_kv_cache>("trib_kv_cache");
    expect_struct<trib_step>("trib_step");
    expect_struct<trib_lora>("trib_lora");
    expect_struct<trib_token_adjustment>("trib_token_adjustment");
    expect_struct<trib_sampling>("trib_sampling");
    expect_struct<trib_context_params>("trib_context_params");
    expect_struct<trib_pack_weight_params>("trib_pack_weight_params");
    expect_struct<trib_embed_params>("trib_embed_params");
    expect_struct<trib_rms_norm_params>("trib_rms_norm_params");
    expect_struct<trib_gather_rows_params>("trib_gather_rows_params");
    expect_struct<trib_linear_params>("trib_linear_params");
    expect_struct<trib_rope_append_params>("trib_rope_append_params");
    expect_struct<trib_multi_stream_attention_params>("trib_multi_stream_attention_params");
    expect_struct<trib_insert_streams_params>("trib_insert_streams_params");
    expect_struct<trib_edge_confidence_params>("trib_edge_confidence_params");
    expect_struct<trib_lm_head_params>("trib_lm_head_params");
    expect_struct<trib_top_k_params>("trib_top_k_params");
    expect_struct<trib_verify_tree_params>("trib_verify_tree_params");
    expect_struct<trib_commit_path_params>("trib_commit_path_params");
    // The first, the last and some between, of structs with padding, arrays and nested structs.
    EXPECT_FIELD(trib_tensor, address);
    EXPECT_FIELD(trib_tensor, shape);
    EXPECT_FIELD(trib_tensor, stride);
    EXPECT_FIELD(trib_tensor, reserved);
    EXPECT_FIELD(trib_kv_cache, head_dim);
    EXPECT_FIELD(trib_step, struct_size);
    EXPECT_FIELD(trib_step, gamma);
    EXPECT_FIELD(trib_step, counts);
    EXPECT_FIELD(trib_step, page_table);
    EXPECT_FIELD(trib_lora, scale);
    EXPECT_FIELD(trib_sampling, seed);
    EXPECT_FIELD(trib_sampling, active);
    EXPECT_FIELD(trib_sampling, typical_delta);
    EXPECT_FIELD(trib_token_adjustment, bias);
    EXPECT_FIELD(trib_context_params, stream);
    EXPECT_FIELD(trib_pack_weight_params, first_row);
    EXPECT_FIELD(trib_embed_params, y);
    EXPECT_FIELD(trib_rms_norm_params, epsilon);
    EXPECT_FIELD(trib_gather_rows_params, count);
    EXPECT_FIELD(trib_linear_params, part_columns);
    EXPECT_FIELD(trib_linear_params, workspace_bytes);
    EXPECT_FIELD(trib_rope_append_params, rotary_dim);
    EXPECT_FIELD(trib_multi_stream_attention_params, cache);
    EXPECT_FIELD(trib_multi_stream_attention_params, scale);
    EXPECT_FIELD(trib_insert_streams_params, embeddings);
    EXPECT_FIELD(trib_insert_streams_params, row_embedding);
    EXPECT_FIELD(trib_edge_confidence_params, kept);
    EXPECT_FIELD(trib_lm_head_params, vocabulary_offset);
    EXPECT_FIELD(trib_lm_head_params, logits);
    EXPECT_FIELD(trib_top_k_params, row_count);
    EXPECT_FIELD(trib_verify_tree_params, bonus);
    EXPECT_FIELD(trib_verify_tree_params, log_probability);
    EXPECT_FIELD(trib_commit_path_params, accepted_node);
}

TEST(library, refuses_unknown_structs_and_fields) {
    uint64_t offset = 0;
    uint64_t size = 0;
    EXPECT_EQ(trib_struct_layout("trib_nothing", nullptr, &offset, &size), TRIB_INVALID_ARGUMENT);
    EXPECT_NE(std::string(trib_last_error()).find("trib_nothing"), std::string::npos) << trib_last_error();
    EXPECT_EQ(trib_struct_layout("trib_step", "nowhere", &offset, &size), TRIB_INVALID_ARGUMENT);
    EXPECT_NE(std::string(trib_last_error()).find("nowhere"), std::string::npos) << trib_last_error();
    EXPECT_EQ(trib_struct_layout(nullptr, nullptr, &offset, &size), TRIB_INVALID_ARGUMENT);
    EXPECT_EQ(trib_struct_layout("trib_step", nullptr, nullptr, &size), TRIB_INVALID_ARGUMENT);
    EXPECT_EQ(trib_struct_layout("trib_step", nullptr, &offset, nullptr), TRIB_INVALID_ARGUMENT);
}

TEST(library, names_the_file_of_a_backend_that_cannot_be_loaded) {
    if (test_backend().kind() != TRIB_BACKEND_HOST) {
        EXPECT_EQ(trib_backend_load("/nowhere/libtributary_cuda.so"), TRIB_INVALID_ARGUMENT);
        EXPECT_NE(std::string(trib_last_error()).find("loaded already"), std::string::npos) << trib_last_error();
        GTEST_SKIP() << "a backend is loaded once in a process, and this one tests it";
    }
    EXPECT_EQ(trib_backend_load("/nowhere/libtributary_cuda.so"), TRIB_BACKEND_MISSING);
    EXPECT_NE(std::string(trib_last_error()).find("/nowhere/libtributary_cuda.so"), std::string::npos)
        << trib_last_error();
    EXPECT_EQ(trib_backend_load(nullptr), TRIB_INVALID_ARGUMENT);
    const std::string path = testing::TempDir() + "tributary_no_library.so";
    std::ofstream(path) << "not a library";
    EXPECT_EQ(trib_backend_load(path.c_str()), TRIB_BACKEND_MISSING);
    EXPECT_NE(std::string(trib_last_error()).find(path), std::string::npos) << trib_last_error();
    std::remove(path.c_str());
    EXPECT_EQ(trib_backend_load("libm.so.6"), TRIB_BACKEND_MISSING) << "a library that is no backend";
}

TEST(contexts, refuse_wrong_params) {
    trib_context_params valid{};
    valid.struct_size = sizeof valid;
    valid.backend = test_backend().kind();
    valid.threads = test_backend().threads(1);
    trib_context* created = nullptr;
    EXPECT_EQ(trib_context_create(nullptr, &created), TRIB_INVALID_ARGUMENT);
    EXPECT_EQ(trib_context_create(&valid, nullptr), TRIB_INVALID_ARGUMENT);
    const auto refused = [&](trib_context_params params, trib_status expected, const std::string& word) {
        created = reinterpret_cast<trib_context*>(uintptr_t{1});
        EXPECT_EQ(trib_context_create(&params, &created), expected) << word;
        EXPECT_NE(std::string(trib_last_error()).find(word), std::string::npos) << trib_last_error();
    };
    trib_context_params params = valid;
    params.struct_size = 0;
    refused(params, TRIB_INVALID_ARGUMENT, "struct_size");
    params = valid;
    params.backend = 0;
    refused(params, TRIB_INVALID_ARGUMENT, "backend");
    params = valid;
    params.device = -1;
    refused(params, TRIB_INVALID_ARGUMENT, "device");
    if (test_backend().kind() == TRIB_BACKEND_HOST) {
        params = valid;
        params.stream = 8;
        refused(params, TRIB_INVALID_ARGUMENT, "stream");
        params = valid;
        params.threads = 1000000;
        refused(params, TRIB_INVALID_ARGUMENT, "threads");
        params = valid;
        params.backend = TRIB_BACKEND_CUDA;
        refused(params, TRIB_BACKEND_MISSING, "cuda");
    } else {
        params = valid;
        params.device = 1000;
        refused(params, TRIB_INVALID_ARGUMENT, "device");
        params = valid;
        params.threads = 1;
        refused(params, TRIB_INVALID_ARGUMENT, "threads");
    }
    EXPECT_EQ(trib_context_destroy(nullptr), TRIB_OK);
}

TEST(contexts, describe_themselves) {
    const context two(2);
    if (test_backend().kind() != TRIB_BACKEND_HOST) {
        const std::string text = trib_context_description(two.get());
        EXPECT_EQ(text.find("cuda:"), 0u) << text;
        EXPECT_NE(text.find("sm_"), std::string::npos) << text;
        return;
    }
    EXPECT_NE(std::string(trib_context_description(two.get())).find("2 threads"), std::string::npos)
        << trib_context_description(two.get());
}

TEST(contexts, refuse_an_unknown_instruction_set_by_name) {
    if (test_backend().kind() != TRIB_BACKEND_HOST) GTEST_SKIP() << "instruction sets are the host's";
    const char* before = std::getenv("TRIBUTARY_ISA");
    const std::string kept = before == nullptr ? "" : before;
    setenv("TRIBUTARY_ISA", "sse1", 1);
    trib_context_params params{};
    params.struct_size = sizeof params;
    params.backend = TRIB_BACKEND_HOST;
    trib_context* created = nullptr;
    EXPECT_EQ(trib_context_create(&params, &created), TRIB_INVALID_ARGUMENT);
    EXPECT_NE(std::string(trib_last_error()).find("sse1"), std::string::npos) << trib_last_error();
    if (before == nullptr) {
        unsetenv("TRIBUTARY_ISA");
    } else {
        setenv("TRIBUTARY_ISA", kept.c_str(), 1);
    }
}

TEST(contexts, keep_their_errors_to_their_threads) {
    trib_struct_layout("trib_first", nullptr, nullptr, nullptr);
    const std::string here = trib_last_error();
    std::thread([&] {
        EXPECT_STREQ(trib_last_error(), "") << "a thread begins without an error";
        trib_backend_load("/nowhere/else.so");
        EXPECT_NE(std::string(trib_last_error()), here);
    }).join();
    EXPECT_EQ(std::string(trib_last_error()), here);
}

TEST(contexts, run_side_by_side) {
    // Buffers are registered by one thread only, so everything is made here and the threads only call.
    struct job {
        std::unique_ptr<context> own;
        std::unique_ptr<ragged_step> step;
        std::unique_ptr<row_tensor> x;
        std::unique_ptr<row_tensor> y;
        trib_rms_norm_params params{};
    };
    random_source random(base_seed());
    const std::vector<double> ones(64, 1);
    device_memory weight(64 * 4);
    weight.upload(to_float(ones).data(), weight.bytes());
    std::vector<job> jobs(4);
    for (job& one : jobs) {
        one.own = std::make_unique<context>(2);
        sequence_spec sequence;
        sequence.chunk = 40;
        one.step = std::make_unique<ragged_step>(random, std::vector<sequence_spec>{sequence}, 0);
        one.x = std::make_unique<row_tensor>(one.step->R, 1, 64);
        one.y = std::make_unique<row_tensor>(one.step->R, 1, 64);
        one.x->randomize(random, one.step->main_indices());
        one.params.struct_size = sizeof one.params;
        one.params.rows = TRIB_ROWS_MAIN;
        one.params.step = one.step->header();
        one.params.x = one.x->tensor();
        one.params.y = one.y->tensor();
        one.params.weight = tensor_at(weight.address(), TRIB_DTYPE_F32, 1, 1, 64);
        one.params.epsilon = 1e-5f;
    }
    std::vector<std::thread> threads;
    std::vector<int> failures(jobs.size(), 0);
    for (size_t i = 0; i < jobs.size(); ++i) {
        threads.emplace_back([&, i] {
            for (int repeat = 0; repeat < 200; ++repeat) {
                failures[i] += trib_rms_norm(jobs[i].own->get(), &jobs[i].params) != TRIB_OK;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (size_t i = 0; i < jobs.size(); ++i) {
        EXPECT_EQ(failures[i], 0);
        for (const int row : jobs[i].step->main_indices()) {
            const std::vector<double> x = jobs[i].x->row_values(row);
            double squares = 0;
            for (const double value : x) squares += value * value;
            const std::vector<float> y = jobs[i].y->row(row);
            for (int t = 0; t < 64; ++t) {
                const double exact = x[t] / std::sqrt(squares / 64 + 1e-5);
                ASSERT_NEAR(y[t], exact, 40 * 0x1p-24 * std::fabs(exact));
            }
        }
    }
    EXPECT_TRUE(device_memory::all_intact());
}

}  // namespace
}  // namespace tributary::test
