// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.kernels.KernelException.Status;
import dev.tributary.kernels.ffi.Tributary;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Locale;
import org.junit.jupiter.api.Test;

/** A native status arrives as a typed exception with the library's own text. */
class KernelExceptionTest {
    @Test
    void refusedCallNamesOperationAndArgument() {
        try (KernelContext context = KernelContext.host(1);
                Arena arena = Arena.ofConfined()) {
            KernelException error = assertThrows(KernelException.class, () -> context.embed(new EmbedParams(arena)));
            assertEquals(Status.INVALID_ARGUMENT, error.status());
            String message = String.valueOf(error.getMessage());
            assertTrue(message.contains("embed") && message.contains("step"), message);
            assertEquals(1, message.lines().count(), message);
        }
    }

    @Test
    void refusedCallSaysWhatWasGivenAndExpected() {
        try (KernelContext context = KernelContext.host(1);
                Arena arena = Arena.ofConfined()) {
            TopKParams params =
                    new TopKParams(arena).k(KernelLimits.MAX_TOP_K + 1).logits(Tensor.matrix(DType.F32, 64, 8, 1000));
            KernelException error = assertThrows(KernelException.class, () -> context.workspaceSize(params));
            assertEquals(Status.INVALID_ARGUMENT, error.status());
            String message = String.valueOf(error.getMessage());
            assertTrue(
                    message.contains("top_k")
                            && message.contains(Integer.toString(KernelLimits.MAX_TOP_K + 1))
                            && message.contains(Integer.toString(KernelLimits.MAX_TOP_K)),
                    message);
        }
    }

    @Test
    void workspaceAndSizesAreCheckedLikewise() {
        try (KernelContext context = KernelContext.host(1);
                Arena arena = Arena.ofConfined()) {
            assertEquals(
                    Status.INVALID_ARGUMENT,
                    assertThrows(KernelException.class, () -> context.workspaceSize(new LmHeadParams(arena)))
                            .status());
            assertEquals(
                    Status.INVALID_ARGUMENT,
                    assertThrows(KernelException.class, () -> context.packedSize(DType.BF16, Layout.PACKED, 0, 8))
                            .status());
        }
    }

    @Test
    void missingBackendIsNamed() {
        Path absent = Path.of("/no/such/libtributary_cuda.so");
        KernelException error = assertThrows(KernelException.class, () -> KernelContext.loadBackend(absent));
        assertEquals(Status.BACKEND_MISSING, error.status());
        assertTrue(String.valueOf(error.getMessage()).contains(absent.toString()), error::getMessage);
    }

    @Test
    void everyNativeStatusHasItsOwn() throws ReflectiveOperationException {
        for (Status status : Status.values()) {
            if (!status.name().startsWith("LIBRARY_")) {
                int code = (int) Tributary.class
                        .getMethod("TRIB_" + status.name().toUpperCase(Locale.ROOT))
                        .invoke(null);
                assertEquals(status, Status.of(code));
            }
        }
        assertEquals(Status.INTERNAL_ERROR, Status.of(12345));
    }
}
