// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import dev.tributary.Generation;
import dev.tributary.GenerationOptions;
import dev.tributary.GenerationStats;
import dev.tributary.LanguageModel;
import dev.tributary.Speculation;
import dev.tributary.Speculation.Budget;
import dev.tributary.Speculation.Placement;
import dev.tributary.Speculation.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.locks.LockSupport;

/**
 * Passes of a {@link ScriptedLlama}, plain and with a speculation that neither adapts nor prunes. A generation's time is
 * that from its first token to its last, on the wall clock, so a pass has everything in it: planning, the device, acceptance,
 * text.
 */
final class ForcedPasses {
    /** Tokens that a sequence of a batch may have in all. */
    static final int BATCH_CONTEXT = 1536;

    private static final int NODES = 32;
    private static final int BATCH_PROMPT = 512;
    private static final int TOKENS_PER_PASS = ScriptedLlama.ACCEPTED + 1;

    private final LanguageModel model;
    private final String prompt;
    private final int passes;
    private final int rounds;

    /**
     * @param model a scripted model
     * @param context tokens of the prompt
     * @param passes passes of a generation
     * @param rounds generations; medians count
     */
    ForcedPasses(LanguageModel model, int context, int passes, int rounds) {
        this.model = model;
        this.passes = passes;
        this.rounds = rounds;
        prompt = prompt(model, context, 0);
    }

    /**
     * Passes of one kind.
     *
     * @param nodes of the tree; 1 = plain
     * @param milliseconds wall clock of a pass: the mean of a generation, the median over generations
     * @param hostMicroseconds of a pass, likewise: what was not spent waiting for the device
     * @param tokensPerPass generated tokens over passes
     * @param meanContext committed tokens before a pass, on average
     */
    record Pass(int nodes, double milliseconds, double hostMicroseconds, double tokensPerPass, double meanContext) {
        /** {@return whether every pass accepted what the weights make it accept} */
        boolean asScripted() {
            return Math.abs(tokensPerPass - (nodes == 1 ? 1 : TOKENS_PER_PASS)) < 0.01;
        }
    }

    /** {@return plain passes and speculative ones, measured in turns} */
    List<Pass> measure() {
        List<Pass> measured = new ArrayList<>();
        double[][] milliseconds = new double[2][rounds];
        double[][] host = new double[2][rounds];
        double[] tokensPerPass = new double[2];
        int[] promptTokens = new int[2];
        for (int round = -1; round < rounds; round++) {
            for (int kind = 0; kind < 2; kind++) {
                GenerationStats stats = run(kind == 0 ? 1 : NODES);
                tokensPerPass[kind] = stats.tokensPerPass();
                promptTokens[kind] = stats.promptTokens();
                // The first round warms up: graphs are captured, Java is compiled.
                if (round >= 0) {
                    milliseconds[kind][round] = stats.decode().toNanos() * 1e-6 / stats.passes();
                    host[kind][round] = stats.host().toNanos() * 1e-3 / stats.passes();
                }
            }
        }
        for (int kind = 0; kind < 2; kind++) {
            measured.add(new Pass(
                    kind == 0 ? 1 : NODES,
                    median(milliseconds[kind]),
                    median(host[kind]),
                    tokensPerPass[kind],
                    promptTokens[kind] + passes * tokensPerPass[kind] / 2));
        }
        return measured;
    }

    private GenerationStats run(int nodes) {
        GenerationOptions options = GenerationOptions.builder()
                .maxTokens(1 + passes * (nodes == 1 ? 1 : TOKENS_PER_PASS))
                .ignoreEndTokens(true)
                .speculation(speculation(nodes, Placement.ALL_NODES))
                .build();
        try (Generation generation = model.generate(prompt, options)) {
            generation.text();
            return generation.stats();
        }
    }

    private static Speculation speculation(int nodes, Placement placement) {
        return nodes == 1
                ? Speculation.off()
                : new Speculation(new Budget.Fixed(nodes), new Shape.BestFirst(), placement);
    }

    /**
     * Sequences stepped together.
     *
     * @param nodes of each tree; 1 = plain
     * @param placement where the streams run
     * @param tokensPerSecond of all sequences, while all of them decode
     * @param tokensPerPass of one sequence
     */
    record Batch(int nodes, String placement, double tokensPerSecond, double tokensPerPass) {}

    /**
     * Measures one size of batch: plain, then trees of 8 and 16 nodes with streams on all nodes and deferred.
     *
     * @param model a scripted model that steps so many sequences
     * @param size sequences
     * @param seconds over which tokens are counted
     * @return what was measured
     */
    static List<Batch> batches(LanguageModel model, int size, double seconds) {
        List<Batch> measured = new ArrayList<>();
        measured.add(batch(model, size, 1, Placement.ALL_NODES, seconds));
        for (int nodes : new int[] {8, 16}) {
            for (Placement placement : new Placement[] {Placement.ALL_NODES, Placement.DEFERRED}) {
                measured.add(batch(model, size, nodes, placement, seconds));
            }
        }
        return measured;
    }

    private static Batch batch(LanguageModel model, int size, int nodes, Placement placement, double seconds) {
        int mostTokens = BATCH_CONTEXT - BATCH_PROMPT - 1;
        GenerationOptions options = GenerationOptions.builder()
                .maxTokens(mostTokens)
                .ignoreEndTokens(true)
                .speculation(speculation(nodes, placement))
                .build();
        List<Generation> generations = new ArrayList<>();
        try {
            for (int i = 0; i < size; i++) {
                generations.add(model.generate(prompt(model, BATCH_PROMPT, i), options));
            }
            // A few passes over all of them first: their graph is captured then.
            waitUntil(() -> generations.stream().allMatch(g -> g.stats().passes() >= 4));
            Edge begin = Edge.next(generations);
            long end = System.nanoTime() + (long) (seconds * 1e9);
            waitUntil(() -> System.nanoTime() > end
                    || generations.stream().anyMatch(g -> g.stats().tokens() > mostTokens * 9 / 10));
            Edge last = Edge.next(generations);
            double tokensPerPass = generations.stream()
                    .mapToDouble(g -> g.stats().tokensPerPass())
                    .average()
                    .orElse(0);
            return new Batch(
                    nodes,
                    placement == Placement.DEFERRED ? "deferred" : "on all nodes",
                    (last.tokens - begin.tokens) * 1e9 / (last.nanos - begin.nanos),
                    tokensPerPass);
        } finally {
            generations.forEach(Generation::close);
        }
    }

    /** The end of a step: so that the time between two of them holds whole steps. */
    private record Edge(long nanos, long tokens) {
        static Edge next(List<Generation> generations) {
            long before = total(generations);
            waitUntil(() -> total(generations) != before);
            long nanos = System.nanoTime();
            // The sequences of a step are told one after another, within microseconds.
            sleepMicros(300);
            return new Edge(nanos, total(generations));
        }

        private static long total(List<Generation> generations) {
            return generations.stream().mapToLong(g -> g.stats().tokens()).sum();
        }
    }

    private interface Condition {
        boolean holds();
    }

    private static void waitUntil(Condition condition) {
        while (!condition.holds()) {
            sleepMicros(100);
        }
    }

    private static void sleepMicros(long micros) {
        LockSupport.parkNanos(micros * 1000);
    }

    /** A text of exactly so many tokens, or as few more as the tokenizer allows; texts of different numbers differ at once. */
    private static String prompt(LanguageModel model, int tokens, int number) {
        StringBuilder text = new StringBuilder("Question " + number + ": what is repeated?");
        String more = " and again what comes after this one";
        int length = model.tokenize(text.toString()).length;
        int perRepeat = Math.max(1, model.tokenize(text + more).length - length);
        text.append(more.repeat(Math.max(0, (tokens - length) / perRepeat)));
        while (model.tokenize(text.toString()).length < tokens) {
            text.append(" one");
        }
        return text.toString();
    }

    static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        int middle = sorted.length / 2;
        return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }
}
