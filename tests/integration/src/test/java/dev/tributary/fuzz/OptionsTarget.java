// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import dev.tributary.Acceptance;
import dev.tributary.ChatOptions;
import dev.tributary.GenerationOptions;
import dev.tributary.LanguageModel;
import dev.tributary.LoadOptions;
import dev.tributary.Message;
import dev.tributary.Speculation;
import dev.tributary.TokenConstraint;
import dev.tributary.Tool;
import dev.tributary.ToolCall;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;
import org.jspecify.annotations.Nullable;

/** Options, messages and tools with values from everywhere; a model is loaded with what its options let through. */
final class OptionsTarget implements FuzzTarget {
    private static final String SEED = "options.seed";
    private static final List<String> WORDS =
            List.of("\"role\"", "\"content\"", "\"user\"", "\"type\"", "\"function\"", "\"parameters\"", "\"name\"");

    private final List<Input> models = Seeds.models();

    @Override
    public Input draw(RandomGenerator random) {
        return new Input(Map.of(SEED, Seeds.bytes(Long.toString(random.nextLong()))));
    }

    @Override
    public void feed(Input input, Path scratch) throws Exception {
        RandomGenerator random =
                new SplittableRandom(Long.parseLong(new String(input.file(SEED), StandardCharsets.UTF_8)));
        switch (random.nextInt(6)) {
            case 0 -> generation(random, Integer.MAX_VALUE);
            case 1 -> chat(random);
            case 2 -> Message.parse(json("{\"role\":\"user\",\"content\":\"a\"}", random));
            case 3 ->
                Tool.parse(json(
                        "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\"}}}",
                        random));
            case 4 -> Message.of(Texts.some(random), Texts.any(random)).with(Texts.some(random), value(random, 0));
            default -> {
                LoadOptions options = load(random);
                models.get(random.nextInt(models.size())).write(scratch);
                LanguageModel.load(scratch, options).close();
            }
        }
    }

    private static String json(String sound, RandomGenerator random) {
        return new String(JsonDamage.to(Seeds.bytes(sound), WORDS, random), StandardCharsets.UTF_8);
    }

    /** Options of a generation, mostly within their ranges. */
    static GenerationOptions generation(RandomGenerator random, int mostTokens) {
        boolean sound = random.nextInt(4) > 0;
        GenerationOptions.Builder options = GenerationOptions.builder()
                .maxTokens(sound ? random.nextInt(1, Math.min(mostTokens, 1000)) : whole(random))
                .seed(random.nextLong())
                .ignoreEndTokens(random.nextBoolean())
                .trace(random.nextBoolean());
        if (random.nextBoolean()) {
            options.temperature(sound ? (float) random.nextDouble(0.01, 100) : fraction(random));
            options.topK(sound ? random.nextInt(1000) : whole(random));
            options.topP(sound ? 1 - random.nextFloat() : fraction(random));
            options.minP(sound ? random.nextFloat() : fraction(random));
        }
        if (random.nextInt(3) == 0) {
            options.repetitionPenalty(sound ? (float) random.nextDouble(0.5, 2) : fraction(random));
            options.presencePenalty(sound ? (float) random.nextDouble(-2, 2) : fraction(random));
            options.frequencyPenalty(sound ? (float) random.nextDouble(-2, 2) : fraction(random));
            options.logProbabilities(random.nextBoolean());
        }
        if (random.nextInt(4) == 0) {
            Map<Integer, Float> biases = new HashMap<>();
            for (int i = random.nextInt(sound ? 300 : 400); i > 0; i--) {
                biases.put(
                        sound ? random.nextInt(256) : whole(random),
                        sound ? (float) random.nextDouble(-100, 100) : fraction(random));
            }
            options.logitBias(biases);
        }
        if (random.nextInt(4) == 0) {
            options.constraint(constraint(random.nextLong()));
        }
        if (random.nextInt(8) == 0) {
            options.acceptance(new Acceptance.Typical(
                    sound ? (float) random.nextDouble(0.001, 0.999) : fraction(random),
                    sound ? 1 - random.nextFloat() : fraction(random)));
        }
        if (random.nextInt(3) == 0) {
            List<String> stops = new ArrayList<>();
            for (int i = random.nextInt(sound ? 16 : 20); i >= 0; i--) {
                stops.add(sound ? Texts.some(random) + "x" : Texts.any(random));
            }
            options.stopStrings(stops);
        }
        return options.speculation(speculation(random)).build();
    }

    /** What a text may hold hangs on the text alone; now and then nothing, a token that there is not, or a failure. */
    private static TokenConstraint constraint(long seed) {
        return (tokens, allowed) -> {
            RandomGenerator random = new SplittableRandom(seed + tokens.hashCode());
            switch (random.nextInt(32)) {
                case 0 -> {}
                case 1 -> allowed.allow(whole(random));
                case 2 -> throw new UnsupportedOperationException(Texts.any(random));
                case 3 -> allowed.allowAll();
                default -> {
                    for (int i = random.nextInt(1, 200); i > 0; i--) {
                        allowed.allow(random.nextInt(allowed.vocabulary()));
                    }
                }
            }
        };
    }

    private static Speculation speculation(RandomGenerator random) {
        Speculation.Placement[] placements = Speculation.Placement.values();
        return new Speculation(
                switch (random.nextInt(3)) {
                    case 0 -> new Speculation.Budget.None();
                    case 1 ->
                        new Speculation.Budget.Fixed(random.nextInt(8) == 0 ? whole(random) : random.nextInt(2, 129));
                    default ->
                        new Speculation.Budget.Adaptive(
                                random.nextInt(8) == 0 ? whole(random) : random.nextInt(2, 129));
                },
                switch (random.nextInt(3)) {
                    case 0 -> new Speculation.Shape.BestFirst();
                    case 1 -> new Speculation.Shape.Chain();
                    default ->
                        new Speculation.Shape.Cartesian(
                                random.nextInt(8) == 0 ? whole(random) : 1 + random.nextInt(16));
                },
                placements[random.nextInt(placements.length)]);
    }

    private static LoadOptions load(RandomGenerator random) {
        LoadOptions.Builder options = LoadOptions.builder()
                .device(random.nextInt(8) == 0 ? Texts.some(random) : "host")
                .memoryLimit(random.nextInt(4) == 0 ? random.nextLong() >> random.nextInt(63) : 128L << 20);
        options.threads(random.nextInt(4) == 0 ? whole(random) : random.nextInt(4));
        options.contextTokens(random.nextInt(3) == 0 ? whole(random) : random.nextInt(16, 600));
        options.maxSequences(random.nextInt(3) == 0 ? whole(random) : random.nextInt(1, 8));
        if (random.nextInt(4) == 0) {
            options.streams(Path.of(
                    "nowhere",
                    Texts.some(random)
                            .replace('\u0000', '0')
                            .codePoints()
                            .filter(c -> c < 0xD800 || c > 0xDFFF)
                            .collect(StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append)
                            .toString()));
        }
        if (random.nextInt(8) == 0) {
            options.withoutStreams();
        }
        return options.build();
    }

    private static void chat(RandomGenerator random) {
        Map<String, Object> arguments = new HashMap<>();
        arguments.put(Texts.some(random), value(random, 0));
        Message.assistant("", List.of(new ToolCall(Texts.some(random), "f", arguments)));
        ChatOptions.builder()
                .tools(List.of(Tool.function(Texts.some(random), Texts.some(random), arguments)))
                .template(Texts.some(random))
                .variable(random.nextInt(8) == 0 ? "messages" : Texts.some(random), value(random, 0))
                .build();
    }

    /** What a caller may hold, among it what JSON cannot: arrays, and lists and maps that hold themselves. */
    private static Object value(RandomGenerator random, int depth) {
        return switch (random.nextInt(depth > 6 ? 4 : 13)) {
            case 0 -> Texts.some(random);
            case 1 -> fraction(random);
            case 2 -> random.nextLong();
            case 3 -> random.nextBoolean();
            case 4 -> new int[3];
            case 5 -> new Object();
            case 6 -> {
                List<@Nullable Object> cycle = new ArrayList<>();
                cycle.add(cycle);
                cycle.add(cycle);
                yield cycle;
            }
            case 7 -> {
                Map<@Nullable Object, @Nullable Object> odd = new HashMap<>();
                odd.put(random.nextBoolean() ? null : 1, null);
                odd.put("self", random.nextBoolean() ? odd : null);
                yield odd;
            }
            case 8 -> {
                Object nested = "deep";
                for (int i = random.nextInt(200); i >= 0; i--) {
                    nested = random.nextBoolean() ? List.of(nested) : Map.of("a", nested);
                }
                yield nested;
            }
            case 9 -> {
                Object wide = "wide";
                for (int i = random.nextInt(90); i >= 0; i--) {
                    wide = List.of(wide, wide);
                }
                yield wide;
            }
            case 10 -> Map.of(Texts.some(random), value(random, depth + 1));
            default -> List.of(value(random, depth + 1), value(random, depth + 1));
        };
    }

    private static int whole(RandomGenerator random) {
        return random.nextInt() >> random.nextInt(32);
    }

    private static float fraction(RandomGenerator random) {
        return switch (random.nextInt(8)) {
            case 0 -> Float.NaN;
            case 1 -> Float.POSITIVE_INFINITY;
            case 2 -> -Float.MIN_VALUE;
            case 3 -> -0f;
            case 4 -> Float.intBitsToFloat(random.nextInt());
            default -> random.nextFloat() * (1 << random.nextInt(10));
        };
    }
}
