// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cuda;

import dev.tributary.DeviceException;
import dev.tributary.DeviceException.Reason;
import dev.tributary.engine.device.Device;
import dev.tributary.engine.device.DeviceProvider;
import dev.tributary.kernels.CudaLibrary;
import dev.tributary.kernels.CudaProbe;
import dev.tributary.kernels.KernelException;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * GPUs of this machine. The driver is asked before any class of bytedeco is touched: where libcuda is missing, such a
 * class fails differently at the first touch and at the second, and says neither time what to install.
 */
public final class CudaProvider implements DeviceProvider {
    private static final int LEAST_DRIVER = 13_000;
    private static final int LEAST_CAPABILITY = 80;
    private static final String LEAST = ", expected 8.0 (Ampere) or later";

    /** For {@link java.util.ServiceLoader}. */
    public CudaProvider() {}

    @Override
    public String name() {
        return "cuda";
    }

    @Override
    public Optional<DeviceException> obstacle() {
        return obstacle(CudaProbe.ask()).or(CudaProvider::missingLibrary);
    }

    @Override
    public int firstUsable() {
        return firstUsable(CudaProbe.ask()).orElse(0);
    }

    @Override
    public Device open(int ordinal, long memoryLimit) {
        CudaProbe.Answer answer = CudaProbe.ask();
        obstacle(answer)
                .or(() -> unusable(answer, ordinal))
                .or(CudaProvider::missingLibrary)
                .ifPresent(obstacle -> {
                    throw obstacle;
                });
        return CudaDevice.open(ordinal, memoryLimit);
    }

    /** What stands in the way of using any GPU. */
    static Optional<DeviceException> obstacle(CudaProbe.Answer answer) {
        return switch (answer) {
            case CudaProbe.NoDriver(String reason) ->
                obstacle(
                        Reason.DRIVER_MISSING,
                        "the NVIDIA driver is missing: " + reason + "; " + CudaProbe.DRIVER_LIBRARY
                                + " comes with the driver (580 or later)");
            case CudaProbe.DriverFailure failure ->
                obstacle(
                        Reason.DRIVER_MISSING,
                        "the NVIDIA driver does not start: " + failure.operation() + ": " + failure.name() + " ("
                                + failure.code() + ")");
            case CudaProbe.Gpus(int version, List<CudaProbe.Gpu> gpus) -> {
                if (version < LEAST_DRIVER) {
                    yield obstacle(
                            Reason.DRIVER_TOO_OLD,
                            "the NVIDIA driver supports CUDA " + version / 1000 + "." + version % 1000 / 10
                                    + ", expected 13.0 or later (driver 580 or later)");
                }
                if (gpus.isEmpty()) {
                    yield obstacle(
                            Reason.NO_DEVICE, "the NVIDIA driver shows no GPU (CUDA_VISIBLE_DEVICES may hide them)");
                }
                yield firstUsable(answer).isPresent()
                        ? Optional.empty()
                        : obstacle(
                                Reason.UNSUPPORTED_DEVICE,
                                IntStream.range(0, gpus.size())
                                                .mapToObj(ordinal -> described(ordinal, gpus.get(ordinal)))
                                                .collect(Collectors.joining(", "))
                                        + LEAST);
            }
        };
    }

    /** The first GPU that there are kernels for. */
    static OptionalInt firstUsable(CudaProbe.Answer answer) {
        return answer instanceof CudaProbe.Gpus(int version, List<CudaProbe.Gpu> gpus)
                ? IntStream.range(0, gpus.size())
                        .filter(ordinal -> gpus.get(ordinal).capability() >= LEAST_CAPABILITY)
                        .findFirst()
                : OptionalInt.empty();
    }

    private static String described(int ordinal, CudaProbe.Gpu gpu) {
        return "cuda:" + ordinal + " is " + gpu.name() + " with compute capability " + gpu.capability() / 10 + "."
                + gpu.capability() % 10;
    }

    /** What stands in the way of using one GPU. */
    static Optional<DeviceException> unusable(CudaProbe.Answer answer, int ordinal) {
        if (!(answer instanceof CudaProbe.Gpus(int version, List<CudaProbe.Gpu> gpus))) {
            return Optional.empty();
        }
        if (ordinal >= gpus.size()) {
            return obstacle(
                    Reason.NO_DEVICE,
                    "there is no device cuda:" + ordinal + ", expected cuda:0"
                            + (gpus.size() > 1 ? " to cuda:" + (gpus.size() - 1) : ""));
        }
        CudaProbe.Gpu gpu = gpus.get(ordinal);
        return gpu.capability() >= LEAST_CAPABILITY
                ? Optional.empty()
                : obstacle(Reason.UNSUPPORTED_DEVICE, described(ordinal, gpu) + LEAST);
    }

    private static Optional<DeviceException> missingLibrary() {
        try {
            CudaLibrary.require();
        } catch (KernelException e) {
            return Optional.of(new DeviceException(String.valueOf(e.getMessage()), Reason.NATIVE_LIBRARY, e));
        }
        return CudaRuntime.missing();
    }

    private static Optional<DeviceException> obstacle(Reason reason, String message) {
        return Optional.of(new DeviceException(message, reason));
    }
}
