// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import dev.tributary.cli.evaluation.Dataset;
import dev.tributary.cli.evaluation.Example;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;

/** Which prompts a command runs. */
final class DatasetArguments {
    @Option(
            names = {"-d", "--data"},
            paramLabel = "FILE",
            required = true,
            order = 1,
            description = "JSON lines with \"prompt\" and \"completion\"; compressed when named .xz.")
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private Path file;

    @Option(
            names = {"-l", "--limit"},
            paramLabel = "N",
            order = 2,
            description = "Use the first N lines only.")
    private Optional<Integer> limit = Optional.empty();

    Path file() {
        return file;
    }

    /** Refuses a limit that leaves nothing. */
    void check(CommandSpec command) {
        if (limit.orElse(1) < 1) {
            throw Usage.error(command, "--limit: " + limit.orElse(1) + " given, expected at least 1");
        }
    }

    List<Example> examples() {
        return Dataset.read(file, limit.orElse(Integer.MAX_VALUE));
    }
}
