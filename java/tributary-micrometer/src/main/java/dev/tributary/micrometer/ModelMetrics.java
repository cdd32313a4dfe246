// SPDX-License-Identifier: Apache-2.0
package dev.tributary.micrometer;

import dev.tributary.FinishReason;
import dev.tributary.GenerationCancelledException;
import dev.tributary.GenerationTimeoutException;
import dev.tributary.LanguageModel;
import dev.tributary.ModelListener;
import dev.tributary.ModelStats;
import dev.tributary.RequestOutcome;
import dev.tributary.StepStats;
import io.micrometer.core.instrument.DistributionSummary;
import io.micrometer.core.instrument.FunctionCounter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.Meter;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Tag;
import io.micrometer.core.instrument.Tags;
import io.micrometer.core.instrument.Timer;
import io.micrometer.core.instrument.binder.MeterBinder;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.ToDoubleFunction;

/**
 * Binds a model's figures to a registry.
 *
 * {@snippet :
 * try (LanguageModel model = LanguageModel.load(directory);
 *         ModelMetrics metrics = new ModelMetrics(model, Tags.of("model", "demo"))) {
 *     metrics.bindTo(registry);
 *     // generate
 * }
 * }
 *
 * <p>Gauges and counters read {@link LanguageModel#stats()} when they are asked; timers and summaries are told of each
 * step and each request on the device's thread, which costs some nanoseconds each. Two models in one registry need tags
 * that tell them apart. The meters, all with the prefix {@code tributary.}:
 *
 * <table>
 * <caption>Meters</caption>
 * <thead><tr><th>name</th><th>kind</th><th>unit</th><th>what</th></tr></thead>
 * <tbody>
 * <tr><td>requests.queued</td><td>gauge</td><td>requests</td><td>requests that wait</td></tr>
 * <tr><td>requests.running</td><td>gauge</td><td>requests</td><td>requests that are being generated</td></tr>
 * <tr><td>requests</td><td>timer</td><td>time</td><td>requests from submission to end; tag {@code outcome}:
 * {@code end_token}, {@code stop_string}, {@code max_tokens}, {@code context_limit}, {@code cancelled},
 * {@code timed_out}, {@code failed}</td></tr>
 * <tr><td>requests.refused</td><td>counter</td><td>requests</td><td>requests that were refused, since too many waited</td></tr>
 * <tr><td>requests.preempted</td><td>gauge</td><td>requests</td><td>requests that made room and wait to go on</td></tr>
 * <tr><td>preemptions</td><td>counter</td><td>requests</td><td>how often a request made room for others</td></tr>
 * <tr><td>swap.used</td><td>gauge</td><td>bytes</td><td>host memory that keeps what they had computed</td></tr>
 * <tr><td>tokens.recomputed</td><td>counter</td><td>tokens</td><td>tokens computed anew for want of such memory</td></tr>
 * <tr><td>requests.queue</td><td>timer</td><td>time</td><td>from submission to the first step, of requests that got so
 * far</td></tr>
 * <tr><td>requests.first.token</td><td>timer</td><td>time</td><td>from submission to the first token, of requests that got
 * so far</td></tr>
 * <tr><td>requests.per.token</td><td>timer</td><td>time</td><td>decoding time per generated token, of requests with more
 * than one token</td></tr>
 * <tr><td>tokens.prompt</td><td>counter</td><td>tokens</td><td>tokens of prompts that were read</td></tr>
 * <tr><td>tokens.prompt.shared</td><td>counter</td><td>tokens</td><td>tokens of prompts that others had computed</td></tr>
 * <tr><td>tokens.generated</td><td>counter</td><td>tokens</td><td>tokens that became text</td></tr>
 * <tr><td>tokens.drafted</td><td>counter</td><td>tokens</td><td>drafted tokens that were verified</td></tr>
 * <tr><td>tokens.accepted</td><td>counter</td><td>tokens</td><td>drafted tokens that were accepted</td></tr>
 * <tr><td>passes</td><td>counter</td><td>passes</td><td>verified token trees, one for each text of a step</td></tr>
 * <tr><td>tokens.per.pass</td><td>gauge</td><td>tokens</td><td>generated tokens in a pass, mean since loading</td></tr>
 * <tr><td>acceptance</td><td>gauge</td><td>share</td><td>share of passes that accepted at least so many drafted tokens,
 * since loading; tag {@code depth}: 1 to γ, of models with streams</td></tr>
 * <tr><td>pages.used</td><td>gauge</td><td>pages</td><td>pages of the KV cache that texts hold</td></tr>
 * <tr><td>pages.cached</td><td>gauge</td><td>pages</td><td>pages that no text holds and that keep a known prefix</td></tr>
 * <tr><td>pages</td><td>gauge</td><td>pages</td><td>pages of the KV cache</td></tr>
 * <tr><td>step</td><td>timer</td><td>time</td><td>steps, whole</td></tr>
 * <tr><td>step.phase</td><td>timer</td><td>time</td><td>parts of a step; tag {@code phase}: {@code forward},
 * {@code verify}, {@code draft}, {@code host}</td></tr>
 * <tr><td>step.sequences</td><td>summary</td><td>texts</td><td>texts in a step</td></tr>
 * <tr><td>step.tokens</td><td>summary</td><td>tokens</td><td>tokens that a step generated</td></tr>
 * </tbody>
 * </table>
 *
 * <p>Closing takes the meters out of their registries and the listener off the model; a model need not be open for that.
 * Thread-safe.
 */
public final class ModelMetrics implements MeterBinder, AutoCloseable {
    private static final String PREFIX = "tributary.";

    private final LanguageModel model;
    private final Tags tags;
    private final List<Binding> bindings = new CopyOnWriteArrayList<>();

    /**
     * Meters without tags of their own.
     *
     * @param model whose figures they show; stays open
     */
    public ModelMetrics(LanguageModel model) {
        this(model, Tags.empty());
    }

    /**
     * Meters with tags.
     *
     * @param model whose figures they show; stays open
     * @param tags of every meter
     */
    public ModelMetrics(LanguageModel model, Iterable<Tag> tags) {
        this.model = Objects.requireNonNull(model, "model");
        this.tags = Tags.of(tags);
    }

    /**
     * Registers the meters.
     *
     * @param registry where to; each registry once
     */
    @Override
    public void bindTo(MeterRegistry registry) {
        Binding binding = new Binding(Objects.requireNonNull(registry, "registry"));
        bindings.add(binding);
        model.addListener(binding);
    }

    @Override
    public void close() {
        bindings.removeIf(binding -> {
            model.removeListener(binding);
            binding.remove();
            return true;
        });
    }

    /** The meters in one registry. */
    private final class Binding implements ModelListener {
        private final MeterRegistry registry;
        private final List<Meter> meters = new CopyOnWriteArrayList<>();
        private final Map<String, Timer> outcomes = new ConcurrentHashMap<>();
        private final Timer queue;
        private final Timer firstToken;
        private final Timer perToken;
        private final Timer step;
        private final Timer forward;
        private final Timer verify;
        private final Timer draft;
        private final Timer host;
        private final DistributionSummary sequences;
        private final DistributionSummary tokens;

        Binding(MeterRegistry registry) {
            this.registry = registry;
            gauge("requests.queued", "requests", "Requests that wait", ModelStats::queuedRequests);
            gauge("requests.running", "requests", "Requests that are being generated", ModelStats::runningRequests);
            counter("requests.refused", "requests", "Requests that were refused", ModelStats::refusedRequests);
            gauge(
                    "requests.preempted",
                    "requests",
                    "Requests that made room and wait to go on",
                    ModelStats::preemptedRequests);
            counter("preemptions", "requests", "How often a request made room", ModelStats::preemptions);
            gauge("swap.used", "bytes", "Host memory that keeps what they had computed", ModelStats::swappedBytes);
            counter("tokens.recomputed", "tokens", "Tokens computed anew", ModelStats::recomputedTokens);
            counter("tokens.prompt", "tokens", "Tokens of prompts that were read", ModelStats::promptTokens);
            counter(
                    "tokens.prompt.shared",
                    "tokens",
                    "Tokens of prompts that others had computed",
                    ModelStats::sharedPromptTokens);
            counter("tokens.generated", "tokens", "Tokens that became text", ModelStats::tokens);
            counter("tokens.drafted", "tokens", "Drafted tokens that were verified", ModelStats::draftedTokens);
            counter("tokens.accepted", "tokens", "Drafted tokens that were accepted", ModelStats::acceptedTokens);
            counter("passes", "passes", "Verified token trees", ModelStats::passes);
            gauge("tokens.per.pass", "tokens", "Generated tokens in a pass", ModelStats::tokensPerPass);
            gauge("pages.used", "pages", "Pages of the KV cache that texts hold", ModelStats::pagesInUse);
            gauge(
                    "pages.cached",
                    "pages",
                    "Pages that no text holds and that keep a known prefix",
                    ModelStats::pagesCached);
            gauge("pages", "pages", "Pages of the KV cache", ModelStats::pages);
            model.info().streams().ifPresent(streams -> acceptance(streams.gamma()));
            queue = timer("requests.queue", "From submission to the first step", Tags.empty());
            firstToken = timer("requests.first.token", "From submission to the first token", Tags.empty());
            perToken = timer("requests.per.token", "Decoding time per generated token", Tags.empty());
            step = timer("step", "Steps, whole", Tags.empty());
            forward = phase("forward");
            verify = phase("verify");
            draft = phase("draft");
            host = phase("host");
            sequences = summary("step.sequences", "texts", "Texts in a step");
            tokens = summary("step.tokens", "tokens", "Tokens that a step generated");
        }

        private <M extends Meter> M registered(M meter) {
            meters.add(meter);
            return meter;
        }

        private void gauge(String name, String unit, String what, ToDoubleFunction<ModelStats> figure) {
            registered(Gauge.builder(PREFIX + name, model, m -> figure.applyAsDouble(m.stats()))
                    .baseUnit(unit)
                    .description(what)
                    .tags(tags)
                    .register(registry));
        }

        private void acceptance(int gamma) {
            for (int depth = 1; depth <= gamma; depth++) {
                int index = depth - 1;
                registered(Gauge.builder(PREFIX + "acceptance", model, m -> reached(m.stats(), index))
                        .description("Share of passes that accepted at least so many drafted tokens")
                        .tags(tags.and("depth", String.valueOf(depth)))
                        .register(registry));
            }
        }

        private static double reached(ModelStats stats, int index) {
            return stats.passes() == 0 ? 0 : stats.acceptedPerDepth()[index] / (double) stats.passes();
        }

        private void counter(String name, String unit, String what, ToDoubleFunction<ModelStats> figure) {
            registered(FunctionCounter.builder(PREFIX + name, model, m -> figure.applyAsDouble(m.stats()))
                    .baseUnit(unit)
                    .description(what)
                    .tags(tags)
                    .register(registry));
        }

        private Timer timer(String name, String what, Tags more) {
            return registered(Timer.builder(PREFIX + name)
                    .description(what)
                    .tags(tags.and(more))
                    .register(registry));
        }

        private Timer phase(String name) {
            return timer("step.phase", "Parts of a step", Tags.of("phase", name));
        }

        private DistributionSummary summary(String name, String unit, String what) {
            return registered(DistributionSummary.builder(PREFIX + name)
                    .baseUnit(unit)
                    .description(what)
                    .tags(tags)
                    .register(registry));
        }

        @Override
        public void stepped(StepStats stats) {
            step.record(stats.total());
            forward.record(stats.forward());
            verify.record(stats.verify());
            draft.record(stats.draft());
            host.record(stats.host());
            sequences.record(stats.sequences());
            tokens.record(stats.tokens());
        }

        @Override
        public void ended(RequestOutcome outcome) {
            outcomes.computeIfAbsent(
                            nameOf(outcome),
                            name -> timer("requests", "From submission to end", Tags.of("outcome", name)))
                    .record(outcome.elapsed());
            Duration queued = outcome.stats().queued();
            if (!queued.isZero()) {
                queue.record(queued);
            }
            int generated = outcome.stats().tokens();
            if (generated > 0) {
                firstToken.record(queued.plus(outcome.stats().prefill()));
            }
            if (generated > 1) {
                perToken.record(outcome.stats().decode().dividedBy(generated - 1));
            }
        }

        private static String nameOf(RequestOutcome outcome) {
            return outcome.finishReason()
                    .map(FinishReason::name)
                    .orElse(
                            switch (outcome.failure().orElse(null)) {
                                case GenerationCancelledException _ -> "cancelled";
                                case GenerationTimeoutException _ -> "timed_out";
                                case null, default -> "failed";
                            })
                    .toLowerCase(Locale.ROOT);
        }

        void remove() {
            meters.forEach(registry::remove);
            meters.clear();
        }
    }
}
