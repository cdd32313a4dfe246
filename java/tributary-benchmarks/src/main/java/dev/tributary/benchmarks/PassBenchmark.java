// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import dev.tributary.ConfigurationException;
import dev.tributary.LanguageModel;
import dev.tributary.LoadOptions;
import dev.tributary.cli.evaluation.JsonFile;
import dev.tributary.cli.evaluation.Machine;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileStore;
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

/** Passes of models of real size, plain and with forced speculation, wall clock through the public API. */
@Command(
        name = "scripts/bench passes",
        description = {
            "Measures passes of random models whose drafts are accepted to a depth of three, always.",
            "",
            "Part single: one sequence, plain passes and passes over a tree of 32 nodes with streams on all of them.",
            "Part batch: tokens per second of 8 and 32 sequences, plain and with trees of 8 and 16 nodes, streams on all"
                    + " nodes and deferred."
        })
public final class PassBenchmark implements Callable<Integer> {
    private static final Path MEMORY = Path.of("/dev/shm");

    @Option(
            names = "--shape",
            paramLabel = "SHAPE",
            split = ",",
            description = "Shapes: llama-2-7b, llama-3-8b, tiny (default: the first two).")
    private List<Shape> shapes = List.of(Shape.LLAMA_2_7B, Shape.LLAMA_3_8B);

    @Option(
            names = "--part",
            paramLabel = "PART",
            split = ",",
            description = "Parts: single, batch (default: both; batch of the first shape only).")
    private List<Part> parts = List.of(Part.values());

    @Option(
            names = "--context",
            paramLabel = "N",
            split = ",",
            description = "Tokens before the first pass of part single (default: 512,8192).")
    private List<Integer> contexts = List.of(512, 8192);

    @Option(names = "--batch", paramLabel = "N", split = ",", description = "Sequences of part batch (default: 8,32).")
    private List<Integer> batches = List.of(8, 32);

    @Option(
            names = "--rounds",
            paramLabel = "N",
            defaultValue = "5",
            description = "Generations of part single; medians count (default: ${DEFAULT-VALUE}).")
    private int rounds;

    @Option(
            names = "--passes",
            paramLabel = "N",
            defaultValue = "48",
            description = "Passes of a generation of part single (default: ${DEFAULT-VALUE}).")
    private int passes;

    @Option(
            names = "--warm-up",
            paramLabel = "N",
            defaultValue = "6000",
            description = {
                "Passes of a tiny model before anything is measured, so that Java has compiled what a pass runs, as it has",
                "in a server that has been up for a minute (default: ${DEFAULT-VALUE})."
            })
    private int warmUp;

    @Option(
            names = "--seconds",
            paramLabel = "S",
            defaultValue = "1.5",
            description = "Time over which part batch counts tokens (default: ${DEFAULT-VALUE}).")
    private double seconds;

    @Option(
            names = "--roof",
            paramLabel = "GB/S",
            defaultValue = "0",
            description = "Read bandwidth that kernel_bench measured here, for the floor of a pass.")
    private double roof;

    @Option(
            names = "--device",
            paramLabel = "NAME",
            defaultValue = "cuda",
            description = "Where to compute: host, cuda or cuda:N (default: ${DEFAULT-VALUE}).")
    private String device = "cuda";

    @Option(
            names = "--tokenizer",
            paramLabel = "DIR",
            description = "Model whose tokenizer to take; left out: the bundled models/demo.")
    private Path tokenizer = Path.of(System.getProperty("tributary.root", "."), "models", "demo");

    @Option(
            names = "--directory",
            paramLabel = "DIR",
            description = "Where to write the random models, up to 17 GB; left out: /dev/shm if it has the room.")
    private Optional<Path> directory = Optional.empty();

    @Option(names = "--json", paramLabel = "FILE", description = "Write the figures as JSON.")
    private Optional<Path> json = Optional.empty();

    @Option(
            names = {"-h", "--help"},
            usageHelp = true,
            description = "Show this help message and exit.")
    @SuppressWarnings("UnusedVariable") // picocli reads it
    private boolean help;

    private final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    private final List<Map<String, Object>> single = new ArrayList<>();
    private final List<Map<String, Object>> batched = new ArrayList<>();
    private boolean asScripted = true;

    private PassBenchmark() {}

    /** What can be measured by itself. */
    enum Part {
        SINGLE,
        BATCH;

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** A model's shape. */
    enum Shape {
        LLAMA_2_7B,
        LLAMA_3_8B,
        /** For trying the benchmark itself. */
        TINY;

        ScriptedLlama llama(int positions) {
            return switch (this) {
                case LLAMA_2_7B -> ScriptedLlama.llama2of7B(positions);
                case LLAMA_3_8B -> ScriptedLlama.llama3of8B(positions);
                case TINY -> new ScriptedLlama(new RandomLlama(6, 256, 512, 4, 2, 8192), 2, positions);
            };
        }

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT).replace('_', '-');
        }
    }

    /**
     * Runs the benchmark and ends the process.
     *
     * @param arguments the command line
     */
    public static void main(String[] arguments) {
        System.exit(BenchmarkCommand.execute(new PassBenchmark(), arguments));
    }

    @Override
    public Integer call() throws IOException {
        if (rounds < 1 || passes < 4 || warmUp < 0) {
            throw new ConfigurationException("--rounds must be at least 1, --passes at least 4, --warm-up at least 0");
        }
        json.ifPresent(JsonFile::checkWritable);
        Map<String, Object> figures = new LinkedHashMap<>();
        figures.put("suite", "passes");
        figures.put("machine", Machine.current().figures());
        figures.put("started", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
        figures.put("roof_gigabytes_per_second", roof);
        figures.put("warm_up_passes", warmUp);
        out.println(Machine.current().line());
        warmUp();
        for (Shape shape : shapes) {
            measure(shape, figures);
        }
        figures.put("single", single);
        figures.put("batch", batched);
        json.ifPresent(file -> JsonFile.write(file, figures));
        if (!asScripted) {
            System.err.println("tributary: a text was not what the model's weights say");
        }
        return asScripted ? 0 : 1;
    }

    /** Both kinds of pass in turns, as they will be measured. */
    private void warmUp() throws IOException {
        int rounds = warmUp / (2 * passes);
        if (rounds == 0) {
            return;
        }
        int room = (ScriptedLlama.ACCEPTED + 1) * (passes + 1) + 1;
        int context = 64;
        ScriptedLlama llama = Shape.TINY.llama(context + room);
        LoadOptions load = LoadOptions.builder()
                .prefixSharing(false)
                .device(device)
                .contextTokens(context + room)
                .build();
        try (ScratchDirectory scratch = ScratchDirectory.below(place(llama.fileBytes()))) {
            llama.write(scratch.path(), tokenizer);
            try (LanguageModel model = LanguageModel.load(scratch.path(), load)) {
                new ForcedPasses(model, context, passes, rounds).measure();
            }
        }
    }

    private void measure(Shape shape, Map<String, Object> figures) throws IOException {
        // A generation of part single ends this far behind its prompt; one of part batch is cut short.
        int room = (ScriptedLlama.ACCEPTED + 1) * (passes + 1) + 1;
        int longest = contexts.stream().mapToInt(Integer::intValue).max().orElse(0) + room;
        int positions = Math.max(longest, ForcedPasses.BATCH_CONTEXT);
        ScriptedLlama llama = shape.llama(positions);
        try (ScratchDirectory scratch = ScratchDirectory.below(place(llama.fileBytes()))) {
            long begin = System.nanoTime();
            llama.write(scratch.path(), tokenizer);
            out.printf(
                    Locale.ROOT,
                    "%n%s: %.2f GB of weights a pass, %d KB of keys and values a token; written in %.1f s%n",
                    shape,
                    llama.passBytes() / 1e9,
                    llama.keyValueBytes() / 1000,
                    (System.nanoTime() - begin) / 1e9);
            if (parts.contains(Part.SINGLE)) {
                LoadOptions load = LoadOptions.builder()
                        .prefixSharing(false)
                        .device(device)
                        .contextTokens(longest)
                        .build();
                try (LanguageModel model = load(scratch.path(), load, figures)) {
                    single(shape, llama, model);
                }
            }
            if (parts.contains(Part.BATCH) && shape.equals(shapes.getFirst())) {
                LoadOptions load = LoadOptions.builder()
                        .prefixSharing(false)
                        .device(device)
                        .contextTokens(ForcedPasses.BATCH_CONTEXT)
                        .maxSequences(batches.stream()
                                .mapToInt(Integer::intValue)
                                .max()
                                .orElse(1))
                        .build();
                try (LanguageModel model = load(scratch.path(), load, figures)) {
                    batch(shape, model);
                }
            }
        }
    }

    private LanguageModel load(Path model, LoadOptions options, Map<String, Object> figures) {
        long begin = System.nanoTime();
        LanguageModel loaded = LanguageModel.load(model, options);
        figures.put("device", loaded.info().device());
        out.printf(Locale.ROOT, "%s; loaded in %.1f s%n", loaded.info().device(), (System.nanoTime() - begin) / 1e9);
        return loaded;
    }

    private void single(Shape shape, ScriptedLlama llama, LanguageModel model) {
        out.printf(
                Locale.ROOT,
                "%n%8s  %-34s%10s%10s%10s%12s%12s%10s%n",
                "context",
                "pass",
                "ms",
                "floor ms",
                "x floor",
                "x plain",
                "host us",
                "tok/pass");
        for (int context : contexts) {
            ForcedPasses forced = new ForcedPasses(model, context, passes, rounds);
            ForcedPasses.Pass plain = new ForcedPasses.Pass(0, 0, 0, 0, 0);
            for (ForcedPasses.Pass pass : forced.measure()) {
                asScripted &= pass.asScripted();
                boolean speculates = pass.nodes() > 1;
                plain = speculates ? plain : pass;
                double bytes = llama.passBytes() + llama.keyValueBytes() * pass.meanContext();
                double floor = roof > 0 ? bytes / roof * 1e-6 : 0;
                Map<String, Object> row = new LinkedHashMap<>();
                row.put("shape", shape.toString());
                row.put("context", context);
                row.put("nodes", pass.nodes());
                row.put("milliseconds", pass.milliseconds());
                row.put("bytes", bytes);
                row.put("floor_milliseconds", floor);
                row.put("against_plain", pass.milliseconds() / plain.milliseconds());
                row.put("host_microseconds", pass.hostMicroseconds());
                row.put("tokens_per_pass", pass.tokensPerPass());
                single.add(row);
                out.printf(
                        Locale.ROOT,
                        "%8d  %-34s%10.3f%10s%10s%12.3f%12.1f%10.2f%n",
                        context,
                        speculates ? "tree of 32, 4 streams on all" : "plain",
                        pass.milliseconds(),
                        floor > 0 ? String.format(Locale.ROOT, "%.3f", floor) : "-",
                        floor > 0 ? String.format(Locale.ROOT, "%.3f", pass.milliseconds() / floor) : "-",
                        pass.milliseconds() / plain.milliseconds(),
                        pass.hostMicroseconds(),
                        pass.tokensPerPass());
            }
        }
    }

    private void batch(Shape shape, LanguageModel model) {
        out.printf(
                Locale.ROOT, "%n%8s  %-34s%14s%12s%14s%n", "batch", "speculation", "tokens/s", "x plain", "tok/pass");
        for (int size : batches) {
            double plain = 0;
            for (ForcedPasses.Batch batch : ForcedPasses.batches(model, size, seconds)) {
                plain = batch.nodes() == 1 ? batch.tokensPerSecond() : plain;
                Map<String, Object> row = new LinkedHashMap<>();
                row.put("shape", shape.toString());
                row.put("batch", size);
                row.put("nodes", batch.nodes());
                row.put("placement", batch.placement());
                row.put("tokens_per_second", batch.tokensPerSecond());
                row.put("against_plain", batch.tokensPerSecond() / plain);
                row.put("tokens_per_pass", batch.tokensPerPass());
                batched.add(row);
                out.printf(
                        Locale.ROOT,
                        "%8d  %-34s%14.0f%12.2f%14.2f%n",
                        size,
                        batch.nodes() == 1 ? "plain" : "trees of " + batch.nodes() + ", streams " + batch.placement(),
                        batch.tokensPerSecond(),
                        batch.tokensPerSecond() / plain,
                        batch.tokensPerPass());
            }
        }
    }

    private Path place(long bytes) throws IOException {
        if (directory.isPresent()) {
            return directory.get();
        }
        if (Files.isDirectory(MEMORY) && Files.isWritable(MEMORY)) {
            FileStore memory = Files.getFileStore(MEMORY);
            if (memory.getUsableSpace() > bytes + (1L << 30)) {
                return MEMORY;
            }
        }
        return Path.of(System.getProperty("java.io.tmpdir"));
    }
}
