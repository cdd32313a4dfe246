// SPDX-License-Identifier: Apache-2.0
//
// Operands of 16 bits: what feeds a product in the weight's type gives the bits that F32 gives, since the product rounds
// to that type anyway; what is written in 16 bits is the F32 result, rounded once. And bounds of a step, which size
// launches, never reach a bit.
#include <gtest/gtest.h>

#include "support/attention_reference.hpp"

namespace tributary::test {
namespace {

// Rows [rows, groups, width] of a 16-bit type with unused elements between them; a matrix when groups is 0.
class half_tensor {
public:
    half_tensor(uint32_t dtype, int rows, int groups, int width, int row_gap = 0, int group_gap = 0)
        : dtype_(dtype),
          rows_(rows),
          groups_(groups),
          width_(width),
          group_stride_(width + group_gap),
          pitch_(std::max(groups, 1) * (width + group_gap) + row_gap),
          memory_(static_cast<size_t>(rows) * pitch_ * sizeof(uint16_t)) {}

    trib_tensor tensor() const {
        trib_tensor result{};
        result.address = memory_.address();
        result.dtype = dtype_;
        result.shape[0] = groups_ == 0 ? 1 : rows_;
        result.shape[1] = groups_ == 0 ? rows_ : groups_;
        result.shape[2] = width_;
        result.stride[0] = groups_ == 0 ? static_cast<int64_t>(rows_) * pitch_ : pitch_;
        result.stride[1] = groups_ == 0 ? pitch_ : group_stride_;
        result.stride[2] = 1;
        return result;
    }
    // The row, rounded.
    void set_row(int row, const std::vector<float>& values) {
        const std::vector<uint16_t> bits = encoded(dtype_, to_double(values));
        memory_.thaw();
        for (int group = 0; group < std::max(groups_, 1); ++group) {
            memory_.upload(bits.data() + group * width_, sizeof(uint16_t) * width_, offset(row, group));
        }
    }
    std::vector<uint16_t> row(int row) const {
        std::vector<uint16_t> result(std::max(groups_, 1) * width_);
        for (int group = 0; group < std::max(groups_, 1); ++group) {
            memory_.download(result.data() + group * width_, sizeof(uint16_t) * width_, offset(row, group));
        }
        return result;
    }
    void freeze() { memory_.freeze(); }
    // Every row of `written` is the F32 row, rounded to nearest even, and nothing else was touched.
    testing::AssertionResult is_rounded(const row_tensor& exact, const std::vector<int>& written) const {
        std::vector<uint8_t> bytes(memory_.bytes());
        memory_.download(bytes.data(), bytes.size());
        for (const int index : written) {
            const std::vector<uint16_t> got = row(index);
            const std::vector<uint16_t> expected = encoded(dtype_, exact.row_values(index));
            for (size_t i = 0; i < got.size(); ++i) {
                if (got[i] != expected[i]) {
                    return testing::AssertionFailure()
                           << "row " << index << " element " << i << " is " << decoded(dtype_, got[i]) << ", expected "
                           << exact.row(index)[i] << " rounded to " << dtype_name(dtype_);
                }
            }
            for (int group = 0; group < std::max(groups_, 1); ++group) {
                std::fill_n(bytes.begin() + static_cast<int64_t>(offset(index, group)), sizeof(uint16_t) * width_,
                            nan_poison);
            }
        }
        for (size_t i = 0; i < bytes.size(); ++i) {
            if (bytes[i] != nan_poison) {
                return testing::AssertionFailure() << "byte " << i << " was written, which is nobody's";
            }
        }
        return testing::AssertionSuccess();
    }

private:
    size_t offset(int row, int group) const {
        return sizeof(uint16_t) * (static_cast<size_t>(row) * pitch_ + static_cast<size_t>(group) * group_stride_);
    }

    uint32_t dtype_;
    int rows_;
    int groups_;
    int width_;
    int group_stride_;
    int pitch_;
    device_memory memory_;
};

// A step's header with bounds as tight as they can be.
trib_step bounded(const ragged_step& step) {
    trib_step result = step.copy_of_header();
    result.bound_main_rows = static_cast<uint32_t>(step.main_rows);
    result.bound_stream_rows = static_cast<uint32_t>(step.stream_rows);
    for (const int row : step.indices(TRIB_ROWS_ALL)) {
        result.bound_context = std::max(result.bound_context, static_cast<uint32_t>(step.rows[row].position) + 1);
    }
    return result;
}

// A linear with everything that may hang on it.
struct linear_inputs {
    linear_inputs(const context& on, random_source& random, const ragged_step& step, uint32_t dtype, uint32_t epilogue,
                  int K, int part, int rank)
        : packed(on, dtype, epilogue == TRIB_EPILOGUE_SILU_GATE ? TRIB_LAYOUT_PACKED_GATE : TRIB_LAYOUT_PACKED,
                 2 * part, K, encoded(dtype, random.normals(static_cast<size_t>(2) * part * K, 1 / std::sqrt(K)))),
          bias(encoded(dtype, random.normals(static_cast<size_t>(2) * part))) {
        params.struct_size = sizeof params;
        params.rows = TRIB_ROWS_ALL;
        params.step = step.header();
        params.weight = packed.tensor();
        params.bias = tensor_at(bias.address(), dtype, 1, 1, 2 * part);
        params.epilogue = epilogue;
        params.parts = 2;
        params.part_columns[0] = params.part_columns[1] = part;
        if (rank == 0) return;
        std::vector<trib_lora> entries(2);
        for (trib_lora& entry : entries) {
            for (const bool down : {true, false}) {
                const int rows = down ? rank : part;
                const int columns = down ? K : rank;
                adapters.push_back(std::make_unique<packed_weight>(
                    on, dtype, TRIB_LAYOUT_PACKED, rows, columns,
                    encoded(dtype, random.normals(static_cast<size_t>(rows) * columns, 1 / std::sqrt(columns)))));
                (down ? entry.a : entry.b) = adapters.back()->address();
            }
            entry.rank = static_cast<uint32_t>(rank);
            entry.scale = 0.75f;
            entry.dtype = dtype;
        }
        table = std::make_unique<device_array<trib_lora>>(entries);
        segments = std::make_unique<device_array<int32_t>>(
            std::vector<int32_t>{0, step.main_rows / 2, 0, step.R, step.R + step.stream_rows, 0});
        segment_count = std::make_unique<device_array<int32_t>>(std::vector<int32_t>{2});
        params.adapters = 1;
        params.max_rank = static_cast<uint32_t>(rank);
        params.max_segments = 2;
        params.lora_table = table->address();
        params.segments = segments->address();
        params.segment_count = segment_count->address();
    }

    packed_weight packed;
    device_array<uint16_t> bias;
    std::vector<std::unique_ptr<packed_weight>> adapters;
    std::unique_ptr<device_array<trib_lora>> table;
    std::unique_ptr<device_array<int32_t>> segments;
    std::unique_ptr<device_array<int32_t>> segment_count;
    trib_linear_params params{};
};

// All that lm_head can write, of every row.
struct head_outputs {
    head_outputs(int rows, int k, int V)
        : argmax(rows),
          max_logit(rows),
          log_sum_exp(rows),
          top_ids(static_cast<size_t>(rows) * k),
          top_logits(static_cast<size_t>(rows) * k),
          logits(rows, 0, V),
          k(k) {}
    void attach(trib_lm_head_params& params) const {
        params.max_rows = static_cast<uint32_t>(argmax.size());
        params.k = static_cast<uint32_t>(k);
        params.argmax = argmax.address();
        params.max_logit = max_logit.address();
        params.log_sum_exp = log_sum_exp.address();
        params.top_ids = top_ids.address();
        params.top_logits = top_logits.address();
        params.logits = logits.tensor();
    }
    testing::AssertionResult equal(const head_outputs& other, const std::vector<int>& rows) const {
        const auto one = same_bits(bits(rows), other.bits(rows));
        return one ? same_bits(rows_of(logits, rows), rows_of(other.logits, rows)) : one;
    }

    device_array<int32_t> argmax;
    device_array<float> max_logit;
    device_array<float> log_sum_exp;
    device_array<int32_t> top_ids;
    device_array<float> top_logits;
    row_tensor logits;
    int k;

private:
    std::vector<float> bits(const std::vector<int>& rows) const {
        std::vector<float> result;
        const std::vector<int32_t> ids = argmax.values(), top = top_ids.values();
        const std::vector<float> most = max_logit.values(), sums = log_sum_exp.values(), values = top_logits.values();
        for (const int row : rows) {
            result.insert(result.end(), {std::bit_cast<float>(ids[row]), most[row], sums[row]});
            for (int i = row * k; i < (row + 1) * k; ++i) {
                result.insert(result.end(), {std::bit_cast<float>(top[i]), values[i]});
            }
        }
        return result;
    }
};

class operands : public operation_test {
protected:
    // Rows of F32, some of them tiny, and the same rows rounded.
    void fill(row_tensor& wide, half_tensor& narrow, const std::vector<int>& rows, uint32_t dtype) {
        for (const int row : rows) {
            const double tiny = dtype == TRIB_DTYPE_BF16 ? 1e-39 : 1e-6;
            std::vector<float> values = to_float(random.normals(wide.row_size(), random.chance(0.1) ? tiny : 1));
            values[random.integer(0, wide.row_size() - 1)] = -0.0f;
            wide.set_row(row, values.data());
            narrow.set_row(row, values);
        }
        wide.freeze();
        narrow.freeze();
    }

    ragged_step random_step(int gamma = 2, int nodes = 24) {
        batch_shape batch;
        batch.gamma = gamma;
        batch.nodes = nodes;
        return ragged_step(random, random_sequences(random, batch), gamma);
    }
};

TEST_F(operands, of_a_linear_give_the_same_bits_in_sixteen_bits) {
    int round = 0;
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        for (const uint32_t epilogue : {TRIB_EPILOGUE_NONE, TRIB_EPILOGUE_RESIDUAL, TRIB_EPILOGUE_SILU_GATE}) {
            for (const int K : {1, 15, 16, 64, 201, 512}) {
                const int part = std::vector<int>{1, 16, 24, 37}[round % 4];
                const int gap = round % 3 == 0 ? 0 : round % 5;
                const bool gate = epilogue == TRIB_EPILOGUE_SILU_GATE;
                ++round;
                SCOPED_TRACE(testing::Message() << dtype_name(dtype) << " epilogue " << epilogue << " K " << K << " N "
                                                << 2 * part << " gap " << gap);
                const ragged_step step = random_step();
                const std::vector<int> rows = step.indices(TRIB_ROWS_ALL);
                linear_inputs of(ctx, random, step, dtype, epilogue, K, part, round % 2 == 0 ? 0 : 5);
                row_tensor x(step.R + step.Q, 0, K, gap);
                half_tensor x16(dtype, step.R + step.Q, 0, K, gap);
                fill(x, x16, rows, dtype);
                row_tensor y(step.R + step.Q, 0, gate ? part : 2 * part, gap);
                row_tensor other(step.R + step.Q, 0, gate ? part : 2 * part, gap);
                for (const int row : rows) {
                    const std::vector<double> residual = random.normals(y.row_size());
                    y.set_row(row, residual);
                    other.set_row(row, residual);
                }
                trib_linear_params params = of.params;
                params.x = x.tensor();
                params.y = y.tensor();
                const workspace space(ctx, TRIB_OP_LINEAR, params);
                ASSERT_TRUE(calls(trib_linear, ctx, params));
                trib_linear_params narrow = of.params;
                narrow.x = x16.tensor();
                narrow.y = other.tensor();
                const workspace narrow_space(ctx, TRIB_OP_LINEAR, narrow);
                ASSERT_TRUE(calls(trib_linear, ctx, narrow));
                ASSERT_TRUE(same_bits(rows_of(other, rows), rows_of(y, rows)));
                EXPECT_TRUE(other.only_written(rows));
                if (!gate) continue;
                for (const bool narrow_x : {false, true}) {
                    half_tensor y16(dtype, step.R + step.Q, 0, part, gap);
                    trib_linear_params rounding = of.params;
                    rounding.x = narrow_x ? x16.tensor() : x.tensor();
                    rounding.y = y16.tensor();
                    const workspace rounding_space(ctx, TRIB_OP_LINEAR, rounding);
                    ASSERT_TRUE(calls(trib_linear, ctx, rounding));
                    ASSERT_TRUE(y16.is_rounded(y, rows));
                }
            }
        }
    }
}

TEST_F(operands, of_the_head_give_the_same_bits_in_sixteen_bits) {
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        for (const int hidden : {7, 64, 333}) {
            const int V = 300 + hidden, k = 5;
            SCOPED_TRACE(testing::Message() << dtype_name(dtype) << " h " << hidden);
            const ragged_step step = random_step();
            const std::vector<int> rows = step.indices(TRIB_ROWS_ALL);
            const packed_weight packed(ctx, dtype, TRIB_LAYOUT_PACKED, V, hidden,
                                       encoded(dtype, random.normals(static_cast<size_t>(V) * hidden, 0.2)));
            row_tensor x(step.R + step.Q, 0, hidden, 3);
            half_tensor x16(dtype, step.R + step.Q, 0, hidden, 5);
            fill(x, x16, rows, dtype);
            head_outputs wide(step.R + step.Q, k, V);
            head_outputs narrow(step.R + step.Q, k, V);
            for (const bool sixteen : {false, true}) {
                trib_lm_head_params params{};
                params.struct_size = sizeof params;
                params.rows = TRIB_ROWS_ALL;
                params.step = step.header();
                params.x = sixteen ? x16.tensor() : x.tensor();
                params.weight = packed.tensor();
                (sixteen ? narrow : wide).attach(params);
                const workspace space(ctx, TRIB_OP_LM_HEAD, params);
                ASSERT_TRUE(calls(trib_lm_head, ctx, params));
            }
            ASSERT_TRUE(narrow.equal(wide, rows));
            // By index, as the engine asks.
            std::vector<int32_t> chosen;
            for (size_t i = 0; i < rows.size(); i += 3) chosen.push_back(rows[rows.size() - 1 - i]);
            const device_array<int32_t> index(chosen);
            const device_array<int32_t> count(std::vector<int32_t>{static_cast<int32_t>(chosen.size())});
            head_outputs by_index(static_cast<int>(chosen.size()), k, V);
            trib_lm_head_params params{};
            params.struct_size = sizeof params;
            params.step = step.header();
            params.x = x16.tensor();
            params.weight = packed.tensor();
            params.row_index = index.address();
            params.row_count = count.address();
            by_index.attach(params);
            const workspace space(ctx, TRIB_OP_LM_HEAD, params);
            ASSERT_TRUE(calls(trib_lm_head, ctx, params));
            for (size_t i = 0; i < chosen.size(); ++i) {
                ASSERT_TRUE(same_bits(by_index.logits.row(static_cast<int>(i)), wide.logits.row(chosen[i])));
                ASSERT_EQ(by_index.argmax.values()[i], wide.argmax.values()[chosen[i]]);
            }
        }
    }
}

TEST_F(operands, of_rms_norm_are_its_results_rounded) {
    int round = 0;
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        for (const int width : {1, 7, 16, 40, 64, 100, 1024}) {
            for (const uint32_t which : {TRIB_ROWS_MAIN, TRIB_ROWS_STREAM, TRIB_ROWS_ALL}) {
                const int groups = 1 + round % 3;
                const int gap = round++ % 4;
                SCOPED_TRACE(testing::Message() << dtype_name(dtype) << " width " << width << " groups " << groups);
                const ragged_step step = random_step();
                const std::vector<int> rows = step.indices(which);
                // Weights from large to tiny: what is written overflows F16, and is subnormal in it.
                std::vector<double> weights = random.normals(width);
                for (double& weight : weights) weight *= std::pow(10, random.integer(-7, 6));
                device_memory weight(static_cast<size_t>(width) * sizeof(float));
                weight.upload(to_float(weights).data(), weight.bytes());
                weight.freeze();
                row_tensor x(step.R + step.Q, groups, width, gap);
                x.randomize(random, rows);
                x.freeze();
                row_tensor y(step.R + step.Q, groups, width, gap);
                half_tensor y16(dtype, step.R + step.Q, groups, width, gap, gap);
                for (const bool sixteen : {false, true}) {
                    trib_rms_norm_params params{};
                    params.struct_size = sizeof params;
                    params.rows = which;
                    params.step = step.header();
                    params.x = x.tensor();
                    params.weight = tensor_at(weight.address(), TRIB_DTYPE_F32, 1, 1, width);
                    params.y = sixteen ? y16.tensor() : y.tensor();
                    params.epsilon = 1e-6f;
                    ASSERT_TRUE(calls(trib_rms_norm, ctx, params));
                }
                ASSERT_TRUE(y16.is_rounded(y, rows));
            }
        }
    }
}

TEST_F(operands, of_attention_are_its_results_rounded) {
    int round = 0;
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        for (const int head_dim : {8, 24, 64, 80, 128, 256}) {
            attention_case shape;
            // The cache's type and the result's have nothing to do with each other.
            shape.dtype = round % 3 == 0 ? TRIB_DTYPE_F16 : TRIB_DTYPE_BF16;
            shape.head_dim = head_dim;
            shape.q_heads = shape.kv_heads * (1 + round % 4);
            shape.rows = static_cast<uint32_t>(1 + round % 3);
            shape.row_gap = round % 5;
            shape.group_gap = round % 2 == 0 ? 0 : 8;
            ++round;
            SCOPED_TRACE(testing::Message() << dtype_name(dtype) << " d " << head_dim);
            const ragged_step step = random_step(1 + round % 4);
            attention_inputs in(step, shape);
            in.randomize(random);
            ASSERT_TRUE(in.run(ctx));
            half_tensor y16(dtype, step.R + step.Q, shape.q_heads, head_dim, shape.group_gap, shape.row_gap);
            trib_multi_stream_attention_params params = in.params();
            params.y = y16.tensor();
            const workspace space(ctx, TRIB_OP_ATTENTION, params);
            ASSERT_TRUE(calls(trib_multi_stream_attention, ctx, params));
            ASSERT_TRUE(y16.is_rounded(in.y, step.indices(shape.rows)));
        }
    }
}

TEST_F(operands, and_everything_else_do_not_depend_on_bounds) {
    for (int round = 0; round < 8; ++round) {
        SCOPED_TRACE(testing::Message() << "round " << round);
        const uint32_t dtype = round % 2 == 0 ? TRIB_DTYPE_BF16 : TRIB_DTYPE_F16;
        const ragged_step step = random_step(1 + round % 4, round < 4 ? 9 : 65);
        const std::vector<int> rows = step.indices(TRIB_ROWS_ALL);
        const trib_step tight = bounded(step);
        const int capacity = step.R + step.Q;
        const int K = 72;

        attention_case shape;
        shape.dtype = dtype;
        attention_inputs in(step, shape);
        in.randomize(random);
        ASSERT_TRUE(in.run(ctx));
        const std::vector<float> attended = rows_of(in.y, rows);
        in.y.poison();
        trib_multi_stream_attention_params attention = in.params();
        attention.step = &tight;
        const workspace attention_space(ctx, TRIB_OP_ATTENTION, attention);
        ASSERT_TRUE(calls(trib_multi_stream_attention, ctx, attention));
        ASSERT_TRUE(same_bits(rows_of(in.y, rows), attended));
        EXPECT_TRUE(in.y.only_written(rows));

        row_tensor x(capacity, 0, K);
        half_tensor x16(dtype, capacity, 0, K);
        fill(x, x16, rows, dtype);
        linear_inputs of(ctx, random, step, dtype, TRIB_EPILOGUE_NONE, K, 20, 6);
        row_tensor y(capacity, 0, 40);
        row_tensor y_bounded(capacity, 0, 40);
        row_tensor normed(capacity, 1, K);
        row_tensor normed_bounded(capacity, 1, K);
        const packed_weight head(ctx, dtype, TRIB_LAYOUT_PACKED, 500, K,
                                 encoded(dtype, random.normals(static_cast<size_t>(500) * K, 0.2)));
        head_outputs results(capacity, 4, 500);
        head_outputs results_bounded(capacity, 4, 500);
        const device_array<float> weight(to_float(random.normals(K)));
        for (const bool bound : {false, true}) {
            trib_linear_params linear = of.params;
            linear.step = bound ? &tight : step.header();
            linear.x = x16.tensor();
            linear.y = (bound ? y_bounded : y).tensor();
            const workspace linear_space(ctx, TRIB_OP_LINEAR, linear);
            ASSERT_TRUE(calls(trib_linear, ctx, linear));
            trib_rms_norm_params norm{};
            norm.struct_size = sizeof norm;
            norm.rows = TRIB_ROWS_ALL;
            norm.step = linear.step;
            norm.x = tensor_at(x.tensor().address, TRIB_DTYPE_F32, capacity, 1, K);
            norm.weight = tensor_at(weight.address(), TRIB_DTYPE_F32, 1, 1, K);
            norm.y = (bound ? normed_bounded : normed).tensor();
            norm.epsilon = 1e-6f;
            ASSERT_TRUE(calls(trib_rms_norm, ctx, norm));
            trib_lm_head_params lm_head{};
            lm_head.struct_size = sizeof lm_head;
            lm_head.rows = TRIB_ROWS_ALL;
            lm_head.step = linear.step;
            lm_head.x = x16.tensor();
            lm_head.weight = head.tensor();
            (bound ? results_bounded : results).attach(lm_head);
            const workspace head_space(ctx, TRIB_OP_LM_HEAD, lm_head);
            ASSERT_TRUE(calls(trib_lm_head, ctx, lm_head));
        }
        ASSERT_TRUE(same_bits(rows_of(y_bounded, rows), rows_of(y, rows)));
        EXPECT_TRUE(y_bounded.only_written(rows));
        ASSERT_TRUE(same_bits(rows_of(normed_bounded, rows), rows_of(normed, rows)));
        EXPECT_TRUE(normed_bounded.only_written(rows));
        ASSERT_TRUE(results_bounded.equal(results, rows));

        // Last, since it overwrites what attention read: rotated queries, appended keys and values.
        const int d = shape.head_dim;
        row_tensor q(capacity, shape.q_heads, d);
        row_tensor k(capacity, shape.kv_heads, d);
        row_tensor v(capacity, shape.kv_heads, d);
        q.randomize(random, rows);
        k.randomize(random, rows);
        v.randomize(random, rows);
        const device_array<float> cos_sin(to_float(random.normals(static_cast<size_t>(1024) * d)));
        std::vector<float> rotated;
        std::vector<std::vector<uint16_t>> appended;
        for (const bool bound : {false, true}) {
            in.q.poison();
            in.cache.upload();
            in.stream_k.upload();
            in.stream_v.upload();
            trib_rope_append_params rope{};
            rope.struct_size = sizeof rope;
            rope.rows = TRIB_ROWS_ALL;
            rope.step = bound ? &tight : step.header();
            rope.q = q.tensor();
            rope.rotated_q = in.q.tensor();
            rope.k = k.tensor();
            rope.v = v.tensor();
            rope.cos_sin = tensor_at(cos_sin.address(), TRIB_DTYPE_F32, 1, 1024, d);
            rope.cache = in.cache.header();
            rope.stream_k = in.stream_k.tensor();
            rope.stream_v = in.stream_v.tensor();
            rope.layer = static_cast<uint32_t>(shape.layer);
            rope.rotary_dim = static_cast<uint32_t>(d);
            ASSERT_TRUE(calls(trib_rope_append, ctx, rope));
            const std::vector<std::vector<uint16_t>> now = {in.cache.contents(), in.stream_k.contents(),
                                                            in.stream_v.contents()};
            if (bound) {
                ASSERT_TRUE(same_bits(rows_of(in.q, rows), rotated));
                for (size_t i = 0; i < now.size(); ++i) ASSERT_TRUE(same_bits(now[i], appended[i]));
            }
            rotated = rows_of(in.q, rows);
            appended = now;
        }
    }
}

// A GPU would leave such rows out without a word; the host says so, as for counts beyond the capacities.
TEST_F(operands, of_rows_beyond_the_bounds_are_refused_by_the_host) {
    if (test_backend().kind() != TRIB_BACKEND_HOST) GTEST_SKIP() << "counts are read on the device";
    sequence_spec sequence;
    sequence.tree = random_tree(random, 5);
    sequence.anchors = {0, 3};
    const ragged_step step(random, {sequence}, 2);
    row_tensor x(step.R + step.Q, 1, 16);
    x.randomize(random, step.indices(TRIB_ROWS_ALL));
    const device_array<float> weight(to_float(random.normals(16)));
    for (uint32_t trib_step::*bound : {&trib_step::bound_main_rows, &trib_step::bound_stream_rows}) {
        trib_step header = bounded(step);
        trib_rms_norm_params params{};
        params.struct_size = sizeof params;
        params.rows = TRIB_ROWS_ALL;
        params.step = &header;
        params.x = params.y = x.tensor();
        params.weight = tensor_at(weight.address(), TRIB_DTYPE_F32, 1, 1, 16);
        ASSERT_GT(header.*bound, 1u);
        ASSERT_TRUE(calls(trib_rms_norm, ctx, params));
        header.*bound -= 1;
        EXPECT_EQ(trib_rms_norm(ctx.get(), &params), TRIB_INVALID_ARGUMENT);
        EXPECT_NE(std::string(trib_last_error()).find("rms_norm: step.counts"), std::string::npos) << trib_last_error();
    }
}

}  // namespace
}  // namespace tributary::test
