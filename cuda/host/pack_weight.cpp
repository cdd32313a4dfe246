// SPDX-License-Identifier: Apache-2.0
//
// Rows of a row-major weight into the packed order of packed.hpp. One task per panel of the destination that the rows
// touch; within a panel the destination is written in order and sixteen rows are read side by side.
#include "host/operations.hpp"
#include "host/packed.hpp"

namespace tributary::host::TRIBUTARY_ISA {

uint64_t packed_size(int64_t rows, int64_t columns, uint32_t layout) {
    const packed_weight weight = packed_view(0, TRIB_DTYPE_BF16, layout, rows, columns);
    return static_cast<uint64_t>(weight.panels() * weight.panel_elements()) * sizeof(uint16_t);
}

trib_status pack_weight(context& context, const trib_pack_weight_params& params) {
    const packed_weight weight = packed_view(params.destination);
    const auto* source = pointer<const uint16_t>(params.source.address);
    const int64_t stride = params.source.stride[1];
    const int64_t rows = params.source.shape[1];
    const int64_t columns = weight.columns;
    // Source rows are cut where the destination's panels end, so that a panel has one writer.
    const int64_t first = params.first_row;
    const int64_t half = weight.gate ? weight.rows / 2 : weight.rows;
    const int64_t blocks_per_half = ceil_div(half, panel_rows);
    const int64_t blocks = weight.gate ? 2 * blocks_per_half : blocks_per_half;

    context.pool.run(static_cast<int>(blocks), [&](int block) {
        const int64_t part = block / blocks_per_half;
        const int64_t block_first = part * half + block % blocks_per_half * panel_rows;
        const int64_t block_end =
            block_first + panel_rows < (part + 1) * half ? block_first + panel_rows : (part + 1) * half;
        const int64_t begin = block_first > first ? block_first : first;
        const int64_t end = block_end < first + rows ? block_end : first + rows;
        if (begin >= end) {
            return;
        }
        uint16_t* destination = weight.row(begin);
        const uint16_t* from = source + (begin - first) * stride;
        for (int64_t pair = 0; pair < weight.pairs; ++pair) {
            const bool whole = 2 * pair + 1 < columns;
            for (int64_t lane = 0; lane < end - begin; ++lane) {
                const uint16_t* x = from + lane * stride + 2 * pair;
                uint16_t* y = destination + pair * pair_elements + lane * weight.lane_stride();
                y[0] = x[0];
                y[weight.odd_offset()] = whole ? x[1] : uint16_t{0};
            }
        }
    });
    return TRIB_OK;
}

}  // namespace tributary::host::TRIBUTARY_ISA
