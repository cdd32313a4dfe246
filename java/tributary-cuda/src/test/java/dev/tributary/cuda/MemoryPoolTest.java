// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.InsufficientMemoryException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class MemoryPoolTest {
    /** A device that hands out addresses and counts what is out. */
    private static final class Played implements MemoryPool.Source {
        private final long capacity;
        private final TreeMap<Long, Long> out = new TreeMap<>();
        private long next = 1L << 40;

        Played(long capacity) {
            this.capacity = capacity;
        }

        long taken() {
            return out.values().stream().mapToLong(Long::longValue).sum();
        }

        @Override
        public OptionalLong take(long bytes) {
            if (taken() + bytes > capacity) {
                return OptionalLong.empty();
            }
            long address = next;
            next += (bytes + 0xFFFFF) / 0x100000 * 0x100000;
            out.put(address, bytes);
            return OptionalLong.of(address);
        }

        @Override
        public void giveBack(long address) {
            assertTrue(out.remove(address) != null, "given back twice, or never taken: " + address);
        }
    }

    private record Piece(long address, long bytes) {}

    @Test
    void piecesAreAlignedDisjointAndInsideWhatWasTaken() {
        for (long seed = 0; seed < 50; seed++) {
            Random random = new Random(seed);
            Played device = new Played(1L << 32);
            long limit = 200L << 20;
            MemoryPool pool = new MemoryPool(device, "cuda:0", limit);
            List<Piece> pieces = new ArrayList<>();
            for (int i = 0; i < 400; i++) {
                if (random.nextInt(3) == 0 && !pieces.isEmpty()) {
                    Piece piece = pieces.remove(random.nextInt(pieces.size()));
                    pool.free(piece.address, piece.bytes);
                    continue;
                }
                long bytes = 1L + random.nextInt(random.nextInt(20) == 0 ? 20 << 20 : 300_000);
                try {
                    pieces.add(new Piece(pool.allocate(bytes), bytes));
                } catch (InsufficientMemoryException full) {
                    assertTrue(pool.taken() + MemoryPool.BLOCK_BYTES + bytes > limit - (64L << 20), "seed " + seed);
                }
                assertEquals(device.taken(), pool.taken(), "seed " + seed);
                assertTrue(pool.taken() <= limit, "seed " + seed);
            }
            TreeMap<Long, Long> ordered = new TreeMap<>();
            pieces.forEach(piece -> ordered.put(piece.address, piece.bytes));
            assertEquals(pieces.size(), ordered.size(), "seed " + seed);
            long end = 0;
            for (Map.Entry<Long, Long> piece : ordered.entrySet()) {
                assertEquals(0, piece.getKey() % MemoryPool.ALIGNMENT, "seed " + seed);
                assertTrue(piece.getKey() >= end, "seed " + seed);
                end = piece.getKey() + piece.getValue();
                Map.Entry<Long, Long> block = device.out.floorEntry(piece.getKey());
                assertTrue(end <= block.getKey() + block.getValue(), "seed " + seed);
            }
            pool.close();
            assertEquals(0, device.taken(), "seed " + seed);
        }
    }

    @Test
    void smallPiecesShareBlocksAndFreedOnesJoin() {
        Played device = new Played(1L << 40);
        MemoryPool pool = new MemoryPool(device, "cuda:0", 0);
        List<Long> pieces = new ArrayList<>();
        for (int i = 0; i < 16; i++) {
            pieces.add(pool.allocate(MemoryPool.BLOCK_BYTES / 16));
        }
        assertEquals(1, device.out.size());
        for (int i : new int[] {1, 3, 2, 0, 7, 5, 6, 4, 15, 14, 12, 13, 8, 9, 11, 10}) {
            pool.free(pieces.get(i), MemoryPool.BLOCK_BYTES / 16);
        }
        // Joined, or the pieces of twice the size would need another block.
        for (int i = 0; i < 8; i++) {
            pool.allocate(MemoryPool.LARGE_BYTES - MemoryPool.ALIGNMENT);
        }
        assertEquals(1, device.out.size());
    }

    @Test
    void aLargePieceGoesBackToTheDevice() {
        Played device = new Played(1L << 40);
        MemoryPool pool = new MemoryPool(device, "cuda:0", 0);
        long address = pool.allocate(100L << 20);
        assertEquals(100L << 20, pool.taken());
        pool.free(address, 100L << 20);
        assertEquals(0, pool.taken());
        assertEquals(0, device.taken());
    }

    @Test
    void theLimitIsHardAndTheLastBlockFitsIt() {
        Played device = new Played(1L << 40);
        MemoryPool pool = new MemoryPool(device, "cuda:3", 1 << 20);
        pool.allocate((1 << 20) - 256);
        pool.allocate(200);
        assertEquals(0, pool.untaken());
        InsufficientMemoryException refusal = assertThrows(InsufficientMemoryException.class, () -> pool.allocate(1));
        String message = String.valueOf(refusal.getMessage());
        assertTrue(message.contains("cuda:3") && message.contains("of the 1.0 MB that it may take"), message);
    }

    @Test
    void aDeviceThatHasNoWholeBlockLeftStillGivesSmallPieces() {
        Played device = new Played(1 << 20);
        MemoryPool pool = new MemoryPool(device, "cuda:0", 0);
        pool.allocate(1000);
        assertEquals(1024, device.taken());
        assertThrows(InsufficientMemoryException.class, () -> pool.allocate(2 << 20));
    }

    @Test
    void everythingIsGivenBackThoughOneBlockIsRefused() {
        List<Long> tried = new ArrayList<>();
        MemoryPool pool = new MemoryPool(
                new MemoryPool.Source() {
                    @Override
                    public OptionalLong take(long bytes) {
                        return OptionalLong.of(bytes);
                    }

                    @Override
                    public void giveBack(long address) {
                        tried.add(address);
                        throw new IllegalStateException("refused " + address);
                    }
                },
                "cuda:0",
                0);
        pool.allocate(5L << 20);
        pool.allocate(6L << 20);
        IllegalStateException first = assertThrows(IllegalStateException.class, pool::close);
        assertEquals(2, tried.size());
        assertEquals(1, first.getSuppressed().length);
    }
}
