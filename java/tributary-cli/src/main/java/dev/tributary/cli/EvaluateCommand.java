// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import dev.tributary.Acceptance;
import dev.tributary.GenerationOptions;
import dev.tributary.LanguageModel;
import dev.tributary.ModelInfo;
import dev.tributary.Speculation;
import dev.tributary.cli.evaluation.Evaluation;
import dev.tributary.cli.evaluation.Example;
import dev.tributary.cli.evaluation.JsonFile;
import dev.tributary.cli.evaluation.Machine;
import dev.tributary.cli.evaluation.Report;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code tributary evaluate}: what speculation gains on a data set. */
@Command(
        name = "evaluate",
        mixinStandardHelpOptions = true,
        description = {
            "Runs each prompt of a data set with speculation and without, checks that the texts are equal and measures"
                    + " both.",
            "",
            "The two runs of a prompt follow each other and take turns in being first. Exit status 1 tells that a text"
                    + " differed."
        })
final class EvaluateCommand implements Callable<Integer> {
    private static final String STANDARD_OUTPUT = "-";

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
            defaultValue = "1",
            description = "Prompts in flight together (default: ${DEFAULT-VALUE}).")
    private int batch;

    @Option(
            names = "--warm-up",
            paramLabel = "N",
            order = 4,
            defaultValue = "10",
            description = "Prompts that run uncounted before (default: ${DEFAULT-VALUE}).")
    private int warmUp;

    @Option(
            names = {"-j", "--json"},
            paramLabel = "FILE",
            order = 5,
            description = "Write the figures as JSON, - = standard output.")
    private Optional<String> json = Optional.empty();

    @Spec
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private CommandSpec command;

    private final Terminal terminal;
    private final Interruption interruption;

    EvaluateCommand(Terminal terminal, Interruption interruption) {
        this.terminal = terminal;
        this.interruption = interruption;
    }

    @Override
    public Integer call() {
        dataset.check(command);
        require(batch >= 1 && batch <= 256, "--batch", batch, "1 to 256");
        require(warmUp >= 0, "--warm-up", warmUp, "at least 0");
        GenerationOptions options = generation.options();
        if (!options.acceptance().equals(new Acceptance.Exact())) {
            throw Usage.error(command, "evaluate expects equal texts, which --typical-acceptance does not give");
        }
        Optional<Path> file =
                json.filter(name -> !name.equals(STANDARD_OUTPUT)).map(name -> Usage.path(command, "--json", name));
        file.ifPresent(JsonFile::checkWritable);
        List<Example> examples = dataset.examples();
        String started = Instant.now().truncatedTo(ChronoUnit.SECONDS).toString();
        try (LanguageModel loaded = model.loadToMeasure(terminal, batch)) {
            Report report = measure(loaded, options, examples);
            Map<String, Object> figures = new LinkedHashMap<>(report.figures());
            figures.put("data", dataset.file().toString());
            figures.put("options", options(options));
            figures.put("model", model(loaded.info()));
            figures.put("machine", Machine.current().figures());
            figures.put("started", started);
            file.ifPresent(path -> JsonFile.write(path, figures));
            if (json.isPresent() && file.isEmpty()) {
                terminal.print(JsonFile.format(figures));
            } else {
                table(report).forEach(terminal::println);
            }
            check(report);
        }
        return 0;
    }

    private void require(boolean holds, String option, int given, String expected) {
        if (!holds) {
            throw Usage.error(command, option + ": " + given + " given, expected " + expected);
        }
    }

    private Report measure(LanguageModel loaded, GenerationOptions options, List<Example> examples) {
        Evaluation evaluation = new Evaluation(loaded, options, batch);
        return interruption.cancellable(evaluation::cancel, () -> {
            evaluation.warmUp(examples.subList(0, Math.min(warmUp, examples.size())));
            try (ProgressLine progress = ProgressLine.count(terminal, "evaluating", examples.size())) {
                return evaluation.run(
                        examples,
                        (done, soFar) -> progress.reach(
                                done,
                                Figures.ratio(soFar.speculative().tokensPerPass()) + " tokens/pass, "
                                        + Figures.ratio(soFar.speedup()) + "×, " + soFar.identicalTexts()
                                        + " equal"));
            }
        });
    }

    private List<String> table(Report report) {
        List<String> table = new ArrayList<>();
        row(table, "prompts", Figures.count(report.prompts()));
        if (report.skipped() > 0) {
            row(table, "left out", Figures.count(report.skipped()) + " longer than the context");
        }
        row(table, "equal texts", report.identicalTexts() + " of " + report.prompts());
        row(table, "plain", Summary.of(report.plain(), batch));
        row(table, "speculative", Summary.of(report.speculative(), batch));
        row(
                table,
                "speed-up",
                Figures.ratio(report.speedup()) + "× in decoding, " + Figures.ratio(report.endToEndSpeedup())
                        + "× with prefill");
        if (report.queries() > 0) {
            row(
                    table,
                    "exact match",
                    Figures.percent(report.exactMatches() / (double) report.queries()) + " of "
                            + Figures.count(report.queries(), "SQL prompt"));
        }
        return table;
    }

    private static void row(List<String> table, String name, String value) {
        table.add(String.format("%-13s%s", name, value));
    }

    private static void check(Report report) {
        if (report.prompts() == 0) {
            throw new FailedCheckException("no prompt fits into the model's context");
        }
        if (!report.lossless()) {
            throw new FailedCheckException((report.prompts() - report.identicalTexts()) + " of " + report.prompts()
                    + " texts differ with and without speculation"
                    + (report.identicalTexts() == report.prompts() ? " in their tokens" : ""));
        }
    }

    private Map<String, Object> options(GenerationOptions options) {
        Speculation speculation = options.speculation();
        Map<String, Object> figures = new LinkedHashMap<>();
        figures.put(
                "tree_budget",
                switch (speculation.budget()) {
                    case Speculation.Budget.None _ -> 0;
                    case Speculation.Budget.Fixed fixed -> fixed.nodes();
                    case Speculation.Budget.Adaptive adaptive -> "adaptive, at most " + adaptive.maxNodes();
                });
        figures.put(
                "shape",
                switch (speculation.shape()) {
                    case Speculation.Shape.BestFirst _ -> "best-first";
                    case Speculation.Shape.Chain _ -> "chain";
                    case Speculation.Shape.Cartesian cartesian -> "cartesian, width " + cartesian.width();
                });
        figures.put(
                "placement",
                switch (speculation.placement()) {
                    case ALL_NODES -> "all";
                    case CHOSEN_NODES -> "chosen";
                    case DEFERRED -> "deferred";
                    case AUTOMATIC -> "auto";
                });
        figures.put("max_tokens", options.maxTokens());
        figures.put("temperature", options.temperature());
        figures.put("top_k", options.topK());
        figures.put("top_p", options.topP());
        figures.put("min_p", options.minP());
        figures.put("seed", options.seed());
        figures.put("stop", options.stopStrings());
        figures.put("ignore_end", options.ignoreEndTokens());
        figures.put("batch", batch);
        figures.put("warm_up", warmUp);
        return figures;
    }

    private Map<String, Object> model(ModelInfo info) {
        Map<String, Object> figures = new LinkedHashMap<>();
        figures.put("directory", model.directory().toString());
        figures.put("architecture", info.architecture());
        figures.put("weight_type", info.weightType());
        figures.put("parameters", info.parameters());
        figures.put("context_tokens", info.contextTokens());
        figures.put("device", info.device());
        info.streams().ifPresent(streams -> {
            figures.put("gamma", streams.gamma());
            figures.put("stream_layers", streams.streamLayers());
        });
        return figures;
    }
}
