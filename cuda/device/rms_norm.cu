// SPDX-License-Identifier: Apache-2.0
//
// y = x / sqrt(mean(x²) + ε) · weight, for every group of `width` elements of a row.
//
// Wide groups (a hidden state) take one block each, of as many threads as give each of them eight elements; narrow ones
// (q and k norms, up to 256) take one warp each. A thread keeps its elements in registers, four neighbours at a time, so
// x is read once; the weight is fetched while the previous kernel still drains. The sum of squares runs per thread, then
// by xor over the lanes of a warp and over the warps: an order of the width alone.
//
// Bound by latency at decoding counts: 1 to 160 rows of 4096 are 24 to 3,900 KiB. 512 threads · 16 bytes · 2 loads in
// flight cover one row, and they leave together with those of the counts.
#include "device/launch.cuh"
#include "device/operations.hpp"
#include "device/row_slots.cuh"
#include "device/vectors.cuh"

namespace tributary::device {
namespace {

constexpr int narrow_width = 256;
constexpr int narrow_warps = 8;
constexpr int max_threads = 1024;
constexpr unsigned all_lanes = 0xffffffffU;

struct norm_arguments {
    step_view step;
    row_slots slots;
    const float* x;
    int64_t x_row, x_group;  // strides, elements
    const void* weight;
    void* y;
    int64_t y_row, y_group;
    uint32_t weight_dtype, y_dtype;
    int tasks, groups, width;  // tasks: groups of all rows
    float epsilon;
    bool vector;
};

__device__ __forceinline__ float sum_of_squares(float4 x) {
    return fmaf(x.w, x.w, fmaf(x.z, x.z, fmaf(x.y, x.y, x.x * x.x)));
}

__device__ __forceinline__ float warp_sum(float x) {
    for (int distance = 16; distance > 0; distance /= 2) {
        x += __shfl_xor_sync(all_lanes, x, distance);
    }
    return x;
}

__device__ __forceinline__ float factor_of(const norm_arguments& a, float squares) {
    return 1.0F / sqrtf(squares / static_cast<float>(a.width) + a.epsilon);
}

__device__ __forceinline__ float4 scaled(float4 x, float factor, float4 weight) {
    return {x.x * factor * weight.x, x.y * factor * weight.y, x.z * factor * weight.z, x.w * factor * weight.w};
}

__device__ __forceinline__ float4 load_weight(const norm_arguments& a, int i) {
    return load4(a.weight, a.weight_dtype, 0, i, a.width, true);
}

// Group `task` of the launch's rows.
struct group_view {
    const float* x;
    int64_t y;  // element
    bool is_there;

    __device__ group_view(const norm_arguments& a, int task) {
        const int slot = task / a.groups;
        const int group = task % a.groups;
        const int row = a.slots.row(slot);
        x = a.x + row * a.x_row + group * a.x_group;
        y = row * a.y_row + group * a.y_group;
        is_there = a.slots.is_there(a.step, slot);
    }
};

// Grid: groups of all rows. `vectors`: fours of elements that a thread keeps; 0 = they are read a second time.
template <int vectors>
__global__ void __launch_bounds__(max_threads) normalize_wide(const __grid_constant__ norm_arguments a) {
    __shared__ float sums[32];
    allow_successor();
    const int thread = static_cast<int>(threadIdx.x);
    const int threads = static_cast<int>(blockDim.x);
    const int step = threads * 4;
    float4 weight[vectors == 0 ? 1 : vectors];
#pragma unroll
    for (int j = 0; j < vectors; ++j) {
        weight[j] = load_weight(a, thread * 4 + j * step);
    }
    wait_for_predecessor();
    const group_view group(a, static_cast<int>(blockIdx.x));
    float4 x[vectors == 0 ? 1 : vectors];
    float squares = 0.0F;
    if constexpr (vectors > 0) {
#pragma unroll
        for (int j = 0; j < vectors; ++j) {
            x[j] = load4(group.x, thread * 4 + j * step, a.width, a.vector);
        }
#pragma unroll
        for (int j = 0; j < vectors; ++j) {
            squares += sum_of_squares(x[j]);
        }
    } else {
        for (int i = thread * 4; i < a.width; i += step) {
            squares += sum_of_squares(load4(group.x, i, a.width, a.vector));
        }
    }
    if (!group.is_there) {
        return;
    }
    squares = warp_sum(squares);
    if (thread % 32 == 0) {
        sums[thread / 32] = squares;
    }
    __syncthreads();
    const float factor = factor_of(a, warp_sum(thread % 32 < threads / 32 ? sums[thread % 32] : 0.0F));
    if constexpr (vectors > 0) {
#pragma unroll
        for (int j = 0; j < vectors; ++j) {
            store4(a.y, a.y_dtype, group.y, thread * 4 + j * step, a.width, a.vector, scaled(x[j], factor, weight[j]));
        }
    } else {
        for (int i = thread * 4; i < a.width; i += step) {
            store4(a.y, a.y_dtype, group.y, i, a.width, a.vector,
                   scaled(load4(group.x, i, a.width, a.vector), factor, load_weight(a, i)));
        }
    }
}

// Grid: groups of all rows, narrow_warps a block.
__global__ void __launch_bounds__(narrow_warps * 32) normalize_narrow(const __grid_constant__ norm_arguments a) {
    constexpr int vectors = narrow_width / 128;
    allow_successor();
    const int lane = static_cast<int>(threadIdx.x) % 32;
    float4 weight[vectors];
#pragma unroll
    for (int j = 0; j < vectors; ++j) {
        weight[j] = load_weight(a, lane * 4 + j * 128);
    }
    wait_for_predecessor();
    const int task = static_cast<int>(blockIdx.x) * narrow_warps + static_cast<int>(threadIdx.x) / 32;
    if (task >= a.tasks) {
        return;
    }
    const group_view group(a, task);
    float4 x[vectors];
    float squares = 0.0F;
#pragma unroll
    for (int j = 0; j < vectors; ++j) {
        x[j] = load4(group.x, lane * 4 + j * 128, a.width, a.vector);
    }
#pragma unroll
    for (int j = 0; j < vectors; ++j) {
        squares += sum_of_squares(x[j]);
    }
    if (!group.is_there) {
        return;
    }
    const float factor = factor_of(a, warp_sum(squares));
#pragma unroll
    for (int j = 0; j < vectors; ++j) {
        store4(a.y, a.y_dtype, group.y, lane * 4 + j * 128, a.width, a.vector, scaled(x[j], factor, weight[j]));
    }
}

}  // namespace

trib_status rms_norm(context& context, const trib_rms_norm_params& params) {
    const row_slots slots = slots_of(*params.step, params.rows);
    const int tasks = slots.count() * static_cast<int>(params.x.shape[1]);
    if (tasks == 0) {
        return TRIB_OK;
    }
    const norm_arguments arguments = {
        .step = view(*params.step),
        .slots = slots,
        .x = pointer<const float>(params.x.address),
        .x_row = params.x.stride[0],
        .x_group = params.x.stride[1],
        .weight = pointer<const void>(params.weight.address),
        .y = pointer<void>(params.y.address),
        .y_row = params.y.stride[0],
        .y_group = params.y.stride[1],
        .weight_dtype = params.weight.dtype,
        .y_dtype = params.y.dtype,
        .tasks = tasks,
        .groups = static_cast<int>(params.x.shape[1]),
        .width = static_cast<int>(params.x.shape[2]),
        .epsilon = params.epsilon,
        .vector = takes_vectors(params.x) && takes_vectors(params.y),
    };
    if (arguments.width <= narrow_width) {
        return launch(
            context, "rms_norm", normalize_narrow,
            {.grid = dim3(static_cast<unsigned>(ceil_div(tasks, narrow_warps))), .block = dim3(narrow_warps * 32)},
            arguments);
    }
    const int wanted = ceil_div(ceil_div(arguments.width, 8), 32) * 32;
    const launch_shape shape = {
        .grid = dim3(static_cast<unsigned>(tasks)),
        .block = dim3(static_cast<unsigned>(wanted < max_threads ? wanted : max_threads)),
    };
    if (wanted <= max_threads) {
        return launch(context, "rms_norm", normalize_wide<2>, shape, arguments);
    }
    return wanted <= 2 * max_threads ? launch(context, "rms_norm", normalize_wide<4>, shape, arguments)
                                     : launch(context, "rms_norm", normalize_wide<0>, shape, arguments);
}

}  // namespace tributary::device
