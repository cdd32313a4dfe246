// SPDX-License-Identifier: Apache-2.0
//
// Tree pruning before the streams are inserted: confidence(row) = softmax(LMHead(up (down x[parent])))[token], then the
// step is compacted in place. The logits are those of lm_head's own
// reduction, once for every row that is somebody's parent.
#include "host/operations.hpp"
#include "host/vocabulary.hpp"

namespace tributary::host::TRIBUTARY_ISA {
namespace {

constexpr uint64_t alignment = 64;

uint64_t aligned(uint64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

// Offsets into the workspace; operand rows of the parents, which become those of the LM head, stand first.
struct workspace_plan {
    int64_t operand_stride, low_stride;
    uint64_t low, results, parent_row, parent_index, parents, log_sum_exp, new_row, bytes;

    explicit workspace_plan(const trib_edge_confidence_params& p) {
        const uint64_t rows = p.step->max_main_rows;
        const uint64_t indices = rows * sizeof(int32_t);
        operand_stride = tributary::host::TRIBUTARY_ISA::operand_stride(p.x.shape[2]);
        low_stride = tributary::host::TRIBUTARY_ISA::operand_stride(p.down.shape[1]);
        low = aligned(rows * static_cast<uint64_t>(operand_stride));
        results = aligned(low + rows * static_cast<uint64_t>(low_stride));
        parent_row = aligned(results + results_bytes(p.lm_head.shape[1], static_cast<int64_t>(rows)));
        parent_index = aligned(parent_row + indices);
        parents = aligned(parent_index + indices);
        log_sum_exp = aligned(parents + indices);
        new_row = aligned(log_sum_exp + indices);
        bytes = aligned(new_row + indices);
    }
};

// Row of each main row's parent; −1 for roots and causal rows, which have none.
trib_status find_parents(const step_view& step, const packed_weight& lm_head, int32_t* parent_row) {
    for (int s = 0; s < step.sequences; ++s) {
        const int begin = step.sequence_rows[s];
        const int end = step.sequence_rows[s + 1];
        const int nodes = step.nodes(s);
        if (begin < 0 || end < begin || end > step.main_rows || nodes < 0 || nodes > TRIB_MAX_TREE) {
            return fail(TRIB_INVALID_ARGUMENT,
                        "edge_confidence: sequence %d has rows %d to %d of %d and %d nodes, expected at most %d", s,
                        begin, end, step.main_rows, nodes, TRIB_MAX_TREE);
        }
        int32_t row_of_node[TRIB_MAX_TREE];
        for (int node = 0; node < nodes; ++node) {
            row_of_node[node] = -1;
        }
        for (int row = begin; row < end; ++row) {
            parent_row[row] = -1;
            if (nodes == 0) {
                continue;
            }
            const int node = step.row_node[row];
            const int parent = node >= 0 && node < nodes ? step.tree_parent[step.tree_begin[s] + node] : nodes;
            const int token = node >= 0 && node < nodes ? step.tree_token[step.tree_begin[s] + node] : 0;
            if (parent >= node || parent < -1 || token < 0 || token >= lm_head.rows) {
                return fail(
                    TRIB_INVALID_ARGUMENT,
                    "edge_confidence: row %d is node %d with parent %d and token %d, expected nodes of 0 to %d, "
                    "parents before children, tokens below %lld",
                    row, node, parent, token, nodes - 1, static_cast<long long>(lm_head.rows));
            }
            row_of_node[node] = row;
            if (parent >= 0) {
                if (row_of_node[parent] < 0) {
                    return fail(TRIB_INVALID_ARGUMENT,
                                "edge_confidence: row %d is node %d, whose parent %d has no row before it", row, node,
                                parent);
                }
                parent_row[row] = row_of_node[parent];
            }
        }
    }
    return TRIB_OK;
}

void move_row(const step_view& step, int from, int to) {
    int32_t* arrays[] = {step.row_sequence, step.row_node,          step.row_position,
                         step.row_rotary,   step.row_first_visible, step.row_stream};
    for (int32_t* array : arrays) {
        array[to] = array[from];
    }
}

// Takes the rows with new_row −1 out of the step, and the stream rows of theirs.
void compact(const step_view& step, const int32_t* new_row, int32_t* row_source, int32_t* kept) {
    int rows = 0;
    int old = 0;
    for (int s = 0; s < step.sequences; ++s) {
        const int end = step.sequence_rows[s + 1];
        step.sequence_rows[s] = rows;
        for (; old < end; ++old) {
            if (new_row[old] >= 0) {
                move_row(step, old, rows);
                kept[rows++] = old;
            }
        }
    }
    step.sequence_rows[step.sequences] = rows;
    int streams = 0;
    for (int i = 0; i < step.stream_rows; ++i) {
        if (new_row[row_source[i]] >= 0) {
            move_row(step, step.max_main_rows + i, step.max_main_rows + streams);
            row_source[streams++] = new_row[row_source[i]];
        }
    }
    step.counts[1] = rows;
    step.counts[2] = streams;
}

// One row of a product as an operand row of the next, in chunks of a tile's width.
void chain_product(const packed_weight& weight, const char* operands, int64_t stride, int rows, uint32_t next_type,
                   char* next, int64_t next_stride) {
    constexpr int chunk = 8;
    for (int64_t panel = 0; panel < weight.panels(); panel += chunk) {
        const int panels = static_cast<int>(weight.panels() - panel < chunk ? weight.panels() - panel : chunk);
        alignas(64) float out[max_tile_rows * chunk * panel_rows];
        product(weight, panel, panels, operands, stride, rows, out);
        const int64_t column = panel * panel_rows;
        const int64_t left = weight.rows - column;
        const int64_t columns = left < panels * panel_rows ? left : panels * panel_rows;
        for (int row = 0; row < rows; ++row) {
            write_operand_row(out + row * panels * panel_rows, columns, next_type,
                              next + row * next_stride + column * (narrow_operands(next_type) ? 2 : 4));
        }
    }
}

}  // namespace

uint64_t edge_confidence_workspace(const context&, const trib_edge_confidence_params& params) {
    return workspace_plan(params).bytes;
}

trib_status edge_confidence(context& context, const trib_edge_confidence_params& params) {
    step_view step;
    if (const trib_status status = read_step("edge_confidence", *params.step, step); status != TRIB_OK) {
        return status;
    }
    const packed_weight down = packed_view(params.down);
    const packed_weight up = packed_view(params.up);
    const packed_weight lm_head = packed_view(params.lm_head);
    const workspace_plan plan(params);
    auto* workspace = pointer<char>(params.workspace);
    auto* parent_row = reinterpret_cast<int32_t*>(workspace + plan.parent_row);
    auto* parent_index = reinterpret_cast<int32_t*>(workspace + plan.parent_index);
    auto* parents = reinterpret_cast<int32_t*>(workspace + plan.parents);
    auto* log_sum_exp = reinterpret_cast<float*>(workspace + plan.log_sum_exp);
    auto* new_row = reinterpret_cast<int32_t*>(workspace + plan.new_row);
    auto* row_source = pointer<int32_t>(params.row_source);
    auto* confidence = pointer<float>(params.confidence);

    if (step.sequences == 0 ? step.main_rows != 0
                            : step.sequence_rows[0] != 0 || step.sequence_rows[step.sequences] != step.main_rows) {
        return fail(TRIB_INVALID_ARGUMENT, "edge_confidence: step.sequence_rows do not cover the %d main rows",
                    step.main_rows);
    }
    if (const trib_status status = find_parents(step, lm_head, parent_row); status != TRIB_OK) {
        return status;
    }
    for (int i = 0; i < step.stream_rows; ++i) {
        const int anchor = step.row_node[step.max_main_rows + i];
        if (row_source[i] < 0 || row_source[i] >= step.main_rows || anchor < 0) {
            return fail(TRIB_INVALID_ARGUMENT,
                        "edge_confidence: stream row %d has row_source %d and anchor %d, expected a main row of this "
                        "step (0 to %d) and its node",
                        i, row_source[i], anchor, step.main_rows - 1);
        }
    }

    int count = 0;
    for (int row = 0; row < step.main_rows; ++row) {
        parent_index[row] = -1;
    }
    for (int row = 0; row < step.main_rows; ++row) {
        const int parent = parent_row[row];
        if (parent >= 0 && parent_index[parent] < 0) {
            parent_index[parent] = count;
            parents[count++] = parent;
        }
    }
    const vocabulary_reduction v = {
        .weight = lm_head,
        .operands = workspace,
        .operand_stride = plan.operand_stride,
        .rows = count,
        .k = 0,
        .logits = nullptr,
        .logits_stride = 0,
        .places = {},
        .results = reinterpret_cast<segment_result*>(workspace + plan.results),
        .kept = nullptr,
        .floor = nullptr,
    };
    if (count > 0) {
        const auto* x = pointer<const float>(params.x.address);
        const even_cut blocks = cut_rows(count);
        context.pool.run(static_cast<int>(blocks.count), [&](int block) {
            const int64_t first = blocks.begin(block);
            const int rows = static_cast<int>(blocks.size(block));
            char* operands = workspace + first * plan.operand_stride;
            char* low = workspace + plan.low + first * plan.low_stride;
            for (int row = 0; row < rows; ++row) {
                write_operand_row(x + parents[first + row] * params.x.stride[1], down.columns, down.dtype,
                                  operands + row * plan.operand_stride);
            }
            chain_product(down, operands, plan.operand_stride, rows, up.dtype, low, plan.low_stride);
            chain_product(up, low, plan.low_stride, rows, lm_head.dtype, operands, plan.operand_stride);
        });
        reduce_vocabulary(context, v);
        for (int i = 0; i < count; ++i) {
            log_sum_exp[i] = merge_segments(v, i).log_sum_exp;
        }
    }
    for (int row = 0; row < step.main_rows; ++row) {
        confidence[row] = 1.0F;
    }
    for (int s = 0; s < step.sequences; ++s) {
        for (int row = step.sequence_rows[s]; row < step.sequence_rows[s + 1]; ++row) {
            if (parent_row[row] < 0) {
                continue;
            }
            // The logit of one token again, from its panel: the same chain, hence the same bits as in the sum.
            const int32_t token = step.tree_token[step.tree_begin[s] + step.row_node[row]];
            const int index = parent_index[parent_row[row]];
            alignas(64) float out[panel_rows];
            product(lm_head, lm_head.panel_of(token), 1, workspace + index * plan.operand_stride, plan.operand_stride,
                    1, out);
            confidence[row] = __builtin_expf(out[lm_head.lane_of(token)] - log_sum_exp[index]);
        }
    }
    int rows = 0;
    for (int row = 0; row < step.main_rows; ++row) {
        const int parent = parent_row[row];
        const bool stays = parent < 0 || (new_row[parent] >= 0 && confidence[row] >= params.threshold);
        new_row[row] = stays ? rows++ : -1;
    }
    compact(step, new_row, row_source, pointer<int32_t>(params.kept));
    return TRIB_OK;
}

}  // namespace tributary::host::TRIBUTARY_ISA
