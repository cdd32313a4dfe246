// SPDX-License-Identifier: Apache-2.0
//
// A weight [N, K] in this backend's order: blocks of 64 rows × 64 columns of 16-bit elements, 8 KiB each, as shared
// memory wants them, so that a block is one contiguous copy and needs no shuffling on its way to the tensor cores.
//
//     block (n, k) of ⌈N/64⌉ × ⌈K/64⌉ stands at ((n · ⌈K/64⌉) + k) · 8192 bytes; the blocks of 64 rows lie one behind
//     the other along K. Inside, row r has 128 bytes in eight chunks of 16; chunk c stands at position c xor (r mod 8):
//     the 128-byte swizzle of ldmatrix, wgmma and the bulk copy engine.
//
// Rows and columns that pad N and K to 64 are zero. PACKED_GATE orders the rows of gate [I, K] and up [I, K] in slabs of
// 16: gate rows 8s … 8s + 7, then up rows 8s … 8s + 7. In a matrix fragment both halves of an output then belong to one
// thread, at rows g and g + 8.
#pragma once

#include "device/context.hpp"

#if defined(__CUDACC__)
#define TRIBUTARY_ANYWHERE __host__ __device__
#else
#define TRIBUTARY_ANYWHERE
#endif

namespace tributary::device {

inline constexpr int block_rows = 64;
inline constexpr int block_columns = 64;
inline constexpr int block_bytes = block_rows * block_columns * 2;

struct packed_view {
    const char* blocks;
    int64_t rows, columns;  // N, K
    uint32_t dtype;
    bool gate;

    TRIBUTARY_ANYWHERE int64_t row_blocks() const { return (packed_rows() + block_rows - 1) / block_rows; }
    TRIBUTARY_ANYWHERE int64_t column_blocks() const { return (columns + block_columns - 1) / block_columns; }
    // Rows in packed order, before they are padded to 64: with a gate, both halves padded to slabs of 8.
    TRIBUTARY_ANYWHERE int64_t packed_rows() const { return gate ? (rows / 2 + 7) / 8 * 16 : rows; }
    TRIBUTARY_ANYWHERE int64_t bytes() const { return row_blocks() * column_blocks() * block_bytes; }
    // Where row `row` of [N, K] stands in packed order.
    TRIBUTARY_ANYWHERE int64_t packed_row(int64_t row) const {
        if (!gate) {
            return row;
        }
        const int64_t half = rows / 2;
        const int64_t output = row < half ? row : row - half;
        return output / 8 * 16 + output % 8 + (row < half ? 0 : 8);
    }
    // Byte offset of the chunk of 8 elements of packed row `row` that begins at column 8 · chunk.
    TRIBUTARY_ANYWHERE int64_t chunk_offset(int64_t row, int64_t chunk) const {
        const int64_t block = row / block_rows * column_blocks() + chunk / 8;
        return block * block_bytes + row % block_rows * 128 + ((chunk % 8) ^ (row % 8)) * 16;
    }
};

inline packed_view view_packed(const trib_tensor& weight) {
    return {pointer<const char>(weight.address), weight.shape[1], weight.shape[2], weight.dtype,
            weight.layout == TRIB_LAYOUT_PACKED_GATE};
}

}  // namespace tributary::device
