// SPDX-License-Identifier: Apache-2.0
//
// y = epilogue(x Wᵀ + bias + LoRA). See product.hpp for the arithmetic and its order.
//
// Work: a task is a range of panels, for all rows while they are few: then the weights are read once, which is what
// bounds decoding (one row of 16-bit weights is 1 FLOP per byte, against some 20 that the processor can do per byte from
// memory). Within a task panels go in chunks of a tile's width, and all blocks of rows pass over a chunk while it lies
// in the second-level cache; so hundreds of rows run at the speed of the arithmetic.
//
// LoRA: two small products before the main one, t = A x (rounded, as operand rows) and u = scale · B t, then u is added
// to the product ahead of the epilogue. Only rows of segments with an adapter are touched.
#include "host/operations.hpp"
#include "host/product.hpp"
#include "host/step.hpp"

namespace tributary::host::TRIBUTARY_ISA {
namespace {

constexpr uint64_t alignment = 64;

uint64_t aligned(uint64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

struct segment {
    int32_t begin, end, adapter;
};

// Where things stand in the workspace, by the capacities of the params.
struct workspace_plan {
    int64_t operand_stride, update_operand_stride, update_stride;
    uint64_t row_adapter, update_operands, updates, bytes;  // offsets; operand rows stand first

    explicit workspace_plan(const trib_linear_params& p) {
        const auto capacity = static_cast<uint64_t>(p.x.shape[1]);
        operand_stride = tributary::host::TRIBUTARY_ISA::operand_stride(p.x.shape[2]);
        update_operand_stride = tributary::host::TRIBUTARY_ISA::operand_stride(p.max_rank);
        // A line more, so that whole vectors may be read at any column.
        update_stride = (p.weight.shape[1] / panel_rows + 2) * panel_rows;
        bytes = aligned(capacity * static_cast<uint64_t>(operand_stride));
        row_adapter = update_operands = updates = bytes;
        if (p.adapters == 0) {
            return;
        }
        update_operands = aligned(row_adapter + capacity * sizeof(int32_t));
        updates = aligned(update_operands + capacity * p.parts * static_cast<uint64_t>(update_operand_stride));
        bytes = aligned(updates + capacity * static_cast<uint64_t>(update_stride) * sizeof(float));
    }
};

// One call of linear, while it runs.
struct linear_call {
    const trib_linear_params& params;
    row_selection rows;
    packed_weight weight;
    workspace_plan plan;
    char* workspace;

    char* operands(int64_t row) const { return workspace + row * plan.operand_stride; }
    // t of a selected row and part.
    char* update_operands(int64_t row, uint32_t part) const {
        return workspace + plan.update_operands + (row * params.parts + part) * plan.update_operand_stride;
    }
    // u of a selected row: [N].
    float* updates(int64_t row) const {
        return reinterpret_cast<float*>(workspace + plan.updates) + row * plan.update_stride;
    }
    // Adapter of a selected row, −1 = none.
    int32_t* row_adapter() const { return reinterpret_cast<int32_t*>(workspace + plan.row_adapter); }
};

// The selected rows that a segment of buffer rows holds, as a range of selected indices. Main and stream rows are far
// apart in the buffer and side by side in the selection; a segment that spans both still is one range.
struct row_range {
    int begin, end;
};

row_range selected(const row_selection& rows, int32_t begin, int32_t end) {
    const auto index = [&](int32_t row) {
        if (row <= rows.main_rows) {
            return row;
        }
        if (row <= rows.stream_begin) {
            return rows.main_rows;
        }
        const int at = rows.main_rows + (row - rows.stream_begin);
        return at < rows.count ? at : rows.count;
    };
    return {index(begin), index(end)};
}

trib_status check_segments(const trib_linear_params& params, int32_t count, const segment* segments) {
    const auto capacity = static_cast<int32_t>(params.x.shape[1]);
    if (count < 0 || static_cast<uint32_t>(count) > params.max_segments) {
        return fail(TRIB_INVALID_ARGUMENT, "linear: *segment_count is %d, expected 0 to %u (max_segments)", count,
                    params.max_segments);
    }
    const auto* table = pointer<const trib_lora>(params.lora_table);
    for (int32_t i = 0; i < count; ++i) {
        const segment& s = segments[i];
        if (s.begin < 0 || s.end < s.begin || s.end > capacity || s.adapter < -1 ||
            s.adapter >= static_cast<int32_t>(params.adapters)) {
            return fail(TRIB_INVALID_ARGUMENT,
                        "linear: segments[%d] is {%d, %d, %d}, expected rows of 0 to %d and an adapter of -1 to %u", i,
                        s.begin, s.end, s.adapter, capacity, params.adapters - 1);
        }
        for (uint32_t part = 0; s.adapter >= 0 && part < params.parts; ++part) {
            const trib_lora& lora = table[static_cast<uint32_t>(s.adapter) * params.parts + part];
            if (lora.rank > params.max_rank) {
                return fail(TRIB_INVALID_ARGUMENT,
                            "linear: lora_table[%d, %u].rank is %u, expected at most %u (max_rank)", s.adapter, part,
                            lora.rank, params.max_rank);
            }
            if (lora.rank != 0 && lora.dtype != params.weight.dtype) {
                return fail(TRIB_UNSUPPORTED, "linear: lora_table[%d, %u].dtype is %u, expected the weight's, %u",
                            s.adapter, part, lora.dtype, params.weight.dtype);
            }
        }
    }
    return TRIB_OK;
}

// t = A x for the rows of one segment and part, rounded, as operand rows.
void lora_down(const linear_call& call, const row_range& range, const trib_lora& lora, uint32_t part) {
    const packed_weight a = packed_view(lora.a, lora.dtype, TRIB_LAYOUT_PACKED, lora.rank, call.weight.columns);
    constexpr int chunk = 8;
    const even_cut blocks = cut_rows(range.end - range.begin);
    for (int64_t block = 0; block < blocks.count; ++block) {
        const int64_t first = range.begin + blocks.begin(block);
        const int count = static_cast<int>(blocks.size(block));
        for (int64_t panel = 0; panel < a.panels(); panel += chunk) {
            const int panels = static_cast<int>(a.panels() - panel < chunk ? a.panels() - panel : chunk);
            alignas(64) float out[max_tile_rows * chunk * panel_rows];
            product(a, panel, panels, call.operands(first), call.plan.operand_stride, count, out);
            const int64_t column = panel * panel_rows;
            const int64_t columns = lora.rank - column < panels * panel_rows ? lora.rank - column : panels * panel_rows;
            const int64_t bytes = column * (narrow_operands(lora.dtype) ? 2 : 4);
            for (int row = 0; row < count; ++row) {
                write_operand_row(out + row * panels * panel_rows, columns, lora.dtype,
                                  call.update_operands(first + row, part) + bytes);
            }
        }
    }
}

// u = scale · B t for the rows of one segment, columns of the B panels [panel, panel + panels) of one part.
void lora_up(const linear_call& call, const row_range& range, const trib_lora& lora, uint32_t part,
             int64_t first_column, int64_t part_columns, int64_t panel, int panels) {
    const packed_weight b = packed_view(lora.b, lora.dtype, TRIB_LAYOUT_PACKED, part_columns, lora.rank);
    const int64_t stride = call.plan.update_operand_stride * call.params.parts;
    const even_cut blocks = cut_rows(range.end - range.begin);
    const f32x16 scale = splat(lora.scale);
    for (int64_t block = 0; block < blocks.count; ++block) {
        const int64_t first = range.begin + blocks.begin(block);
        const int count = static_cast<int>(blocks.size(block));
        alignas(64) float out[max_tile_rows * max_tile_panels * panel_rows];
        product(b, panel, panels, call.update_operands(first, part), stride, count, out);
        for (int row = 0; row < count; ++row) {
            float* to = call.updates(first + row) + first_column;
            for (int p = 0; p < panels; ++p) {
                const int64_t column = (panel + p) * panel_rows;
                const f32x16 u = load(out + (row * panels + p) * panel_rows) * scale;
                const int64_t left = part_columns - column;
                if (left >= panel_rows) {
                    store(to + column, u);
                } else {
                    store_first(to + column, u, static_cast<int>(left));
                }
            }
        }
    }
}

void clear_updates(const linear_call& call, const row_range& range, int64_t first_column, int64_t columns) {
    for (int row = range.begin; row < range.end; ++row) {
        memset(call.updates(row) + first_column, 0, sizeof(float) * static_cast<size_t>(columns));
    }
}

// Fills row_adapter: −1 for rows without an adapter.
trib_status assign_adapters(const linear_call& call, int32_t count, const segment* segments) {
    constexpr int32_t unassigned = -2;
    int32_t* row_adapter = call.row_adapter();
    for (int row = 0; row < call.rows.count; ++row) {
        row_adapter[row] = unassigned;
    }
    for (int32_t i = 0; i < count; ++i) {
        const row_range range = selected(call.rows, segments[i].begin, segments[i].end);
        for (int row = range.begin; row < range.end; ++row) {
            if (row_adapter[row] != unassigned) {
                return fail(TRIB_INVALID_ARGUMENT,
                            "linear: segments[%d] holds row %d of an earlier segment, expected "
                            "separate segments",
                            i, call.rows[row]);
            }
            row_adapter[row] = segments[i].adapter;
        }
    }
    return TRIB_OK;
}

// All updates of the call, into updates().
void compute_updates(context& context, const linear_call& call, int32_t count, const segment* segments) {
    const trib_linear_params& params = call.params;
    const auto* table = pointer<const trib_lora>(params.lora_table);
    const auto parts = static_cast<int>(params.parts);
    const auto entry = [&](int32_t i, int part) -> const trib_lora& {
        return table[static_cast<uint32_t>(segments[i].adapter) * params.parts + static_cast<uint32_t>(part)];
    };
    context.pool.run(count * parts, [&](int task) {
        const int32_t i = task / parts;
        const int part = task % parts;
        const row_range range = selected(call.rows, segments[i].begin, segments[i].end);
        if (segments[i].adapter >= 0 && range.begin < range.end && entry(i, part).rank != 0) {
            lora_down(call, range, entry(i, part), static_cast<uint32_t>(part));
        }
    });
    // Tasks of the second product: chunks of panels, the same number for every segment.
    int64_t part_first[TRIB_MAX_PARTS + 1] = {};
    for (int part = 0; part < parts; ++part) {
        part_first[part + 1] = part_first[part] + ceil_div(params.part_columns[part], panel_rows * max_tile_panels);
    }
    const auto chunks = static_cast<int>(part_first[parts]);
    context.pool.run(count * chunks, [&](int task) {
        const int32_t i = task / chunks;
        int part = 0;
        int64_t column = 0;
        while (task % chunks >= part_first[part + 1]) {
            column += params.part_columns[part];
            ++part;
        }
        const row_range range = selected(call.rows, segments[i].begin, segments[i].end);
        if (segments[i].adapter < 0 || range.begin >= range.end) {
            return;
        }
        const int64_t part_columns = params.part_columns[part];
        const int64_t first = (task % chunks - part_first[part]) * max_tile_panels;
        const int64_t panels = ceil_div(part_columns, panel_rows) - first;
        const trib_lora& lora = entry(i, part);
        if (lora.rank != 0) {
            lora_up(call, range, lora, static_cast<uint32_t>(part), column, part_columns, first,
                    static_cast<int>(panels < max_tile_panels ? panels : max_tile_panels));
        } else {
            const int64_t begin = first * panel_rows;
            const int64_t end = part_columns < begin + max_tile_panels * panel_rows
                                    ? part_columns
                                    : begin + max_tile_panels * panel_rows;
            clear_updates(call, range, column + begin, end - begin);
        }
    });
}

// Sixteen outputs of a row from column `column` on: product + bias + update.
f32x16 finished(const linear_call& call, const float* product_out, const float* updates, int64_t column, int count) {
    f32x16 value = load(product_out);
    if (call.params.bias.address != 0) {
        value =
            value + load_values(pointer<const void>(call.params.bias.address), call.params.bias.dtype, column, count);
    }
    return updates != nullptr ? value + load(updates + column) : value;
}

// x · sigmoid(x).
f32x16 silu(f32x16 x) { return x / (splat(1.0F) + exp(zero() - x)); }

// The epilogue of `count` rows from selected row `first` on, for `panels` panels from panel `panel` on.
void write_outputs(const linear_call& call, int64_t first, int count, int64_t panel, int panels, const float* out) {
    const trib_linear_params& params = call.params;
    const bool gate = params.epilogue == TRIB_EPILOGUE_SILU_GATE;
    const int64_t columns = params.y.shape[2];
    auto* y = pointer<void>(params.y.address);
    for (int r = 0; r < count; ++r) {
        const int64_t row = first + r;
        const int64_t to = call.rows[static_cast<int>(row)] * params.y.stride[1];
        const float* updates = params.adapters != 0 && call.row_adapter()[row] >= 0 ? call.updates(row) : nullptr;
        const float* from = out + r * panels * panel_rows;
        for (int p = 0; p < panels; p += gate ? 2 : 1) {
            const int64_t column = (gate ? (panel + p) / 2 : panel + p) * panel_rows;
            const int lanes = static_cast<int>(columns - column < panel_rows ? columns - column : panel_rows);
            f32x16 value = finished(call, from + p * panel_rows, updates, column, lanes);
            if (gate) {
                value = silu(value) * finished(call, from + (p + 1) * panel_rows, updates, columns + column, lanes);
            } else if (params.epilogue == TRIB_EPILOGUE_RESIDUAL) {
                value = load_values(y, TRIB_DTYPE_F32, to + column, lanes) + value;
            }
            store_values(y, params.y.dtype, to + column, value, lanes);
        }
    }
}

// Blocks of rows that pass over a chunk of panels together.
constexpr int group_blocks = 16;

// Outputs of panels [panel, panel + panels) for row blocks [begin, end). When there are several blocks, K goes in pieces
// whose weights stay in the second-level cache from block to block; sums wait in `out` meanwhile.
void multiply_group(const linear_call& call, const even_cut& blocks, int64_t begin, int64_t end, int64_t panel,
                    int panels) {
    constexpr int64_t piece_bytes = 256 << 10;
    alignas(64) float out[group_blocks][max_tile_rows * max_tile_panels * panel_rows];
    const int64_t pairs = call.weight.pairs;
    const int64_t pair_bytes = 2 * pair_elements * panels;
    const int64_t piece = end - begin == 1 ? pairs : ceil_div(piece_bytes, pair_bytes);
    for (int64_t pair = 0; pair < pairs; pair += piece) {
        const pair_range range = {pair, pair + piece < pairs ? pair + piece : pairs};
        for (int64_t block = begin; block < end; ++block) {
            product(call.weight, panel, panels, range, call.operands(blocks.begin(block)), call.plan.operand_stride,
                    static_cast<int>(blocks.size(block)), out[block - begin]);
        }
    }
    for (int64_t block = begin; block < end; ++block) {
        write_outputs(call, blocks.begin(block), static_cast<int>(blocks.size(block)), panel, panels,
                      out[block - begin]);
    }
}

// How the product is cut into tasks: ranges of units (panels, or pairs of gate and up panels) and ranges of row blocks.
struct task_cut {
    int64_t column_tasks, row_tasks;
};

task_cut cut_tasks(const linear_call& call, const even_cut& blocks, int64_t units, int64_t chunk_units, int threads) {
    // A task should last a few microseconds, to pay for being claimed, and the tasks should come out even.
    constexpr int64_t least_bytes = 32 << 10;
    constexpr int64_t task_bytes = 256 << 10;
    const int64_t work = call.weight.panels() * call.weight.panel_elements() * 2 * blocks.count;
    if (work < least_bytes || threads == 1) {
        return {1, 1};
    }
    const int64_t wanted = ceil_div(ceil_div(work, task_bytes), threads) * threads;
    const int64_t chunks = ceil_div(units, chunk_units);
    // At least a chunk of panels each: as many streams from memory as a tile can follow.
    const int64_t most = chunks < threads ? threads : chunks;
    int64_t column_tasks = wanted < most ? wanted : most;
    column_tasks = column_tasks < units ? column_tasks : units;
    if (blocks.count > 1) {
        column_tasks = column_tasks < chunks ? column_tasks : chunks;
    }
    // Rows are cut only when panels give too few tasks: every task of rows reads its weights again.
    const int64_t enough = int64_t{4} * threads;
    const int64_t row_tasks = ceil_div(wanted < enough ? wanted : enough, column_tasks);
    return {column_tasks, row_tasks < blocks.count ? row_tasks : blocks.count};
}

}  // namespace

uint64_t linear_workspace(const context&, const trib_linear_params& params) { return workspace_plan(params).bytes; }

trib_status linear(context& context, const trib_linear_params& params) {
    step_view step;
    if (const trib_status status = read_step("linear", *params.step, step); status != TRIB_OK) {
        return status;
    }
    const linear_call call = {params, select_rows(step, params.rows), packed_view(params.weight),
                              workspace_plan(params), pointer<char>(params.workspace)};
    if (call.rows.count == 0) {
        return TRIB_OK;
    }
    int32_t segment_count = 0;
    const segment* segments = nullptr;
    if (params.adapters != 0) {
        segment_count = *pointer<const int32_t>(params.segment_count);
        segments = pointer<const segment>(params.segments);
        if (const trib_status status = check_segments(params, segment_count, segments); status != TRIB_OK) {
            return status;
        }
        if (const trib_status status = assign_adapters(call, segment_count, segments); status != TRIB_OK) {
            return status;
        }
    }

    constexpr int64_t elements_per_task = 16384;
    const int64_t rows_per_task = call.weight.columns < elements_per_task ? elements_per_task / call.weight.columns : 1;
    const even_cut row_tasks = even_cut::by(call.rows.count, rows_per_task);
    context.pool.run(static_cast<int>(row_tasks.count), [&](int task) {
        for (int64_t row = row_tasks.begin(task); row < row_tasks.begin(task + 1); ++row) {
            write_operand_row(params.x, call.rows[static_cast<int>(row)], call.weight.dtype, call.operands(row));
        }
    });
    if (params.adapters != 0) {
        compute_updates(context, call, segment_count, segments);
    }

    const int64_t unit_panels = call.weight.gate ? 2 : 1;
    const int64_t units = call.weight.panels() / unit_panels;
    const even_cut blocks = cut_rows(call.rows.count);
    const int64_t tile = tile_panels(static_cast<int>(blocks.size(0)));
    const int64_t chunk_units = tile / unit_panels > 0 ? tile / unit_panels : 1;
    const task_cut cut = cut_tasks(call, blocks, units, chunk_units, context.pool.threads());
    const even_cut column_tasks = even_cut::into(units, cut.column_tasks);
    const even_cut block_tasks = even_cut::into(blocks.count, cut.row_tasks);
    context.pool.run(static_cast<int>(cut.column_tasks * cut.row_tasks), [&](int task) {
        const int64_t column_task = task % cut.column_tasks;
        const int64_t row_task = task / cut.column_tasks;
        const even_cut chunks = even_cut::by(column_tasks.size(column_task), chunk_units);
        for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
            const int64_t panel = (column_tasks.begin(column_task) + chunks.begin(chunk)) * unit_panels;
            const int panels = static_cast<int>(chunks.size(chunk) * unit_panels);
            const int64_t end = block_tasks.begin(row_task + 1);
            for (int64_t group = block_tasks.begin(row_task); group < end; group += group_blocks) {
                multiply_group(call, blocks, group, group + group_blocks < end ? group + group_blocks : end, panel,
                               panels);
            }
        }
    });
    return TRIB_OK;
}

}  // namespace tributary::host::TRIBUTARY_ISA
