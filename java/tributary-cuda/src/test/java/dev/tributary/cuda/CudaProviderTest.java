// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.tributary.DeviceException;
import dev.tributary.DeviceException.Reason;
import dev.tributary.engine.device.DeviceProvider;
import dev.tributary.kernels.CudaProbe;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.ServiceLoader;
import org.junit.jupiter.api.Test;

/** What is missing is named, and what supplies it; once, and in one line. */
class CudaProviderTest {
    private static void assertObstacle(Optional<DeviceException> obstacle, Reason reason, String... said) {
        assertTrue(obstacle.isPresent());
        String message = String.valueOf(obstacle.get().getMessage());
        assertEquals(reason, obstacle.get().reason(), message);
        assertEquals(1, message.lines().count(), message);
        for (String part : said) {
            assertTrue(message.contains(part), message);
        }
    }

    @Test
    void isFoundAsAService() {
        assertEquals(
                List.of("cuda"),
                ServiceLoader.load(DeviceProvider.class).stream()
                        .map(provider -> provider.get().name())
                        .toList());
    }

    @Test
    void aMissingDriver() {
        assertObstacle(
                CudaProvider.obstacle(new CudaProbe.NoDriver("Cannot open library: libcuda.so.1")),
                Reason.DRIVER_MISSING,
                "libcuda.so.1 comes with the driver (580 or later)");
    }

    @Test
    void aDriverThatDoesNotStart() {
        assertObstacle(
                CudaProvider.obstacle(new CudaProbe.DriverFailure("cuInit", 803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH")),
                Reason.DRIVER_MISSING,
                "cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)");
    }

    @Test
    void anOldDriver() {
        assertObstacle(
                CudaProvider.obstacle(new CudaProbe.Gpus(12_040, List.of(new CudaProbe.Gpu("NVIDIA H200", 90)))),
                Reason.DRIVER_TOO_OLD,
                "CUDA 12.4, expected 13.0 or later (driver 580 or later)");
    }

    @Test
    void noGpu() {
        assertObstacle(
                CudaProvider.obstacle(new CudaProbe.Gpus(13_000, List.of())),
                Reason.NO_DEVICE,
                "shows no GPU (CUDA_VISIBLE_DEVICES");
    }

    @Test
    void aGpuThatIsNotThere() {
        CudaProbe.Gpu gpu = new CudaProbe.Gpu("NVIDIA H200", 90);
        assertObstacle(
                CudaProvider.unusable(new CudaProbe.Gpus(13_000, List.of(gpu)), 1),
                Reason.NO_DEVICE,
                "no device cuda:1, expected cuda:0");
        assertObstacle(
                CudaProvider.unusable(new CudaProbe.Gpus(13_000, List.of(gpu, gpu)), 7),
                Reason.NO_DEVICE,
                "expected cuda:0 to cuda:1");
    }

    @Test
    void aChipWithoutKernels() {
        CudaProbe.Answer answer = new CudaProbe.Gpus(13_000, List.of(new CudaProbe.Gpu("Tesla T4", 75)));
        assertObstacle(
                CudaProvider.obstacle(answer),
                Reason.UNSUPPORTED_DEVICE,
                "cuda:0 is Tesla T4 with compute capability 7.5, expected 8.0 (Ampere) or later");
    }

    @Test
    void aChipWithoutKernelsIsNoObstacleToAnother() {
        CudaProbe.Gpu old = new CudaProbe.Gpu("Tesla T4", 75);
        CudaProbe.Gpu usable = new CudaProbe.Gpu("NVIDIA H200", 90);
        CudaProbe.Answer mixed = new CudaProbe.Gpus(13_000, List.of(old, usable, usable));
        assertEquals(Optional.empty(), CudaProvider.obstacle(mixed));
        assertEquals(OptionalInt.of(1), CudaProvider.firstUsable(mixed));
        assertEquals(Optional.empty(), CudaProvider.unusable(mixed, 1));
        assertObstacle(
                CudaProvider.unusable(mixed, 0),
                Reason.UNSUPPORTED_DEVICE,
                "cuda:0 is Tesla T4 with compute capability 7.5, expected 8.0 (Ampere) or later");

        CudaProbe.Answer none = new CudaProbe.Gpus(13_000, List.of(old, new CudaProbe.Gpu("Tesla V100", 70)));
        assertEquals(OptionalInt.empty(), CudaProvider.firstUsable(none));
        assertObstacle(
                CudaProvider.obstacle(none),
                Reason.UNSUPPORTED_DEVICE,
                "cuda:0 is Tesla T4 with compute capability 7.5, cuda:1 is Tesla V100 with compute capability 7.0,"
                        + " expected 8.0 (Ampere) or later");
    }

    @Test
    void usableGpusAreNoObstacle() {
        assertEquals(
                Optional.empty(),
                CudaProvider.obstacle(new CudaProbe.Gpus(
                        13_010, List.of(new CudaProbe.Gpu("NVIDIA A100", 80), new CudaProbe.Gpu("NVIDIA B200", 100)))));
    }

    @Test
    void thisMachineSaysTheSameTwiceAndOpeningSaysItToo() {
        CudaProvider provider = new CudaProvider();
        Optional<DeviceException> obstacle = provider.obstacle();
        assumeTrue(obstacle.isPresent(), "a GPU can be used here");
        assertEquals(obstacle.map(Throwable::getMessage), provider.obstacle().map(Throwable::getMessage));
        DeviceException thrown = assertThrows(DeviceException.class, () -> provider.open(0, 0));
        assertEquals(obstacle.get().getMessage(), thrown.getMessage());
        assertEquals(obstacle.get().reason(), thrown.reason());
    }

    @Test
    void withoutADriverNothingOfBytedecoIsTouched() {
        assumeTrue(CudaProbe.ask() instanceof CudaProbe.NoDriver, "there is a driver here");
        DeviceException missing = new CudaProvider().obstacle().orElseThrow();
        assertEquals(Reason.DRIVER_MISSING, missing.reason());
        assertFalse(String.valueOf(missing.getMessage()).contains("bytedeco"));
        assertInstanceOf(CudaProbe.NoDriver.class, CudaProbe.ask());
    }
}
