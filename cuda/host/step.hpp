// SPDX-License-Identifier: Apache-2.0
//
// Typed views of trib_step's arrays (see tributary.h for their meaning), and the rows that an operation works on.
#pragma once

#include "frontdoor/error.hpp"
#include "host/context.hpp"

namespace tributary::host::TRIBUTARY_ISA {
namespace {

struct step_view {
    int sequences = 0, main_rows = 0, stream_rows = 0;  // counts of this pass
    int max_main_rows = 0;                              // R: where stream rows begin in row buffers
    int gamma = 0, max_pages = 0;
    int32_t* counts = nullptr;
    int32_t* row_sequence = nullptr;           // [R + Q]
    int32_t* row_node = nullptr;               // [R + Q]
    int32_t* row_position = nullptr;           // [R + Q]
    int32_t* row_rotary = nullptr;             // [R + Q]
    int32_t* row_first_visible = nullptr;      // [R + Q]
    int32_t* row_stream = nullptr;             // [R + Q]
    const int32_t* sequence_length = nullptr;  // [S]
    int32_t* sequence_rows = nullptr;          // [S + 1]
    const int32_t* tree_begin = nullptr;       // [S + 1]
    const int32_t* tree_token = nullptr;       // [max_nodes]
    const int32_t* tree_parent = nullptr;      // [max_nodes]
    const int32_t* mask_begin = nullptr;       // [S]
    const uint64_t* masks = nullptr;           // [max_mask_words]
    const int32_t* page_table = nullptr;       // [S, P]

    // T of sequence s; 0 = causal.
    int nodes(int s) const { return tree_begin[s + 1] - tree_begin[s]; }
    // ⌈T/64⌉ ancestor words of node `node` of sequence s (T > 0).
    const uint64_t* mask(int s, int node) const {
        return masks + mask_begin[s] + static_cast<int64_t>(node) * ((nodes(s) + 63) / 64);
    }
    // Page that holds slot `slot` of sequence s.
    int page(int s, int slot) const {
        return page_table[static_cast<int64_t>(s) * max_pages + slot / TRIB_PAGE_TOKENS];
    }
};

// The rows that `rows` (TRIB_ROWS_*) selects, as a dense count and the buffer index of the i-th of them.
struct row_selection {
    int main_rows;     // selected main rows, from buffer index 0
    int stream_begin;  // buffer index of the first stream row (R)
    int count;         // all selected rows

    int operator[](int i) const { return i < main_rows ? i : stream_begin + (i - main_rows); }
};

[[maybe_unused]] inline row_selection select_rows(const step_view& step, uint32_t rows) {
    const int main_rows = (rows & TRIB_ROWS_MAIN) != 0 ? step.main_rows : 0;
    const int stream_rows = (rows & TRIB_ROWS_STREAM) != 0 ? step.stream_rows : 0;
    return {main_rows, step.max_main_rows, main_rows + stream_rows};
}

// Reads the step of `operation`. Counts beyond the capacities would make us write outside the caller's buffers, so they
// are refused though the rest of the step's device data is trusted. Counts beyond the bounds are refused with them:
// nothing here depends on the bounds, but a GPU would leave those rows out.
[[maybe_unused, nodiscard]] inline trib_status read_step(const char* operation, const trib_step& step,
                                                         step_view& view) {
    int32_t* counts = pointer<int32_t>(step.counts);
    const auto beyond = [](int32_t count, uint32_t capacity, uint32_t bound = 0) {
        return count < 0 || static_cast<uint32_t>(count) > (bound != 0 ? bound : capacity);
    };
    if (beyond(counts[0], step.max_sequences) || beyond(counts[1], step.max_main_rows, step.bound_main_rows) ||
        beyond(counts[2], step.max_stream_rows, step.bound_stream_rows)) {
        return fail(TRIB_INVALID_ARGUMENT,
                    "%s: step.counts is {%d sequences, %d main rows, %d stream rows}, capacities are {%u, %u, %u}, "
                    "bounds {%u, %u} rows",
                    operation, counts[0], counts[1], counts[2], step.max_sequences, step.max_main_rows,
                    step.max_stream_rows, step.bound_main_rows, step.bound_stream_rows);
    }
    view = {
        .sequences = counts[0],
        .main_rows = counts[1],
        .stream_rows = counts[2],
        .max_main_rows = static_cast<int>(step.max_main_rows),
        .gamma = static_cast<int>(step.gamma),
        .max_pages = static_cast<int>(step.max_pages),
        .counts = counts,
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
    return TRIB_OK;
}

}  // namespace
}  // namespace tributary::host::TRIBUTARY_ISA
