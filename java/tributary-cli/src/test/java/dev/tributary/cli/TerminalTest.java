// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.junit.jupiter.api.Test;

final class TerminalTest {
    private static Terminal writing(OutputStream output, Map<String, String> environment) {
        return new Terminal(output, OutputStream.nullOutputStream(), true, false, environment);
    }

    @Test
    void outputIsUtf8() {
        ByteArrayOutputStream output = new ByteArrayOutputStream();
        writing(output, Map.of()).print("ü日😀");
        assertArrayEquals("ü日😀".getBytes(StandardCharsets.UTF_8), output.toByteArray());
    }

    @Test
    void colourIsForTerminalsThatWantIt() {
        OutputStream output = OutputStream.nullOutputStream();
        assertTrue(writing(output, Map.of("TERM", "xterm")).outputStyle().ansi());
        assertTrue(writing(output, Map.of("NO_COLOR", "")).outputStyle().ansi());
        assertFalse(writing(output, Map.of("NO_COLOR", "1")).outputStyle().ansi());
        assertFalse(writing(output, Map.of("TERM", "dumb")).outputStyle().ansi());
        assertFalse(writing(output, Map.of()).diagnosticsStyle().ansi());
    }

    @Test
    void onlyATerminalThatCanMoveIsDrawnOver() {
        OutputStream output = OutputStream.nullOutputStream();
        assertTrue(writing(output, Map.of("NO_COLOR", "1")).outputIsRedrawn());
        assertFalse(writing(output, Map.of("TERM", "dumb")).outputIsRedrawn());
        assertFalse(new Capture().terminal.outputIsRedrawn());
    }

    @Test
    void aReaderThatLeftIsToldFromAFullDisk() {
        assertThrows(
                Terminal.OutputClosedException.class,
                () -> writing(failing("Broken pipe"), Map.of()).print("a"));
        UncheckedIOException full = assertThrows(
                UncheckedIOException.class,
                () -> writing(failing("No space left on device"), Map.of()).print("a"));
        assertEquals("cannot write the output: No space left on device", full.getMessage());
    }

    private static OutputStream failing(String reason) {
        return new OutputStream() {
            @Override
            public void write(int b) throws IOException {
                throw new IOException(reason);
            }
        };
    }
}
