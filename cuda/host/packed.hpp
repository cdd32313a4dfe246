// SPDX-License-Identifier: Apache-2.0
//
// The host's packed order of a weight [N, K]: panels of 16 rows of the weight (16 outputs of the product); in each of
// them, for every pair of columns, 64 bytes with the 16 lanes' two values, padded with zeros. A lane is an output, so a
// product needs no reduction over lanes. BF16 keeps a lane's two values side by side, [N/16][K/2][16][2], as vdpbf16ps
// takes them; F16 keeps the columns apart, [N/16][K/2][2][16], as they are converted to fp32. PACKED_GATE alternates a
// panel of gate rows with the panel of the same up rows.
#pragma once

#include "host/context.hpp"

namespace tributary::host::TRIBUTARY_ISA {
namespace {

constexpr int panel_rows = 16;
// Elements of one pair of columns of a panel: one cache line.
constexpr int64_t pair_elements = 2 * panel_rows;

[[maybe_unused]] constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct packed_weight {
    uint16_t* data;
    int64_t rows, columns;  // N, K
    int64_t pairs;          // ⌈K/2⌉
    uint32_t dtype;
    bool gate;

    int64_t panels() const { return gate ? 2 * ceil_div(rows / 2, panel_rows) : ceil_div(rows, panel_rows); }
    int64_t panel_elements() const { return pairs * pair_elements; }
    uint16_t* panel(int64_t index) const { return data + index * panel_elements(); }
    int64_t lane_stride() const { return dtype == TRIB_DTYPE_BF16 ? 2 : 1; }
    // Column k of a row is at [k / 2 · pair_elements + k % 2 · odd_offset()] from row().
    int64_t odd_offset() const { return dtype == TRIB_DTYPE_BF16 ? 1 : panel_rows; }
    int64_t panel_of(int64_t row) const {
        if (!gate) {
            return row / panel_rows;
        }
        const int64_t half = rows / 2;
        return row < half ? 2 * (row / panel_rows) : 2 * ((row - half) / panel_rows) + 1;
    }
    int64_t lane_of(int64_t row) const { return (gate && row >= rows / 2 ? row - rows / 2 : row) % panel_rows; }
    uint16_t* row(int64_t row) const { return panel(panel_of(row)) + lane_of(row) * lane_stride(); }
};

[[maybe_unused]] inline packed_weight packed_view(uint64_t address, uint32_t dtype, uint32_t layout, int64_t rows,
                                                  int64_t columns) {
    return {pointer<uint16_t>(address), rows, columns, ceil_div(columns, 2), dtype, layout == TRIB_LAYOUT_PACKED_GATE};
}

[[maybe_unused]] inline packed_weight packed_view(const trib_tensor& tensor) {
    return packed_view(tensor.address, tensor.dtype, tensor.layout, tensor.shape[1], tensor.shape[2]);
}

}  // namespace
}  // namespace tributary::host::TRIBUTARY_ISA
