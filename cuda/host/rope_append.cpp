// SPDX-License-Identifier: Apache-2.0
//
// Rotary position embedding of q and k, and the write of k and v to where attention finds them:
//   x'[i] = x[i] · cos[i] − x[i + n] · sin[i],   x'[i + n] = x[i + n] · cos[i] + x[i] · sin[i],   i < n = rotary_dim / 2
// in fp32, each product and each sum rounded by itself; q, k and v are then rounded to the cache's type, to nearest even,
// and to its greatest finite value beyond that.
// Memory-bound: (q_heads + 2 kv_heads) · d values read and written once per row; a task is a block of rows.
#include "host/operations.hpp"
#include "host/step.hpp"
#include "host/vector.hpp"

namespace tributary::host::TRIBUTARY_ISA {
namespace {

constexpr int max_head_dim = 256;

// Rotates one head from x to y; elements from rotary_dim on are copied.
TRIBUTARY_INLINE void rotate(const float* x, const float* cos_sin, int rotary_dim, int d, float* y) {
    const int n = rotary_dim / 2;
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        const f32x16 cosines = load(cos_sin + i);
        const f32x16 sines = load(cos_sin + n + i);
        const f32x16 first = load(x + i);
        const f32x16 second = load(x + n + i);
        store(y + i, first * cosines - second * sines);
        store(y + n + i, second * cosines + first * sines);
    }
    for (; i < n; ++i) {
        const float first = x[i];
        const float second = x[n + i];
        y[i] = first * cos_sin[i] - second * cos_sin[n + i];
        y[n + i] = second * cos_sin[i] + first * cos_sin[n + i];
    }
    for (int j = rotary_dim; j < d; ++j) {
        y[j] = x[j];
    }
}

// d, a multiple of 8, values rounded to `dtype`, none to an infinity; NaN stays NaN.
TRIBUTARY_INLINE void round_head(const float* x, int d, uint32_t dtype, uint16_t* y) {
    const f32x16 greatest = splat(dtype == TRIB_DTYPE_F16 ? 0x1.ffcp15F : 0x1.fep127F);
    const f32x16 least = zero() - greatest;
    for (int i = 0; i < d; i += 16) {
        const int count = i + 16 <= d ? 16 : 8;
        store_values(y, dtype, i, max(least, min(greatest, load_values(x, TRIB_DTYPE_F32, i, count))), count);
    }
}

}  // namespace

trib_status rope_append(context& context, const trib_rope_append_params& params) {
    step_view step{};
    if (const trib_status status = read_step("rope_append", *params.step, step); status != TRIB_OK) {
        return status;
    }
    const row_selection selected = select_rows(step, params.rows);
    const trib_kv_cache& cache = params.cache;
    const int d = static_cast<int>(cache.head_dim);
    const int kv_heads = static_cast<int>(cache.kv_heads);
    const int q_heads = static_cast<int>(params.q.shape[1]);
    const int rotary_dim = static_cast<int>(params.rotary_dim);
    const int64_t head_size = static_cast<int64_t>(TRIB_PAGE_TOKENS) * d;
    uint16_t* const layer =
        pointer<uint16_t>(cache.address) + static_cast<int64_t>(params.layer) * cache.pages * 2 * kv_heads * head_size;

    const auto append_row = [&](int row) {
        const float* cos_sin =
            pointer<const float>(params.cos_sin.address) + step.row_rotary[row] * params.cos_sin.stride[1];
        alignas(64) float rotated[max_head_dim];
        const float* q = pointer<const float>(params.q.address) + row * params.q.stride[0];
        uint16_t* rotated_q = pointer<uint16_t>(params.rotated_q.address) + row * params.rotated_q.stride[0];
        for (int head = 0; head < q_heads; ++head) {
            rotate(q + head * params.q.stride[1], cos_sin, rotary_dim, d, rotated);
            round_head(rotated, d, cache.dtype, rotated_q + head * params.rotated_q.stride[1]);
        }

        uint16_t* k_destination;
        uint16_t* v_destination;
        int64_t k_head;
        int64_t v_head;
        if (row >= step.max_main_rows) {
            const int scratch_row = row - step.max_main_rows;
            k_destination = pointer<uint16_t>(params.stream_k.address) + scratch_row * params.stream_k.stride[0];
            v_destination = pointer<uint16_t>(params.stream_v.address) + scratch_row * params.stream_v.stride[0];
            k_head = params.stream_k.stride[1];
            v_head = params.stream_v.stride[1];
        } else {
            const int sequence = step.row_sequence[row];
            const int slot =
                step.nodes(sequence) > 0 ? step.sequence_length[sequence] + step.row_node[row] : step.row_position[row];
            k_destination = layer + static_cast<int64_t>(step.page(sequence, slot)) * 2 * kv_heads * head_size +
                            slot % TRIB_PAGE_TOKENS * d;
            v_destination = k_destination + kv_heads * head_size;
            k_head = head_size;
            v_head = head_size;
        }
        const float* k = pointer<const float>(params.k.address) + row * params.k.stride[0];
        const float* v = pointer<const float>(params.v.address) + row * params.v.stride[0];
        for (int head = 0; head < kv_heads; ++head) {
            rotate(k + head * params.k.stride[1], cos_sin, rotary_dim, d, rotated);
            round_head(rotated, d, cache.dtype, k_destination + head * k_head);
            round_head(v + head * params.v.stride[1], d, cache.dtype, v_destination + head * v_head);
        }
    };

    // Handing work to another thread costs about as much as 2¹⁴ values.
    const int64_t values = static_cast<int64_t>(selected.count) * (q_heads + 2 * kv_heads) * d;
    if (values < (1 << 14)) {
        for (int i = 0; i < selected.count; ++i) {
            append_row(selected[i]);
        }
        return TRIB_OK;
    }
    const int tasks = selected.count < 4 * context.pool.threads() ? selected.count : 4 * context.pool.threads();
    context.pool.run(tasks, [&](int task) {
        const int end = static_cast<int>(static_cast<int64_t>(task + 1) * selected.count / tasks);
        for (int i = static_cast<int>(static_cast<int64_t>(task) * selected.count / tasks); i < end; ++i) {
            append_row(selected[i]);
        }
    });
    return TRIB_OK;
}

}  // namespace tributary::host::TRIBUTARY_ISA
