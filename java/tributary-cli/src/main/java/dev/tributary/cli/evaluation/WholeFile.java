// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli.evaluation;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;

/** Files that are the old one or the whole new one at any time. */
public final class WholeFile {
    private WholeFile() {}

    /**
     * Refuses a place where {@link #write} would fail, before long work for it.
     *
     * @param file what shall be written
     * @throws UncheckedIOException when that is not possible
     */
    public static void checkWritable(Path file) {
        Path directory = directory(file);
        if (Files.exists(file) && !Files.isRegularFile(file)) {
            throw refused(file, "it is not a regular file");
        }
        if (!Files.isDirectory(directory)) {
            throw refused(file, directory + " is not a directory");
        }
        if (!Files.isWritable(directory)) {
            throw refused(file, directory + " is not writable");
        }
    }

    private static UncheckedIOException refused(Path file, String reason) {
        String message = "cannot write " + file + ": " + reason;
        return new UncheckedIOException(message, new IOException(message));
    }

    /**
     * Writes a file of UTF-8.
     *
     * @param file where to
     * @param content all of it
     * @throws UncheckedIOException when that is not possible
     */
    public static void write(Path file, String content) {
        checkWritable(file);
        try {
            // A symbolic link stays one.
            Path target = Files.exists(file) ? file.toRealPath() : file;
            Path partial = directory(target)
                    .resolve("." + target.getFileName() + "."
                            + ProcessHandle.current().pid() + ".partial");
            try {
                Files.writeString(partial, content);
                move(partial, target);
            } finally {
                Files.deleteIfExists(partial);
            }
        } catch (IOException e) {
            throw new UncheckedIOException("cannot write " + file + ": " + e, e);
        }
    }

    private static void move(Path from, Path to) throws IOException {
        try {
            Files.move(from, to, StandardCopyOption.ATOMIC_MOVE);
        } catch (AtomicMoveNotSupportedException e) {
            Files.move(from, to, StandardCopyOption.REPLACE_EXISTING);
        }
    }

    private static Path directory(Path file) {
        Path parent = file.toAbsolutePath().getParent();
        return parent == null ? Path.of(".") : parent;
    }
}
