// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import dev.tributary.ConfigurationException;
import dev.tributary.LanguageModel;
import dev.tributary.LoadListener;
import dev.tributary.LoadOptions;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** The options that say which model is loaded, and how. */
final class ModelArguments {
    @Option(
            names = {"-m", "--model"},
            paramLabel = "DIR",
            order = 10,
            description = "Model directory; left out: the bundled models/demo.")
    private Optional<Path> model = Optional.empty();

    @Option(
            names = "--device",
            paramLabel = "NAME",
            order = 11,
            description =
                    "Where to compute: host, cuda or cuda:N (GPU number N); left out or auto: a GPU where one can be"
                            + " used, else the host.")
    private Optional<String> device = Optional.empty();

    @Option(
            names = "--threads",
            paramLabel = "N",
            order = 12,
            description = "Threads of the host, which then computes; left out or 0: one per core.")
    private Optional<Integer> threads = Optional.empty();

    @Option(
            names = "--context",
            paramLabel = "N",
            order = 13,
            description = "Tokens that a text may hold, prompt included; left out or 0: the model's own limit, at most"
                    + " 4096.")
    private Optional<Integer> context = Optional.empty();

    @ArgGroup
    private Adapter adapter = new Adapter();

    @Spec(Spec.Target.MIXEE)
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private CommandSpec command;

    private static final class Adapter {
        @Option(
                names = "--streams",
                paramLabel = "DIR",
                order = 14,
                description = "Streams adapter to use instead of the model's own.")
        private Optional<Path> directory = Optional.empty();

        @Option(names = "--no-streams", order = 15, description = "Load no streams: plain decoding only.")
        private boolean none;
    }

    @Option(
            names = "--no-prefix-sharing",
            order = 16,
            description = "Read every prompt from its first token, even where others began like it.")
    private boolean noPrefixSharing;

    /**
     * Loads the model; notices and, where somebody watches, progress go to the terminal.
     *
     * @param maxSequences sequences that one step may hold
     */
    LanguageModel load(Terminal terminal, int maxSequences) {
        return load(terminal, LoadOptions.builder().maxSequences(maxSequences).prefixSharing(!noPrefixSharing));
    }

    /**
     * Likewise, for measuring: a prompt that comes again is read again.
     *
     * @param maxSequences sequences that one step may hold
     */
    LanguageModel loadToMeasure(Terminal terminal, int maxSequences) {
        return load(terminal, LoadOptions.builder().maxSequences(maxSequences).prefixSharing(false));
    }

    private LanguageModel load(Terminal terminal, LoadOptions.Builder options) {
        device.ifPresent(value -> Usage.check(command, "--device", () -> options.device(value)));
        threads.ifPresent(value -> Usage.check(command, "--threads", () -> options.threads(value)));
        context.ifPresent(value -> Usage.check(command, "--context", () -> options.contextTokens(value)));
        adapter.directory.ifPresent(value -> options.streams(value));
        if (adapter.none) {
            options.withoutStreams();
        }
        Usage.check(command, "--threads", options::build);
        try (LoadProgress progress = new LoadProgress(terminal)) {
            return LanguageModel.load(directory(), options.listener(progress).build());
        }
    }

    /** {@return the model directory that was given, or the bundled one} */
    Path directory() {
        return model.orElseGet(() -> {
            String root = System.getProperty("tributary.root", "");
            Path bundled = Path.of(root, "models", "demo");
            if (root.isEmpty() || !Files.isDirectory(bundled)) {
                throw new ConfigurationException("no model was given and there is no bundled one"
                        + (root.isEmpty() ? "" : " in " + bundled) + "; give --model DIR");
            }
            return bundled;
        });
    }

    /** Shows how far loading is, once it takes long enough for somebody to wonder. */
    private static final class LoadProgress implements LoadListener, AutoCloseable {
        private static final long PATIENCE_NANOS = 500_000_000L;

        private final Terminal terminal;
        private final long begin = System.nanoTime();
        private Optional<ProgressLine> line = Optional.empty();

        LoadProgress(Terminal terminal) {
            this.terminal = terminal;
        }

        @Override
        public void progress(long done, long total) {
            // In a log it would be noise.
            if (line.isEmpty() && terminal.diagnosticsAreWatched() && System.nanoTime() - begin > PATIENCE_NANOS) {
                line = Optional.of(ProgressLine.bytes(terminal, "loading", total));
            }
            line.ifPresent(shown -> shown.reach(done));
        }

        @Override
        public void notice(String message) {
            terminal.note(message);
        }

        @Override
        public void close() {
            line.ifPresent(ProgressLine::close);
        }
    }
}
