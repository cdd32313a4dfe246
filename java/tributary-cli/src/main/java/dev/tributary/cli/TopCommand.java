// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import dev.tributary.Generation;
import dev.tributary.GenerationOptions;
import dev.tributary.LanguageModel;
import dev.tributary.ModelStats;
import dev.tributary.cli.evaluation.Example;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentLinkedQueue;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code tributary top}: the prompts of a file, many in flight, and what the engine makes of them. */
@Command(
        name = "top",
        mixinStandardHelpOptions = true,
        description = {
            "Generates the texts of a data set's prompts and shows what the engine does meanwhile.",
            "",
            "In a terminal a few lines are drawn anew twice a second; elsewhere a line comes every two seconds."
        })
final class TopCommand implements Callable<Integer> {
    @Mixin
    private ModelArguments model = new ModelArguments();

    @Mixin
    private GenerationArguments generation = new GenerationArguments();

    @Mixin
    private DatasetArguments dataset = new DatasetArguments();

    @Option(
            names = {"-b", "--batch"},
            paramLabel = "B",
            order = 3,
            defaultValue = "8",
            description = "Texts that are stepped together (default: ${DEFAULT-VALUE}); as many wait.")
    private int batch;

    @Spec
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private CommandSpec command;

    private final Terminal terminal;
    private final Interruption interruption;
    private final Queue<Generation> running = new ConcurrentLinkedQueue<>();
    private volatile boolean cancelled;

    TopCommand(Terminal terminal, Interruption interruption) {
        this.terminal = terminal;
        this.interruption = interruption;
    }

    @Override
    public Integer call() {
        dataset.check(command);
        if (batch < 1 || batch > 256) {
            throw Usage.error(command, "--batch: " + batch + " given, expected 1 to 256");
        }
        GenerationOptions options = generation.options();
        List<Example> examples = dataset.examples();
        try (LanguageModel loaded = model.load(terminal, batch)) {
            long begin = System.nanoTime();
            try (LiveView _ = new LiveView(
                    terminal,
                    dataset.file().getFileName() + " on " + loaded.info().device(),
                    loaded::stats)) {
                interruption.cancellable(this::cancel, () -> generate(loaded, examples, options));
            }
            summarise(loaded.stats(), System.nanoTime() - begin);
        }
        return 0;
    }

    private void cancel() {
        cancelled = true;
        running.forEach(Generation::cancel);
    }

    private boolean generate(LanguageModel loaded, List<Example> examples, GenerationOptions options) {
        ArrayDeque<Generation> inOrder = new ArrayDeque<>();
        try {
            for (Example example : examples) {
                if (loaded.tokenize(example.prompt()).length >= loaded.info().contextTokens()) {
                    continue;
                }
                Generation next = loaded.generate(example.prompt(), options);
                inOrder.add(next);
                running.add(next);
                // A cancellation may have looked at the running ones just before this one joined them.
                if (cancelled) {
                    next.cancel();
                }
                if (inOrder.size() == 2 * batch) {
                    await(inOrder.remove());
                }
            }
            while (!inOrder.isEmpty()) {
                await(inOrder.remove());
            }
        } finally {
            running.forEach(Generation::close);
        }
        return true;
    }

    private void await(Generation generation) {
        generation.text();
        generation.close();
        running.remove(generation);
    }

    private void summarise(ModelStats stats, long nanos) {
        terminal.tell(terminal.diagnosticsStyle()
                .faint(String.join(
                        " · ",
                        Figures.count(stats.completedRequests(), "text"),
                        Figures.count(stats.tokens(), "token"),
                        Figures.ratio(stats.tokensPerPass()) + " tokens/pass",
                        Figures.rate(stats.tokens() * 1e9 / nanos) + " tokens/s with prefill")));
    }
}
