// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import dev.tributary.Acceptance;
import dev.tributary.FinishReason;
import dev.tributary.Generation;
import dev.tributary.GenerationOptions;
import dev.tributary.GenerationStats;
import dev.tributary.LanguageModel;
import dev.tributary.Speculation;
import dev.tributary.cli.evaluation.Run;
import dev.tributary.cli.evaluation.Tally;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code tributary generate}: text as it comes, then what it took. */
@Command(
        name = "generate",
        mixinStandardHelpOptions = true,
        description = "Generates text: streamed to standard output, closed by a summary on standard error.")
final class GenerateCommand implements Callable<Integer> {
    private static final int MOST_CHOICES = 64;

    @Mixin
    private PromptArguments prompt = new PromptArguments();

    @Mixin
    private ModelArguments model = new ModelArguments();

    @Mixin
    private GenerationArguments generation = new GenerationArguments();

    @Option(
            names = {"-c", "--compare"},
            order = 40,
            description = "Also generate without speculation, measure both and check that the texts are equal.")
    private boolean compare;

    @Option(
            names = "--rounds",
            paramLabel = "N",
            order = 41,
            defaultValue = "3",
            description = "Measured runs of each kind with --compare (default: ${DEFAULT-VALUE}).")
    private int rounds;

    @Option(
            names = "--choices",
            paramLabel = "N",
            order = 28,
            defaultValue = "1",
            description = "Texts to generate, which differ in the sampling noise alone (default: ${DEFAULT-VALUE}).")
    private int choices;

    @Spec
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private CommandSpec command;

    private final Terminal terminal;
    private final Interruption interruption;

    GenerateCommand(Terminal terminal, Interruption interruption) {
        this.terminal = terminal;
        this.interruption = interruption;
    }

    @Override
    public Integer call() {
        String text = prompt.prompt(terminal);
        GenerationOptions options = generation.options();
        checkComparison(options);
        checkChoices(options);
        try (LanguageModel loaded = model.load(terminal, choices)) {
            if (choices > 1) {
                streamChoices(loaded, text, options);
                return 0;
            }
            Run first = stream(loaded, text, options);
            if (compare) {
                compare(loaded, text, options, first);
            }
        }
        return 0;
    }

    private void checkChoices(GenerationOptions options) {
        if (choices < 1 || choices > MOST_CHOICES) {
            throw Usage.error(command, "--choices: " + choices + " given, expected 1 to " + MOST_CHOICES);
        }
        if (choices > 1 && compare) {
            throw Usage.error(command, "--choices and --compare do not go together");
        }
        if (choices > 1 && options.temperature() == 0) {
            throw Usage.error(command, "--choices needs a --temperature above 0, or the texts are all the same");
        }
    }

    private void streamChoices(LanguageModel loaded, String text, GenerationOptions options) {
        List<Generation> all = loaded.generateChoices(text, options, choices);
        try {
            for (Generation running : all) {
                terminal.print("[" + (running.choice() + 1) + "] ");
                interruption.cancellable(() -> all.forEach(Generation::cancel), () -> print(running));
                terminal.tell(terminal.diagnosticsStyle().faint(Summary.of(running.stats(), running.finishReason())));
            }
        } finally {
            all.forEach(Generation::close);
        }
    }

    private void checkComparison(GenerationOptions options) {
        if (!compare) {
            if (command.commandLine().getParseResult().hasMatchedOption("--rounds")) {
                throw Usage.error(command, "--rounds belongs to --compare");
            }
            return;
        }
        if (rounds < 1) {
            throw Usage.error(command, "--rounds: " + rounds + " given, expected at least 1");
        }
        if (options.speculation().equals(Speculation.off())) {
            throw Usage.error(command, "--compare needs speculation to compare with: leave out --tree-budget 0");
        }
        if (!options.acceptance().equals(new Acceptance.Exact())) {
            throw Usage.error(command, "--compare expects equal texts, which --typical-acceptance does not give");
        }
    }

    private Run stream(LanguageModel loaded, String text, GenerationOptions options) {
        try (Generation running = loaded.generate(text, options)) {
            interruption.cancellable(running::cancel, () -> print(running));
            GenerationStats stats = running.stats();
            FinishReason finish = running.finishReason();
            if (!compare) {
                terminal.tell(terminal.diagnosticsStyle().faint(Summary.of(stats, finish)));
            }
            return Run.of(running);
        }
    }

    private boolean print(Generation running) {
        boolean lineOpen = false;
        try {
            for (String chunk : running) {
                terminal.print(chunk);
                lineOpen = chunk.isEmpty() ? lineOpen : !chunk.endsWith("\n");
            }
        } finally {
            // What follows, be it a summary, an error or a shell's prompt, gets a line of its own.
            if (lineOpen) {
                terminal.print("\n");
            }
        }
        return lineOpen;
    }

    private void compare(LanguageModel loaded, String text, GenerationOptions options, Run streamed) {
        GenerationOptions plainOptions =
                options.toBuilder().speculation(Speculation.off()).build();
        // The streamed text was the warm-up with speculation; this is the one without.
        Run plain = run(loaded, text, plainOptions);
        check(plain, streamed);
        Tally plainTally = new Tally();
        Tally speculativeTally = new Tally();
        for (int round = 0; round < rounds; round++) {
            boolean plainFirst = round % 2 == 0;
            for (boolean speculative : new boolean[] {!plainFirst, plainFirst}) {
                long begin = System.nanoTime();
                Run run = run(loaded, text, speculative ? options : plainOptions);
                Tally tally = speculative ? speculativeTally : plainTally;
                tally.addElapsed(Duration.ofNanos(System.nanoTime() - begin));
                tally.add(run.figures());
                check(plain, run);
            }
        }
        report(plainTally, speculativeTally);
    }

    private Run run(LanguageModel loaded, String text, GenerationOptions options) {
        try (Generation running = loaded.generate(text, options)) {
            return interruption.cancellable(running::cancel, () -> Run.of(running));
        }
    }

    private void report(Tally plain, Tally speculative) {
        Terminal.Style style = terminal.diagnosticsStyle();
        terminal.tell("");
        terminal.tell("plain        " + Summary.of(plain));
        terminal.tell("speculative  " + Summary.of(speculative));
        double speedup = plain.tokensPerSecond() == 0 ? 0 : speculative.tokensPerSecond() / plain.tokensPerSecond();
        terminal.tell(style.bold("speed-up     " + Figures.ratio(speedup) + "×") + " in decoding; texts are equal");
        terminal.tell(style.faint("Sums over " + Figures.count(rounds, "run")
                + " of each kind, taken in turns, after one uncounted run of each to warm up."));
    }

    private static void check(Run plain, Run other) {
        if (plain.sameAs(other)) {
            return;
        }
        int common = 0;
        int shorter = Math.min(plain.tokens().size(), other.tokens().size());
        while (common < shorter
                && plain.tokens().get(common).equals(other.tokens().get(common))) {
            common++;
        }
        throw new FailedCheckException("the texts with and without speculation differ from token " + common
                + " on: without " + TokenText.quoted(plain.text()) + ", with " + TokenText.quoted(other.text()));
    }
}
