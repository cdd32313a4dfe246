// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli.evaluation;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.UncheckedIOException;
import java.nio.file.Path;
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
        WholeFile.checkWritable(file);
    }

    /**
     * Writes a report so that the file is the old one or the whole new one at any time.
     *
     * @param file where to
     * @param report names and figures
     * @throws UncheckedIOException when that is not possible
     */
    public static void write(Path file, Map<String, Object> report) {
        WholeFile.write(file, format(report));
    }
}
