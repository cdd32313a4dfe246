// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli.evaluation;

import dev.tributary.Generation;
import dev.tributary.GenerationOptions;
import dev.tributary.LanguageModel;
import dev.tributary.Speculation;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * Runs every prompt with speculation and without. So that neither gains from a machine that warms up, cools down or is
 * shared, the two runs of a prompt follow each other, which comes first alternates, and some prompts run uncounted
 * before.
 */
public final class Evaluation {
    /** Hears how far an evaluation is. */
    public interface Listener {
        /**
         * Prompts were measured.
         *
         * @param done how many so far, those left out included
         * @param soFar figures so far
         */
        void measured(int done, Report soFar);
    }

    private final LanguageModel model;
    private final GenerationOptions speculative;
    private final GenerationOptions plain;
    private final int batch;
    private final Queue<Generation> running = new ConcurrentLinkedQueue<>();
    private volatile boolean cancelled;

    /**
     * Prepares an evaluation.
     *
     * @param model stays open; must step {@code batch} sequences at once
     * @param options with the speculation that is evaluated
     * @param batch prompts in flight together
     */
    public Evaluation(LanguageModel model, GenerationOptions options, int batch) {
        this.model = model;
        this.batch = batch;
        speculative = options;
        plain = options.toBuilder().speculation(Speculation.off()).build();
    }

    /**
     * Runs examples both ways without counting.
     *
     * @param examples what to run
     */
    public void warmUp(List<Example> examples) {
        run(examples, (done, soFar) -> {});
    }

    /**
     * Runs examples both ways.
     *
     * @param examples what to run; a prompt that does not fit into the model's context is left out and counted as such
     * @param listener hears of progress
     * @return what came out
     */
    public Report run(List<Example> examples, Listener listener) {
        Report report = new Report();
        boolean plainFirst = true;
        for (int begin = 0; begin < examples.size(); begin += batch) {
            int end = Math.min(begin + batch, examples.size());
            List<Example> group = fitting(examples.subList(begin, end), report);
            List<Run> plainRuns;
            List<Run> speculativeRuns;
            if (plainFirst) {
                plainRuns = run(group, plain, report.plain());
                speculativeRuns = run(group, speculative, report.speculative());
            } else {
                speculativeRuns = run(group, speculative, report.speculative());
                plainRuns = run(group, plain, report.plain());
            }
            plainFirst = !plainFirst;
            for (int i = 0; i < group.size(); i++) {
                report.add(group.get(i), plainRuns.get(i), speculativeRuns.get(i));
            }
            listener.measured(end, report);
        }
        return report;
    }

    private List<Example> fitting(List<Example> group, Report report) {
        int most = model.info().contextTokens();
        List<Example> fitting = new ArrayList<>();
        for (Example example : group) {
            if (model.tokenize(example.prompt()).length < most) {
                fitting.add(example);
            } else {
                report.skip();
            }
        }
        return fitting;
    }

    private List<Run> run(List<Example> group, GenerationOptions options, Tally tally) {
        List<Generation> generations = new ArrayList<>();
        List<Run> runs = new ArrayList<>();
        long begin = System.nanoTime();
        try {
            for (Example example : group) {
                Generation generation = model.generate(example.prompt(), options);
                generations.add(generation);
                running.add(generation);
                // A cancellation may have looked at the running ones just before this one joined them.
                if (cancelled) {
                    generation.cancel();
                }
            }
            for (Generation generation : generations) {
                runs.add(Run.of(generation));
            }
        } finally {
            generations.forEach(Generation::close);
            running.removeAll(generations);
        }
        tally.addElapsed(Duration.ofNanos(System.nanoTime() - begin));
        return runs;
    }

    /** Cancels what runs; {@link #run} then ends with the engine's exception for it. Any thread may call this. */
    public void cancel() {
        cancelled = true;
        running.forEach(Generation::cancel);
    }
}
