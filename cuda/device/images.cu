// SPDX-License-Identifier: Apache-2.0
//
// What this library holds for a chip, asked of a kernel that does nothing.
#include "device/attention.cuh"
#include "device/launch.cuh"
#include "device/product.cuh"

namespace tributary::device {
namespace {

__global__ void image_probe() { wait_for_predecessor(); }

}  // namespace

trib_status read_images(context& context, int capability, bool& hopper) {
    cudaFuncAttributes attributes;
    const cudaError_t error = cudaFuncGetAttributes(&attributes, image_probe);
    if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorInvalidDeviceFunction) {
        cudaGetLastError();
        return fail(TRIB_UNSUPPORTED, "context_create: device %d is sm_%d, for which this library has no code",
                    context.device, capability);
    }
    if (error != cudaSuccess) {
        return check_cuda("context_create", error);
    }
    // Code made from PTX of an older chip does not wait for its predecessor.
    constexpr int first_that_waits = 90;
    context.dependent_launch = capability >= first_that_waits && attributes.ptxVersion >= first_that_waits;
    hopper = capability == 90 && hopper_product != nullptr && launch_attention_sm90a != nullptr;
    return TRIB_OK;
}

}  // namespace tributary::device
