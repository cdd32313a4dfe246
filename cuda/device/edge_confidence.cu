// SPDX-License-Identifier: Apache-2.0
//
// Tree pruning before the streams are inserted: confidence(row) = softmax(LMHead(up (down x[parent])))[token of the row's
// node]; a row below the threshold goes with its whole sub-tree, and the step is compacted in place.
//
//   find_parents    one block: the row of each row's parent (rows of a sequence ascend by node: a binary search), and a
//                   dense list of the rows that are somebody's parent.
//   three products  down, up and the LM head on that list, then its log-sum-exp by the room of lm_head. Rows are taken in
//                   slices of 256, beyond which a product is no longer bound by its weight, so the logits' workspace
//                   stays at 256 · V · 4 bytes.
//   confidences     of the rows whose parent stands in a slice; of the last slice the next kernel does it itself.
//   compact_step    one block: confidences, who stays (a row whose edges up to the root all pass), then main rows and
//                   stream rows move towards the front, in tiles of 1,024: a tile is read, then written, and what is
//                   written lies never beyond what has been read.
//
// Bound: reading the LM head once, 2 · V · h bytes (262 MB for 32,000 × 4096, 62 µs at 4.2 TB/s); the two kernels of one
// block are a few dependent reads each.
//
// A GPU cannot refuse what breaks the step's promises; such rows have no parent or no confidence, and nothing is written
// beyond a capacity.
#include <initializer_list>

#include "device/launch.cuh"
#include "device/linear.cuh"
#include "device/operations.hpp"
#include "device/step.cuh"
#include "device/vocabulary.cuh"

namespace tributary::device {
namespace {

constexpr unsigned all_lanes = 0xffffffffU;
constexpr int block_threads = 1024;
constexpr int block_warps = block_threads / 32;
constexpr int slice_rows = 256;
constexpr int confidence_threads = 128;

struct edge_arguments {
    step_view step;
    float threshold;
    int vocabulary;
    const float* logits;  // [slice_rows, V] of the slice at hand, by index in parents
    int64_t logits_stride;
    const float* log_sum_exp;  // [slice_rows]
    int slices;
    int32_t* row_source;    // [Q]
    float* confidence;      // [R]
    int32_t* kept;          // [R]
    int32_t* parent_row;    // [R]: row of a row's parent, −1 = none
    int32_t* parent_index;  // [R], by row: its index in parents, −1 = nobody's parent
    int32_t* parents;       // [R]: rows that are somebody's parent, ascending
    int32_t* slice_counts;  // [slices]: entries of parents in each slice
    int32_t* new_row;       // [R]: a row's index from now on, or ~(rows that stay before it)
};

// Exclusive sum over the block of 0 or 1, and the sum of all.
struct block_position {
    int before, total;
};

__device__ __forceinline__ block_position count_before(int (&warp_counts)[block_warps], bool mine) {
    const int thread = static_cast<int>(threadIdx.x);
    const unsigned flags = __ballot_sync(all_lanes, mine);
    __syncthreads();
    if (thread % 32 == 0) {
        warp_counts[thread / 32] = __popc(flags);
    }
    __syncthreads();
    block_position result = {__popc(flags & ((1U << (thread % 32)) - 1U)), 0};
    for (int warp = 0; warp < block_warps; ++warp) {
        result.before += warp < thread / 32 ? warp_counts[warp] : 0;
        result.total += warp_counts[warp];
    }
    return result;
}

// Row of the parent of main row `row`, −1 when it has none.
__device__ __forceinline__ int find_parent(const step_view& step, int row) {
    const int sequence = step.row_sequence[row];
    if (sequence < 0 || sequence >= step.max_sequences) {
        return -1;
    }
    const int nodes = step.nodes(sequence);
    const int node = step.row_node[row];
    if (node < 0 || node >= nodes) {
        return -1;
    }
    const int parent = step.tree_parent[step.tree_begin[sequence] + node];
    int low = max(step.sequence_rows[sequence], 0);
    int high = row;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (step.row_node[middle] < parent) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return parent >= 0 && low < row && step.row_node[low] == parent ? low : -1;
}

__global__ void __launch_bounds__(block_threads, 1) find_parents(const __grid_constant__ edge_arguments a) {
    __shared__ int warp_counts[block_warps];
    allow_successor();
    wait_for_predecessor();
    const int thread = static_cast<int>(threadIdx.x);
    const int rows = a.step.main_rows();
    for (int row = thread; row < rows; row += block_threads) {
        a.parent_index[row] = -1;
    }
    __syncthreads();
    for (int row = thread; row < rows; row += block_threads) {
        const int parent = find_parent(a.step, row);
        a.parent_row[row] = parent;
        if (parent >= 0) {
            a.parent_index[parent] = 0;
        } else {
            a.confidence[row] = 1.0F;
        }
    }
    __syncthreads();
    int count = 0;
    for (int begin = 0; begin < rows; begin += block_threads) {
        const int row = begin + thread;
        const bool is_parent = row < rows && a.parent_index[row] == 0;
        const block_position at = count_before(warp_counts, is_parent);
        if (is_parent) {
            a.parent_index[row] = count + at.before;
            a.parents[count + at.before] = row;
        }
        count += at.total;
    }
    for (int slice = thread; slice < a.slices; slice += block_threads) {
        a.slice_counts[slice] = min(max(count - slice * slice_rows, 0), slice_rows);
    }
}

// Writes the confidence of a row whose parent stands in `slice`.
__device__ __forceinline__ void write_confidence(const edge_arguments& a, int row, int slice) {
    const int parent = a.parent_row[row];
    const int index = parent < 0 ? -1 : a.parent_index[parent] - slice * slice_rows;
    if (index < 0 || index >= slice_rows) {
        return;
    }
    const int sequence = a.step.row_sequence[row];
    const int token = a.step.tree_token[a.step.tree_begin[sequence] + a.step.row_node[row]];
    a.confidence[row] = token < 0 || token >= a.vocabulary
                            ? 0.0F
                            : expf(a.logits[index * a.logits_stride + token] - a.log_sum_exp[index]);
}

__global__ void __launch_bounds__(confidence_threads) confidences(const __grid_constant__ edge_arguments a, int slice) {
    allow_successor();
    wait_for_predecessor();
    const int row = static_cast<int>(blockIdx.x) * confidence_threads + static_cast<int>(threadIdx.x);
    if (row < a.step.main_rows()) {
        write_confidence(a, row, slice);
    }
}

struct row_values {
    int32_t sequence, node, position, rotary, first_visible, stream;

    __device__ row_values(const step_view& step, int row)
        : sequence(step.row_sequence[row]),
          node(step.row_node[row]),
          position(step.row_position[row]),
          rotary(step.row_rotary[row]),
          first_visible(step.row_first_visible[row]),
          stream(step.row_stream[row]) {}

    __device__ void store(const step_view& step, int row) const {
        step.row_sequence[row] = sequence;
        step.row_node[row] = node;
        step.row_position[row] = position;
        step.row_rotary[row] = rotary;
        step.row_first_visible[row] = first_visible;
        step.row_stream[row] = stream;
    }
};

__global__ void __launch_bounds__(block_threads, 1) compact_step(const __grid_constant__ edge_arguments a) {
    __shared__ int warp_counts[block_warps];
    allow_successor();
    wait_for_predecessor();
    const step_view& step = a.step;
    const int thread = static_cast<int>(threadIdx.x);
    const int sequences = step.sequences();
    const int rows = step.main_rows();
    const int stream_rows = step.stream_rows();
    for (int row = thread; row < rows; row += block_threads) {
        write_confidence(a, row, a.slices - 1);
    }
    __syncthreads();

    int main_count = 0;
    for (int begin = 0; begin < rows; begin += block_threads) {
        const int row = begin + thread;
        bool stays = row < rows;
        if (stays) {
            int at = row;
            for (int parent = a.parent_row[at]; stays && parent >= 0; at = parent, parent = a.parent_row[at]) {
                stays = a.confidence[at] >= a.threshold;
            }
        }
        const row_values values(step, row < rows ? row : begin);
        // Its barriers stand between the reads of this tile and the writes.
        const block_position at = count_before(warp_counts, stays);
        const int place = main_count + at.before;
        if (row < rows) {
            a.new_row[row] = stays ? place : ~place;
        }
        if (stays) {
            values.store(step, place);
            a.kept[place] = row;
        }
        main_count += at.total;
    }
    __syncthreads();

    for (int sequence = thread; sequence <= sequences; sequence += block_threads) {
        const int old = step.sequence_rows[sequence];
        int now = main_count;
        if (old >= 0 && old < rows) {
            now = a.new_row[old] >= 0 ? a.new_row[old] : ~a.new_row[old];
        }
        step.sequence_rows[sequence] = now;
    }
    int stream_count = 0;
    for (int begin = 0; begin < stream_rows; begin += block_threads) {
        const int i = begin + thread;
        int source = -1;
        if (i < stream_rows) {
            const int old = a.row_source[i];
            source = old >= 0 && old < rows ? a.new_row[old] : -1;
        }
        const row_values values(step, step.max_main_rows + (i < stream_rows ? i : begin));
        const block_position at = count_before(warp_counts, source >= 0);
        if (source >= 0) {
            values.store(step, step.max_main_rows + stream_count + at.before);
            a.row_source[stream_count + at.before] = source;
        }
        stream_count += at.total;
    }
    if (thread == 0) {  // every thread has read the counts before the first barrier
        step.counts[1] = main_count;
        step.counts[2] = stream_count;
    }
}

// ---------------------------------------------------------------- launches

constexpr uint64_t alignment = 64;

uint64_t aligned(uint64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

uint64_t element_bytes(uint32_t dtype) { return dtype == TRIB_DTYPE_F32 ? sizeof(float) : sizeof(uint16_t); }

// Offsets into the workspace.
struct workspace_plan {
    int64_t rows;                                     // of a slice, at most
    int64_t low_stride, state_stride, logits_stride;  // elements
    uint32_t low_dtype, state_dtype;                  // what the next product takes
    uint64_t parent_row, parent_index, parents, slice_counts, new_row, log_sum_exp, low, state, logits, reduction,
        product, bytes;

    workspace_plan(const context& context, const trib_edge_confidence_params& p) {
        const auto capacity = static_cast<int64_t>(p.step->max_main_rows);
        const int64_t vocabulary = p.lm_head.shape[1];
        const uint64_t indices = aligned(static_cast<uint64_t>(capacity) * sizeof(int32_t));
        rows = capacity < slice_rows ? capacity : slice_rows;
        low_stride = ceil_div<int64_t>(p.down.shape[1], 8) * 8;
        state_stride = ceil_div<int64_t>(p.up.shape[1], 8) * 8;
        logits_stride = ceil_div<int64_t>(vocabulary, 4) * 4;
        low_dtype = p.down.dtype == p.up.dtype ? p.up.dtype : uint32_t{TRIB_DTYPE_F32};
        state_dtype = p.up.dtype == p.lm_head.dtype ? p.lm_head.dtype : uint32_t{TRIB_DTYPE_F32};
        const auto slice_bytes = [&](int64_t stride, uint32_t dtype) {
            return aligned(static_cast<uint64_t>(rows * stride) * element_bytes(dtype));
        };
        parent_row = 0;
        parent_index = parent_row + indices;
        parents = parent_index + indices;
        new_row = parents + indices;
        slice_counts = new_row + indices;
        log_sum_exp = slice_counts + aligned(static_cast<uint64_t>(ceil_div<int64_t>(capacity, slice_rows)) * 4);
        low = log_sum_exp + aligned(slice_rows * sizeof(float));
        state = low + slice_bytes(low_stride, low_dtype);
        logits = state + slice_bytes(state_stride, state_dtype);
        reduction = logits + slice_bytes(logits_stride, TRIB_DTYPE_F32);
        product = reduction + aligned(vocabulary_workspace(rows, vocabulary));
        uint64_t needed = 0;
        for (const trib_tensor* weight : {&p.down, &p.up, &p.lm_head}) {
            const uint64_t of_weight = product_rows_workspace(context, view_packed(*weight), rows);
            needed = of_weight > needed ? of_weight : needed;
        }
        bytes = product + aligned(needed);
    }
};

// The logits of a slice of the parents, and their log-sum-exp.
trib_status reduce_slice(context& context, const trib_edge_confidence_params& params, const workspace_plan& plan,
                         const edge_arguments& arguments, int slice, int rows) {
    constexpr const char* operation = "edge_confidence";
    char* workspace = pointer<char>(params.workspace);
    const int32_t* count = arguments.slice_counts + slice;
    const row_product down = {
        .weight = view_packed(params.down),
        .x = pointer<const void>(params.x.address),
        .x_dtype = params.x.dtype,
        .x_stride = params.x.stride[1],
        .x_rows = params.x.shape[1],
        .index = arguments.parents + slice * slice_rows,
        .count = count,
        .max_rows = rows,
        .y = workspace + plan.low,
        .y_dtype = plan.low_dtype,
        .y_stride = plan.low_stride,
        .workspace = workspace + plan.product,
    };
    row_product up = down;
    up.weight = view_packed(params.up);
    up.x = down.y;
    up.x_dtype = down.y_dtype;
    up.x_stride = down.y_stride;
    up.x_rows = plan.rows;
    up.index = nullptr;
    up.y = workspace + plan.state;
    up.y_dtype = plan.state_dtype;
    up.y_stride = plan.state_stride;
    row_product head = up;
    head.weight = view_packed(params.lm_head);
    head.x = up.y;
    head.x_dtype = up.y_dtype;
    head.x_stride = up.y_stride;
    head.y = workspace + plan.logits;
    head.y_dtype = TRIB_DTYPE_F32;
    head.y_stride = plan.logits_stride;
    const row_product* const products[] = {&down, &up, &head};
    for (const row_product* product : products) {
        if (const trib_status status = product_rows(context, operation, *product); status != TRIB_OK) {
            return status;
        }
    }
    return reduce_vocabulary(context, operation,
                             {
                                 .logits = arguments.logits,
                                 .row_stride = plan.logits_stride,
                                 .vocabulary = arguments.vocabulary,
                                 .max_rows = rows,
                                 .count = count,
                                 .step = {},
                                 .rows = 0,
                                 .logits_at_place = false,
                                 .k = 0,
                                 .id_offset = 0,
                                 .argmax = nullptr,
                                 .max_logit = nullptr,
                                 .log_sum_exp = reinterpret_cast<float*>(workspace + plan.log_sum_exp),
                                 .top_ids = nullptr,
                                 .top_logits = nullptr,
                                 .workspace = workspace + plan.reduction,
                             });
}

}  // namespace

uint64_t edge_confidence_workspace(const context& context, const trib_edge_confidence_params& params) {
    return workspace_plan(context, params).bytes;
}

trib_status edge_confidence(context& context, const trib_edge_confidence_params& params) {
    constexpr const char* operation = "edge_confidence";
    const workspace_plan plan(context, params);
    char* workspace = pointer<char>(params.workspace);
    const int bound = bound_main_rows(*params.step);
    const edge_arguments arguments = {
        .step = view(*params.step),
        .threshold = params.threshold,
        .vocabulary = static_cast<int>(params.lm_head.shape[1]),
        .logits = reinterpret_cast<const float*>(workspace + plan.logits),
        .logits_stride = plan.logits_stride,
        .log_sum_exp = reinterpret_cast<const float*>(workspace + plan.log_sum_exp),
        .slices = ceil_div(bound, slice_rows),
        .row_source = pointer<int32_t>(params.row_source),
        .confidence = pointer<float>(params.confidence),
        .kept = pointer<int32_t>(params.kept),
        .parent_row = reinterpret_cast<int32_t*>(workspace + plan.parent_row),
        .parent_index = reinterpret_cast<int32_t*>(workspace + plan.parent_index),
        .parents = reinterpret_cast<int32_t*>(workspace + plan.parents),
        .slice_counts = reinterpret_cast<int32_t*>(workspace + plan.slice_counts),
        .new_row = reinterpret_cast<int32_t*>(workspace + plan.new_row),
    };
    const launch_shape one_block = {.grid = dim3(1), .block = dim3(block_threads)};
    trib_status status = launch(context, operation, find_parents, one_block, arguments);
    for (int slice = 0; slice < arguments.slices && status == TRIB_OK; ++slice) {
        const int left = bound - slice * slice_rows;
        status = reduce_slice(context, params, plan, arguments, slice, left < slice_rows ? left : slice_rows);
        if (status == TRIB_OK && slice + 1 < arguments.slices) {
            status = launch(context, operation, confidences,
                            {.grid = dim3(static_cast<unsigned>(ceil_div(bound, confidence_threads))),
                             .block = dim3(confidence_threads)},
                            arguments, slice);
        }
    }
    return status == TRIB_OK ? launch(context, operation, compact_step, one_block, arguments) : status;
}

}  // namespace tributary::device
