// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cuda;

import static org.bytedeco.cuda.global.cudart.cudaErrorMemoryAllocation;
import static org.bytedeco.cuda.global.cudart.cudaGetErrorName;
import static org.bytedeco.cuda.global.cudart.cudaGetErrorString;
import static org.bytedeco.cuda.global.cudart.cudaGetLastError;
import static org.bytedeco.cuda.global.cudart.cudaSuccess;

import dev.tributary.DeviceException;
import dev.tributary.kernels.KernelException;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What CUDA says, as exceptions. */
final class CudaCalls {
    /** How the kernels' library words an error of CUDA. */
    private static final Pattern KERNEL_ERROR = Pattern.compile("(\\w+): (cuda\\w+) \\((\\d+)\\): (.*)");

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

    static DeviceException failure(int code, String operation) {
        cudaGetLastError();
        return new DeviceException(
                new DeviceException.Code(code, cudaGetErrorName(code).getString(), operation),
                cudaGetErrorString(code).getString());
    }

    /** A kernel's failure, with CUDA's code where it is one of CUDA's. */
    static DeviceException failure(KernelException kernel) {
        String message = String.valueOf(kernel.getMessage());
        Matcher matcher = KERNEL_ERROR.matcher(message);
        if (!matcher.matches()) {
            return new DeviceException(message, kernel);
        }
        DeviceException failure = new DeviceException(
                new DeviceException.Code(Integer.parseInt(matcher.group(3)), matcher.group(2), matcher.group(1)),
                matcher.group(4));
        failure.initCause(kernel);
        return failure;
    }
}
