// SPDX-License-Identifier: Apache-2.0
//
// Speculative Streaming, insertion: x[R + i] = source[row_source[i]] + embeddings[e(i)], where e(i) is row_embedding[i], or
// stream(i) − 1 without it. Memory-bound and small (γ rows per anchor once a pass), so it stays on the calling thread.
#include "host/operations.hpp"
#include "host/step.hpp"
#include "host/vector.hpp"

namespace tributary::host::TRIBUTARY_ISA {

trib_status insert_streams(context&, const trib_insert_streams_params& params) {
    step_view step{};
    if (const trib_status status = read_step("insert_streams", *params.step, step); status != TRIB_OK) {
        return status;
    }
    const int width = static_cast<int>(params.x.shape[2]);
    const int32_t* row_source = pointer<const int32_t>(params.row_source);
    const int32_t* row_embedding = pointer<const int32_t>(params.row_embedding);
    const uint32_t dtype = params.embeddings.dtype;
    if (row_embedding != nullptr) {
        const int64_t rows = params.embeddings.shape[1];
        for (int i = 0; i < step.stream_rows; ++i) {
            if (row_embedding[i] < 0 || row_embedding[i] >= rows) {
                return fail(TRIB_INVALID_ARGUMENT, "insert_streams: row_embedding[%d] is %d, expected 0 to %lld", i,
                            row_embedding[i], static_cast<long long>(rows - 1));
            }
        }
    }
    for (int i = 0; i < step.stream_rows; ++i) {
        const int row = step.max_main_rows + i;
        const int64_t embedding_row = row_embedding != nullptr ? row_embedding[i] : step.row_stream[row] - 1;
        const int64_t embedding_at = embedding_row * params.embeddings.stride[1];
        const float* embedding_f32 = pointer<const float>(params.embeddings.address) + embedding_at;
        const uint16_t* embedding_half = pointer<const uint16_t>(params.embeddings.address) + embedding_at;
        const float* source = pointer<const float>(params.source.address) + row_source[i] * params.source.stride[1];
        float* x = pointer<float>(params.x.address) + row * params.x.stride[1];
        int c = 0;
        for (; c + 16 <= width; c += 16) {
            const f32x16 embedding =
                dtype == TRIB_DTYPE_F32 ? load(embedding_f32 + c) : load_half(embedding_half + c, dtype);
            store(x + c, load(source + c) + embedding);
        }
        for (; c < width; ++c) {
            x[c] = source[c] + (dtype == TRIB_DTYPE_F32 ? embedding_f32[c] : half_to_f32(embedding_half[c], dtype));
        }
    }
    return TRIB_OK;
}

}  // namespace tributary::host::TRIBUTARY_ISA
