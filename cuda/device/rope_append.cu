// SPDX-License-Identifier: Apache-2.0
//
// Rotary position embedding of q and k, and the write of k and v to where attention finds them:
//   x'[i] = x[i] · cos[i] − x[i + n] · sin[i],   x'[i + n] = x[i + n] · cos[i] + x[i] · sin[i],   i < n = rotary_dim / 2
// in fp32, each product and each sum rounded by itself; q, k and v are then rounded to the cache's type, to nearest even,
// and to its greatest finite value beyond that.
//
// Grid: (rows, ⌈units of a row / threads⌉). A unit is eight elements of one head of q, k or v: four pairs where the head
// is rotated, eight neighbours where it is only copied, so that loads take 16 bytes and stores to the cache 8 or 16.
// Where shapes or strides forbid that, a unit is one pair or one element.
//
// Bound by latency at decoding counts: (1.5 q_heads + 2 · 1.5 kv_heads) · d · 4 bytes a row, 36 KiB for 32 and 8 heads of
// 128. The longest chain is row, sequence, page, store; the counts are fetched beside the row's numbers.
#include "device/launch.cuh"
#include "device/operations.hpp"
#include "device/row_slots.cuh"
#include "device/vectors.cuh"

namespace tributary::device {
namespace {

constexpr int threads = 128;
constexpr int unit = 8;

struct rope_arguments {
    step_view step;
    row_slots slots;
    const float* q;
    const float* k;
    const float* v;
    const float* cos_sin;
    int64_t q_row, q_head, k_row, k_head, v_row, v_head;  // strides, elements
    int64_t cos_sin_row;
    void* rotated_q;  // [R + Q, q_heads, d]
    int64_t rotated_row, rotated_head;
    void* cache;     // this layer's [pages][K | V][kv_heads][TRIB_PAGE_TOKENS][d]
    void* stream_k;  // [Q, kv_heads, d]
    void* stream_v;
    int64_t stream_k_row, stream_k_head, stream_v_row, stream_v_head;
    int pages, positions;
    int q_heads, kv_heads, d, rotary_dim;
};

// What a head of the fused rows is.
enum class part { q, k, v };

// Where one head of a row goes; null when the step names no page of the cache.
template <class T>
__device__ __forceinline__ T* destination(const rope_arguments& a, int row, int head, part of) {
    if (of == part::q) {
        return static_cast<T*>(a.rotated_q) + row * a.rotated_row + head * a.rotated_head;
    }
    const int value = of == part::v ? 1 : 0;
    if (row >= a.step.max_main_rows) {
        const int64_t scratch_row = row - a.step.max_main_rows;
        return value == 0 ? static_cast<T*>(a.stream_k) + scratch_row * a.stream_k_row + head * a.stream_k_head
                          : static_cast<T*>(a.stream_v) + scratch_row * a.stream_v_row + head * a.stream_v_head;
    }
    const int sequence = a.step.row_sequence[row];
    const int node = a.step.row_node[row];
    const int position = a.step.row_position[row];
    if (sequence < 0 || sequence >= a.step.max_sequences) {
        return nullptr;
    }
    const int slot = a.step.nodes(sequence) > 0 ? a.step.sequence_length[sequence] + node : position;
    if (slot < 0 || slot >= a.step.max_pages * TRIB_PAGE_TOKENS) {
        return nullptr;
    }
    const int page = a.step.page(sequence, slot);
    if (page < 0 || page >= a.pages) {
        return nullptr;
    }
    return static_cast<T*>(a.cache) +
           (((static_cast<int64_t>(page) * 2 + value) * a.kv_heads + head) * TRIB_PAGE_TOKENS +
            slot % TRIB_PAGE_TOKENS) *
               a.d;
}

// Which part `head` of q_heads + 2 kv_heads belongs to; `head` becomes the head of that part.
__device__ __forceinline__ part part_of(const rope_arguments& a, int& head) {
    if (head < a.q_heads) {
        return part::q;
    }
    head -= a.q_heads;
    if (head < a.kv_heads) {
        return part::k;
    }
    head -= a.kv_heads;
    return part::v;
}

__device__ __forceinline__ const float* source(const rope_arguments& a, int row, int head, part of) {
    return of == part::q   ? a.q + row * a.q_row + head * a.q_head
           : of == part::k ? a.k + row * a.k_row + head * a.k_head
                           : a.v + row * a.v_row + head * a.v_head;
}

// Rounded to T, to its greatest finite value beyond that; NaN stays NaN.
template <class T>
__device__ __forceinline__ float saturated(float x) {
    constexpr float greatest = std::is_same_v<T, f16> ? 0x1.ffcp15F : 0x1.fep127F;
    return x > greatest ? greatest : (x < -greatest ? -greatest : x);
}
template <class T>
__device__ __forceinline__ uint32_t pair_of(float low, float high) {
    return pack2<T>(saturated<T>(low), saturated<T>(high));
}
template <class T>
__device__ __forceinline__ uint2 four_of(float4 x) {
    return {pair_of<T>(x.x, x.y), pair_of<T>(x.z, x.w)};
}
template <class T>
__device__ __forceinline__ uint4 eight_of(float4 x, float4 y) {
    return {pair_of<T>(x.x, x.y), pair_of<T>(x.z, x.w), pair_of<T>(y.x, y.y), pair_of<T>(y.z, y.w)};
}

__device__ __forceinline__ float rotated_low(float low, float high, float cosine, float sine) {
    return __fsub_rn(__fmul_rn(low, cosine), __fmul_rn(high, sine));
}
__device__ __forceinline__ float rotated_high(float low, float high, float cosine, float sine) {
    return __fadd_rn(__fmul_rn(high, cosine), __fmul_rn(low, sine));
}

template <class T>
__global__ void __launch_bounds__(threads) rotate_and_append(const __grid_constant__ rope_arguments a) {
    allow_successor();
    wait_for_predecessor();
    const auto slot = static_cast<int>(blockIdx.x);
    const int units = a.d / unit;
    const int index = static_cast<int>(blockIdx.y) * threads + static_cast<int>(threadIdx.x);
    int head = index / units;
    const int of_head = index % units;
    if (head >= a.q_heads + 2 * a.kv_heads) {
        return;
    }
    const int row = a.slots.row(slot);
    const bool is_there = a.slots.is_there(a.step, slot);
    const part of = part_of(a, head);
    const float* x = source(a, row, head, of);
    T* const to = is_there ? destination<T>(a, row, head, of) : nullptr;
    const int rotary_dim = of == part::v ? 0 : a.rotary_dim;
    const int pairs = rotary_dim / 2;
    if (of_head * unit >= rotary_dim) {  // only copied
        const float4 first = reinterpret_cast<const float4*>(x + of_head * unit)[0];
        const float4 second = reinterpret_cast<const float4*>(x + of_head * unit)[1];
        if (to != nullptr) {
            *reinterpret_cast<uint4*>(to + of_head * unit) = eight_of<T>(first, second);
        }
        return;
    }
    const int i = of_head * 4;
    const float4 low = *reinterpret_cast<const float4*>(x + i);
    const float4 high = *reinterpret_cast<const float4*>(x + pairs + i);
    const int position = min(max(a.step.row_rotary[row], 0), a.positions - 1);
    const float* table = a.cos_sin + position * a.cos_sin_row;
    const float4 cosine = *reinterpret_cast<const float4*>(table + i);
    const float4 sine = *reinterpret_cast<const float4*>(table + pairs + i);
    if (to != nullptr) {
        *reinterpret_cast<uint2*>(to + i) =
            four_of<T>({rotated_low(low.x, high.x, cosine.x, sine.x), rotated_low(low.y, high.y, cosine.y, sine.y),
                        rotated_low(low.z, high.z, cosine.z, sine.z), rotated_low(low.w, high.w, cosine.w, sine.w)});
        *reinterpret_cast<uint2*>(to + pairs + i) =
            four_of<T>({rotated_high(low.x, high.x, cosine.x, sine.x), rotated_high(low.y, high.y, cosine.y, sine.y),
                        rotated_high(low.z, high.z, cosine.z, sine.z), rotated_high(low.w, high.w, cosine.w, sine.w)});
    }
}

// The same, one pair or one element a thread.
template <class T>
__global__ void __launch_bounds__(threads) rotate_and_append_singly(const __grid_constant__ rope_arguments a) {
    allow_successor();
    wait_for_predecessor();
    const auto slot = static_cast<int>(blockIdx.x);
    const int index = static_cast<int>(blockIdx.y) * threads + static_cast<int>(threadIdx.x);
    int head = index / a.d;
    const int i = index % a.d;
    if (head >= a.q_heads + 2 * a.kv_heads) {
        return;
    }
    const int row = a.slots.row(slot);
    const bool is_there = a.slots.is_there(a.step, slot);
    const part of = part_of(a, head);
    const float* x = source(a, row, head, of);
    T* const to = is_there ? destination<T>(a, row, head, of) : nullptr;
    const int rotary_dim = of == part::v ? 0 : a.rotary_dim;
    const int pairs = rotary_dim / 2;
    if (to == nullptr || (i >= pairs && i < rotary_dim)) {
        return;
    }
    if (i >= rotary_dim) {  // only copied
        to[i] = from_float<T>(saturated<T>(x[i]));
        return;
    }
    const int position = min(max(a.step.row_rotary[row], 0), a.positions - 1);
    const float* table = a.cos_sin + position * a.cos_sin_row;
    const float low = x[i];
    const float high = x[pairs + i];
    to[i] = from_float<T>(saturated<T>(rotated_low(low, high, table[i], table[pairs + i])));
    to[pairs + i] = from_float<T>(saturated<T>(rotated_high(low, high, table[i], table[pairs + i])));
}

template <class T>
trib_status launch_rope(context& context, const trib_rope_append_params& params) {
    const trib_kv_cache& cache = params.cache;
    const int64_t layer_size =
        int64_t{cache.pages} * 2 * cache.kv_heads * TRIB_PAGE_TOKENS * static_cast<int64_t>(cache.head_dim);
    const rope_arguments arguments = {
        .step = view(*params.step),
        .slots = slots_of(*params.step, params.rows),
        .q = pointer<const float>(params.q.address),
        .k = pointer<const float>(params.k.address),
        .v = pointer<const float>(params.v.address),
        .cos_sin = pointer<const float>(params.cos_sin.address),
        .q_row = params.q.stride[0],
        .q_head = params.q.stride[1],
        .k_row = params.k.stride[0],
        .k_head = params.k.stride[1],
        .v_row = params.v.stride[0],
        .v_head = params.v.stride[1],
        .cos_sin_row = params.cos_sin.stride[1],
        .rotated_q = pointer<T>(params.rotated_q.address),
        .rotated_row = params.rotated_q.stride[0],
        .rotated_head = params.rotated_q.stride[1],
        .cache = pointer<T>(cache.address) + params.layer * layer_size,
        .stream_k = pointer<T>(params.stream_k.address),
        .stream_v = pointer<T>(params.stream_v.address),
        .stream_k_row = params.stream_k.stride[0],
        .stream_k_head = params.stream_k.stride[1],
        .stream_v_row = params.stream_v.stride[0],
        .stream_v_head = params.stream_v.stride[1],
        .pages = static_cast<int>(cache.pages),
        .positions = static_cast<int>(params.cos_sin.shape[1]),
        .q_heads = static_cast<int>(params.q.shape[1]),
        .kv_heads = static_cast<int>(cache.kv_heads),
        .d = static_cast<int>(cache.head_dim),
        .rotary_dim = static_cast<int>(params.rotary_dim),
    };
    const auto eights = [](const trib_tensor& tensor) {
        return tensor.address == 0 || ((tensor.shape[0] == 1 || tensor.stride[0] % unit == 0) &&
                                       (tensor.shape[1] == 1 || tensor.stride[1] % unit == 0));
    };
    const bool vector = takes_vectors(params.q) && takes_vectors(params.k) && takes_vectors(params.v) &&
                        takes_vectors(params.cos_sin) && eights(params.stream_k) && eights(params.stream_v) &&
                        eights(params.rotated_q) && params.rotary_dim % unit == 0;
    const int heads = arguments.q_heads + 2 * arguments.kv_heads;
    const int per_row = heads * (vector ? arguments.d / unit : arguments.d);
    const launch_shape shape = {
        .grid = dim3(static_cast<unsigned>(arguments.slots.count()), static_cast<unsigned>(ceil_div(per_row, threads))),
        .block = dim3(threads),
    };
    return vector ? launch(context, "rope_append", rotate_and_append<T>, shape, arguments)
                  : launch(context, "rope_append", rotate_and_append_singly<T>, shape, arguments);
}

}  // namespace

trib_status rope_append(context& context, const trib_rope_append_params& params) {
    if (slots_of(*params.step, params.rows).count() == 0) {
        return TRIB_OK;
    }
    return params.cache.dtype == TRIB_DTYPE_BF16 ? launch_rope<bf16>(context, params)
                                                 : launch_rope<f16>(context, params);
}

}  // namespace tributary::device
