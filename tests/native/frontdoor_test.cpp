// SPDX-License-Identifier: Apache-2.0
//
// Invalid input never reaches a kernel. For every operation: a valid call, then that call with one thing wrong at a
// time, each refused by an error that names operation and argument, and the valid call again. The buffers are live and
// guarded throughout, so a check that is missing shows as a crash or as a changed byte.
#include <gtest/gtest.h>

#include <functional>
#include <regex>

#include "support/attention_reference.hpp"

namespace tributary::test {
namespace {

template <class Params>
struct mutation {
    std::string argument;  // that the error must name
    std::function<void(Params&)> apply;
};

template <class Params>
using mutations = std::vector<mutation<Params>>;

bool names(const std::string& text, const std::string& word) {
    return std::regex_search(text, std::regex("\\b" + word + "\\b"));
}

class frontdoor : public operation_test {
protected:
    static constexpr int hidden = 24;
    static constexpr int vocabulary = 50;
    static constexpr int gamma = 2;

    frontdoor() {
        sequence_spec tree;
        tree.length = 70;
        tree.tree = random_tree(random, 9, vocabulary);
        tree.anchors = {0, 3};
        sequence_spec chunk;
        chunk.length = 3;
        chunk.chunk = 4;
        step = std::make_unique<ragged_step>(random, std::vector<sequence_spec>{tree, chunk}, gamma);
        rows = step->R + step->Q;
    }

    device_array<int32_t>& numbers(std::vector<int32_t> values) {
        ints.push_back(std::make_unique<device_array<int32_t>>(values));
        return *ints.back();
    }
    device_array<int32_t>& space_for(size_t count) {
        ints.push_back(std::make_unique<device_array<int32_t>>(count));
        return *ints.back();
    }
    uint64_t reals(size_t count) {
        floats.push_back(std::make_unique<device_array<float>>(count));
        return floats.back()->address();
    }
    row_tensor& tensor_of(int row_count, int groups, int width) {
        tensors.push_back(std::make_unique<row_tensor>(row_count, groups, width));
        std::vector<int> all(row_count);
        for (int i = 0; i < row_count; ++i) all[i] = i;
        tensors.back()->randomize(random, all);
        return *tensors.back();
    }
    const packed_weight& weight_of(int64_t n, int64_t k, uint32_t layout = TRIB_LAYOUT_PACKED) {
        weights.push_back(std::make_unique<packed_weight>(ctx, TRIB_DTYPE_BF16, layout, n, k,
                                                          encoded(TRIB_DTYPE_BF16, random.normals(n * k))));
        return *weights.back();
    }

    template <class Params>
    void expect_refusals(const char* name, trib_status (*operation)(trib_context*, const Params*), const Params& valid,
                         mutations<Params> wrong) {
        ASSERT_TRUE(calls(operation, ctx, valid)) << name;
        EXPECT_EQ(operation(ctx.get(), nullptr), TRIB_INVALID_ARGUMENT);
        expect_text(name, "params");
        EXPECT_EQ(operation(nullptr, &valid), TRIB_INVALID_ARGUMENT);
        expect_text(name, "context");
        wrong.push_back({"struct_size", [](Params& p) { p.struct_size = 0; }});
        wrong.push_back({"struct_size", [](Params& p) { p.struct_size = 3; }});
        wrong.push_back({"struct_size", [](Params& p) { p.struct_size = sizeof p + 8; }});
        wrong.push_back({"struct_size", [](Params& p) { p.struct_size = 0xffffffff; }});
        if constexpr (requires(Params p) { p.step; }) {
            wrong.push_back({"step", [](Params& p) { p.step = nullptr; }});
            expect_step_refusals(name, operation, valid);
        }
        if constexpr (requires(Params p) { p.reserved; }) {
            wrong.push_back({"reserved", [](Params& p) { p.reserved = 1; }});
        }
        if constexpr (requires(Params p) { p.rows; }) {
            wrong.push_back({"rows", [](Params& p) { p.rows = 0; }});
            wrong.push_back({"rows", [](Params& p) { p.rows = 4; }});
        }
        for (size_t i = 0; i < wrong.size(); ++i) {
            Params params = valid;
            wrong[i].apply(params);
            const trib_status status = operation(ctx.get(), &params);
            EXPECT_TRUE(status == TRIB_INVALID_ARGUMENT || status == TRIB_UNSUPPORTED)
                << name << ": mutation " << i << " (" << wrong[i].argument << ") gave status " << status;
            if (status != TRIB_OK) expect_text(name, wrong[i].argument);
            EXPECT_TRUE(device_memory::all_intact()) << name << ": mutation " << i << " (" << wrong[i].argument << ")";
        }
        EXPECT_TRUE(calls(operation, ctx, valid)) << name << ", after refusals";
    }

    // A tensor's own mistakes, `of` being where it stands in the params.
    template <class Params>
    static void tensor_mutations(mutations<Params>& wrong, const std::string& name, trib_tensor Params::*of,
                                 bool optional = false, bool any_rows = false, bool any_columns = false) {
        if (!optional) wrong.push_back({name, [of](Params& p) { (p.*of).address = 0; }});
        wrong.push_back({name, [of](Params& p) { (p.*of).address += 4; }});
        // Packed weights to 64 bytes, other tensors to 16.
        wrong.push_back(
            {name, [of](Params& p) { (p.*of).address += (p.*of).layout == TRIB_LAYOUT_ROW_MAJOR ? 8 : 32; }});
        wrong.push_back({name, [of](Params& p) { (p.*of).dtype = TRIB_DTYPE_NONE; }});
        wrong.push_back({name, [of](Params& p) { (p.*of).dtype = 99; }});
        wrong.push_back({name, [of](Params& p) { (p.*of).layout = 77; }});
        wrong.push_back({name, [of](Params& p) { (p.*of).scales = 64; }});
        wrong.push_back({name, [of](Params& p) { (p.*of).scale_block = 32; }});
        wrong.push_back({name, [of](Params& p) { (p.*of).reserved = 1; }});
        wrong.push_back({name, [of](Params& p) { (p.*of).shape[1] = 0; }});
        wrong.push_back({name, [of](Params& p) { (p.*of).shape[1] = -5; }});
        wrong.push_back({name, [of](Params& p) { (p.*of).shape[2] = 0; }});
        wrong.push_back({name, [of](Params& p) { (p.*of).shape[0] += 1; }});
        wrong.push_back({name, [of](Params& p) {
                             (p.*of).shape[1] = INT64_MAX;
                             (p.*of).shape[2] = INT64_MAX;
                         }});
        if (!any_rows) wrong.push_back({name, [of](Params& p) { (p.*of).shape[1] += 1; }});
        if (!any_columns) wrong.push_back({name, [of](Params& p) { (p.*of).shape[2] += 1; }});
    }
    // Likewise of a row-major tensor whose strides count.
    template <class Params>
    static void stride_mutations(mutations<Params>& wrong, const std::string& name, trib_tensor Params::*of) {
        wrong.push_back({name, [of](Params& p) { (p.*of).stride[2] = 2; }});
        wrong.push_back({name, [of](Params& p) { (p.*of).stride[2] = 0; }});
        wrong.push_back({name, [of](Params& p) { (p.*of).stride[1] = (p.*of).shape[2] - 1; }});
        wrong.push_back({name, [of](Params& p) { (p.*of).stride[1] = -(p.*of).stride[1]; }});
        wrong.push_back({name, [of](Params& p) { (p.*of).stride[1] = INT64_MAX / 2; }});
    }
    template <class Params>
    static void array_mutations(mutations<Params>& wrong, const std::string& name, uint64_t Params::*of,
                                bool optional = false) {
        if (!optional) wrong.push_back({name, [of](Params& p) { p.*of = 0; }});
        wrong.push_back({name, [of](Params& p) { p.*of += 2; }});
    }
    template <class Params>
    static void cache_mutations(mutations<Params>& wrong) {
        wrong.push_back({"cache", [](Params& p) { p.cache.address = 0; }});
        wrong.push_back({"cache", [](Params& p) { p.cache.address += 32; }});
        wrong.push_back({"dtype", [](Params& p) { p.cache.dtype = TRIB_DTYPE_F32; }});
        wrong.push_back({"dtype", [](Params& p) { p.cache.dtype = 40; }});
        wrong.push_back({"layers", [](Params& p) { p.cache.layers = 0; }});
        wrong.push_back({"pages", [](Params& p) { p.cache.pages = 0; }});
        wrong.push_back({"kv_heads", [](Params& p) { p.cache.kv_heads = 0; }});
        wrong.push_back({"head_dim", [](Params& p) { p.cache.head_dim = 0; }});
        wrong.push_back({"head_dim", [](Params& p) { p.cache.head_dim = 12; }});
        wrong.push_back({"head_dim", [](Params& p) { p.cache.head_dim = 264; }});
        wrong.push_back({"cache", [](Params& p) { p.cache.reserved = 1; }});
        if constexpr (requires(Params p) { p.layer; }) {
            wrong.push_back({"layer", [](Params& p) { p.layer = p.cache.layers; }});
            wrong.push_back({"layer", [](Params& p) { p.layer = 0xffffffff; }});
        }
    }
    template <class Params>
    static void workspace_mutations(mutations<Params>& wrong, const Params& valid) {
        if (valid.workspace_bytes == 0) return;
        wrong.push_back({"workspace", [](Params& p) { p.workspace = 0; }});
        wrong.push_back({"workspace", [](Params& p) { p.workspace += 32; }});
        wrong.push_back({"workspace_bytes", [](Params& p) { p.workspace_bytes -= 1; }});
        wrong.push_back({"workspace_bytes", [](Params& p) { p.workspace_bytes = 0; }});
    }

    std::unique_ptr<ragged_step> step;
    int rows = 0;

private:
    void expect_text(const std::string& name, const std::string& argument) {
        const std::string text = trib_last_error();
        EXPECT_TRUE(names(text, name)) << "\"" << text << "\" does not name the operation " << name;
        EXPECT_TRUE(names(text, argument)) << "\"" << text << "\" does not name " << argument;
        EXPECT_EQ(text.find('\n'), std::string::npos) << "one line: " << text;
    }

    template <class Params>
    void expect_step_refusals(const char* name, trib_status (*operation)(trib_context*, const Params*),
                              const Params& valid) {
        const mutations<trib_step> wrong = {
            {"struct_size", [](trib_step& s) { s.struct_size = 0; }},
            {"struct_size", [](trib_step& s) { s.struct_size = sizeof s + 4; }},
            {"max_sequences", [](trib_step& s) { s.max_sequences = 0; }},
            {"max_sequences", [](trib_step& s) { s.max_sequences = 0xffffffff; }},
            {"max_main_rows", [](trib_step& s) { s.max_main_rows = 0xffffffff; }},
            {"max_stream_rows", [](trib_step& s) { s.max_stream_rows += 1; }},
            {"max_stream_rows", [](trib_step& s) { s.max_stream_rows = 0xfffffffe; }},
            {"gamma", [](trib_step& s) { s.gamma = 0; }},
            {"gamma", [](trib_step& s) { s.gamma = TRIB_MAX_GAMMA + 1; }},
            {"max_pages", [](trib_step& s) { s.max_pages = 0xffffffff; }},
            {"counts", [](trib_step& s) { s.counts = 0; }},
            {"counts", [](trib_step& s) { s.counts += 1; }},
            {"row_sequence", [](trib_step& s) { s.row_sequence = 0; }},
            {"row_node", [](trib_step& s) { s.row_node = 0; }},
            {"row_position", [](trib_step& s) { s.row_position = 0; }},
            {"row_rotary", [](trib_step& s) { s.row_rotary = 0; }},
            {"row_first_visible", [](trib_step& s) { s.row_first_visible = 0; }},
            {"row_stream", [](trib_step& s) { s.row_stream = 0; }},
            {"sequence_length", [](trib_step& s) { s.sequence_length = 0; }},
            {"sequence_rows", [](trib_step& s) { s.sequence_rows = 0; }},
            {"tree_begin", [](trib_step& s) { s.tree_begin = 0; }},
            {"tree_token", [](trib_step& s) { s.tree_token = 0; }},
            {"tree_parent", [](trib_step& s) { s.tree_parent = 0; }},
            {"mask_begin", [](trib_step& s) { s.mask_begin = 0; }},
            {"masks", [](trib_step& s) { s.masks = 0; }},
            {"masks", [](trib_step& s) { s.masks += 4; }},
            {"page_table", [](trib_step& s) { s.page_table = 0; }},
            {"page_table", [](trib_step& s) { s.page_table += 3; }},
            {"bound_main_rows", [](trib_step& s) { s.bound_main_rows = s.max_main_rows + 1; }},
            {"bound_main_rows", [](trib_step& s) { s.bound_main_rows = 0xffffffff; }},
            {"bound_stream_rows", [](trib_step& s) { s.bound_stream_rows = s.max_stream_rows + 1; }},
            {"bound_context", [](trib_step& s) { s.bound_context = s.max_pages * TRIB_PAGE_TOKENS + 1; }},
            {"reserved", [](trib_step& s) { s.reserved = 1; }},
        };
        for (const mutation<trib_step>& one : wrong) {
            trib_step header = *valid.step;
            one.apply(header);
            Params params = valid;
            params.step = &header;
            EXPECT_NE(operation(ctx.get(), &params), TRIB_OK) << name << ": step." << one.argument;
            expect_text(name, one.argument);
        }
    }

    std::vector<std::unique_ptr<device_array<int32_t>>> ints;
    std::vector<std::unique_ptr<device_array<float>>> floats;
    std::vector<std::unique_ptr<row_tensor>> tensors;
    std::vector<std::unique_ptr<packed_weight>> weights;
};

TEST_F(frontdoor, refuses_a_wrong_pack_weight) {
    using params_t = trib_pack_weight_params;
    const device_array<uint16_t> source(std::vector<uint16_t>(7 * hidden, 0x3f80));
    params_t valid{};
    valid.struct_size = sizeof valid;
    valid.source = tensor_at(source.address(), TRIB_DTYPE_BF16, 1, 7, hidden);
    device_memory destination(1 << 16);
    destination.poison(0);
    valid.destination = tensor_at(destination.address(), TRIB_DTYPE_BF16, 1, 10, hidden);
    valid.destination.layout = TRIB_LAYOUT_PACKED;
    valid.first_row = 3;
    mutations<params_t> wrong;
    tensor_mutations(wrong, "source", &params_t::source, false, true);
    tensor_mutations(wrong, "destination", &params_t::destination, false, true, true);
    stride_mutations(wrong, "source", &params_t::source);
    wrong.push_back({"source", [](params_t& p) { p.source.dtype = TRIB_DTYPE_F16; }});
    wrong.push_back({"source", [](params_t& p) { p.source.shape[1] = 8; }});
    wrong.push_back({"destination", [](params_t& p) { p.destination.layout = TRIB_LAYOUT_ROW_MAJOR; }});
    wrong.push_back({"destination", [](params_t& p) { p.destination.dtype = TRIB_DTYPE_F32; }});
    wrong.push_back({"destination", [](params_t& p) {
                         p.destination.layout = TRIB_LAYOUT_PACKED_GATE;
                         p.destination.shape[1] = 11;
                     }});
    wrong.push_back({"first_row", [](params_t& p) { p.first_row = -1; }});
    wrong.push_back({"first_row", [](params_t& p) { p.first_row = 4; }});
    wrong.push_back({"first_row", [](params_t& p) { p.first_row = INT64_MAX; }});
    expect_refusals("pack_weight", trib_pack_weight, valid, wrong);
}

TEST_F(frontdoor, refuses_a_wrong_embed) {
    using params_t = trib_embed_params;
    std::vector<int32_t> tokens(step->R, index_poison);
    std::fill_n(tokens.begin(), step->main_rows, 3);
    params_t valid{};
    valid.struct_size = sizeof valid;
    valid.step = step->header();
    valid.tokens = numbers(tokens).address();
    valid.table = weight_of(vocabulary, hidden).tensor();
    valid.y = tensor_of(rows, 0, hidden).tensor();
    mutations<params_t> wrong;
    array_mutations(wrong, "tokens", &params_t::tokens);
    tensor_mutations(wrong, "table", &params_t::table, false, true, true);
    tensor_mutations(wrong, "y", &params_t::y);
    stride_mutations(wrong, "y", &params_t::y);
    wrong.push_back({"table", [](params_t& p) { p.table.layout = TRIB_LAYOUT_ROW_MAJOR; }});
    wrong.push_back({"table", [](params_t& p) { p.table.dtype = TRIB_DTYPE_F32; }});
    wrong.push_back({"y", [](params_t& p) { p.y.dtype = TRIB_DTYPE_BF16; }});
    expect_refusals("embed", trib_embed, valid, wrong);
}

TEST_F(frontdoor, refuses_a_wrong_rms_norm) {
    using params_t = trib_rms_norm_params;
    params_t valid{};
    valid.struct_size = sizeof valid;
    valid.rows = TRIB_ROWS_ALL;
    valid.step = step->header();
    valid.x = tensor_of(rows, 2, hidden).tensor();
    valid.y = tensor_of(rows, 2, hidden).tensor();
    valid.weight = tensor_at(reals(hidden), TRIB_DTYPE_F32, 1, 1, hidden);
    valid.epsilon = 1e-5f;
    mutations<params_t> wrong;
    tensor_mutations(wrong, "x", &params_t::x, false, true, true);
    tensor_mutations(wrong, "y", &params_t::y);
    tensor_mutations(wrong, "weight", &params_t::weight);
    stride_mutations(wrong, "x", &params_t::x);
    stride_mutations(wrong, "y", &params_t::y);
    wrong.push_back({"x", [](params_t& p) { p.x.dtype = TRIB_DTYPE_F16; }});
    // In place only in F32.
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        wrong.push_back({"y", [dtype](params_t& p) {
                             p.y.dtype = dtype;
                             p.y.address = p.x.address;
                         }});
        wrong.push_back({"y", [dtype, this](params_t& p) {
                             p.y.dtype = dtype;
                             p.y.address = p.x.address + static_cast<uint64_t>(rows) * hidden * sizeof(float);
                         }});
    }
    wrong.push_back({"epsilon", [](params_t& p) { p.epsilon = -1e-6f; }});
    wrong.push_back({"epsilon", [](params_t& p) { p.epsilon = NAN; }});
    wrong.push_back({"epsilon", [](params_t& p) { p.epsilon = INFINITY; }});
    expect_refusals("rms_norm", trib_rms_norm, valid, wrong);
}

TEST_F(frontdoor, refuses_a_wrong_gather_rows) {
    using params_t = trib_gather_rows_params;
    params_t valid{};
    valid.struct_size = sizeof valid;
    valid.max_rows = 5;
    valid.index = numbers({1, 0, 2, index_poison, index_poison}).address();
    valid.count = numbers({3}).address();
    valid.x = tensor_of(6, 0, hidden).tensor();
    valid.y = tensor_of(5, 0, hidden).tensor();
    mutations<params_t> wrong;
    array_mutations(wrong, "index", &params_t::index);
    array_mutations(wrong, "count", &params_t::count);
    tensor_mutations(wrong, "x", &params_t::x, false, true, true);
    tensor_mutations(wrong, "y", &params_t::y, false, true);
    stride_mutations(wrong, "x", &params_t::x);
    stride_mutations(wrong, "y", &params_t::y);
    wrong.push_back({"y", [](params_t& p) { p.y.shape[1] = 4; }});
    wrong.push_back({"y", [](params_t& p) { p.y.address = p.x.address; }});
    wrong.push_back({"max_rows", [](params_t& p) { p.max_rows = 0; }});
    wrong.push_back({"max_rows", [](params_t& p) { p.max_rows = 6; }});
    expect_refusals("gather_rows", trib_gather_rows, valid, wrong);
}

TEST_F(frontdoor, refuses_a_wrong_linear) {
    using params_t = trib_linear_params;
    params_t valid{};
    valid.struct_size = sizeof valid;
    valid.rows = TRIB_ROWS_ALL;
    valid.step = step->header();
    valid.x = tensor_of(rows, 0, hidden).tensor();
    valid.weight = weight_of(30, hidden).tensor();
    valid.bias = tensor_at(reals(30), TRIB_DTYPE_F32, 1, 1, 30);
    valid.y = tensor_of(rows, 0, 30).tensor();
    valid.parts = 2;
    valid.part_columns[0] = 10;
    valid.part_columns[1] = 20;
    const device_array<trib_lora> table(std::vector<trib_lora>(4, trib_lora{}));
    valid.adapters = 2;
    valid.max_rank = 8;
    valid.max_segments = 2;
    valid.lora_table = table.address();
    valid.segments = numbers({0, 3, 1, 3, 5, -1}).address();
    valid.segment_count = numbers({2}).address();
    const workspace space(ctx, TRIB_OP_LINEAR, valid);
    mutations<params_t> wrong;
    tensor_mutations(wrong, "x", &params_t::x, false, false, true);
    tensor_mutations(wrong, "y", &params_t::y);
    tensor_mutations(wrong, "weight", &params_t::weight, false, true);
    tensor_mutations(wrong, "bias", &params_t::bias, true);
    stride_mutations(wrong, "x", &params_t::x);
    stride_mutations(wrong, "y", &params_t::y);
    array_mutations(wrong, "lora_table", &params_t::lora_table);
    array_mutations(wrong, "segments", &params_t::segments);
    array_mutations(wrong, "segment_count", &params_t::segment_count);
    workspace_mutations(wrong, valid);
    wrong.push_back({"x", [](params_t& p) { p.x.dtype = TRIB_DTYPE_F16; }});
    wrong.push_back({"y", [](params_t& p) { p.y.address = p.x.address; }});
    wrong.push_back({"y", [](params_t& p) { p.y.dtype = TRIB_DTYPE_BF16; }});
    wrong.push_back({"y", [](params_t& p) {
                         p.y.dtype = TRIB_DTYPE_BF16;
                         p.epilogue = TRIB_EPILOGUE_RESIDUAL;
                     }});
    wrong.push_back({"weight", [](params_t& p) { p.weight.dtype = TRIB_DTYPE_F32; }});
    wrong.push_back({"weight", [](params_t& p) { p.weight.layout = TRIB_LAYOUT_PACKED_GATE; }});
    wrong.push_back({"weight", [](params_t& p) { p.weight.layout = TRIB_LAYOUT_ROW_MAJOR; }});
    wrong.push_back({"weight", [](params_t& p) { p.epilogue = TRIB_EPILOGUE_SILU_GATE; }});
    wrong.push_back({"epilogue", [](params_t& p) { p.epilogue = 3; }});
    wrong.push_back({"parts", [](params_t& p) { p.parts = 0; }});
    wrong.push_back({"parts", [](params_t& p) { p.parts = TRIB_MAX_PARTS + 1; }});
    wrong.push_back({"part_columns", [](params_t& p) { p.part_columns[1] = 21; }});
    wrong.push_back({"part_columns", [](params_t& p) {
                         p.part_columns[0] = 40;
                         p.part_columns[1] = -10;
                     }});
    wrong.push_back({"part_columns", [](params_t& p) { p.part_columns[0] = 0; }});
    wrong.push_back({"max_rank", [](params_t& p) { p.max_rank = 0; }});
    wrong.push_back({"max_rank", [](params_t& p) { p.max_rank = 0xffffffff; }});
    wrong.push_back({"max_segments", [](params_t& p) { p.max_segments = 0; }});
    expect_refusals("linear", trib_linear, valid, wrong);
}

// With SILU_GATE the outputs may be 16-bit, and only of the weight's type.
TEST_F(frontdoor, refuses_a_wrong_gated_linear) {
    using params_t = trib_linear_params;
    device_array<uint16_t> x(std::vector<uint16_t>(static_cast<size_t>(rows) * hidden, 0x3f80));
    device_array<uint16_t> y(static_cast<size_t>(rows) * 15);
    params_t valid{};
    valid.struct_size = sizeof valid;
    valid.rows = TRIB_ROWS_ALL;
    valid.step = step->header();
    valid.x = tensor_at(x.address(), TRIB_DTYPE_BF16, 1, rows, hidden);
    valid.weight = weight_of(30, hidden, TRIB_LAYOUT_PACKED_GATE).tensor();
    valid.y = tensor_at(y.address(), TRIB_DTYPE_BF16, 1, rows, 15);
    valid.epilogue = TRIB_EPILOGUE_SILU_GATE;
    valid.parts = 2;
    valid.part_columns[0] = valid.part_columns[1] = 15;
    const workspace space(ctx, TRIB_OP_LINEAR, valid);
    mutations<params_t> wrong;
    tensor_mutations(wrong, "x", &params_t::x, false, false, true);
    tensor_mutations(wrong, "y", &params_t::y);
    stride_mutations(wrong, "x", &params_t::x);
    stride_mutations(wrong, "y", &params_t::y);
    wrong.push_back({"x", [](params_t& p) { p.x.dtype = TRIB_DTYPE_F16; }});
    wrong.push_back({"y", [](params_t& p) { p.y.dtype = TRIB_DTYPE_F16; }});
    wrong.push_back({"y", [](params_t& p) { p.y.address = p.x.address; }});
    wrong.push_back({"parts", [](params_t& p) { p.parts = 1; }});
    wrong.push_back({"part_columns", [](params_t& p) {
                         p.part_columns[0] = 14;
                         p.part_columns[1] = 16;
                     }});
    expect_refusals("linear", trib_linear, valid, wrong);

    params_t params = valid;
    params.x.dtype = TRIB_DTYPE_F16;
    EXPECT_EQ(trib_linear(ctx.get(), &params), TRIB_INVALID_ARGUMENT);
    EXPECT_STREQ(trib_last_error(), "linear: x.dtype is F16 (3), expected F32 or BF16");
    params.weight.dtype = TRIB_DTYPE_F16;
    params.x.dtype = TRIB_DTYPE_BF16;
    EXPECT_EQ(trib_linear(ctx.get(), &params), TRIB_INVALID_ARGUMENT);
    EXPECT_STREQ(trib_last_error(), "linear: x.dtype is BF16 (2), expected F32 or F16");
}

TEST_F(frontdoor, refuses_a_wrong_rope_append_or_attention) {
    attention_case shape;
    attention_inputs in(*step, shape);
    in.randomize(random);
    {
        using params_t = trib_rope_append_params;
        params_t valid{};
        valid.struct_size = sizeof valid;
        valid.rows = TRIB_ROWS_ALL;
        valid.step = step->header();
        valid.q = tensor_of(rows, shape.q_heads, shape.head_dim).tensor();
        valid.rotated_q = in.q.tensor();
        valid.k = tensor_of(rows, shape.kv_heads, shape.head_dim).tensor();
        valid.v = tensor_of(rows, shape.kv_heads, shape.head_dim).tensor();
        valid.cos_sin = tensor_of(100, 0, 16).tensor();
        valid.cache = in.cache.header();
        valid.stream_k = in.stream_k.tensor();
        valid.stream_v = in.stream_v.tensor();
        valid.layer = 1;
        valid.rotary_dim = 16;
        mutations<params_t> wrong;
        tensor_mutations(wrong, "q", &params_t::q, false, true);
        tensor_mutations(wrong, "k", &params_t::k);
        tensor_mutations(wrong, "v", &params_t::v);
        tensor_mutations(wrong, "rotated_q", &params_t::rotated_q);
        tensor_mutations(wrong, "cos_sin", &params_t::cos_sin, false, true);
        tensor_mutations(wrong, "stream_k", &params_t::stream_k);
        tensor_mutations(wrong, "stream_v", &params_t::stream_v);
        for (trib_tensor params_t::*of : {&params_t::q, &params_t::k, &params_t::v}) {
            wrong.push_back({of == &params_t::q   ? "q"
                             : of == &params_t::k ? "k"
                                                  : "v",
                             [of](params_t& p) { (p.*of).dtype = TRIB_DTYPE_BF16; }});
            stride_mutations(wrong, wrong.back().argument, of);
        }
        stride_mutations(wrong, "stream_k", &params_t::stream_k);
        cache_mutations(wrong);
        wrong.push_back({"q", [](params_t& p) { p.q.shape[1] = 3; }});
        wrong.push_back({"rotated_q", [](params_t& p) { p.rotated_q.dtype = TRIB_DTYPE_F32; }});
        wrong.push_back({"rotated_q", [](params_t& p) { p.rotated_q.address = p.q.address; }});
        wrong.push_back({"stream_k", [](params_t& p) { p.stream_k.dtype = TRIB_DTYPE_F16; }});
        wrong.push_back({"rotary_dim", [](params_t& p) { p.rotary_dim = 0; }});
        wrong.push_back({"rotary_dim", [](params_t& p) { p.rotary_dim = 15; }});
        wrong.push_back({"rotary_dim", [](params_t& p) { p.rotary_dim = 34; }});
        wrong.push_back({"cos_sin", [](params_t& p) { p.rotary_dim = 14; }});
        expect_refusals("rope_append", trib_rope_append, valid, wrong);
    }
    {
        using params_t = trib_multi_stream_attention_params;
        params_t valid = in.params();
        const workspace space(ctx, TRIB_OP_ATTENTION, valid);
        mutations<params_t> wrong;
        tensor_mutations(wrong, "q", &params_t::q, false, true);
        tensor_mutations(wrong, "y", &params_t::y);
        tensor_mutations(wrong, "stream_k", &params_t::stream_k);
        tensor_mutations(wrong, "stream_v", &params_t::stream_v);
        stride_mutations(wrong, "q", &params_t::q);
        stride_mutations(wrong, "y", &params_t::y);
        cache_mutations(wrong);
        workspace_mutations(wrong, valid);
        wrong.push_back({"q", [](params_t& p) { p.q.dtype = TRIB_DTYPE_F32; }});
        wrong.push_back({"q", [](params_t& p) { p.q.shape[1] = 3; }});
        wrong.push_back({"y", [](params_t& p) { p.y.address = p.q.address; }});
        wrong.push_back({"next_read", [](params_t& p) { p.next_read_bytes = 64; }});
        wrong.push_back({"next_read_bytes", [](params_t& p) { p.next_read = 64; }});
        wrong.push_back({"scale", [](params_t& p) { p.scale = NAN; }});
        wrong.push_back({"scale", [](params_t& p) { p.scale = INFINITY; }});
        expect_refusals("multi_stream_attention", trib_multi_stream_attention, valid, wrong);
    }
}

TEST_F(frontdoor, refuses_a_wrong_insert_streams) {
    using params_t = trib_insert_streams_params;
    std::vector<int32_t> sources(step->Q, index_poison);
    for (int i = 0; i < step->stream_rows; ++i) sources[i] = step->rows[step->R + i].anchor_row;
    params_t valid{};
    valid.struct_size = sizeof valid;
    valid.step = step->header();
    valid.x = tensor_of(rows, 0, hidden).tensor();
    valid.source = valid.x;
    valid.row_source = numbers(sources).address();
    valid.embeddings = tensor_at(reals(gamma * hidden), TRIB_DTYPE_F32, 1, gamma, hidden);
    mutations<params_t> wrong;
    tensor_mutations(wrong, "x", &params_t::x, false, false, true);
    tensor_mutations(wrong, "source", &params_t::source, false, true);
    tensor_mutations(wrong, "embeddings", &params_t::embeddings);
    stride_mutations(wrong, "x", &params_t::x);
    stride_mutations(wrong, "source", &params_t::source);
    array_mutations(wrong, "row_source", &params_t::row_source);
    wrong.push_back({"x", [](params_t& p) { p.x.dtype = TRIB_DTYPE_BF16; }});
    wrong.push_back({"row_embedding", [](params_t& p) { p.row_embedding = p.row_source + 2; }});
    expect_refusals("insert_streams", trib_insert_streams, valid, wrong);
}

TEST_F(frontdoor, refuses_a_wrong_edge_confidence) {
    using params_t = trib_edge_confidence_params;
    std::vector<int32_t> sources(step->Q, index_poison);
    for (int i = 0; i < step->stream_rows; ++i) sources[i] = step->rows[step->R + i].anchor_row;
    device_array<int32_t>& row_source = space_for(static_cast<size_t>(step->Q));
    row_source.set(sources);
    step->thaw_rows();
    params_t valid{};
    valid.struct_size = sizeof valid;
    valid.threshold = 0;  // nothing goes, so that the step can be used again
    valid.step = step->header();
    valid.x = tensor_of(rows, 0, hidden).tensor();
    valid.down = weight_of(8, hidden).tensor();
    valid.up = weight_of(hidden, 8).tensor();
    valid.lm_head = weight_of(vocabulary, hidden).tensor();
    valid.row_source = row_source.address();
    valid.confidence = reals(step->R);
    valid.kept = space_for(static_cast<size_t>(step->R)).address();
    const workspace space(ctx, TRIB_OP_EDGE_CONFIDENCE, valid);
    mutations<params_t> wrong;
    tensor_mutations(wrong, "x", &params_t::x, false, false, true);
    tensor_mutations(wrong, "down", &params_t::down, false, true);
    tensor_mutations(wrong, "up", &params_t::up);
    tensor_mutations(wrong, "lm_head", &params_t::lm_head, false, true);
    stride_mutations(wrong, "x", &params_t::x);
    array_mutations(wrong, "row_source", &params_t::row_source);
    array_mutations(wrong, "confidence", &params_t::confidence);
    array_mutations(wrong, "kept", &params_t::kept);
    workspace_mutations(wrong, valid);
    wrong.push_back({"threshold", [](params_t& p) { p.threshold = 1; }});
    wrong.push_back({"threshold", [](params_t& p) { p.threshold = -0.1f; }});
    wrong.push_back({"threshold", [](params_t& p) { p.threshold = NAN; }});
    expect_refusals("edge_confidence", trib_edge_confidence, valid, wrong);
}

TEST_F(frontdoor, refuses_a_wrong_lm_head) {
    using params_t = trib_lm_head_params;
    params_t valid{};
    valid.struct_size = sizeof valid;
    valid.rows = TRIB_ROWS_ALL;
    valid.step = step->header();
    valid.x = tensor_of(rows, 0, hidden).tensor();
    valid.weight = weight_of(vocabulary, hidden).tensor();
    valid.max_rows = static_cast<uint32_t>(rows);
    valid.k = 4;
    valid.argmax = space_for(static_cast<size_t>(rows)).address();
    valid.max_logit = reals(rows);
    valid.log_sum_exp = reals(rows);
    valid.top_ids = space_for(static_cast<size_t>(rows) * 4).address();
    valid.top_logits = reals(static_cast<size_t>(rows) * 4);
    valid.logits = tensor_of(rows, 0, vocabulary).tensor();
    const workspace space(ctx, TRIB_OP_LM_HEAD, valid);
    mutations<params_t> wrong;
    tensor_mutations(wrong, "x", &params_t::x, false, false, true);
    tensor_mutations(wrong, "weight", &params_t::weight, false, true);
    tensor_mutations(wrong, "logits", &params_t::logits, true);
    stride_mutations(wrong, "x", &params_t::x);
    stride_mutations(wrong, "logits", &params_t::logits);
    array_mutations(wrong, "argmax", &params_t::argmax);
    array_mutations(wrong, "max_logit", &params_t::max_logit, true);
    array_mutations(wrong, "log_sum_exp", &params_t::log_sum_exp);
    array_mutations(wrong, "top_ids", &params_t::top_ids);
    array_mutations(wrong, "top_logits", &params_t::top_logits);
    workspace_mutations(wrong, valid);
    wrong.push_back({"x", [](params_t& p) { p.x.dtype = TRIB_DTYPE_F16; }});
    const uint64_t some = valid.argmax;
    wrong.push_back({"row_count", [some](params_t& p) { p.row_index = some; }});
    wrong.push_back({"row_index", [some](params_t& p) { p.row_count = some; }});
    wrong.push_back({"max_rows", [](params_t& p) { p.max_rows -= 1; }});
    wrong.push_back({"max_rows", [](params_t& p) { p.max_rows = 0; }});
    wrong.push_back({"k", [](params_t& p) { p.k = TRIB_MAX_TOP_K + 1; }});
    wrong.push_back({"k", [](params_t& p) { p.k = vocabulary + 1; }});
    wrong.push_back({"top_ids", [](params_t& p) { p.k = 0; }});
    wrong.push_back({"vocabulary_offset", [](params_t& p) { p.vocabulary_offset = -1; }});
    wrong.push_back({"vocabulary_offset", [](params_t& p) { p.vocabulary_offset = INT32_MAX; }});
    expect_refusals("lm_head", trib_lm_head, valid, wrong);
}

TEST_F(frontdoor, refuses_a_wrong_top_k) {
    using params_t = trib_top_k_params;
    params_t valid{};
    valid.struct_size = sizeof valid;
    valid.k = 4;
    valid.logits = tensor_of(3, 0, vocabulary).tensor();
    valid.row_count = numbers({3}).address();
    valid.top_ids = space_for(12).address();
    valid.top_logits = reals(12);
    const workspace space(ctx, TRIB_OP_TOP_K, valid);
    mutations<params_t> wrong;
    tensor_mutations(wrong, "logits", &params_t::logits, false, true, true);
    stride_mutations(wrong, "logits", &params_t::logits);
    array_mutations(wrong, "row_count", &params_t::row_count);
    array_mutations(wrong, "top_ids", &params_t::top_ids);
    array_mutations(wrong, "top_logits", &params_t::top_logits);
    workspace_mutations(wrong, valid);
    wrong.push_back({"k", [](params_t& p) { p.k = 0; }});
    wrong.push_back({"k", [](params_t& p) { p.k = TRIB_MAX_TOP_K + 1; }});
    wrong.push_back({"k", [](params_t& p) { p.k = vocabulary + 1; }});
    wrong.push_back({"logits", [](params_t& p) { p.logits.dtype = TRIB_DTYPE_F16; }});
    expect_refusals("top_k", trib_top_k, valid, wrong);
}

TEST_F(frontdoor, refuses_a_wrong_verify_tree) {
    using params_t = trib_verify_tree_params;
    std::vector<trib_sampling> how(step->S);
    for (trib_sampling& of : how) {
        of.temperature = 0.5f;
        of.top_p = 1;
        of.active = 1;
    }
    const device_array<trib_sampling> sampling(how);
    const auto slots = static_cast<size_t>(step->S);
    params_t valid{};
    valid.struct_size = sizeof valid;
    valid.step = step->header();
    valid.sampling = sampling.address();
    valid.argmax = numbers(std::vector<int32_t>(step->R, 1)).address();
    valid.logits = tensor_of(step->R, 0, vocabulary).tensor();
    valid.accepted_count = space_for(slots).address();
    valid.accepted_node = space_for(slots * TRIB_MAX_PATH).address();
    valid.accepted_row = space_for(slots * TRIB_MAX_PATH).address();
    valid.bonus = space_for(slots).address();
    const workspace space(ctx, TRIB_OP_VERIFY_TREE, valid);
    mutations<params_t> wrong;
    tensor_mutations(wrong, "logits", &params_t::logits, true, true, true);
    stride_mutations(wrong, "logits", &params_t::logits);
    array_mutations(wrong, "sampling", &params_t::sampling);
    array_mutations(wrong, "row_logits", &params_t::row_logits, true);
    array_mutations(wrong, "argmax", &params_t::argmax);
    array_mutations(wrong, "accepted_count", &params_t::accepted_count);
    array_mutations(wrong, "accepted_node", &params_t::accepted_node);
    array_mutations(wrong, "accepted_row", &params_t::accepted_row);
    array_mutations(wrong, "bonus", &params_t::bonus);
    workspace_mutations(wrong, valid);
    expect_refusals("verify_tree", trib_verify_tree, valid, wrong);

    // What needs logits is refused without them.
    params_t adjusted = valid;
    adjusted.max_adjusted_rows = static_cast<uint32_t>(step->R);
    adjusted.log_sum_exp = reals(step->R);
    adjusted.log_probability = space_for(slots * TRIB_MAX_PATH).address();
    const workspace adjusted_space(ctx, TRIB_OP_VERIFY_TREE, adjusted);
    wrong.clear();
    array_mutations(wrong, "log_sum_exp", &params_t::log_sum_exp);
    array_mutations(wrong, "log_probability", &params_t::log_probability, true);
    wrong.push_back({"log_sum_exp", [](params_t& p) { p.log_probability = 0; }});
    wrong.push_back({"max_adjusted_rows", [&](params_t& p) { p.max_adjusted_rows = step->R + 1; }});
    wrong.push_back({"max_adjusted_rows", [](params_t& p) { p.logits = {}; }});
    wrong.push_back({"log_probability", [](params_t& p) {
                         p.logits = {};
                         p.max_adjusted_rows = 0;
                     }});
    workspace_mutations(wrong, adjusted);
    expect_refusals("verify_tree", trib_verify_tree, adjusted, wrong);
}

TEST_F(frontdoor, refuses_a_wrong_commit_path) {
    using params_t = trib_commit_path_params;
    kv_cache cache(TRIB_DTYPE_BF16, 2, step->pages, 2, 16);
    std::vector<int32_t> counts(step->S, 0);
    counts[0] = 1;
    params_t valid{};
    valid.struct_size = sizeof valid;
    valid.step = step->header();
    valid.cache = cache.header();
    valid.accepted_count = numbers(counts).address();
    valid.accepted_node = numbers(std::vector<int32_t>(static_cast<size_t>(step->S) * TRIB_MAX_PATH, 0)).address();
    const workspace space(ctx, TRIB_OP_COMMIT_PATH, valid);
    mutations<params_t> wrong;
    cache_mutations(wrong);
    array_mutations(wrong, "accepted_count", &params_t::accepted_count);
    array_mutations(wrong, "accepted_node", &params_t::accepted_node);
    workspace_mutations(wrong, valid);
    expect_refusals("commit_path", trib_commit_path, valid, wrong);
}

// A caller compiled against an older header passes a smaller struct; what it does not know counts as zero. A larger
// struct comes from a newer header than the library's and is refused (among the mutations above).
TEST_F(frontdoor, completes_a_smaller_struct_with_zeros) {
    trib_rms_norm_params params{};
    params.struct_size = offsetof(trib_rms_norm_params, reserved);
    params.reserved = 77;  // beyond the size given: not looked at
    params.rows = TRIB_ROWS_MAIN;
    params.step = step->header();
    params.x = params.y = tensor_of(rows, 1, hidden).tensor();
    params.weight = tensor_at(reals(hidden), TRIB_DTYPE_F32, 1, 1, hidden);
    params.epsilon = 1e-5f;
    EXPECT_TRUE(calls(trib_rms_norm, ctx, params));
    params.struct_size = offsetof(trib_rms_norm_params, y);
    EXPECT_EQ(trib_rms_norm(ctx.get(), &params), TRIB_INVALID_ARGUMENT);
    EXPECT_TRUE(names(trib_last_error(), "y")) << trib_last_error();
}

// A step of the first version ends before the bounds.
TEST_F(frontdoor, takes_a_step_without_bounds) {
    trib_step header = step->copy_of_header();
    header.struct_size = offsetof(trib_step, bound_main_rows);
    header.bound_main_rows = header.bound_context = header.reserved = 0xffffffff;  // not looked at
    trib_rms_norm_params params{};
    params.struct_size = sizeof params;
    params.rows = TRIB_ROWS_MAIN;
    params.step = &header;
    params.x = params.y = tensor_of(rows, 1, hidden).tensor();
    params.weight = tensor_at(reals(hidden), TRIB_DTYPE_F32, 1, 1, hidden);
    params.epsilon = 1e-5f;
    EXPECT_TRUE(calls(trib_rms_norm, ctx, params));
}

TEST_F(frontdoor, refuses_wrong_queries_of_sizes) {
    uint64_t bytes = 12345;
    trib_top_k_params params{};
    params.struct_size = sizeof params;
    params.k = 4;
    params.logits = tensor_of(3, 0, vocabulary).tensor();
    EXPECT_EQ(trib_workspace_size(ctx.get(), TRIB_OP_TOP_K, &params, &bytes), TRIB_OK);
    EXPECT_EQ(trib_workspace_size(ctx.get(), 0, &params, &bytes), TRIB_INVALID_ARGUMENT);
    EXPECT_TRUE(names(trib_last_error(), "operation")) << trib_last_error();
    EXPECT_EQ(trib_workspace_size(ctx.get(), 99, &params, &bytes), TRIB_INVALID_ARGUMENT);
    EXPECT_EQ(trib_workspace_size(ctx.get(), TRIB_OP_TOP_K, nullptr, &bytes), TRIB_INVALID_ARGUMENT);
    EXPECT_EQ(trib_workspace_size(ctx.get(), TRIB_OP_TOP_K, &params, nullptr), TRIB_INVALID_ARGUMENT);
    EXPECT_EQ(trib_workspace_size(nullptr, TRIB_OP_TOP_K, &params, &bytes), TRIB_INVALID_ARGUMENT);
    params.k = 100;
    EXPECT_EQ(trib_workspace_size(ctx.get(), TRIB_OP_TOP_K, &params, &bytes), TRIB_INVALID_ARGUMENT);

    EXPECT_EQ(trib_packed_size(ctx.get(), TRIB_DTYPE_BF16, TRIB_LAYOUT_PACKED, 3, 5, &bytes), TRIB_OK);
    EXPECT_GE(bytes, 30u);
    for (const auto& [dtype, layout, n, k] : std::vector<std::tuple<uint32_t, uint32_t, int64_t, int64_t>>{
             {TRIB_DTYPE_F32, TRIB_LAYOUT_PACKED, 3, 5},
             {TRIB_DTYPE_NONE, TRIB_LAYOUT_PACKED, 3, 5},
             {TRIB_DTYPE_BF16, TRIB_LAYOUT_ROW_MAJOR, 3, 5},
             {TRIB_DTYPE_BF16, 9, 3, 5},
             {TRIB_DTYPE_BF16, TRIB_LAYOUT_PACKED, 0, 5},
             {TRIB_DTYPE_BF16, TRIB_LAYOUT_PACKED, 3, -1},
             {TRIB_DTYPE_BF16, TRIB_LAYOUT_PACKED, INT64_MAX, INT64_MAX},
             {TRIB_DTYPE_BF16, TRIB_LAYOUT_PACKED_GATE, 3, 5}}) {
        const trib_status status = trib_packed_size(ctx.get(), dtype, layout, n, k, &bytes);
        EXPECT_TRUE(status == TRIB_INVALID_ARGUMENT || status == TRIB_UNSUPPORTED)
            << dtype << " " << layout << " " << n;
        EXPECT_TRUE(names(trib_last_error(), "packed_size")) << trib_last_error();
    }
    EXPECT_EQ(trib_packed_size(ctx.get(), TRIB_DTYPE_BF16, TRIB_LAYOUT_PACKED, 3, 5, nullptr), TRIB_INVALID_ARGUMENT);
    EXPECT_EQ(trib_packed_size(nullptr, TRIB_DTYPE_BF16, TRIB_LAYOUT_PACKED, 3, 5, &bytes), TRIB_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace tributary::test
