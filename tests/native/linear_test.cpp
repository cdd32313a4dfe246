// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "support/attention_reference.hpp"

namespace tributary::test {
namespace {

// One fused weight with everything that may hang on it, and its results in fp64.
struct linear_case {
    uint32_t dtype = TRIB_DTYPE_BF16;
    uint32_t bias_dtype = TRIB_DTYPE_NONE;
    uint32_t epilogue = TRIB_EPILOGUE_NONE;
    uint32_t rows = TRIB_ROWS_ALL;
    std::vector<int64_t> part_columns = {16};
    int K = 16;
    std::vector<int> ranks;      // by adapter; empty = no LoRA
    bool whole_numbers = false;  // small integers, for which F32 is exact in any order
    int row_gap = 0;
};

struct adapter_part {
    int rank = 0;
    float scale = 0;
    std::vector<double> a;
    std::vector<double> b;
};

class linear : public operation_test {
protected:
    struct built {
        std::vector<double> weight;
        std::vector<double> bias;
        std::vector<adapter_part> adapters;  // [adapters, parts]
        std::unique_ptr<packed_weight> packed;
        std::vector<std::unique_ptr<packed_weight>> packed_adapters;
        std::unique_ptr<device_array<trib_lora>> table;
        std::unique_ptr<device_memory> bias_memory;
        std::unique_ptr<device_array<int32_t>> segments;
        std::unique_ptr<device_array<int32_t>> segment_count;
        std::vector<int> adapter_of_row;
        trib_linear_params params{};
    };

    static int columns_of(const linear_case& of) {
        int64_t n = 0;
        for (const int64_t part : of.part_columns) n += part;
        return static_cast<int>(n);
    }
    static int outputs_of(const linear_case& of) {
        return of.epilogue == TRIB_EPILOGUE_SILU_GATE ? columns_of(of) / 2 : columns_of(of);
    }

    built build(const linear_case& of, const ragged_step& step) {
        built result;
        const int N = columns_of(of);
        const auto values = [&](size_t count, double deviation) {
            return of.whole_numbers ? random.integers(count, -8, 8)
                                    : rounded(of.dtype, random.normals(count, deviation));
        };
        result.weight = values(static_cast<size_t>(N) * of.K, 1 / std::sqrt(of.K));
        const bool gate = of.epilogue == TRIB_EPILOGUE_SILU_GATE;
        result.packed =
            std::make_unique<packed_weight>(ctx, of.dtype, gate ? TRIB_LAYOUT_PACKED_GATE : TRIB_LAYOUT_PACKED, N, of.K,
                                            encoded(of.dtype, result.weight), of.part_columns);
        trib_linear_params& params = result.params;
        params.struct_size = sizeof params;
        params.rows = of.rows;
        params.step = step.header();
        params.weight = result.packed->tensor();
        params.epilogue = of.epilogue;
        params.parts = static_cast<uint32_t>(of.part_columns.size());
        for (size_t i = 0; i < of.part_columns.size(); ++i) {
            params.part_columns[i] = static_cast<int32_t>(of.part_columns[i]);
        }
        if (of.bias_dtype != TRIB_DTYPE_NONE) {
            result.bias = of.whole_numbers ? random.integers(N, -50, 50) : random.normals(N);
            result.bias = rounded(of.bias_dtype, result.bias);
            result.bias_memory = std::make_unique<device_memory>(N * (of.bias_dtype == TRIB_DTYPE_F32 ? 4 : 2));
            if (of.bias_dtype == TRIB_DTYPE_F32) {
                result.bias_memory->upload(to_float(result.bias).data(), result.bias_memory->bytes());
            } else {
                result.bias_memory->upload(encoded(of.bias_dtype, result.bias).data(), result.bias_memory->bytes());
            }
            result.bias_memory->freeze();
            params.bias = tensor_at(result.bias_memory->address(), of.bias_dtype, 1, 1, N);
        }
        result.adapter_of_row.assign(step.R + step.Q, -1);
        if (!of.ranks.empty()) build_adapters(of, step, result);
        return result;
    }

    void build_adapters(const linear_case& of, const ragged_step& step, built& result) {
        std::vector<trib_lora> table;
        int max_rank = 0;
        for (const int rank_of_adapter : of.ranks) {
            for (const int64_t columns : of.part_columns) {
                adapter_part part;
                part.rank = random.chance(0.2) ? 0 : rank_of_adapter;
                part.scale = of.whole_numbers ? 0.5f : static_cast<float>(random.integer(1, 8)) / 3;
                max_rank = std::max(max_rank, part.rank);
                trib_lora entry{};
                entry.rank = static_cast<uint32_t>(part.rank);
                if (part.rank > 0) {
                    const size_t a_size = static_cast<size_t>(part.rank) * of.K;
                    if (of.whole_numbers) {
                        part.a.assign(a_size, 0);
                        // Two entries of each row, so that A x fits the 8 bits of bf16.
                        for (int r = 0; r < part.rank; ++r) {
                            for (int i = 0; i < 2; ++i) part.a[r * of.K + random.integer(0, of.K - 1)] = 1 - 2 * i;
                        }
                        part.b = random.integers(columns * part.rank, -4, 4);
                    } else {
                        part.a = rounded(of.dtype, random.normals(a_size, 1 / std::sqrt(of.K)));
                        part.b = rounded(of.dtype, random.normals(columns * part.rank, 1 / std::sqrt(part.rank)));
                    }
                    result.packed_adapters.push_back(std::make_unique<packed_weight>(
                        ctx, of.dtype, TRIB_LAYOUT_PACKED, part.rank, of.K, encoded(of.dtype, part.a)));
                    entry.a = result.packed_adapters.back()->address();
                    result.packed_adapters.push_back(std::make_unique<packed_weight>(
                        ctx, of.dtype, TRIB_LAYOUT_PACKED, columns, part.rank, encoded(of.dtype, part.b)));
                    entry.b = result.packed_adapters.back()->address();
                    entry.scale = part.scale;
                    entry.dtype = of.dtype;
                }
                table.push_back(entry);
                result.adapters.push_back(part);
            }
        }
        // Segments cut main rows and stream rows at random; some rows belong to no segment.
        std::vector<int32_t> segments;
        const auto cut = [&](int begin, int end) {
            while (begin < end) {
                const int stop = random.integer(begin + 1, end);
                const int adapter = random.integer(-1, static_cast<int>(of.ranks.size()) - 1);
                if (random.chance(0.85)) {
                    segments.insert(segments.end(), {begin, stop, adapter});
                    for (int row = begin; row < stop; ++row) result.adapter_of_row[row] = adapter;
                }
                begin = stop;
            }
        };
        cut(0, step.main_rows);
        cut(step.R, step.R + step.stream_rows);
        const int count = static_cast<int>(segments.size()) / 3;
        segments.insert(segments.end(), 6, index_poison);
        result.table = std::make_unique<device_array<trib_lora>>(table);
        result.segments = std::make_unique<device_array<int32_t>>(segments);
        result.segment_count = std::make_unique<device_array<int32_t>>(std::vector<int32_t>{count});
        trib_linear_params& params = result.params;
        params.adapters = static_cast<uint32_t>(of.ranks.size());
        params.max_rank = static_cast<uint32_t>(std::max(max_rank, 1));
        params.max_segments = static_cast<uint32_t>(count + 2);
        params.lora_table = result.table->address();
        params.segments = result.segments->address();
        params.segment_count = result.segment_count->address();
    }

    // One row's result. `operand` rounds what the products take, `result` what they give.
    template <class Operand, class Result>
    static std::vector<double> reference(const linear_case& of, const built& with, int row, std::vector<double> x,
                                         const std::vector<double>& residual, Operand operand, Result result) {
        const int N = columns_of(of);
        for (double& value : x) value = operand(value);
        std::vector<double> y = product(x, with.weight, 1, N, of.K);
        for (int n = 0; n < N && !with.bias.empty(); ++n) y[n] += with.bias[n];
        if (const int adapter = with.adapter_of_row[row]; adapter >= 0) {
            int first = 0;
            for (size_t p = 0; p < of.part_columns.size(); ++p) {
                const adapter_part& part = with.adapters[adapter * of.part_columns.size() + p];
                const int columns = static_cast<int>(of.part_columns[p]);
                std::vector<double> inner = product(x, part.a, 1, part.rank, of.K);
                for (double& value : inner) value = operand(value);
                const std::vector<double> update = product(inner, part.b, 1, columns, part.rank);
                for (int n = 0; n < columns; ++n) y[first + n] += static_cast<double>(part.scale) * update[n];
                first += columns;
            }
        }
        if (of.epilogue == TRIB_EPILOGUE_RESIDUAL) {
            for (int n = 0; n < N; ++n) y[n] = residual[n] + result(y[n]);
        } else if (of.epilogue == TRIB_EPILOGUE_SILU_GATE) {
            for (int n = 0; n < N / 2; ++n) {
                const double gate = result(y[n]);
                y[n] = result(gate / (1 + std::exp(-gate))) * result(y[N / 2 + n]);
            }
            y.resize(N / 2);
        }
        for (double& value : y) value = result(value);
        return y;
    }

    void expect_right(const linear_case& of, const ragged_step& step) {
        built with = build(of, step);
        row_tensor x(step.R + step.Q, 0, of.K, of.row_gap);
        row_tensor y(step.R + step.Q, 0, outputs_of(of), of.row_gap);
        for (const int row : step.indices(TRIB_ROWS_ALL)) {
            x.set_row(row, of.whole_numbers ? random.integers(of.K, -8, 8) : random.normals(of.K));
        }
        x.freeze();
        std::vector<std::vector<double>> residual(step.R + step.Q);
        if (of.epilogue == TRIB_EPILOGUE_RESIDUAL) {
            for (const int row : step.indices(of.rows)) {
                residual[row] = of.whole_numbers ? random.integers(outputs_of(of), -1000, 1000)
                                                 : to_double(to_float(random.normals(outputs_of(of))));
                y.set_row(row, residual[row]);
            }
        }
        with.params.x = x.tensor();
        with.params.y = y.tensor();
        const workspace space(ctx, TRIB_OP_LINEAR, with.params);
        ASSERT_TRUE(calls(trib_linear, ctx, with.params));
        EXPECT_TRUE(y.only_written(step.indices(of.rows)));

        const auto as_is = [](double value) { return value; };
        const auto to_16 = [&](double value) { return rounded(of.dtype, value); };
        std::vector<double> exact;
        std::vector<double> plain;
        std::vector<double> bound;
        for (const int row : step.indices(of.rows)) {
            const std::vector<double> values = x.row_values(row);
            const auto append = [](std::vector<double>& to, const std::vector<double>& more) {
                to.insert(to.end(), more.begin(), more.end());
            };
            append(exact, reference(of, with, row, values, residual[row], as_is, as_is));
            append(plain, reference(of, with, row, values, residual[row], to_16, to_16));
        }
        const std::vector<float> got = rows_of(y, step.indices(of.rows));
        if (!of.whole_numbers) {
            EXPECT_TRUE(obeys_the_rule(got, exact, plain));
        } else if (of.epilogue != TRIB_EPILOGUE_SILU_GATE) {
            EXPECT_TRUE(same_bits(got, [&] {
                std::vector<float> whole = to_float(exact);
                for (float& value : whole) value += 0.0f;  // no negative zero
                return whole;
            }()));
        } else {
            // exp, an addition, a division and a product, a few roundings each.
            for (const double value : exact) bound.push_back(16 * 0x1p-24 * std::fabs(value) + 1e-30);
            EXPECT_TRUE(within(got, exact, bound));
        }
    }
};

std::vector<sequence_spec> rows_of_one_sequence(int rows, int anchors) {
    sequence_spec sequence;
    sequence.chunk = rows;
    for (int i = 0; i < anchors; ++i) sequence.anchors.push_back(i % rows);
    return {sequence};
}

TEST_F(linear, is_exact_on_whole_numbers_for_every_shape) {
    int round = 0;
    for (const int rows : {1, 2, 3, 5, 8, 17, 63, 64, 65, 128}) {
        for (const int N : {1, 15, 16, 17, 40, 100}) {
            linear_case of;
            of.whole_numbers = true;
            of.K = std::vector<int>{1, 2, 3, 8, 31, 32, 33, 64, 96, 200, 257}[round % 11];
            of.dtype = round % 2 == 0 ? TRIB_DTYPE_BF16 : TRIB_DTYPE_F16;
            of.part_columns = {N};
            of.epilogue = round % 3 == 0 ? TRIB_EPILOGUE_RESIDUAL : TRIB_EPILOGUE_NONE;
            of.bias_dtype = static_cast<uint32_t>(round % 4);
            of.rows = static_cast<uint32_t>(1 + round % 3);
            of.row_gap = round % 5;
            SCOPED_TRACE(testing::Message() << rows << " rows, N " << N << ", K " << of.K);
            expect_right(of, ragged_step(random, rows_of_one_sequence(rows, 2), 1 + round % 8));
            if (HasFatalFailure() || HasFailure()) return;
            ++round;
        }
    }
}

TEST_F(linear, is_exact_on_whole_numbers_with_parts_and_adapters) {
    for (int round = 0; round < 40; ++round) {
        linear_case of;
        of.whole_numbers = true;
        of.K = random.integer(2, 150);
        of.dtype = round % 2 == 0 ? TRIB_DTYPE_BF16 : TRIB_DTYPE_F16;
        of.part_columns.clear();
        for (int part = random.integer(1, TRIB_MAX_PARTS); part > 0; --part) {
            of.part_columns.push_back(random.integer(1, 50));
        }
        of.epilogue = round % 3 == 0 ? TRIB_EPILOGUE_RESIDUAL : TRIB_EPILOGUE_NONE;
        of.rows = static_cast<uint32_t>(1 + round % 3);
        for (int adapter = random.integer(1, 4); adapter > 0; --adapter) of.ranks.push_back(random.integer(1, 33));
        SCOPED_TRACE(testing::Message() << "round " << round);
        batch_shape batch;
        batch.nodes = random.pick(std::vector<int>{1, 5, 33, 64});
        expect_right(of, ragged_step(random, random_sequences(random, batch), batch.gamma));
        if (HasFailure()) return;
    }
}

TEST_F(linear, gates_with_silu) {
    for (int round = 0; round < 16; ++round) {
        linear_case of;
        of.whole_numbers = round % 2 == 0;
        of.K = random.integer(1, 120);
        of.dtype = round % 4 < 2 ? TRIB_DTYPE_BF16 : TRIB_DTYPE_F16;
        const int inner = random.integer(1, 70);
        of.part_columns = {inner, inner};
        of.epilogue = TRIB_EPILOGUE_SILU_GATE;
        if (round % 3 == 0) of.ranks = {8, 3};
        if (round % 5 == 0) of.bias_dtype = of.dtype;
        SCOPED_TRACE(testing::Message() << "round " << round << " I " << inner << " K " << of.K);
        expect_right(of, ragged_step(random, random_sequences(random, {}), 3));
        if (HasFailure()) return;
    }
}

TEST_F(linear, obeys_the_rule) {
    int round = 0;
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        for (const uint32_t epilogue : {TRIB_EPILOGUE_NONE, TRIB_EPILOGUE_RESIDUAL, TRIB_EPILOGUE_SILU_GATE}) {
            for (const int rows : {1, 6, 64, 70}) {
                linear_case of;
                of.dtype = dtype;
                of.epilogue = epilogue;
                of.K = std::vector<int>{64, 200, 513, 1024}[round % 4];
                of.part_columns = {72, 72};
                if (round % 2 == 0) of.ranks = {16, 4, 32};
                of.bias_dtype = static_cast<uint32_t>(round % 4);
                SCOPED_TRACE(testing::Message()
                             << dtype_name(dtype) << " epilogue " << epilogue << " rows " << rows << " K " << of.K);
                expect_right(of, ragged_step(random, rows_of_one_sequence(rows, 3), 2));
                ++round;
            }
        }
    }
}

TEST_F(linear, a_row_does_not_depend_on_the_number_of_rows_or_on_threads) {
    for (const uint32_t dtype : {TRIB_DTYPE_BF16, TRIB_DTYPE_F16}) {
        for (const uint32_t epilogue : {TRIB_EPILOGUE_NONE, TRIB_EPILOGUE_SILU_GATE}) {
            linear_case of;
            of.dtype = dtype;
            of.epilogue = epilogue;
            of.K = 333;
            of.part_columns = {50, 50};
            const int most = 128;
            const ragged_step largest(random, rows_of_one_sequence(most, 4), 4);
            built with = build(of, largest);
            std::vector<std::vector<double>> inputs;
            for (int row = 0; row < most; ++row) inputs.push_back(to_double(to_float(random.normals(of.K))));
            std::vector<std::vector<float>> expected(most);
            bool first = true;
            for (const int rows : {128, 1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 63, 64, 65}) {
                const ragged_step step(random, rows_of_one_sequence(rows, 4), 4);
                row_tensor x(step.R + step.Q, 0, of.K);
                row_tensor y(step.R + step.Q, 0, outputs_of(of));
                // Rows are shifted, so that a row meets every place; stream rows repeat main rows.
                const auto source = [&](int row) {
                    return row < step.R ? (row * 5 + rows) % most : ((row - step.R) * 7) % most;
                };
                for (const int row : step.indices(TRIB_ROWS_ALL)) x.set_row(row, inputs[source(row)]);
                trib_linear_params params = with.params;
                params.step = step.header();
                params.x = x.tensor();
                params.y = y.tensor();
                for (const uint32_t threads : {1u, 2u, 3u}) {
                    const context other(threads);
                    y.poison();
                    const workspace space(other, TRIB_OP_LINEAR, params);
                    ASSERT_TRUE(calls(trib_linear, other, params));
                    for (const int row : step.indices(TRIB_ROWS_ALL)) {
                        std::vector<float>& of_source = expected[source(row)];
                        if (first && of_source.empty()) of_source = y.row(row);
                        ASSERT_TRUE(same_bits(y.row(row), of_source))
                            << dtype_name(dtype) << " row " << row << " of " << rows << ", " << threads << " threads";
                    }
                }
                first = false;
            }
        }
    }
}

TEST_F(linear, an_adapter_changes_only_the_rows_of_its_segments) {
    linear_case of;
    of.K = 100;
    of.part_columns = {30, 20, 20};
    of.ranks = {8, 16};
    const ragged_step step(random, random_sequences(random, {}), 3);
    built with = build(of, step);
    row_tensor x(step.R + step.Q, 0, of.K);
    row_tensor y(step.R + step.Q, 0, columns_of(of));
    x.randomize(random, step.indices(TRIB_ROWS_ALL));
    with.params.x = x.tensor();
    with.params.y = y.tensor();
    const workspace space(ctx, TRIB_OP_LINEAR, with.params);
    ASSERT_TRUE(calls(trib_linear, ctx, with.params));
    std::vector<std::vector<float>> adapted(step.R + step.Q);
    for (const int row : step.indices(TRIB_ROWS_ALL)) adapted[row] = y.row(row);
    trib_linear_params params = with.params;
    params.adapters = params.max_rank = params.max_segments = 0;
    params.lora_table = params.segments = params.segment_count = 0;
    y.poison();
    const workspace plain_space(ctx, TRIB_OP_LINEAR, params);
    ASSERT_TRUE(calls(trib_linear, ctx, params));
    int changed = 0;
    for (const int row : step.indices(TRIB_ROWS_ALL)) {
        if (with.adapter_of_row[row] < 0) {
            EXPECT_TRUE(same_bits(adapted[row], y.row(row))) << "row " << row << " has no adapter";
        } else {
            changed += !same_bits(adapted[row], y.row(row));
        }
    }
    EXPECT_GT(changed, 0);
}

}  // namespace
}  // namespace tributary::test
