// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import dev.tributary.ConfigurationException;
import dev.tributary.GenerationOptions;
import dev.tributary.LanguageModel;
import dev.tributary.LoadOptions;
import dev.tributary.TributaryException;
import dev.tributary.cli.evaluation.Dataset;
import dev.tributary.cli.evaluation.Evaluation;
import dev.tributary.cli.evaluation.Example;
import dev.tributary.cli.evaluation.JsonFile;
import dev.tributary.cli.evaluation.Machine;
import dev.tributary.cli.evaluation.Report;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** The host backend: speculation against plain decoding, decoding against read bandwidth, passes of many rows against one. */
@Command(
        name = "scripts/bench host",
        description = {
            "Measures the host backend with default settings. Leave the machine to it.",
            "",
            "Part tasks: every task with speculation and without, each on a model loaded anew, then all tasks in turns on"
                    + " one (mixed).",
            "Part passes: plain decoding of a random Llama of about 500 MB beside the machine's read bandwidth, and passes"
                    + " of up to 32 rows against passes of one."
        })
public final class HostBenchmark implements Callable<Integer> {
    private static final long RANDOM_MODEL_BYTES = 500_000_000;

    @Option(names = "--model", paramLabel = "DIR", description = "Model; left out: the bundled models/demo.")
    private Path model = Path.of(System.getProperty("tributary.root", "."), "models", "demo");

    @Option(
            names = "--data",
            paramLabel = "DIR",
            description = "Take every *.dev.jsonl[.xz] of this folder; left out: a few built-in prompts.")
    private Optional<Path> data = Optional.empty();

    @Option(
            names = "--limit",
            paramLabel = "N",
            defaultValue = "100",
            description = "Prompts of a file (default: ${DEFAULT-VALUE}).")
    private int limit;

    @Option(
            names = "--max-tokens",
            paramLabel = "N",
            defaultValue = "64",
            description = "Tokens of a text (default: ${DEFAULT-VALUE}).")
    private int maxTokens;

    @Option(
            names = "--rounds",
            paramLabel = "N",
            defaultValue = "5",
            description = "Rounds of part passes; medians count (default: ${DEFAULT-VALUE}).")
    private int rounds;

    @Option(
            names = "--threads",
            paramLabel = "N",
            defaultValue = "0",
            description = "Threads; left out or 0: one per core.")
    private int threads;

    @Option(
            names = "--part",
            paramLabel = "PART",
            description = "Measure these parts only: tasks, passes; may be given several times (default: both).")
    private List<Part> parts = List.of(Part.values());

    @Option(names = "--json", paramLabel = "FILE", description = "Write the figures as JSON.")
    private Optional<Path> json = Optional.empty();

    private final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    @Option(
            names = {"-h", "--help"},
            usageHelp = true,
            description = "Show this help message and exit.")
    @SuppressWarnings("UnusedVariable") // picocli reads it
    private boolean help;

    private HostBenchmark() {}

    /** What can be measured by itself. */
    enum Part {
        TASKS,
        PASSES;

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /**
     * Runs the benchmark and ends the process.
     *
     * @param arguments the command line
     */
    public static void main(String[] arguments) {
        System.exit(new CommandLine(new HostBenchmark())
                .setCaseInsensitiveEnumValuesAllowed(true)
                .setUsageHelpWidth(100)
                .setParameterExceptionHandler((e, given) -> failed(e, 2))
                .setExecutionExceptionHandler((e, command, result) -> {
                    if (e instanceof TributaryException
                            || e instanceof UncheckedIOException
                            || e instanceof IOException) {
                        return failed(e, 1);
                    }
                    throw e;
                })
                .execute(arguments));
    }

    private static int failed(Exception e, int status) {
        System.err.println("tributary: " + e.getMessage() + (e instanceof NoSuchFileException ? ": no such file" : ""));
        return status;
    }

    @Override
    public Integer call() throws IOException {
        if (limit < 1 || rounds < 1) {
            throw new ConfigurationException("--limit and --rounds must be at least 1");
        }
        json.ifPresent(JsonFile::checkWritable);
        Map<String, Object> figures = new LinkedHashMap<>();
        figures.put("machine", Machine.current().figures());
        figures.put("started", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
        figures.put("threads", threadCount());
        out.println(Machine.current().line() + ", " + threadCount() + " threads");
        boolean lossless = true;
        if (parts.contains(Part.TASKS)) {
            lossless = tasks(figures);
        }
        if (parts.contains(Part.PASSES)) {
            passes(figures);
        }
        json.ifPresent(file -> JsonFile.write(file, figures));
        if (!lossless) {
            System.err.println("tributary: texts differ with and without speculation");
        }
        return lossless ? 0 : 1;
    }

    private int threadCount() {
        return threads == 0 ? Runtime.getRuntime().availableProcessors() : threads;
    }

    private boolean tasks(Map<String, Object> figures) throws IOException {
        out.printf(
                Locale.ROOT,
                "%nSpeculation with default settings, %d tokens at most%n%n%-16s%8s%14s%14s%14s%10s%10s%n",
                maxTokens,
                "task",
                "prompts",
                "tokens/pass",
                "plain tok/s",
                "spec. tok/s",
                "speed-up",
                "equal");
        List<Map<String, Object>> rows = new ArrayList<>();
        boolean lossless = true;
        for (Map.Entry<String, List<Example>> task : examples().entrySet()) {
            Report report = evaluate(task.getValue());
            lossless &= report.lossless();
            Map<String, Object> row = new LinkedHashMap<>();
            row.put("task", task.getKey());
            row.putAll(report.figures());
            rows.add(row);
            out.printf(
                    Locale.ROOT,
                    "%-16s%8d%14.2f%14.0f%14.0f%9.2f×%10s%n",
                    task.getKey(),
                    report.prompts(),
                    report.speculative().tokensPerPass(),
                    report.plain().tokensPerSecond(),
                    report.speculative().tokensPerSecond(),
                    report.speedup(),
                    report.identicalTexts() + "/" + report.prompts());
        }
        figures.put("tasks", rows);
        return lossless;
    }

    // Loaded anew for every task: adaptive speculation learns, and a task's figures must not depend on the others.
    private Report evaluate(List<Example> examples) {
        LoadOptions load = LoadOptions.builder().threads(threads).build();
        GenerationOptions options =
                GenerationOptions.builder().maxTokens(maxTokens).build();
        try (LanguageModel loaded = LanguageModel.load(model, load)) {
            Evaluation evaluation = new Evaluation(loaded, options, 1);
            evaluation.warmUp(examples.subList(0, Math.min(10, examples.size())));
            return evaluation.run(examples, (done, soFar) -> {});
        }
    }

    private Map<String, List<Example>> examples() throws IOException {
        if (data.isEmpty()) {
            return Map.of("built-in", BuiltInPrompts.examples());
        }
        if (!Files.isDirectory(data.get())) {
            throw new ConfigurationException("--data " + data.get() + " is not a directory");
        }
        List<Path> files;
        try (Stream<Path> all = Files.list(data.get())) {
            files = all.filter(file -> file.getFileName().toString().matches(".*\\.dev\\.jsonl(\\.xz)?"))
                    .sorted()
                    .toList();
        }
        if (files.isEmpty()) {
            throw new ConfigurationException("--data " + data.get() + " holds no *.dev.jsonl or *.dev.jsonl.xz");
        }
        Map<String, List<Example>> examples = new LinkedHashMap<>();
        for (Path file : files) {
            String name = file.getFileName().toString();
            examples.put(name.substring(0, name.indexOf(".dev.jsonl")), Dataset.read(file, limit));
        }
        if (examples.size() > 1) {
            examples.put("mixed", inTurns(examples.values()));
        }
        return examples;
    }

    // As a server sees them: what one task taught adaptive speculation must not spoil the next.
    private List<Example> inTurns(Collection<List<Example>> tasks) {
        List<Example> mixed = new ArrayList<>();
        for (int i = 0; i < limit; i++) {
            for (List<Example> task : tasks) {
                if (i < task.size() && mixed.size() < limit) {
                    mixed.add(task.get(i));
                }
            }
        }
        return mixed;
    }

    private void passes(Map<String, Object> figures) throws IOException {
        RandomLlama llama = RandomLlama.ofSize(RANDOM_MODEL_BYTES, vocabulary());
        Path directory = Files.createTempDirectory("tributary-bench");
        // Not only when all goes well: an interrupted benchmark must not leave half a gigabyte behind.
        Runtime.getRuntime().addShutdownHook(new Thread(() -> delete(directory), "tributary-bench-clean-up"));
        llama.write(directory, model);
        LoadOptions load =
                LoadOptions.builder().threads(threads).contextTokens(512).build();
        try (LanguageModel loaded = LanguageModel.load(directory, load);
                ReadBandwidth memory = new ReadBandwidth(threadCount())) {
            PassCosts costs = new PassCosts(loaded, llama.passBytes(), rounds);
            PassCosts.Plain plain = costs.plain(memory);
            show(llama, plain);
            figures.put("random_model", llama.toString());
            figures.put("plain_decoding", plain.figures());
            List<PassCosts.Cost> byRows = costs.byRows();
            show(byRows);
            figures.put("passes", byRows.stream().map(PassCosts.Cost::figures).toList());
        }
    }

    private int vocabulary() throws IOException {
        Path config = model.resolve("config.json");
        JsonNode size =
                JsonMapper.builder().build().readTree(Files.readString(config)).get("vocab_size");
        if (size == null || !size.canConvertToInt()) {
            throw new ConfigurationException(config + ": vocab_size is missing");
        }
        return size.intValue();
    }

    private void show(RandomLlama llama, PassCosts.Plain plain) {
        out.printf(
                Locale.ROOT,
                """

                Plain decoding of a random Llama: %d layers, hidden size %d, %.0f MB of bf16 weights a token

                %-24s%10.1f tokens/s
                %-24s%10.1f GB/s of weights
                %-24s%10.1f GB/s, same threads, measured in turns with it
                %-24s%10.0f %% of it
                """,
                llama.layers(),
                llama.hidden(),
                plain.weightBytes() / 1e6,
                "speed",
                plain.tokensPerSecond(),
                "reads",
                plain.achieved(),
                "memory read bandwidth",
                plain.bandwidth(),
                "reached",
                100 * plain.share());
    }

    private void show(List<PassCosts.Cost> costs) {
        out.printf(
                Locale.ROOT,
                "%nPasses by main rows, the same model%n%n%6s%14s%14s%18s%16s%n",
                "rows",
                "rows had",
                "forward ms",
                "against 1 row",
                "whole pass ms");
        for (PassCosts.Cost cost : costs) {
            out.printf(
                    Locale.ROOT,
                    "%6d%14.1f%14.2f%17.2f×%16.2f%n",
                    cost.budget(),
                    cost.rows(),
                    cost.forwardMillis(),
                    cost.relative(),
                    cost.passMillis());
        }
    }

    private static void delete(Path directory) {
        try (Stream<Path> all = Files.walk(directory)) {
            for (Path path : all.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        } catch (IOException e) {
            System.err.println("tributary: cannot remove " + directory + ": " + e.getMessage());
        }
    }
}
