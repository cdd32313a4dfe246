// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import dev.tributary.ConfigurationException;
import dev.tributary.GenerationOptions;
import dev.tributary.LanguageModel;
import dev.tributary.LoadOptions;
import dev.tributary.Speculation;
import dev.tributary.Speculation.Budget;
import dev.tributary.Speculation.Placement;
import dev.tributary.Speculation.Shape;
import dev.tributary.cli.evaluation.Evaluation;
import dev.tributary.cli.evaluation.Example;
import dev.tributary.cli.evaluation.JsonFile;
import dev.tributary.cli.evaluation.Machine;
import dev.tributary.cli.evaluation.Report;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Speculation against plain decoding on real prompts, on any device, by batch. */
@Command(
        name = "scripts/bench tasks",
        description = {
            "Generates every prompt with speculation and without, in turns, and compares speeds and texts.",
            "The model is loaded anew for every task and batch, since adaptive speculation learns."
        })
public final class TaskBenchmark implements Callable<Integer> {
    @Option(
            names = "--model",
            paramLabel = "DIR",
            split = ",",
            description = "Models; left out: the bundled models/demo.")
    private List<Path> models = List.of(Path.of(System.getProperty("tributary.root", "."), "models", "demo"));

    @Option(
            names = "--data",
            paramLabel = "PATH",
            description =
                    "A *.dev.jsonl[.xz], or a folder of which every one is taken; left out: a few built-in prompts.")
    private Optional<Path> data = Optional.empty();

    @Option(
            names = "--limit",
            paramLabel = "N",
            defaultValue = "200",
            description = "Prompts of a task (default: ${DEFAULT-VALUE}).")
    private int limit;

    @Option(
            names = "--max-tokens",
            paramLabel = "N",
            defaultValue = "64",
            description = "Tokens of a text (default: ${DEFAULT-VALUE}).")
    private int maxTokens;

    @Option(
            names = "--device",
            paramLabel = "NAME",
            defaultValue = "auto",
            description = "Where to compute: auto, host, cuda or cuda:N (default: ${DEFAULT-VALUE}).")
    private String device = "auto";

    @Option(
            names = "--batch",
            paramLabel = "N",
            split = ",",
            description = "Prompts in flight together; several sizes are measured one after another (default: 1).")
    private List<Integer> batches = List.of(1);

    @Option(
            names = "--nodes",
            paramLabel = "N",
            defaultValue = "0",
            description = "Nodes of every tree, streams on all of them; left out or 0: the default policy.")
    private int nodes;

    @Option(names = "--json", paramLabel = "FILE", description = "Write the figures as JSON.")
    private Optional<Path> json = Optional.empty();

    @Option(
            names = {"-h", "--help"},
            usageHelp = true,
            description = "Show this help message and exit.")
    @SuppressWarnings("UnusedVariable") // picocli reads it
    private boolean help;

    private final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private TaskBenchmark() {}

    /**
     * Runs the benchmark and ends the process.
     *
     * @param arguments the command line
     */
    public static void main(String[] arguments) {
        System.exit(BenchmarkCommand.execute(new TaskBenchmark(), arguments));
    }

    @Override
    public Integer call() throws IOException {
        if (limit < 1 || batches.stream().anyMatch(size -> size < 1)) {
            throw new ConfigurationException("--limit and --batch must be at least 1");
        }
        json.ifPresent(JsonFile::checkWritable);
        Map<String, List<Example>> tasks = TaskExamples.read(data, limit);
        Map<String, Object> figures = new LinkedHashMap<>();
        figures.put("suite", "tasks");
        figures.put("machine", Machine.current().figures());
        figures.put("started", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
        figures.put("nodes", nodes);
        out.println(Machine.current().line());
        List<Map<String, Object>> rows = new ArrayList<>();
        boolean lossless = true;
        for (Path model : models) {
            heading(model);
            for (Map.Entry<String, List<Example>> task : tasks.entrySet()) {
                for (int batch : batches) {
                    lossless &= measure(model, task.getKey(), task.getValue(), batch, rows, figures);
                }
            }
        }
        figures.put("tasks", rows);
        json.ifPresent(file -> JsonFile.write(file, figures));
        if (!lossless) {
            System.err.println("tributary: texts differ with and without speculation");
        }
        return lossless ? 0 : 1;
    }

    private void heading(Path model) {
        out.printf(
                Locale.ROOT,
                "%n%s, %s, %d tokens at most%n%n%-16s%6s%8s%14s%14s%14s%10s%12s%10s%n",
                model,
                nodes == 0 ? "default policy" : "trees of " + nodes + " nodes",
                maxTokens,
                "task",
                "batch",
                "prompts",
                "tokens/pass",
                "plain tok/s",
                "spec. tok/s",
                "speed-up",
                "end to end",
                "equal");
    }

    private boolean measure(
            Path model,
            String task,
            List<Example> examples,
            int batch,
            List<Map<String, Object>> rows,
            Map<String, Object> figures) {
        LoadOptions load = LoadOptions.builder()
                .prefixSharing(false)
                .device(device)
                .maxSequences(Math.max(batch, LoadOptions.defaults().maxSequences()))
                .build();
        GenerationOptions.Builder options = GenerationOptions.builder().maxTokens(maxTokens);
        if (nodes > 0) {
            options.speculation(new Speculation(new Budget.Fixed(nodes), new Shape.BestFirst(), Placement.ALL_NODES));
        }
        Report report;
        try (LanguageModel loaded = LanguageModel.load(model, load)) {
            figures.put("device", loaded.info().device());
            Evaluation evaluation = new Evaluation(loaded, options.build(), batch);
            // Graphs are captured at the second pass of a shape, and a batch shrinks at its end: each size once or
            // twice.
            evaluation.warmUp(examples.subList(0, Math.min(Math.max(10, 3 * batch), examples.size())));
            report = evaluation.run(examples, (done, soFar) -> {});
        }
        // Sequences of a batch share their passes: its speed is that of all tokens over all of the time, prefill
        // included.
        boolean together = batch > 1;
        double plain = together
                ? report.plain().endToEndTokensPerSecond()
                : report.plain().tokensPerSecond();
        double speculative = together
                ? report.speculative().endToEndTokensPerSecond()
                : report.speculative().tokensPerSecond();
        Map<String, Object> row = new LinkedHashMap<>();
        row.put("model", String.valueOf(model.getFileName()));
        row.put("task", task);
        row.put("batch", batch);
        row.putAll(report.figures());
        rows.add(row);
        out.printf(
                Locale.ROOT,
                "%-16s%6d%8d%14.2f%14.0f%14.0f%9.2f×%11.2f×%10s%n",
                task,
                batch,
                report.prompts(),
                report.speculative().tokensPerPass(),
                plain,
                speculative,
                report.speedup(),
                report.endToEndSpeedup(),
                report.identicalTexts() + "/" + report.prompts());
        return report.lossless();
    }
}
