// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import dev.tributary.ConfigurationException;
import dev.tributary.GenerationOptions;
import dev.tributary.LanguageModel;
import dev.tributary.LoadOptions;
import dev.tributary.cli.evaluation.Evaluation;
import dev.tributary.cli.evaluation.Example;
import dev.tributary.cli.evaluation.JsonFile;
import dev.tributary.cli.evaluation.Machine;
import dev.tributary.cli.evaluation.Report;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
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

/** The host backend: speculation against plain decoding, decoding against read bandwidth, passes of many rows against one. */
@Command(
        name = "scripts/bench host",
        description = {
            "Measures the host backend with default settings. Leave the machine to it.",
            "",
            "Part tasks: every task with speculation and without, each on a model loaded anew, then all tasks in turns on"
                    + " one (mixed).",
            "Part passes: plain decoding of a random Llama of about 500 MB beside the machine's read bandwidth, and passes"
                    + " of up to 32 rows against passes of one.",
            "Part prefix: prefill of a prompt that begins as another did, against that other's."
        })
public final class HostBenchmark implements Callable<Integer> {
    private static final long RANDOM_MODEL_BYTES = 500_000_000;
    private static final int PREFIX_TOKENS = 1000;

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
            description = "Measure these parts only: tasks, passes, prefix; may be given several times (default: all).")
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
        PASSES,
        PREFIX;

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
        System.exit(BenchmarkCommand.execute(new HostBenchmark(), arguments));
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
        if (parts.contains(Part.PREFIX)) {
            prefix(figures);
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
        for (Map.Entry<String, List<Example>> task :
                TaskExamples.read(data, limit).entrySet()) {
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
        LoadOptions load = host().build();
        GenerationOptions options =
                GenerationOptions.builder().maxTokens(maxTokens).build();
        try (LanguageModel loaded = LanguageModel.load(model, load)) {
            Evaluation evaluation = new Evaluation(loaded, options, 1);
            evaluation.warmUp(examples.subList(0, Math.min(10, examples.size())));
            return evaluation.run(examples, (done, soFar) -> {});
        }
    }

    private void passes(Map<String, Object> figures) throws IOException {
        RandomLlama llama = RandomLlama.ofSize(RANDOM_MODEL_BYTES, vocabulary());
        LoadOptions load = host().contextTokens(512).build();
        try (ScratchDirectory scratch = ScratchDirectory.below(Path.of(System.getProperty("java.io.tmpdir")))) {
            llama.write(scratch.path(), model);
            measure(llama, scratch.path(), load, figures);
        }
    }

    /** Prompts come again and again, and each is to be read. */
    private LoadOptions.Builder host() {
        return LoadOptions.builder().device("host").threads(threads).prefixSharing(false);
    }

    private void prefix(Map<String, Object> figures) {
        LoadOptions load = host().prefixSharing(true).build();
        try (LanguageModel loaded = LanguageModel.load(model, load)) {
            PrefixCosts costs = new PrefixCosts(loaded, rounds);
            costs.measure(PREFIX_TOKENS); // Java compiles
            PrefixCosts.Cost cost = costs.measure(PREFIX_TOKENS);
            figures.put("prefix", cost.figures());
            out.printf(
                    Locale.ROOT,
                    "%nPrefill behind a shared prefix of %d tokens%n%n%-24s%8d rows%10.2f ms%n%-24s%8d rows%10.2f ms,"
                            + " %.1f times cheaper%n",
                    cost.prefixTokens(),
                    "the first prompt",
                    cost.firstTokens(),
                    cost.firstMillis(),
                    "the second",
                    cost.secondRows(),
                    cost.secondMillis(),
                    cost.cheaper());
        }
    }

    private void measure(RandomLlama llama, Path directory, LoadOptions load, Map<String, Object> figures) {
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
}
