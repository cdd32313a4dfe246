// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.Optional;

/** As much of the ELF format as tells a whole shared library from a truncated one. */
final class ElfFile {
    private static final int HEADER_BYTES = 64;
    private static final int ENTRY_BYTES = 56;
    private static final int MAGIC = 0x464C457F; // 7F 'E' 'L' 'F'
    private static final int CLASS_64_LITTLE_ENDIAN = 0x0102;
    private static final int LOAD = 1;

    private ElfFile() {}

    /**
     * Looks whether a file is of the format and holds all that its program headers promise. The dynamic loader does not:
     * it maps a truncated library and dies of SIGBUS, and the whole process with it.
     *
     * @return what is wrong, if anything
     */
    static Optional<String> defect(Path file) throws IOException {
        try (FileChannel channel = FileChannel.open(file)) {
            ByteBuffer header = read(channel, 0, HEADER_BYTES);
            if (header.remaining() < HEADER_BYTES
                    || header.getInt(0) != MAGIC
                    || header.getShort(4) != CLASS_64_LITTLE_ENDIAN) {
                return Optional.of("it is no 64-bit ELF file");
            }
            long table = header.getLong(0x20);
            int entryBytes = Short.toUnsignedInt(header.getShort(0x36));
            int entries = Short.toUnsignedInt(header.getShort(0x38));
            long needed = table + (long) entryBytes * entries;
            if (table < HEADER_BYTES || entryBytes < ENTRY_BYTES) {
                return Optional.of("it is no library: it has no program headers");
            }
            if (needed <= channel.size()) {
                ByteBuffer segments = read(channel, table, entryBytes * entries);
                for (int at = 0; at < segments.limit(); at += entryBytes) {
                    if (segments.getInt(at) == LOAD) {
                        needed = Math.max(needed, segments.getLong(at + 0x08) + segments.getLong(at + 0x20));
                    }
                }
            }
            return needed <= channel.size()
                    ? Optional.empty()
                    : Optional.of("it is truncated: " + channel.size() + " bytes, of at least " + needed);
        }
    }

    private static ByteBuffer read(FileChannel channel, long position, int bytes) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
        while (buffer.hasRemaining() && channel.read(buffer, position + buffer.position()) >= 0) {
            // Short reads go on where they ended.
        }
        return buffer.flip();
    }
}
