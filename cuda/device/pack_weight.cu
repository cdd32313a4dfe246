// SPDX-License-Identifier: Apache-2.0
//
// Rows [n, K] of a row-major weight into the packed order of packed.cuh, at any row of the destination.
//
// A thread moves one chunk of eight columns, 16 bytes; neighbouring threads take neighbouring chunks of a row, so reads
// are contiguous and writes come in the 128 bytes that a row has in a block. Bound by bytes: 2·n·K in and out, once when
// a model is loaded. Columns that pad K to a chunk are written as zero, chunks beyond stay as they are: zero.
#include "device/launch.cuh"
#include "device/operations.hpp"
#include "device/packed.cuh"

namespace tributary::device {
namespace {

constexpr int threads = 256;

struct pack_params {
    const uint16_t* source;  // [rows, K]
    int64_t stride;          // elements
    int64_t rows, chunks;    // n, ⌈K/8⌉
    int64_t first_row;
    packed_view destination;
    bool vector;  // every chunk of the source begins at a multiple of 16 bytes
};

__global__ void __launch_bounds__(threads) pack_kernel(const __grid_constant__ pack_params p) {
    wait_for_predecessor();
    const int64_t total = p.rows * p.chunks;
    const int64_t step = static_cast<int64_t>(gridDim.x) * threads;
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; i < total; i += step) {
        const int64_t row = i / p.chunks;
        const int64_t chunk = i % p.chunks;
        const uint16_t* from = p.source + row * p.stride + chunk * 8;
        const int64_t columns = p.destination.columns - chunk * 8;
        uint4 value;
        if (p.vector && columns >= 8) {
            value = *reinterpret_cast<const uint4*>(from);
        } else {
            uint32_t words[4];
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const uint32_t low = 2 * j < columns ? from[2 * j] : 0U;
                const uint32_t high = 2 * j + 1 < columns ? from[2 * j + 1] : 0U;
                words[j] = low | high << 16;
            }
            value = {words[0], words[1], words[2], words[3]};
        }
        const int64_t packed_row = p.destination.packed_row(p.first_row + row);
        auto* to = const_cast<char*>(p.destination.blocks) + p.destination.chunk_offset(packed_row, chunk);
        *reinterpret_cast<uint4*>(to) = value;
    }
}

// Products fetch weights before they wait for their predecessor, so a weight must be there before the launch after it may
// begin: this kernel waits for pack_kernel to end and be visible, and lets its own successor begin at its own end only.
__global__ void finish_packing() { wait_for_predecessor(); }

}  // namespace

uint64_t packed_size(int64_t rows, int64_t columns, uint32_t layout) {
    const packed_view view = {nullptr, rows, columns, TRIB_DTYPE_BF16, layout == TRIB_LAYOUT_PACKED_GATE};
    return static_cast<uint64_t>(view.bytes());
}

trib_status pack_weight(context& context, const trib_pack_weight_params& params) {
    const packed_view destination = view_packed(params.destination);
    const pack_params p = {
        .source = pointer<const uint16_t>(params.source.address),
        .stride = params.source.shape[1] > 1 ? params.source.stride[1] : params.source.shape[2],
        .rows = params.source.shape[1],
        .chunks = ceil_div<int64_t>(destination.columns, 8),
        .first_row = params.first_row,
        .destination = destination,
        .vector = params.source.shape[1] == 1 || params.source.stride[1] % 8 == 0,
    };
    // Some turns of the loop for each thread, and enough blocks to fill any chip.
    constexpr int64_t most_blocks = 8192;
    const int64_t blocks = ceil_div<int64_t>(p.rows * p.chunks, threads);
    const auto grid = static_cast<unsigned>(blocks < most_blocks ? blocks : most_blocks);
    const trib_status status =
        launch(context, "pack_weight", pack_kernel, {.grid = dim3(grid), .block = dim3(threads)}, p);
    return status != TRIB_OK ? status
                             : launch(context, "pack_weight", finish_packing, {.grid = dim3(1), .block = dim3(1)});
}

}  // namespace tributary::device
