// SPDX-License-Identifier: Apache-2.0
//
// y[r] = table[tokens[r]] for main rows, from the packed weight of a tied LM head.
//
// Grid: (rows, ⌈h / 8 / threads⌉); a thread takes a chunk of eight elements, 16 bytes of the table, which are eight
// neighbours of one row in packed order too. Bound by latency: 2 · h bytes read and 4 · h written per row are 24 KiB of
// h = 4096; the chain is count, token, chunk.
#include "device/launch.cuh"
#include "device/operations.hpp"
#include "device/packed.cuh"
#include "device/step.cuh"
#include "device/vectors.cuh"

namespace tributary::device {
namespace {

constexpr int threads = 128;
constexpr int chunk = 8;

struct embed_arguments {
    step_view step;
    packed_view table;
    const int32_t* tokens;
    float* y;
    int64_t y_stride;
    bool vector;
};

template <class T>
__global__ void __launch_bounds__(threads) embed_rows(const __grid_constant__ embed_arguments a) {
    allow_successor();
    wait_for_predecessor();
    const int row = static_cast<int>(blockIdx.x);
    const int column = (static_cast<int>(blockIdx.y) * threads + static_cast<int>(threadIdx.x)) * chunk;
    const int columns = static_cast<int>(a.table.columns);
    const int32_t token = a.tokens[row];  // within its capacity, as the grid is
    if (row >= a.step.main_rows() || column >= columns) {
        return;
    }
    float* y = a.y + row * a.y_stride;
    uint4 bits = {0, 0, 0, 0};
    if (token >= 0 && token < a.table.rows) {
        bits = *reinterpret_cast<const uint4*>(a.table.blocks + a.table.chunk_offset(token, column / chunk));
    }
    T values[chunk];
    __builtin_memcpy(values, &bits, sizeof values);
    store4(y, column, columns, a.vector,
           {to_float(values[0]), to_float(values[1]), to_float(values[2]), to_float(values[3])});
    store4(y, column + 4, columns, a.vector,
           {to_float(values[4]), to_float(values[5]), to_float(values[6]), to_float(values[7])});
}

}  // namespace

trib_status embed(context& context, const trib_embed_params& params) {
    const int rows = bound_main_rows(*params.step);
    if (rows == 0) {
        return TRIB_OK;
    }
    const embed_arguments arguments = {
        .step = view(*params.step),
        .table = view_packed(params.table),
        .tokens = pointer<const int32_t>(params.tokens),
        .y = pointer<float>(params.y.address),
        .y_stride = params.y.stride[1],
        .vector = takes_vectors(params.y),
    };
    const launch_shape shape = {
        .grid = dim3(static_cast<unsigned>(rows),
                     static_cast<unsigned>(ceil_div<int64_t>(arguments.table.columns, int64_t{chunk} * threads))),
        .block = dim3(threads),
    };
    return params.table.dtype == TRIB_DTYPE_BF16 ? launch(context, "embed", embed_rows<bf16>, shape, arguments)
                                                 : launch(context, "embed", embed_rows<f16>, shape, arguments);
}

}  // namespace tributary::device
