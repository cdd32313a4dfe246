// SPDX-License-Identifier: Apache-2.0
//
// Speculative Streaming, insertion: x[R + i] = source[row_source[i]] + embeddings[e(i)] for stream rows, where e(i) is
// row_embedding[i], or stream(i) − 1 without it.
//
// Grid: (stream rows, ⌈h / 4 / threads⌉), a thread adds four elements. Bound by latency; 8 · h bytes a row, the
// embeddings stay in cache. Sources are main rows and results are stream rows, so source may be x.
#include "device/launch.cuh"
#include "device/operations.hpp"
#include "device/step.cuh"
#include "device/vectors.cuh"

namespace tributary::device {
namespace {

constexpr int threads = 128;

struct insert_arguments {
    step_view step;
    const float* source;
    int64_t source_rows, source_stride;
    const int32_t* row_source;
    const int32_t* row_embedding;  // null: stream − 1
    const void* embeddings;
    int64_t embeddings_rows, embeddings_stride;
    float* x;
    int64_t x_stride;
    uint32_t dtype;  // of embeddings
    int columns;
    bool vector;
};

__global__ void __launch_bounds__(threads) add_embeddings(const __grid_constant__ insert_arguments a) {
    allow_successor();
    wait_for_predecessor();
    const int i = static_cast<int>(blockIdx.x);
    const int column = (static_cast<int>(blockIdx.y) * threads + static_cast<int>(threadIdx.x)) * 4;
    const int row = a.step.max_main_rows + i;
    const int stream_rows = a.step.stream_rows();
    const int32_t from = a.row_source[i];
    const int32_t added = a.row_embedding != nullptr ? a.row_embedding[i] : a.step.row_stream[row] - 1;
    if (i >= stream_rows || from < 0 || from >= a.source_rows || added < 0 || added >= a.embeddings_rows ||
        column >= a.columns) {
        return;
    }
    const float4 state = load4(a.source + from * a.source_stride, column, a.columns, a.vector);
    const float4 embedding = load4(a.embeddings, a.dtype, added * a.embeddings_stride, column, a.columns, a.vector);
    store4(a.x + row * a.x_stride, column, a.columns, a.vector,
           {state.x + embedding.x, state.y + embedding.y, state.z + embedding.z, state.w + embedding.w});
}

}  // namespace

trib_status insert_streams(context& context, const trib_insert_streams_params& params) {
    const insert_arguments arguments = {
        .step = view(*params.step),
        .source = pointer<const float>(params.source.address),
        .source_rows = params.source.shape[1],
        .source_stride = params.source.stride[1],
        .row_source = pointer<const int32_t>(params.row_source),
        .row_embedding = pointer<const int32_t>(params.row_embedding),
        .embeddings = pointer<const void>(params.embeddings.address),
        .embeddings_rows = params.embeddings.shape[1],
        .embeddings_stride = params.embeddings.stride[1],
        .x = pointer<float>(params.x.address),
        .x_stride = params.x.stride[1],
        .dtype = params.embeddings.dtype,
        .columns = static_cast<int>(params.x.shape[2]),
        .vector = takes_vectors(params.source) && takes_vectors(params.embeddings) && takes_vectors(params.x),
    };
    return launch(context, "insert_streams", add_embeddings,
                  {.grid = dim3(static_cast<unsigned>(bound_stream_rows(*params.step)),
                                static_cast<unsigned>(ceil_div(arguments.columns, 4 * threads))),
                   .block = dim3(threads)},
                  arguments);
}

}  // namespace tributary::device
