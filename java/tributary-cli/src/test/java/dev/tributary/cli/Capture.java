// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;

/** A terminal that is nobody's: what the command writes is kept. */
final class Capture {
    private final ByteArrayOutputStream output = new ByteArrayOutputStream();
    private final ByteArrayOutputStream diagnostics = new ByteArrayOutputStream();
    final Terminal terminal = new Terminal(output, diagnostics, false, false, Map.of());

    int run(String... arguments) {
        return Tributary.run(terminal, new Interruption(), arguments);
    }

    String output() {
        return output.toString(StandardCharsets.UTF_8);
    }

    List<String> diagnostics() {
        return diagnostics.toString(StandardCharsets.UTF_8).lines().toList();
    }
}
