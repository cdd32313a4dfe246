// SPDX-License-Identifier: Apache-2.0
package dev.tributary.integration;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The scripts refuse what they do not know, by name and in one line, before they build anything. */
final class ScriptsTest {
    @TempDir
    Path elsewhere = Path.of("");

    @ParameterizedTest
    @CsvSource({"bench, warp, valid: host", "setup, warp, give", "test, warp, no arguments"})
    void refusesAnUnknownArgument(String script, String argument, String expected)
            throws IOException, InterruptedException {
        Path path = Path.of(System.getProperty("tributary.root"), "scripts", script);
        Process process = new ProcessBuilder(path.toString(), argument)
                .directory(elsewhere.toFile())
                .redirectErrorStream(true)
                .start();
        String output = new String(process.getInputStream().readAllBytes(), UTF_8);

        assertEquals(1, process.waitFor(), output);
        assertEquals(1, output.lines().count(), output);
        assertTrue(output.contains("'" + argument + "'") || output.contains(": " + argument), output);
        assertTrue(output.contains(expected), output);
    }
}
