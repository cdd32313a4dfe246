// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import java.io.Console;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

/**
 * Where the command writes: results to the output, everything else to the diagnostics. Both are UTF-8 whatever the
 * locale says, because model text is.
 */
final class Terminal {
    /** Whoever read the output has gone. */
    static final class OutputClosedException extends RuntimeException {
        private static final long serialVersionUID = 1L;

        OutputClosedException(IOException cause) {
            super(cause);
        }
    }

    /** Text attributes that vanish where they cannot be shown. */
    record Style(boolean ansi) {
        private String sgr(String code, String text) {
            return ansi ? "\u001b[" + code + "m" + text + "\u001b[0m" : text;
        }

        String bold(String text) {
            return sgr("1", text);
        }

        String faint(String text) {
            return sgr("2", text);
        }

        String accepted(String text) {
            return sgr("1;32", text);
        }

        String bonus(String text) {
            return sgr("1;36", text);
        }

        String failure(String text) {
            return sgr("1;31", text);
        }
    }

    private final OutputStream output;
    private final PrintStream diagnostics;
    private final boolean diagnosticsAreWatched;
    private final boolean outputIsRedrawn;
    private final Style outputStyle;
    private final Style diagnosticsStyle;

    /**
     * @param outputIsTerminal whether the output is shown to a person
     * @param diagnosticsAreTerminal whether the diagnostics are
     * @param environment environment variables: {@code NO_COLOR}, {@code TERM}
     */
    Terminal(
            OutputStream output,
            OutputStream diagnostics,
            boolean outputIsTerminal,
            boolean diagnosticsAreTerminal,
            Map<String, String> environment) {
        this.output = output;
        this.diagnostics = new PrintStream(diagnostics, true, StandardCharsets.UTF_8);
        diagnosticsAreWatched = diagnosticsAreTerminal;
        boolean dumb = environment.getOrDefault("TERM", "").equals("dumb");
        outputIsRedrawn = outputIsTerminal && !dumb;
        boolean colour = environment.getOrDefault("NO_COLOR", "").isEmpty() && !dumb;
        outputStyle = new Style(outputIsTerminal && colour);
        diagnosticsStyle = new Style(diagnosticsAreTerminal && colour);
    }

    /** {@return the terminal of this process} */
    static Terminal ofProcess() {
        return new Terminal(
                new FileOutputStream(FileDescriptor.out),
                new FileOutputStream(FileDescriptor.err),
                isTerminal(1),
                isTerminal(2),
                System.getenv());
    }

    // System.console() answers for standard input and output together; here each stream counts by itself.
    private static boolean isTerminal(int descriptor) {
        try {
            String target = Files.readSymbolicLink(Path.of("/proc/self/fd/" + descriptor))
                    .toString();
            return target.startsWith("/dev/pts/") || target.startsWith("/dev/tty") || target.equals("/dev/console");
        } catch (IOException | UnsupportedOperationException e) {
            return Optional.ofNullable(System.console())
                    .map(Console::isTerminal)
                    .orElse(false);
        }
    }

    /** Writes to the output at once: streamed text must not wait for a line to end. */
    void print(String text) {
        try {
            output.write(text.getBytes(StandardCharsets.UTF_8));
            output.flush();
        } catch (IOException e) {
            if (String.valueOf(e.getMessage()).contains("Broken pipe")) {
                throw new OutputClosedException(e);
            }
            throw new UncheckedIOException("cannot write the output: " + e.getMessage(), e);
        }
    }

    void println(String line) {
        print(line + "\n");
    }

    /** {@return a writer to the output, for what a library prints} */
    Writer outputWriter() {
        return new Writer() {
            @Override
            public void write(char[] buffer, int offset, int length) {
                print(new String(buffer, offset, length));
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
        };
    }

    /** Writes a line beside the output. */
    void tell(String line) {
        diagnostics.println(line);
    }

    /** Writes a line that the user should know of, without being an error. */
    void note(String message) {
        tell(diagnosticsStyle.faint("tributary: note: " + message));
    }

    void error(String message) {
        tell(diagnosticsStyle.failure("tributary: ") + message);
    }

    void stackTrace(Throwable thrown) {
        thrown.printStackTrace(diagnostics);
    }

    /** {@return the diagnostics stream, for a progress bar} */
    PrintStream diagnostics() {
        return diagnostics;
    }

    /** {@return whether a person sees the diagnostics as they come} */
    boolean diagnosticsAreWatched() {
        return diagnosticsAreWatched;
    }

    /** {@return whether the output can be drawn over, and a person sees it} */
    boolean outputIsRedrawn() {
        return outputIsRedrawn;
    }

    Style outputStyle() {
        return outputStyle;
    }

    Style diagnosticsStyle() {
        return diagnosticsStyle;
    }
}
