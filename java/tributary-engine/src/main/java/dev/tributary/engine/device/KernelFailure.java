// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import dev.tributary.DeviceException;
import dev.tributary.InsufficientMemoryException;
import dev.tributary.TributaryException;
import dev.tributary.kernels.KernelException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What the kernels' library reports, in the words of the public API. */
public final class KernelFailure {
    /** How that library words an error of a device's own interface: operation: name (code): text. */
    private static final Pattern DEVICE_ERROR = Pattern.compile("([^:]+): (\\w+) \\((\\d+)\\): (.*)");

    private KernelFailure() {}

    /**
     * Translates a failure.
     *
     * @param kernel what was thrown
     * @return likewise, with the device's own code where it has one; lack of memory leaves the device usable
     */
    public static TributaryException of(KernelException kernel) {
        return of(kernel.status(), String.valueOf(kernel.getMessage()), kernel);
    }

    static TributaryException of(KernelException.Status status, String message, Throwable kernel) {
        if (status == KernelException.Status.OUT_OF_MEMORY) {
            return new InsufficientMemoryException(message, kernel);
        }
        Matcher matcher = DEVICE_ERROR.matcher(message);
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
