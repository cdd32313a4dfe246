// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cuda;

import dev.tributary.InsufficientMemoryException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.TreeMap;

/**
 * Device memory in pieces: small ones are cut from large blocks, large ones are blocks of their own. What it takes from
 * the device never exceeds its limit.
 */
final class MemoryPool {
    /** Every piece begins at a multiple of this: what coalesced accesses and bulk copies like best. */
    static final long ALIGNMENT = 256;
    /** Small pieces come from blocks of this size. */
    static final long BLOCK_BYTES = 32L << 20;
    /** From here on a piece is a block of its own, which goes back to the device when it is freed. */
    static final long LARGE_BYTES = 4L << 20;

    /** Where blocks come from. */
    interface Source {
        /** Memory aligned to {@link #ALIGNMENT}, or nothing when the device has none left. */
        OptionalLong take(long bytes);

        /** Gives a block back. */
        void giveBack(long address);
    }

    /** A block, and the free ranges in it: offset → bytes. */
    private static final class Block {
        final long address;
        final long bytes;
        final TreeMap<Long, Long> free = new TreeMap<>();

        Block(long address, long bytes) {
            this.address = address;
            this.bytes = bytes;
            free.put(0L, bytes);
        }

        /** Cuts a piece from the first free range that holds it. */
        OptionalLong cut(long size) {
            Optional<Map.Entry<Long, Long>> range = free.entrySet().stream()
                    .filter(candidate -> candidate.getValue() >= size)
                    .findFirst();
            if (range.isEmpty()) {
                return OptionalLong.empty();
            }
            long offset = range.get().getKey();
            long rest = range.get().getValue() - size;
            free.remove(offset);
            if (rest > 0) {
                free.put(offset + size, rest);
            }
            return OptionalLong.of(address + offset);
        }

        void join(long piece, long size) {
            long offset = piece - address;
            long length = size;
            Map.Entry<Long, Long> before = free.lowerEntry(offset);
            if (before != null && before.getKey() + before.getValue() == offset) {
                offset = before.getKey();
                length += before.getValue();
            }
            Long after = free.remove(piece - address + size);
            free.put(offset, after == null ? length : length + after);
        }

        boolean isWhollyFree() {
            return free.size() == 1 && free.firstEntry().getValue() == bytes;
        }
    }

    private final Source source;
    private final String device;
    private final long limit;
    private final List<Block> blocks = new ArrayList<>();
    private long taken;

    /**
     * An empty pool.
     *
     * @param source where blocks come from
     * @param device its name, for messages
     * @param limit bytes that it may take; 0 = as many as there are
     */
    MemoryPool(Source source, String device, long limit) {
        this.source = source;
        this.device = device;
        this.limit = limit > 0 ? limit : Long.MAX_VALUE;
    }

    /**
     * A piece of memory, not zeroed.
     *
     * @param bytes at least 1
     * @return its address
     * @throws InsufficientMemoryException when the limit or the device leaves none
     */
    long allocate(long bytes) {
        long size = rounded(bytes);
        if (size < LARGE_BYTES) {
            for (Block block : blocks) {
                OptionalLong piece = block.cut(size);
                if (piece.isPresent()) {
                    return piece.getAsLong();
                }
            }
        }
        long wanted = size < LARGE_BYTES ? Math.max(size, Math.min(BLOCK_BYTES, limit - taken)) : size;
        OptionalLong address = takeBlock(wanted);
        if (address.isEmpty() && wanted > size) {
            wanted = size;
            address = takeBlock(wanted);
        }
        if (address.isEmpty()) {
            throw new InsufficientMemoryException(device + " has no " + megabytes(size) + " left: "
                    + megabytes(taken) + " are taken"
                    + (limit == Long.MAX_VALUE ? "" : " of the " + megabytes(limit) + " that it may take"));
        }
        Block block = new Block(address.getAsLong(), wanted);
        blocks.add(block);
        return block.cut(size).orElseThrow();
    }

    private OptionalLong takeBlock(long bytes) {
        if (bytes > limit - taken) {
            return OptionalLong.empty();
        }
        OptionalLong address = source.take(bytes);
        if (address.isPresent()) {
            taken += bytes;
        }
        return address;
    }

    /**
     * Takes a piece back.
     *
     * @param address as it was allocated
     * @param bytes likewise
     */
    void free(long address, long bytes) {
        Block block = blocks.stream()
                .filter(candidate -> address >= candidate.address && address < candidate.address + candidate.bytes)
                .findFirst()
                .orElseThrow();
        block.join(address, rounded(bytes));
        if (block.bytes >= LARGE_BYTES && block.bytes != BLOCK_BYTES && block.isWhollyFree()) {
            blocks.remove(block);
            taken -= block.bytes;
            source.giveBack(block.address);
        }
    }

    /** {@return bytes taken from the device} */
    long taken() {
        return taken;
    }

    /** {@return bytes that may still be taken from the device} */
    long untaken() {
        return limit - taken;
    }

    /** Gives all blocks back, whatever pieces are in them. The first failure is thrown when all were tried. */
    void close() {
        RuntimeException failure = null;
        for (Block block : blocks) {
            try {
                source.giveBack(block.address);
            } catch (RuntimeException e) {
                if (failure == null) {
                    failure = e;
                } else {
                    failure.addSuppressed(e);
                }
            }
        }
        blocks.clear();
        taken = 0;
        if (failure != null) {
            throw failure;
        }
    }

    private static long rounded(long bytes) {
        return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }

    private static String megabytes(long bytes) {
        return String.format(Locale.ROOT, "%.1f MB", bytes / 1e6);
    }
}
