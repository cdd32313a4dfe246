// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli.evaluation;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Map;

/** Reports in JSON. */
public final class JsonFile {
    private static final ObjectMapper MAPPER =
            JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build();

    private JsonFile() {}

    /**
     * Formats a report.
     *
     * @param report names and figures
     * @return indented JSON that ends with a line break
     */
    public static String format(Map<String, Object> report) {
        try {
            return MAPPER.writeValueAsString(report) + "\n";
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException("a report holds strings, numbers, booleans, lists and maps only", e);
        }
    }

    /**
     * Refuses a place where {@link #write} would fail, before hours of measuring.
     *
     * @param file where a report shall be written
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
     * Writes a report so that the file is the old one or the whole new one at any time.
     *
     * @param file where to
     * @param report names and figures
     * @throws UncheckedIOException when that is not possible
     */
    public static void write(Path file, Map<String, Object> report) {
        checkWritable(file);
        try {
            // A symbolic link stays one.
            Path target = Files.exists(file) ? file.toRealPath() : file;
            Path partial = directory(target)
                    .resolve("." + target.getFileName() + "."
                            + ProcessHandle.current().pid() + ".partial");
            try {
                Files.writeString(partial, format(report));
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
