// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import dev.tributary.TributaryException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.NoSuchFileException;
import picocli.CommandLine;

/** How every benchmark's command line runs, and what it says when it fails. */
final class BenchmarkCommand {
    private BenchmarkCommand() {}

    /**
     * Runs a benchmark.
     *
     * @param command an annotated command
     * @param arguments the command line
     * @return the status of the process
     */
    static int execute(Object command, String... arguments) {
        return new CommandLine(command)
                .setCaseInsensitiveEnumValuesAllowed(true)
                .setUsageHelpWidth(100)
                .setParameterExceptionHandler((e, given) -> failed(e, 2))
                .setExecutionExceptionHandler((e, line, result) -> {
                    if (e instanceof TributaryException
                            || e instanceof UncheckedIOException
                            || e instanceof IOException) {
                        return failed(e, 1);
                    }
                    throw e;
                })
                .execute(arguments);
    }

    private static int failed(Exception e, int status) {
        System.err.println("tributary: " + e.getMessage() + (e instanceof NoSuchFileException ? ": no such file" : ""));
        return status;
    }
}
