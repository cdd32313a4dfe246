// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli.evaluation;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class JsonFileTest {
    @TempDir
    private Path directory = Path.of("");

    @Test
    void aReportReplacesTheOldOneAndLeavesNothingBeside() throws Exception {
        Path file = Files.writeString(directory.resolve("report.json"), "old");
        JsonFile.write(file, Map.of("prompts", 3));
        assertEquals("{\n  \"prompts\" : 3\n}\n", Files.readString(file));
        try (Stream<Path> files = Files.list(directory)) {
            assertEquals(List.of(file), files.toList());
        }
    }

    @Test
    void aSymbolicLinkStaysOne() throws Exception {
        Path target = Files.writeString(directory.resolve("target.json"), "old");
        Path link = Files.createSymbolicLink(directory.resolve("link.json"), target);
        JsonFile.write(link, Map.of("prompts", 3));
        assertTrue(Files.isSymbolicLink(link));
        assertEquals("{\n  \"prompts\" : 3\n}\n", Files.readString(target));
    }

    @Test
    void placesWhereNoFileCanBeAreRefusedBeforehand() {
        for (Path place : List.of(directory, directory.resolve("none/report.json"), Path.of("/dev/null"))) {
            UncheckedIOException e =
                    assertThrows(UncheckedIOException.class, () -> JsonFile.checkWritable(place), place::toString);
            assertTrue(String.valueOf(e.getMessage()).startsWith("cannot write " + place + ": "), e::toString);
        }
    }
}
