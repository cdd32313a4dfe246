// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Collections;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;

class KernelContextTest {
    @Test
    void describesItself() {
        try (KernelContext context = KernelContext.host(2)) {
            assertTrue(context.description().contains("host"), context::description);
            assertEquals(1, context.description().lines().count());
        }
    }

    @Test
    void threadsMayNotBeNegative() {
        assertThrows(IllegalArgumentException.class, () -> KernelContext.host(-1));
    }

    @Test
    void gpuNeedsItsBackend() {
        KernelException error = assertThrows(KernelException.class, () -> KernelContext.cuda(0, 0));
        assertEquals(KernelException.Status.BACKEND_MISSING, error.status());
        assertTrue(
                String.valueOf(error.getMessage()).contains("libtributary_cuda.so"),
                () -> String.valueOf(error.getMessage()));
        assertThrows(IllegalArgumentException.class, () -> KernelContext.cuda(-1, 0));
    }

    @Test
    void operationWorksOnTheCallersMemory() {
        try (KernelContext context = KernelContext.host(1);
                Arena arena = Arena.ofConfined()) {
            Gather gather = new Gather(arena, 4, 16);
            context.gatherRows(gather.params);
            gather.assertGathered();
        }
    }

    @Test
    void changedParamsTakeEffectWithTheNextCall() {
        try (KernelContext context = KernelContext.host(1);
                Arena arena = Arena.ofConfined()) {
            Gather gather = new Gather(arena, 4, 16);
            context.gatherRows(gather.params);
            gather.y.fill((byte) 0);
            context.gatherRows(gather.params.count(gather.none.address()));
            assertEquals(-1, gather.y.mismatch(arena.allocate(gather.y.byteSize())), "no row was gathered");
        }
    }

    @Test
    void sizesAreAsked() {
        try (KernelContext context = KernelContext.host(1);
                Arena arena = Arena.ofConfined()) {
            assertTrue(context.packedSize(DType.BF16, Layout.PACKED, 48, 64) >= 48 * 64 * 2);
            TopKParams params = new TopKParams(arena)
                    .k(4)
                    .logits(Tensor.matrix(DType.F32, 0, 8, 1000))
                    .rowCount(0)
                    .top(0, 0);
            assertTrue(context.workspaceSize(params) >= 0);
        }
    }

    @Test
    void closedContextRefusesEveryCall() {
        KernelContext context = KernelContext.host(1);
        context.close();
        try (Arena arena = Arena.ofConfined()) {
            Gather gather = new Gather(arena, 4, 16);
            IllegalStateException error =
                    assertThrows(IllegalStateException.class, () -> context.gatherRows(gather.params));
            assertEquals("context is closed", error.getMessage());
            assertThrows(IllegalStateException.class, () -> context.packedSize(DType.BF16, Layout.PACKED, 8, 8));
            assertThrows(IllegalStateException.class, () -> context.workspaceSize(new TopKParams(arena)));
        }
    }

    @Test
    void secondCloseDoesNothing() {
        KernelContext context = KernelContext.host(2);
        context.close();
        context.close();
    }

    @Test
    void refusedCallLeavesTheContextUsable() {
        try (KernelContext context = KernelContext.host(1);
                Arena arena = Arena.ofConfined()) {
            assertThrows(KernelException.class, () -> context.gatherRows(new GatherRowsParams(arena)));
            Gather gather = new Gather(arena, 4, 16);
            context.gatherRows(gather.params);
            gather.assertGathered();
        }
    }

    @Test
    void paramsOfAClosedArenaAreRefused() {
        try (KernelContext context = KernelContext.host(1)) {
            Gather gather;
            try (Arena arena = Arena.ofConfined()) {
                gather = new Gather(arena, 4, 16);
            }
            assertThrows(IllegalStateException.class, () -> context.gatherRows(gather.params));
            try (Arena other = Arena.ofConfined()) {
                context.gatherRows(new Gather(other, 4, 16).params);
            }
        }
    }

    @Test
    void contextPassesFromThreadToThread() throws Exception {
        try (ExecutorService thread = Executors.newSingleThreadExecutor();
                Arena arena = Arena.ofShared()) {
            KernelContext context = thread.submit(() -> KernelContext.host(2)).get();
            Gather gather = new Gather(arena, 4, 16);
            context.gatherRows(gather.params);
            thread.submit(() -> context.gatherRows(gather.params)).get();
            gather.assertGathered();
            thread.submit(context::close).get();
            assertThrows(IllegalStateException.class, () -> context.gatherRows(gather.params));
        }
    }

    @Test
    void useByTwoThreadsAtOnceIsDetected() throws Exception {
        try (KernelContext context = KernelContext.host(1);
                Arena arena = Arena.ofShared();
                ExecutorService threads = Executors.newFixedThreadPool(2)) {
            AtomicBoolean detected = new AtomicBoolean();
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
            // Long calls, so that the other thread falls into one; each thread has params of its own.
            Callable<Integer> calls = () -> {
                Gather gather = new Gather(arena, 256, 16 * 1024);
                int done = 0;
                while (!detected.get() && System.nanoTime() < deadline) {
                    try {
                        context.gatherRows(gather.params);
                        done++;
                    } catch (IllegalStateException error) {
                        assertEquals("context is in use by another thread", error.getMessage());
                        detected.set(true);
                    }
                }
                return done;
            };
            Future<Integer> one = threads.submit(calls);
            Future<Integer> two = threads.submit(calls);
            assertFalse(one.get() + two.get() == 0, "no call went through");
            assertTrue(detected.get(), "two threads were never refused");
            Gather after = new Gather(arena, 4, 16);
            context.gatherRows(after.params);
            after.assertGathered();
        }
    }

    @Test
    void contextsRunSideBySide() throws Exception {
        try (ExecutorService threads = Executors.newFixedThreadPool(4)) {
            Callable<Boolean> use = () -> {
                try (KernelContext context = KernelContext.host(2);
                        Arena arena = Arena.ofConfined()) {
                    for (int call = 0; call < 100; call++) {
                        Gather gather = new Gather(arena, 8, 32);
                        context.gatherRows(gather.params);
                        gather.assertGathered();
                    }
                }
                return true;
            };
            for (Future<Boolean> done : threads.invokeAll(Collections.nCopies(8, use))) {
                assertTrue(done.get());
            }
        }
    }

    /** Rows of x in reverse order. */
    private static final class Gather {
        private final MemorySegment x;
        private final MemorySegment y;
        private final MemorySegment none;
        private final GatherRowsParams params;
        private final int rows;
        private final int columns;

        Gather(Arena arena, int rows, int columns) {
            this.rows = rows;
            this.columns = columns;
            x = arena.allocate((long) rows * columns * Float.BYTES, 64);
            y = arena.allocate((long) rows * columns * Float.BYTES, 64);
            MemorySegment index = arena.allocate(ValueLayout.JAVA_INT, rows);
            none = arena.allocateFrom(ValueLayout.JAVA_INT, 0);
            for (int row = 0; row < rows; row++) {
                index.setAtIndex(ValueLayout.JAVA_INT, row, rows - 1 - row);
                for (int column = 0; column < columns; column++) {
                    x.setAtIndex(ValueLayout.JAVA_FLOAT, (long) row * columns + column, value(row, column));
                }
            }
            params = new GatherRowsParams(arena)
                    .index(index.address(), rows)
                    .count(arena.allocateFrom(ValueLayout.JAVA_INT, rows).address())
                    .x(Tensor.matrix(DType.F32, x.address(), rows, columns))
                    .y(Tensor.matrix(DType.F32, y.address(), rows, columns));
        }

        private static float value(int row, int column) {
            return row * 1000f + column;
        }

        void assertGathered() {
            for (int row = 0; row < rows; row++) {
                for (int column = 0; column < columns; column++) {
                    assertEquals(
                            value(rows - 1 - row, column),
                            y.getAtIndex(ValueLayout.JAVA_FLOAT, (long) row * columns + column));
                }
            }
        }
    }
}
