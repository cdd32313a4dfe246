// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import dev.tributary.Generation;
import dev.tributary.GenerationOptions;
import dev.tributary.LanguageModel;
import dev.tributary.ModelInfo;
import dev.tributary.PassTrace;
import dev.tributary.cli.evaluation.WholeFile;
import java.nio.file.Path;
import java.util.ArrayList;
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
            "NO_COLOR=1 draws without colour. --html writes a page instead, to step through in a browser."
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

    @Option(
            names = "--html",
            paramLabel = "FILE",
            order = 41,
            description = "Write one self-contained page that shows the trees pass by pass, instead of drawing them.")
    private Optional<Path> html = Optional.empty();

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
        html.ifPresent(WholeFile::checkWritable);
        try (LanguageModel loaded = model.load(terminal, 1);
                Generation running = loaded.generate(text, cut(options, loaded.info()))) {
            List<PassTrace> trace = interruption.cancellable(running::cancel, running::trace);
            List<PassTrace> shown = trace.subList(0, Math.min(trace.size(), passes.orElse(Integer.MAX_VALUE)));
            List<TakenPath> taken = taken(shown, running.tokens().length);
            if (html.isPresent()) {
                TreePage page = new TreePage(name(), loaded.info(), text, running);
                WholeFile.write(html.get(), page.html(trace, taken));
                terminal.note(Figures.count(shown.size(), "pass") + " written to " + html.get());
            } else {
                draw(shown, taken);
            }
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

    private String name() {
        Path directory = model.directory().toAbsolutePath().normalize().getFileName();
        return directory == null ? "" : directory.toString();
    }

    private static List<TakenPath> taken(List<PassTrace> trace, int tokens) {
        List<TakenPath> taken = new ArrayList<>();
        int left = tokens - 1; // the first token came from prefill
        for (PassTrace pass : trace) {
            TakenPath path = TakenPath.of(pass, left);
            taken.add(path);
            left -= path.tokens();
        }
        return taken;
    }

    private void draw(List<PassTrace> trace, List<TakenPath> taken) {
        TreeRendering rendering = new TreeRendering(terminal.outputStyle());
        terminal.println(terminal.outputStyle().faint(TreeRendering.LEGEND));
        for (int i = 0; i < trace.size(); i++) {
            terminal.println("");
            rendering.lines(trace.get(i), taken.get(i)).forEach(terminal::println);
        }
    }
}
