// SPDX-License-Identifier: Apache-2.0
//
// Typed views of trib_step's arrays (see tributary.h for their meaning) for kernels: passed by value, so capacities and
// addresses are constants of a launch and everything that changes from pass to pass is read from device memory.
#pragma once

#include "device/context.hpp"

namespace tributary::device {

struct step_view {
    int max_sequences, max_main_rows, max_stream_rows;  // S, R, Q
    int gamma, max_pages;
    int32_t* counts;                 // [4]: sequences, main rows, stream rows
    int32_t* row_sequence;           // [R + Q]
    int32_t* row_node;               // [R + Q]
    int32_t* row_position;           // [R + Q]
    int32_t* row_rotary;             // [R + Q]
    int32_t* row_first_visible;      // [R + Q]
    int32_t* row_stream;             // [R + Q]
    const int32_t* sequence_length;  // [S]
    int32_t* sequence_rows;          // [S + 1]
    const int32_t* tree_begin;       // [S + 1]
    const int32_t* tree_token;       // [max_nodes]
    const int32_t* tree_parent;      // [max_nodes]
    const int32_t* mask_begin;       // [S]
    const uint64_t* masks;           // [max_mask_words]
    const int32_t* page_table;       // [S, P]

#if defined(__CUDACC__)
    // Counts of this pass, never beyond the capacities.
    __device__ int sequences() const { return min(max(counts[0], 0), max_sequences); }
    __device__ int main_rows() const { return min(max(counts[1], 0), max_main_rows); }
    __device__ int stream_rows() const { return min(max(counts[2], 0), max_stream_rows); }
    // T of sequence s; 0 = causal.
    __device__ int nodes(int s) const { return tree_begin[s + 1] - tree_begin[s]; }
    // ⌈T/64⌉ ancestors-or-self words of node `node` of sequence s (T > 0).
    __device__ const uint64_t* mask(int s, int node) const {
        return masks + mask_begin[s] + static_cast<int64_t>(node) * ((nodes(s) + 63) / 64);
    }
    // Page that holds slot `slot` of sequence s.
    __device__ int page(int s, int slot) const {
        return page_table[static_cast<int64_t>(s) * max_pages + slot / TRIB_PAGE_TOKENS];
    }
#endif
};

inline step_view view(const trib_step& step) {
    return {
        .max_sequences = static_cast<int>(step.max_sequences),
        .max_main_rows = static_cast<int>(step.max_main_rows),
        .max_stream_rows = static_cast<int>(step.max_stream_rows),
        .gamma = static_cast<int>(step.gamma),
        .max_pages = static_cast<int>(step.max_pages),
        .counts = pointer<int32_t>(step.counts),
        .row_sequence = pointer<int32_t>(step.row_sequence),
        .row_node = pointer<int32_t>(step.row_node),
        .row_position = pointer<int32_t>(step.row_position),
        .row_rotary = pointer<int32_t>(step.row_rotary),
        .row_first_visible = pointer<int32_t>(step.row_first_visible),
        .row_stream = pointer<int32_t>(step.row_stream),
        .sequence_length = pointer<const int32_t>(step.sequence_length),
        .sequence_rows = pointer<int32_t>(step.sequence_rows),
        .tree_begin = pointer<const int32_t>(step.tree_begin),
        .tree_token = pointer<const int32_t>(step.tree_token),
        .tree_parent = pointer<const int32_t>(step.tree_parent),
        .mask_begin = pointer<const int32_t>(step.mask_begin),
        .masks = pointer<const uint64_t>(step.masks),
        .page_table = pointer<const int32_t>(step.page_table),
    };
}

// Greatest rows of a launch: what the host knows of the pass, else the capacities.
inline int bound_main_rows(const trib_step& step) {
    return static_cast<int>(step.bound_main_rows != 0 ? step.bound_main_rows : step.max_main_rows);
}
inline int bound_stream_rows(const trib_step& step) {
    return static_cast<int>(step.bound_stream_rows != 0 ? step.bound_stream_rows : step.max_stream_rows);
}
inline int bound_rows(const trib_step& step, uint32_t rows) {
    return ((rows & TRIB_ROWS_MAIN) != 0 ? bound_main_rows(step) : 0) +
           ((rows & TRIB_ROWS_STREAM) != 0 ? bound_stream_rows(step) : 0);
}
inline int bound_context(const trib_step& step) {
    return static_cast<int>(step.bound_context != 0 ? step.bound_context : step.max_pages * TRIB_PAGE_TOKENS);
}

// The rows that `rows` (TRIB_ROWS_*) selects: a dense count, and the buffer index of the i-th of them.
struct row_selection {
    int main_rows;     // selected main rows, from buffer index 0
    int stream_begin;  // buffer index of the first stream row (R)
    int count;         // all selected rows

#if defined(__CUDACC__)
    __device__ int operator[](int i) const { return i < main_rows ? i : stream_begin + (i - main_rows); }
#endif
};

#if defined(__CUDACC__)
__device__ inline row_selection select_rows(const step_view& step, uint32_t rows) {
    const int main_rows = (rows & TRIB_ROWS_MAIN) != 0 ? step.main_rows() : 0;
    const int stream_rows = (rows & TRIB_ROWS_STREAM) != 0 ? step.stream_rows() : 0;
    return {main_rows, step.max_main_rows, main_rows + stream_rows};
}
#endif

}  // namespace tributary::device
