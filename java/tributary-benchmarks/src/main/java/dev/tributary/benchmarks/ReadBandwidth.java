// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * How fast this machine reads memory: threads read a buffer far larger than any cache, each its own part. One load for a
 * cache line brings in the whole line, so that memory bounds the loop and not what the compiler made of it.
 */
final class ReadBandwidth implements AutoCloseable {
    private static final long BYTES = 1L << 30;
    private static final long LINE = 64 / Long.BYTES;
    private static final int PLACES = 8;

    private final Arena arena = Arena.ofShared();
    private final List<MemorySegment> parts = new ArrayList<>();
    private final ExecutorService threads;
    private volatile long sum;

    /**
     * Fills the buffer and lets the compiler at the loop.
     *
     * @param count threads that read together
     */
    ReadBandwidth(int count) {
        threads = Executors.newFixedThreadPool(count);
        MemorySegment buffer = arena.allocate(BYTES, 64);
        buffer.fill((byte) 1);
        long part = BYTES / count / (64 * PLACES) * (64 * PLACES);
        for (int i = 0; i < count; i++) {
            parts.add(buffer.asSlice(i * part, part));
        }
        for (int i = 0; i < 3; i++) {
            gigabytesPerSecond();
        }
    }

    /** {@return 10⁹ bytes per second of one reading of the whole buffer} */
    double gigabytesPerSecond() {
        long begin = System.nanoTime();
        List<Future<Long>> sums =
                parts.stream().map(part -> threads.submit(() -> sum(part))).toList();
        long total = 0;
        for (Future<Long> partial : sums) {
            total += resultOf(partial);
        }
        long nanos = System.nanoTime() - begin;
        sum = total;
        return parts.size() * parts.getFirst().byteSize() / (double) nanos;
    }

    /** {@return the sum of the first word of every line, so that reading it cannot be left out} */
    long sum() {
        return sum;
    }

    private static long resultOf(Future<Long> sum) {
        try {
            return sum.get();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while measuring", e);
        } catch (ExecutionException e) {
            throw new IllegalStateException("reading memory failed", e);
        }
    }

    private static long sum(MemorySegment part) {
        long place = part.byteSize() / Long.BYTES / PLACES;
        long a = 0;
        long b = 0;
        long c = 0;
        long d = 0;
        for (long i = 0; i < place; i += LINE) {
            a += part.getAtIndex(ValueLayout.JAVA_LONG, i) + part.getAtIndex(ValueLayout.JAVA_LONG, place + i);
            b += part.getAtIndex(ValueLayout.JAVA_LONG, 2 * place + i)
                    + part.getAtIndex(ValueLayout.JAVA_LONG, 3 * place + i);
            c += part.getAtIndex(ValueLayout.JAVA_LONG, 4 * place + i)
                    + part.getAtIndex(ValueLayout.JAVA_LONG, 5 * place + i);
            d += part.getAtIndex(ValueLayout.JAVA_LONG, 6 * place + i)
                    + part.getAtIndex(ValueLayout.JAVA_LONG, 7 * place + i);
        }
        return a + b + c + d;
    }

    @Override
    public void close() {
        threads.close();
        arena.close();
    }
}
