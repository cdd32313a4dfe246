// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import dev.tributary.Generation;
import dev.tributary.GenerationOptions;
import dev.tributary.LanguageModel;
import dev.tributary.ModelInfo;
import dev.tributary.PassTrace;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code tributary tree}: what was drafted in each pass, and what became of it. */
@Command(
        name = "tree",
        mixinStandardHelpOptions = true,
        description = {
            "Generates text and draws each pass's token tree.",
            "",
            "The percentage is the drafted probability of the path from the root to a node.",
            "NO_COLOR=1 draws without colour."
        })
final class TreeCommand implements Callable<Integer> {
    @Mixin
    private PromptArguments prompt = new PromptArguments();

    @Mixin
    private ModelArguments model = new ModelArguments();

    @Mixin
    private GenerationArguments generation = new GenerationArguments();

    @Option(names = "--passes", paramLabel = "N", order = 40, description = "Draw the first N passes only.")
    private Optional<Integer> passes = Optional.empty();

    @Spec
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private CommandSpec command;

    private final Terminal terminal;
    private final Interruption interruption;

    TreeCommand(Terminal terminal, Interruption interruption) {
        this.terminal = terminal;
        this.interruption = interruption;
    }

    @Override
    public Integer call() {
        String text = prompt.prompt(terminal);
        GenerationOptions options = generation.options().toBuilder().trace(true).build();
        if (passes.isPresent() && passes.get() < 1) {
            throw Usage.error(command, "--passes: " + passes.get() + " given, expected at least 1");
        }
        try (LanguageModel loaded = model.load(terminal, 1);
                Generation running = loaded.generate(text, cut(options, loaded.info()))) {
            List<PassTrace> trace = interruption.cancellable(running::cancel, running::trace);
            draw(trace, running.tokens().length);
            if (passes.isEmpty()) {
                terminal.tell(terminal.diagnosticsStyle().faint(Summary.of(running.stats(), running.finishReason())));
            }
        }
        return 0;
    }

    // A pass gives at most γ + 1 tokens, so these suffice for the passes to draw, and no tree of theirs is cut.
    private GenerationOptions cut(GenerationOptions options, ModelInfo info) {
        if (passes.isEmpty()) {
            return options;
        }
        long perPass = 1L + info.streams().map(ModelInfo.Streams::gamma).orElse(0);
        long enough = 1 + passes.get() * perPass;
        return enough < options.maxTokens()
                ? options.toBuilder().maxTokens(Math.toIntExact(enough)).build()
                : options;
    }

    private void draw(List<PassTrace> trace, int tokens) {
        TreeRendering rendering = new TreeRendering(terminal.outputStyle());
        terminal.println(terminal.outputStyle().faint(TreeRendering.LEGEND));
        int left = tokens - 1; // the first token came from prefill
        for (PassTrace pass : trace.subList(0, Math.min(trace.size(), passes.orElse(Integer.MAX_VALUE)))) {
            terminal.println("");
            rendering.lines(pass, left).forEach(terminal::println);
            // The accepted nodes and the target's own token; the root came before.
            left -= Math.toIntExact(
                    pass.nodes().stream().filter(PassTrace.Node::accepted).count());
        }
    }
}
