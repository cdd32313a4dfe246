// SPDX-License-Identifier: Apache-2.0
//
// linear at the shapes of Llama-2-7B and Llama-3-8B, each with the epilogue that it has in a layer, by rows, with and
// without rank-16 LoRA on stream rows; and the four linears of a layer one after another.
#include <algorithm>
#include <memory>

#include "ceilings.hpp"
#include "session.hpp"
#include "steps.hpp"

namespace tributary::bench {
namespace {

constexpr row_capacity capacity = {2560, 512};
constexpr int rank = 16;
constexpr float lora_scale = 2.0F;

struct linear_shape {
    int64_t n, k;
    uint32_t epilogue;
    std::vector<int32_t> parts;  // columns

    uint32_t layout() const {
        return epilogue == TRIB_EPILOGUE_SILU_GATE ? TRIB_LAYOUT_PACKED_GATE : TRIB_LAYOUT_PACKED;
    }
    int64_t outputs() const { return epilogue == TRIB_EPILOGUE_SILU_GATE ? n / 2 : n; }
    uint32_t output_type() const { return epilogue == TRIB_EPILOGUE_SILU_GATE ? TRIB_DTYPE_BF16 : TRIB_DTYPE_F32; }
    std::string name() const { return std::to_string(n) + " x " + std::to_string(k); }
    double weight_bytes() const { return 2.0 * static_cast<double>(n * k); }
};

linear_shape plain(int64_t n, int64_t k) { return {n, k, TRIB_EPILOGUE_NONE, {static_cast<int32_t>(n)}}; }
linear_shape residual(int64_t n, int64_t k) { return {n, k, TRIB_EPILOGUE_RESIDUAL, {static_cast<int32_t>(n)}}; }
linear_shape gate_up(int64_t n, int64_t k) {
    return {n, k, TRIB_EPILOGUE_SILU_GATE, {static_cast<int32_t>(n / 2), static_cast<int32_t>(n / 2)}};
}
linear_shape qkv(int64_t k, int32_t kv) {
    return {k + 2 * kv, k, TRIB_EPILOGUE_NONE, {static_cast<int32_t>(k), kv, kv}};
}

// Streams of a pass of so many rows: four of five, as when every node carries four.
int stream_share(int rows) { return rows == 160 ? 128 : rows * 4 / 5 / 4 * 4; }

// Low-rank pairs of one copy of a weight, and their table.
class lora_copy {
public:
    lora_copy(session& s, const linear_shape& shape, uint32_t seed) {
        std::vector<trib_lora> entries;
        for (const int32_t columns : shape.parts) {
            entries.push_back(
                {pack(s, rank, shape.k, seed), pack(s, columns, rank, seed + 1), rank, lora_scale, TRIB_DTYPE_BF16, 0});
        }
        table_ = buffer(entries);
    }
    uint64_t table() const { return table_.address(); }
    // Bytes that a launch reads.
    static double bytes(const linear_shape& shape) {
        return 2.0 * rank * static_cast<double>(shape.k * static_cast<int64_t>(shape.parts.size()) + shape.n);
    }

private:
    uint64_t pack(session& s, int64_t rows, int64_t columns, uint32_t seed) {
        uint64_t bytes = 0;
        require(trib_packed_size(s.context(), TRIB_DTYPE_BF16, TRIB_LAYOUT_PACKED, rows, columns, &bytes));
        const buffer source(static_cast<size_t>(rows * columns) * 2);
        fill_bf16(source.as<void>(), source.bytes() / 2, -6, seed, s.stream());
        buffer& result = packed_.emplace_back(bytes);
        check(cudaDeviceSynchronize(), "packing");  // memory is zeroed on another stream
        trib_pack_weight_params p = {};
        p.struct_size = sizeof p;
        p.source = matrix(source.address(), TRIB_DTYPE_BF16, rows, columns);
        p.destination = packed(result.address(), TRIB_LAYOUT_PACKED, rows, columns);
        require(trib_pack_weight(s.context(), &p));
        check(cudaStreamSynchronize(s.stream()), "packing");  // the source goes
        return result.address();
    }

    std::vector<buffer> packed_;
    buffer table_;
};

// Activations and outputs for every shape.
class linear_bench {
public:
    explicit linear_bench(session& s)
        : session_(s),
          x_(size_t{capacity.main_rows + capacity.stream_rows} * widest_k * 2),
          y_(size_t{capacity.main_rows + capacity.stream_rows} * widest_n * 4) {
        fill_bf16(x_.as<void>(), x_.bytes() / 2, -1, 5, s.stream());
    }

    trib_linear_params params(const linear_shape& shape, const device_step& step, bool with_lora) const {
        trib_linear_params p = {};
        p.struct_size = sizeof p;
        p.rows = step.stream_rows() != 0 ? TRIB_ROWS_ALL : TRIB_ROWS_MAIN;
        p.step = step.get();
        p.x = matrix(x_.address(), TRIB_DTYPE_BF16, step.capacity(), shape.k);
        p.weight = packed(session_.pool(), shape.layout(), shape.n, shape.k);
        p.y = matrix(y_.address(), shape.output_type(), step.capacity(), shape.outputs());
        p.epilogue = shape.epilogue;
        p.parts = static_cast<uint32_t>(shape.parts.size());
        std::copy(shape.parts.begin(), shape.parts.end(), p.part_columns);
        if (with_lora) {
            p.adapters = 1;
            p.max_rank = rank;
            p.max_segments = 1;
            p.segments = step.segments();
            p.segment_count = step.segment_count();
        }
        return p;
    }

    void measure(const linear_shape& shape, int rows, bool with_lora) {
        const int streams = with_lora ? stream_share(rows) : 0;
        bench_case c = {.operation = "linear",
                        .shape = shape.name(),
                        .rows = rows,
                        .variant = with_lora ? "lora 16" : "",
                        .copies = session_.copies_of(shape.weight_bytes()),
                        .bytes_per_copy = shape.weight_bytes()};
        if (!session_.wanted(c)) {
            return;
        }
        c.least.bytes = shape.weight_bytes() + (with_lora ? lora_copy::bytes(shape) : 0);
        c.least.flops =
            2.0 * static_cast<double>(shape.n * shape.k) * rows + (with_lora ? lora_copy::bytes(shape) * streams : 0);
        const device_step step = plain_rows(capacity, rows - streams, streams);
        trib_linear_params p = params(shape, step, with_lora);
        std::vector<lora_copy> adapters;
        try {
            for (int copy = 0; with_lora && copy < c.copies; ++copy) {
                adapters.emplace_back(session_, shape, static_cast<uint32_t>(100 + 2 * copy));
            }
        } catch (const std::runtime_error& e) {
            session_.run(c, [](int) { return TRIB_UNSUPPORTED; });
            return;
        }
        p.lora_table = with_lora ? adapters[0].table() : 0;
        require(trib_workspace_size(session_.context(), TRIB_OP_LINEAR, &p, &p.workspace_bytes));
        const buffer workspace(p.workspace_bytes);
        p.workspace = workspace.address();
        // RESIDUAL adds to what is there; elsewhere NaN shows what is not written.
        const size_t y_bytes =
            static_cast<size_t>(step.capacity() * shape.outputs()) * (shape.output_type() == TRIB_DTYPE_F32 ? 4 : 2);
        check(cudaMemset(y_.as<void>(), shape.epilogue == TRIB_EPILOGUE_RESIDUAL ? 0 : 0xff, y_bytes), "cudaMemset");
        const auto copy_bytes = static_cast<uint64_t>(shape.weight_bytes());
        session_.run(
            c,
            [&](int copy) {
                p.weight.address = session_.pool() + static_cast<uint64_t>(copy) * copy_bytes;
                p.lora_table = with_lora ? adapters[static_cast<size_t>(copy)].table() : 0;
                return trib_linear(session_.context(), &p);
            },
            [&] { return unwritten(shape, step); });
    }

    // One layer's linears back to back, `layers` layers of weights in turn.
    void measure_layer(const char* model, const std::vector<linear_shape>& shapes, int rows, bool with_lora,
                       const target& goal) {
        double bytes = 0;
        double flops = 0;
        const int streams = with_lora ? stream_share(rows) : 0;
        for (const linear_shape& shape : shapes) {
            bytes += shape.weight_bytes();
            flops += 2.0 * static_cast<double>(shape.n * shape.k) * rows;
        }
        bench_case c = {.operation = "layer",
                        .shape = std::string("linears of ") + model,
                        .rows = rows,
                        .variant = with_lora ? "lora 16" : "",
                        .least = {bytes, flops},
                        .goal = goal,
                        .copies = session_.copies_of(bytes),
                        .bytes_per_copy = bytes,
                        .operations_per_launch = static_cast<int>(shapes.size())};
        if (!session_.wanted(c)) {
            return;
        }
        const device_step step = plain_rows(capacity, rows - streams, streams);
        struct prepared {
            trib_linear_params params;
            std::vector<lora_copy> adapters;
            uint64_t bytes;
        };
        std::vector<prepared> calls;
        uint64_t workspace_bytes = 0;
        for (const linear_shape& shape : shapes) {
            prepared call = {params(shape, step, with_lora), {}, static_cast<uint64_t>(shape.weight_bytes())};
            try {
                for (int copy = 0; with_lora && copy < c.copies; ++copy) {
                    call.adapters.emplace_back(session_, shape, static_cast<uint32_t>(300 + 2 * copy));
                }
            } catch (const std::runtime_error& e) {
                session_.run(c, [](int) { return TRIB_UNSUPPORTED; });
                return;
            }
            if (with_lora) {
                call.params.lora_table = call.adapters[0].table();
            }
            require(
                trib_workspace_size(session_.context(), TRIB_OP_LINEAR, &call.params, &call.params.workspace_bytes));
            workspace_bytes = std::max(workspace_bytes, call.params.workspace_bytes);
            calls.push_back(std::move(call));
        }
        const buffer workspace(workspace_bytes);
        for (prepared& call : calls) {
            call.params.workspace = workspace.address();
            call.params.workspace_bytes = workspace_bytes;
        }
        check(cudaMemset(y_.as<void>(), 0, y_.bytes()), "cudaMemset");
        session_.run(c, [&](int copy) {
            uint64_t weight = session_.pool() + static_cast<uint64_t>(copy) * static_cast<uint64_t>(bytes);
            for (prepared& call : calls) {
                call.params.weight.address = weight;
                weight += call.bytes;
                if (with_lora) {
                    call.params.lora_table = call.adapters[static_cast<size_t>(copy)].table();
                }
                if (const trib_status status = trib_linear(session_.context(), &call.params); status != TRIB_OK) {
                    return status;
                }
            }
            return trib_status{TRIB_OK};
        });
    }

private:
    static constexpr size_t widest_k = 14336;
    static constexpr size_t widest_n = 32000;

    std::string unwritten(const linear_shape& shape, const device_step& step) const {
        const bool is_f32 = shape.output_type() == TRIB_DTYPE_F32;
        const int64_t width = shape.outputs();
        const char* streams = y_.as<char>() + int64_t{step.get()->max_main_rows} * width * (is_f32 ? 4 : 2);
        const int64_t bad = count_not_finite(y_.as<void>(), is_f32, step.main_rows(), width, width, session_.stream()) +
                            (step.stream_rows() == 0 ? 0
                                                     : count_not_finite(streams, is_f32, step.stream_rows(), width,
                                                                        width, session_.stream()));
        return bad == 0 ? "" : std::to_string(bad) + " elements of y are not finite or not written";
    }

    session& session_;
    buffer x_;
    buffer y_;
};

}  // namespace

void bench_linear(session& s) {
    s.heading("linear: bf16 weights and activations, rotated weights; cuBLAS beside it in scripts/peers");
    linear_bench bench(s);
    const std::vector<linear_shape> shapes = {
        residual(4096, 4096), qkv(4096, 1024),       qkv(4096, 4096),       gate_up(22016, 4096),
        gate_up(28672, 4096), residual(4096, 11008), residual(4096, 14336), plain(32000, 4096),
    };
    for (const linear_shape& shape : shapes) {
        for (const int rows : {1, 8, 16, 32, 64, 128, 160, 256, 512, 2560}) {
            bench.measure(shape, rows, false);
        }
        for (const int rows : {32, 64, 128, 160, 256, 512}) {
            if (!s.quick() || (rows >= 128 && rows <= 256)) {
                bench.measure(shape, rows, true);
            }
        }
    }
}

void bench_layers(session& s) {
    s.heading("the four linears of a layer, one after another");
    linear_bench bench(s);
    const std::vector<linear_shape> llama_2_7b = {qkv(4096, 4096), residual(4096, 4096), gate_up(22016, 4096),
                                                  residual(4096, 11008)};
    const std::vector<linear_shape> llama_3_8b = {qkv(4096, 1024), residual(4096, 4096), gate_up(28672, 4096),
                                                  residual(4096, 14336)};
    constexpr target goal = {target::kind::floor_ratio, 1.10};
    for (const int rows : {1, 8, 32, 64}) {
        bench.measure_layer("Llama-2-7B", llama_2_7b, rows, false, goal);
        bench.measure_layer("Llama-3-8B", llama_3_8b, rows, false, goal);
    }
    bench.measure_layer("Llama-2-7B", llama_2_7b, 160, true, {});
    bench.measure_layer("Llama-3-8B", llama_3_8b, 160, true, {});
}

}  // namespace tributary::bench
