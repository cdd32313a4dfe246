// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cuda;

import static org.bytedeco.cuda.global.cudart.cudaErrorMemoryAllocation;
import static org.bytedeco.cuda.global.cudart.cudaGetErrorName;
import static org.bytedeco.cuda.global.cudart.cudaGetErrorString;
import static org.bytedeco.cuda.global.cudart.cudaGetLastError;
import static org.bytedeco.cuda.global.cudart.cudaSuccess;

import dev.tributary.DeviceException;
import dev.tributary.InsufficientMemoryException;
import dev.tributary.TributaryException;
import java.util.List;
import java.util.Optional;

/** What CUDA says, as exceptions. */
final class CudaCalls {
    private CudaCalls() {}

    /** Throws when a call has failed. */
    static void check(int code, String operation) {
        if (code != cudaSuccess) {
            throw failure(code, operation);
        }
    }

    /** Runs all of these, whichever fails. The first failure, the later ones attached to it. */
    static Optional<RuntimeException> runAll(List<Runnable> steps) {
        Optional<RuntimeException> first = Optional.empty();
        for (Runnable step : steps) {
            try {
                step.run();
            } catch (RuntimeException e) {
                if (first.isPresent()) {
                    first.get().addSuppressed(e);
                } else {
                    first = Optional.of(e);
                }
            }
        }
        return first;
    }

    static boolean isOutOfMemory(int code) {
        if (code == cudaErrorMemoryAllocation) {
            cudaGetLastError(); // it must not be reported again by the next call
            return true;
        }
        return false;
    }

    /** Lack of memory is what the device survives; it is not told as a failure of the device. */
    static TributaryException failure(int code, String operation) {
        cudaGetLastError(); // it must not be reported again by the next call
        DeviceException failure = new DeviceException(
                new DeviceException.Code(code, cudaGetErrorName(code).getString(), operation),
                cudaGetErrorString(code).getString());
        return code == cudaErrorMemoryAllocation
                ? new InsufficientMemoryException(String.valueOf(failure.getMessage()), failure)
                : failure;
    }
}
