// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

final class PromptArgumentsTest {
    @Command
    private static final class Holder {
        @Mixin
        private PromptArguments prompt = new PromptArguments();
    }

    private final Capture capture = new Capture();

    private String prompt(String... arguments) {
        Holder holder = new Holder();
        new CommandLine(holder).parseArgs(arguments);
        return holder.prompt.prompt(capture.terminal);
    }

    @Test
    void aPromptIsTakenAsItIs() {
        assertEquals(" a\nb\t ", prompt(" a\nb\t "));
        assertEquals("", prompt(""));
        assertEquals(0, capture.diagnostics().size());
    }

    @Test
    void aLiteralBackslashNIsRemarkedOn() {
        assertEquals("a\\nb", prompt("a\\nb"));
        assertEquals(1, capture.diagnostics().size());
    }

    @Test
    void escapesAreReadOnRequest() {
        assertEquals("a\nb\t\"\\n$1", prompt("-e", "a\\nb\\t\\\"\\\\n$1"));
        assertEquals(0, capture.diagnostics().size());
    }

    @Test
    void aFileLosesOneLineBreakAtItsEnd(@TempDir Path directory) throws Exception {
        Path file = directory.resolve("prompt.txt");
        Files.writeString(file, "Größe\nSQL:\n\n");
        assertEquals("Größe\nSQL:\n", prompt("--prompt-file", file.toString()));
        Files.writeString(file, "SQL:\r\n");
        assertEquals("SQL:", prompt("--prompt-file", file.toString()));
        Files.writeString(file, "SQL:");
        assertEquals("SQL:", prompt("--prompt-file", file.toString()));
    }
}
