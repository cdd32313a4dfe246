// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli.evaluation;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.tukaani.xz.LZMA2Options;
import org.tukaani.xz.XZOutputStream;

final class DatasetTest {
    private static final String GOOD = "{\"prompt\": \"Größe\\n\", \"completion\": \" a\", \"source\": 3}\n";

    @TempDir
    private Path directory = Path.of("");

    private Path file(String name, String content) throws Exception {
        return Files.writeString(directory.resolve(name), content);
    }

    private static byte[] compressed(String content) throws Exception {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (XZOutputStream xz = new XZOutputStream(bytes, new LZMA2Options(0))) {
            xz.write(content.getBytes(StandardCharsets.UTF_8));
        }
        return bytes.toByteArray();
    }

    @Test
    void linesAreRead() throws Exception {
        Path file = file("a.jsonl", GOOD + "{\"completion\": \"\", \"prompt\": \"\"}");
        assertEquals(
                List.of(new Example(1, "Größe\n", " a"), new Example(2, "", "")),
                Dataset.read(file, Integer.MAX_VALUE));
    }

    @Test
    void compressedLinesAreRead() throws Exception {
        Path file = Files.write(directory.resolve("a.jsonl.xz"), compressed(GOOD.repeat(1000)));
        assertEquals(1000, Dataset.read(file, Integer.MAX_VALUE).size());
        assertEquals(new Example(7, "Größe\n", " a"), Dataset.read(file, 7).getLast());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "{",
                "[]",
                "\"text\"",
                "{\"prompt\": \"a\"}",
                "{\"prompt\": \"a\", \"completion\": null}",
                "{\"prompt\": 3, \"completion\": \"b\"}",
                "{\"prompt\": \"a\", \"completion\": \"b\"} {}",
                "{\"prompt\": \"a\", \"prompt\": \"b\", \"completion\": \"c\"}",
            })
    void aMalformedLineIsNamed(String line) throws Exception {
        Path file = file("a.jsonl", GOOD + GOOD + line + "\n" + GOOD);
        DataException e = assertThrows(DataException.class, () -> Dataset.read(file, Integer.MAX_VALUE));
        assertTrue(String.valueOf(e.getMessage()).startsWith(file + ": line 3: "), e::toString);
        assertEquals(2, Dataset.read(file, 2).size());
    }

    @Test
    void unreadableFilesAreNamed() throws Exception {
        byte[] whole = compressed(GOOD.repeat(1000));
        List<Path> files = List.of(
                directory.resolve("none.jsonl"),
                directory,
                file("empty.jsonl", ""),
                file("plain.jsonl.xz", GOOD),
                Files.write(directory.resolve("cut.jsonl.xz"), Arrays.copyOf(whole, whole.length / 2)),
                Files.write(directory.resolve("latin1.jsonl"), GOOD.getBytes(StandardCharsets.ISO_8859_1)));
        for (Path file : files) {
            DataException e =
                    assertThrows(DataException.class, () -> Dataset.read(file, Integer.MAX_VALUE), file::toString);
            assertTrue(String.valueOf(e.getMessage()).startsWith(file + ": "), e::toString);
        }
    }
}
