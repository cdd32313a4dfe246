// SPDX-License-Identifier: Apache-2.0
//
// Steps in device memory, laid out as the engine lays them out.
#pragma once

#include "memory.hpp"
#include "tributary/tributary.h"

namespace tributary::bench {

// One sequence of a step.
struct sequence {
    int committed = 0;         // L
    std::vector<int> parents;  // of a token tree, the root's −1 first; empty = causal
    int causal_rows = 0;
    int anchors = 0;  // the first nodes that carry streams

    int main_rows() const { return parents.empty() ? causal_rows : static_cast<int>(parents.size()); }
};

// A branching tree of `nodes` nodes, at most TRIB_MAX_DEPTH deep, the same for the same seed.
std::vector<int> random_tree(int nodes, uint32_t seed);

// R and Q; larger than a pass's rows, as the engine's are.
struct row_capacity {
    int main_rows;
    int stream_rows;
};

class device_step {
public:
    // Pages are dealt to the sequences in random order.
    device_step(row_capacity capacity, int gamma, const std::vector<sequence>& sequences);

    const trib_step* get() const { return &step_; }
    int main_rows() const { return main_rows_; }
    int stream_rows() const { return stream_rows_; }
    int rows() const { return main_rows_ + stream_rows_; }
    int capacity() const { return static_cast<int>(step_.max_main_rows + step_.max_stream_rows); }
    // Pages that the sequences hold together: the cache must have as many.
    int pages() const { return pages_; }
    // Keys that all rows see, over all rows.
    double visible_keys() const { return visible_keys_; }
    // Slots of all sequences that hold keys.
    double slots() const { return slots_; }
    // int32 [Q]: the main row of each stream row's anchor.
    uint64_t row_source() const { return row_source_; }
    // int32 [R + Q], the buffer rows of this pass one after another, and int32 [1], how many.
    uint64_t live_rows() const { return live_rows_; }
    uint64_t live_count() const { return live_count_; }
    // int32 [max_segments, 3] and int32 [1]: the stream rows, adapter 0.
    uint64_t segments() const { return segments_; }
    uint64_t segment_count() const { return segment_count_; }

private:
    buffer memory_;
    trib_step step_ = {};
    int main_rows_ = 0;
    int stream_rows_ = 0;
    int pages_ = 0;
    double visible_keys_ = 0;
    double slots_ = 0;
    uint64_t row_source_ = 0;
    uint64_t live_rows_ = 0;
    uint64_t live_count_ = 0;
    uint64_t segments_ = 0;
    uint64_t segment_count_ = 0;
};

// Main rows without positions that matter, and streams behind them: for operations other than attention. γ = 4.
device_step plain_rows(row_capacity capacity, int main_rows, int stream_rows);

// [rows, columns], row-major.
trib_tensor matrix(uint64_t address, uint32_t dtype, int64_t rows, int64_t columns);
// [rows, groups, width] inside rows of `row_stride` elements.
trib_tensor groups_of(uint64_t address, uint32_t dtype, int64_t rows, int64_t groups, int64_t width,
                      int64_t row_stride);
trib_tensor packed(uint64_t address, uint32_t layout, int64_t rows, int64_t columns);

}  // namespace tributary::bench
