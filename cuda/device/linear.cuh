// SPDX-License-Identifier: Apache-2.0
//
// The matrix product behind linear, lm_head and edge_confidence: y = epilogue(x Wᵀ) for rows that device data names.
//
// For other operations: product_rows computes y[i] = W · x[index[i]] for i < *count (both in device memory), y in fp32 or
// in the weight's type:
//
//     const row_product product = {
//         .weight = view_packed(params.down),
//         .x = x, .x_dtype = TRIB_DTYPE_F32, .x_stride = stride, .x_rows = rows,   // [x_rows, K], strides in elements
//         .index = index,      // int32 [max_rows], device; null: row i is x[i]
//         .count = count,      // int32 [1], device
//         .max_rows = bound,   // sizes the launches; rows beyond it are never touched
//         .y = y, .y_dtype = weight.dtype, .y_stride = stride,                     // [max_rows, N]
//         .workspace = at,     // product_rows_workspace(context, weight, capacity) bytes, aligned to 64
//     };
//     trib_status status = product_rows(context, "edge_confidence", product);
//
// Successive products may share one workspace. x in 16 bits goes without a copy when K and x_stride are multiples of 8,
// but for indexed rows on Hopper from 65 rows on, which are gathered first.
// Elements of x beyond K are never read, so y of one product may be x of the next at any stride.
#pragma once

#include "device/packed.cuh"
#include "device/step.cuh"

namespace tributary::device {

struct row_product {
    packed_view weight;  // [N, K], not a gate's
    const void* x;       // [x_rows, K], 16-byte aligned
    uint32_t x_dtype;    // F32, or the weight's type
    int64_t x_stride;
    int64_t x_rows;
    const int32_t* index;
    const int32_t* count;
    int max_rows;
    void* y;           // [max_rows, N]
    uint32_t y_dtype;  // F32, or the weight's type
    int64_t y_stride;
    void* workspace;
};

// Rows that a step or an index names, as lm_head takes them; result of dense row i at row i of y, or at its place.
struct head_product {
    packed_view weight;
    trib_tensor x;          // [rows, K] F32 or the weight's type
    const trib_step* step;  // with index null
    uint32_t rows;          // TRIB_ROWS_*
    const int32_t* index;   // int32 [max_rows], device; null: the step's rows
    const int32_t* count;   // int32 [1], device, with index
    int max_rows;           // sizes the launches
    bool y_at_place;        // without index: row i's result stands at its index in the row buffer
    float* y;
    int64_t y_stride;
    void* workspace;  // head_product_workspace bytes
};

trib_status multiply_head(context&, const char* operation, const head_product&);
uint64_t head_product_workspace(const context&, const packed_view& weight, const trib_tensor& x, int64_t capacity_rows);

trib_status product_rows(context&, const char* operation, const row_product&);
uint64_t product_rows_workspace(const context&, const packed_view& weight, int64_t capacity_rows);

}  // namespace tributary::device
