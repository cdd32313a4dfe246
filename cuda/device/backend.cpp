// SPDX-License-Identifier: Apache-2.0
//
// The CUDA backend's side of the front door: contexts, the choice of the code path, and CUDA's errors as statuses.
#include "frontdoor/backend.hpp"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "device/operations.hpp"

namespace tributary::device {
namespace {

// Given by the front door when this library is loaded, before any other call.
void (*set_error)(const char* line) = nullptr;

constexpr int oldest_capability = 80;

context& of(backend_context* opaque) { return *reinterpret_cast<context*>(opaque); }
const context& of(const backend_context* opaque) { return *reinterpret_cast<const context*>(opaque); }

// The device that a context is for is current during its calls only.
class current_device {
public:
    explicit current_device(int device) {
        status_ = cudaGetDevice(&before_);
        if (status_ == cudaSuccess && before_ != device) {
            status_ = cudaSetDevice(device);
            changed_ = status_ == cudaSuccess;
        }
    }
    ~current_device() {
        if (changed_) {
            cudaSetDevice(before_);
        }
    }
    current_device(const current_device&) = delete;
    current_device& operator=(const current_device&) = delete;
    cudaError_t status() const { return status_; }

private:
    int before_ = 0;
    bool changed_ = false;
    cudaError_t status_;
};

// The path of the chip, or the one that TRIBUTARY_CUDA_PATH names.
trib_status choose_path(int capability, bool has_hopper, code_path& chosen) {
    const char* wanted = std::getenv("TRIBUTARY_CUDA_PATH");
    if (wanted == nullptr || *wanted == '\0') {
        chosen = has_hopper ? code_path::hopper : code_path::ampere;
        return TRIB_OK;
    }
    if (std::strcmp(wanted, "sm_80") == 0) {
        chosen = code_path::ampere;
        return TRIB_OK;
    }
    if (std::strcmp(wanted, "sm_90a") != 0) {
        return fail(TRIB_INVALID_ARGUMENT, "context_create: TRIBUTARY_CUDA_PATH is \"%s\", expected sm_80 or sm_90a",
                    wanted);
    }
    if (!has_hopper) {
        return fail(TRIB_UNSUPPORTED,
                    "context_create: TRIBUTARY_CUDA_PATH is sm_90a, which this GPU (sm_%d) or this build lacks",
                    capability);
    }
    chosen = code_path::hopper;
    return TRIB_OK;
}

trib_status destroy(backend_context* opaque) {
    context& context = of(opaque);
    trib_status status = TRIB_OK;
    {
        const current_device current(context.device);
        status = check_cuda("context_destroy", cudaFree(context.counters));
    }
    context.~context();
    std::free(opaque);
    return status;
}

trib_status describe(context& context) {
    cudaDeviceProp properties;
    if (const cudaError_t error = cudaGetDeviceProperties(&properties, context.device); error != cudaSuccess) {
        return check_cuda("context_create", error);
    }
    const int capability = 10 * properties.major + properties.minor;
    if (capability < oldest_capability) {
        return fail(TRIB_UNSUPPORTED, "context_create: device %d is %s (sm_%d), expected sm_%d or later",
                    context.device, properties.name, capability, oldest_capability);
    }
    bool has_hopper = false;
    if (const trib_status status = read_images(context, capability, has_hopper); status != TRIB_OK) {
        return status;
    }
    if (const trib_status status = choose_path(capability, has_hopper, context.path); status != TRIB_OK) {
        return status;
    }
    context.multiprocessors = properties.multiProcessorCount;
    context.shared_memory = static_cast<int>(properties.sharedMemPerBlockOptin);
    std::snprintf(context.description, sizeof context.description, "cuda:%d, %s, %d multiprocessors, %s",
                  context.device, properties.name, context.multiprocessors,
                  context.path == code_path::hopper ? "sm_90a" : "sm_80");
    return TRIB_OK;
}

trib_status create(const trib_context_params* params, backend_context** result) {
    if (params->threads != 0) {
        return fail(TRIB_INVALID_ARGUMENT, "context_create: threads is %u, expected 0 for the cuda backend",
                    params->threads);
    }
    int devices = 0;
    if (const cudaError_t error = cudaGetDeviceCount(&devices); error != cudaSuccess) {
        return check_cuda("context_create", error);
    }
    if (params->device < 0 || params->device >= devices) {
        return fail(TRIB_INVALID_ARGUMENT, "context_create: device is %d, expected 0 to %d", params->device,
                    devices - 1);
    }
    void* memory = std::malloc(sizeof(context));
    if (memory == nullptr) {
        return fail(TRIB_OUT_OF_MEMORY, "context_create: no memory for a context");
    }
    auto* created = new (memory) context;
    created->device = params->device;
    created->stream = pointer<CUstream_st>(params->stream);
    const current_device current(created->device);
    trib_status status = check_cuda("context_create", current.status());
    if (status == TRIB_OK) {
        status = describe(*created);
    }
    if (status == TRIB_OK) {
        status = check_cuda("context_create",
                            cudaMalloc(reinterpret_cast<void**>(&created->counters), counter_words * sizeof(uint32_t)));
    }
    if (status == TRIB_OK) {
        status = check_cuda("context_create",
                            cudaMemsetAsync(created->counters, 0, counter_words * sizeof(uint32_t), created->stream));
    }
    if (status != TRIB_OK) {
        cudaFree(created->counters);
        created->~context();
        std::free(memory);
        return status;
    }
    *result = reinterpret_cast<backend_context*>(created);
    return TRIB_OK;
}

template <auto operation, class Params>
trib_status call(backend_context* opaque, const Params* params) {
    const current_device current(of(opaque).device);
    return current.status() == cudaSuccess ? operation(of(opaque), *params)
                                           : check_cuda("current device", current.status());
}

template <auto workspace, class Params>
uint64_t query(backend_context* opaque, const Params* params) {
    return workspace(of(opaque), *params);
}

constexpr backend_table table = {
    .abi_version = TRIB_ABI_VERSION,
    .backend = TRIB_BACKEND_CUDA,
    .name = "cuda",
    .create = create,
    .destroy = destroy,
    .description = [](const backend_context* opaque) -> const char* { return of(opaque).description; },
    .packed_size = [](const backend_context*, uint32_t, uint32_t layout, int64_t rows,
                      int64_t columns) { return packed_size(rows, columns, layout); },
    .pack_weight = call<pack_weight>,
    .embed = call<embed>,
    .rms_norm = call<rms_norm>,
    .gather_rows = call<gather_rows>,
    .linear = call<linear>,
    .rope_append = call<rope_append>,
    .multi_stream_attention = call<multi_stream_attention>,
    .insert_streams = call<insert_streams>,
    .edge_confidence = call<edge_confidence>,
    .lm_head = call<lm_head>,
    .top_k = call<top_k>,
    .verify_tree = call<verify_tree>,
    .commit_path = call<commit_path>,
    .linear_workspace = query<linear_workspace>,
    .multi_stream_attention_workspace = query<multi_stream_attention_workspace>,
    .edge_confidence_workspace = query<edge_confidence_workspace>,
    .lm_head_workspace = query<lm_head_workspace>,
    .top_k_workspace = query<top_k_workspace>,
    .verify_tree_workspace = query<verify_tree_workspace>,
    .commit_path_workspace = query<commit_path_workspace>,
};

}  // namespace

trib_status fail(trib_status status, const char* format, ...) {
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    set_error(line);
    return status;
}

trib_status check_cuda(const char* operation, cudaError_t error) {
    if (error == cudaSuccess) {
        return TRIB_OK;
    }
    cudaGetLastError();  // a launch that was refused must not be reported again by the next one
    trib_status status = TRIB_DEVICE_ERROR;
    if (error == cudaErrorMemoryAllocation) {
        status = TRIB_OUT_OF_MEMORY;
    } else if (error == cudaErrorInvalidValue || error == cudaErrorInvalidConfiguration ||
               error == cudaErrorLaunchOutOfResources) {
        status = TRIB_INTERNAL_ERROR;
    }
    return fail(status, "%s: %s (%d): %s", operation, cudaGetErrorName(error), static_cast<int>(error),
                cudaGetErrorString(error));
}

}  // namespace tributary::device

extern "C" __attribute__((visibility("default"))) const tributary::backend_table* tributary_backend_entry(
    void (*set_error)(const char* line)) {
    tributary::device::set_error = set_error;
    return &tributary::device::table;
}
