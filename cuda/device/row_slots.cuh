// SPDX-License-Identifier: Apache-2.0
//
// Rows of a step by their place in a launch: blocks 0 … main − 1 stand for main rows, those behind for stream rows,
// whatever the counts are. So a kernel knows the address of its row before it has read the counts, and fetches both at
// once; whether the row is there is asked before anything is written. (select_rows needs the counts first, which costs
// one more trip to memory in kernels that take two of them.)
#pragma once

#include "device/step.cuh"

namespace tributary::device {

struct row_slots {
    int main;          // slots of main rows, at most R
    int stream;        // slots of stream rows, at most Q
    int stream_begin;  // R

    int count() const { return main + stream; }

#if defined(__CUDACC__)
    // Index in the row buffer.
    __device__ int row(int slot) const { return slot < main ? slot : stream_begin + (slot - main); }
    __device__ bool is_there(const step_view& step, int slot) const {
        return slot < main ? slot < step.main_rows() : slot - main < step.stream_rows();
    }
#endif
};

inline row_slots slots_of(const trib_step& step, uint32_t rows) {
    return {
        .main = (rows & TRIB_ROWS_MAIN) != 0 ? bound_main_rows(step) : 0,
        .stream = (rows & TRIB_ROWS_STREAM) != 0 ? bound_stream_rows(step) : 0,
        .stream_begin = static_cast<int>(step.max_main_rows),
    };
}

}  // namespace tributary::device
