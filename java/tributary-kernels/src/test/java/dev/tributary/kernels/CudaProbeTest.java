// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What drivers may answer, of this machine and of libraries written to play a driver. */
class CudaProbeTest {
    private static final String NAMES = """
            int cuGetErrorName(int code, const char** name) { *name = "CUDA_ERROR_PLAYED"; return 0; }
            int cuDriverGetVersion(int* version) { *version = 13010; return 0; }
            """;

    @TempDir
    private Path folder;

    @Test
    void thisMachineIsAnsweredAlikeTwice() {
        assertEquals(CudaProbe.ask(), CudaProbe.ask());
    }

    @Test
    void aMissingDriverIsNamed() {
        CudaProbe.NoDriver none = assertInstanceOf(CudaProbe.NoDriver.class, CudaProbe.ask("libno_such_driver.so.1"));
        assertTrue(none.reason().contains("libno_such_driver.so.1"), none::reason);
    }

    @Test
    void gpusAreListedWithTheirCapability() throws IOException, InterruptedException {
        CudaProbe.Answer answer = CudaProbe.ask(driver(NAMES + """
                int cuInit(unsigned flags) { return 0; }
                int cuDeviceGetCount(int* count) { *count = 2; return 0; }
                int cuDeviceGet(int* device, int ordinal) { *device = 40 + ordinal; return 0; }
                int cuDeviceGetName(char* name, int length, int device) {
                    name[0] = 'G'; name[1] = device == 41 ? '1' : '0'; name[2] = 0; return 0;
                }
                int cuDeviceGetAttribute(int* value, int attribute, int device) {
                    *value = attribute == 75 ? 9 - (device - 40) : 0; return 0;
                }
                """));
        assertEquals(
                new CudaProbe.Gpus(13010, List.of(new CudaProbe.Gpu("G0", 90), new CudaProbe.Gpu("G1", 80))), answer);
    }

    @Test
    void noGpuIsAnAnswerAndNoFailure() throws IOException, InterruptedException {
        assertEquals(
                new CudaProbe.Gpus(13010, List.of()),
                CudaProbe.ask(driver(NAMES + "int cuInit(unsigned flags) { return 100; }")));
    }

    @Test
    void aDriverThatFailsIsQuoted() throws IOException, InterruptedException {
        assertEquals(
                new CudaProbe.DriverFailure("cuInit", 803, "CUDA_ERROR_PLAYED"),
                CudaProbe.ask(driver(NAMES + "int cuInit(unsigned flags) { return 803; }")));
        assertEquals(
                new CudaProbe.DriverFailure("cuInit", 0, "the driver has no such function"),
                CudaProbe.ask(driver(NAMES)));
    }

    private String driver(String source) throws IOException, InterruptedException {
        Path compiler = Path.of("/usr/bin/cc");
        assumeTrue(Files.isExecutable(compiler), "no C compiler at /usr/bin/cc");
        Path code = Files.writeString(Files.createTempFile(folder, "driver", ".c"), source);
        Path library = folder.resolve(code.getFileName() + ".so");
        Process process = new ProcessBuilder(
                        compiler.toString(), "-shared", "-fPIC", "-o", library.toString(), code.toString())
                .inheritIO()
                .start();
        assertTrue(process.waitFor(60, SECONDS) && process.exitValue() == 0, "the compiler failed");
        return library.toString();
    }
}
