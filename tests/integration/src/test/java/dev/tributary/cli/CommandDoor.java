// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;

/** Runs a command line in this process, where its streams can be looked at. */
public final class CommandDoor {
    /**
     * What became of a command line.
     *
     * @param status the exit status
     * @param output what it wrote to the output
     * @param diagnostics the lines beside it
     */
    public record Result(int status, String output, List<String> diagnostics) {}

    private CommandDoor() {}

    /**
     * Runs a command line.
     *
     * @param input what it reads from standard input
     * @param arguments the words after {@code tributary}
     * @return what became of it
     */
    public static Result run(byte[] input, String... arguments) {
        ByteArrayOutputStream output = new ByteArrayOutputStream();
        ByteArrayOutputStream diagnostics = new ByteArrayOutputStream();
        Terminal terminal = new Terminal(output, diagnostics, false, false, Map.of());
        InputStream before = System.in;
        System.setIn(new ByteArrayInputStream(input));
        try {
            int status = Tributary.run(terminal, new Interruption(), arguments);
            return new Result(
                    status,
                    output.toString(StandardCharsets.UTF_8),
                    diagnostics.toString(StandardCharsets.UTF_8).lines().toList());
        } finally {
            System.setIn(before);
        }
    }
}
