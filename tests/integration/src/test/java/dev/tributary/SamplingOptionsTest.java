// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.engine.run.Request;
import java.io.ByteArrayOutputStream;
import java.nio.IntBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Penalties, biases, constraints, log-probabilities, choices: the same text with speculation and without. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class SamplingOptionsTest {
    private static final int PROMPTS = 6;
    private static final int TOKENS = 40;

    private final List<String> prompts = DemoModel.prompts(PROMPTS, 23);

    @SuppressWarnings("NullAway.Init") // before the first test
    private LanguageModel model;

    /** {@return where the model computes; a subclass may have another device, or skip where there is none} */
    String device() {
        return "host";
    }

    @BeforeAll
    void load() {
        model = DemoModel.load(LoadOptions.builder().device(device()).build());
    }

    @AfterAll
    @SuppressWarnings("NullAway") // null when loading was skipped
    void close() {
        if (model != null) {
            assertEquals(model.pages(), model.freePages());
            model.close();
        }
    }

    /** Any token but multiples of seven, and of five after an even one: as blind as a grammar, and as strict. */
    private static void grammar(IntBuffer tokens, TokenMask allowed) {
        boolean afterEven = tokens.hasRemaining() && tokens.get(tokens.limit() - 1) % 2 == 0;
        for (int token = 0; token < allowed.vocabulary(); token++) {
            if (token % 7 != 0 && !(afterEven && token % 5 == 0)) {
                allowed.allow(token);
            }
        }
    }

    /** What is asked for, by name; each on its own and all together. */
    private static Map<String, UnaryOperator<GenerationOptions.Builder>> kinds() {
        Map<String, UnaryOperator<GenerationOptions.Builder>> kinds = new LinkedHashMap<>();
        kinds.put("repetition", options -> options.repetitionPenalty(1.3f));
        kinds.put("repetition below 1", options -> options.repetitionPenalty(0.8f));
        kinds.put("presence", options -> options.presencePenalty(1.5f));
        kinds.put("frequency", options -> options.frequencyPenalty(0.7f));
        kinds.put("bias", options -> options.logitBias(Map.of(5, 3f, 40, -100f, 300, 2.5f)));
        kinds.put("constraint", options -> options.constraint(SamplingOptionsTest::grammar));
        kinds.put("log-probabilities", options -> options);
        kinds.put(
                "all",
                options -> options.repetitionPenalty(1.15f)
                        .presencePenalty(0.4f)
                        .frequencyPenalty(0.3f)
                        .logitBias(Map.of(5, 3f, 40, -100f, 300, 2.5f))
                        .constraint(SamplingOptionsTest::grammar));
        return kinds;
    }

    static Stream<String> names() {
        return kinds().keySet().stream();
    }

    private static GenerationOptions.Builder builder(String name, int prompt, boolean greedy) {
        GenerationOptions.Builder options =
                GenerationOptions.builder().maxTokens(TOKENS).logProbabilities(true);
        if (!greedy) {
            options.temperature(0.8f).topP(0.95f).seed(500 + prompt);
            if (prompt % 3 == 0) {
                options.topK(20);
            }
        }
        return kinds().getOrDefault(name, UnaryOperator.identity()).apply(options);
    }

    private static final List<Speculation> SPECULATIONS = List.of(
            Speculation.chain(),
            Speculation.tree(16).withPlacement(Speculation.Placement.ALL_NODES),
            Speculation.tree(32).withPlacement(Speculation.Placement.DEFERRED),
            Speculation.cartesian(2).withPlacement(Speculation.Placement.CHOSEN_NODES),
            Speculation.adaptive());

    private void assertSame(Generation plain, Generation other, String what) {
        assertArrayEquals(plain.tokens(), other.tokens(), what);
        assertEquals(plain.text(), other.text(), what);
        assertEquals(plain.finishReason(), other.finishReason(), what);
        float[] expected = plain.logProbabilities();
        float[] given = other.logProbabilities();
        assertEquals(plain.tokens().length, expected.length, what);
        assertEquals(expected.length, given.length, what);
        for (int i = 0; i < expected.length; i++) {
            assertEquals(Float.floatToRawIntBits(expected[i]), Float.floatToRawIntBits(given[i]), what);
            assertTrue(expected[i] <= 0, what);
        }
    }

    @ParameterizedTest
    @MethodSource("names")
    void textsAndLogProbabilitiesEqualPlainDecoding(String name) {
        for (boolean greedy : new boolean[] {true, false}) {
            for (int i = 0; i < PROMPTS; i++) {
                GenerationOptions plainOptions =
                        builder(name, i, greedy).speculation(Speculation.off()).build();
                try (Generation plain = model.generate(prompts.get(i), plainOptions)) {
                    for (Speculation speculation : SPECULATIONS) {
                        GenerationOptions options = plainOptions.toBuilder()
                                .speculation(speculation)
                                .build();
                        try (Generation drafted = model.generate(prompts.get(i), options)) {
                            assertSame(plain, drafted, name + ", " + speculation + ", " + prompts.get(i));
                        }
                    }
                }
            }
        }
    }

    @Test
    void textsEqualPlainDecodingInMixedBatches() {
        List<String> names = new ArrayList<>(kinds().keySet());
        names.add("none");
        for (int round = 0; round < names.size(); round++) {
            List<Generation> plain = new ArrayList<>();
            List<Generation> together = new ArrayList<>();
            for (int i = 0; i < PROMPTS; i++) {
                GenerationOptions options = builder(names.get((round + i) % names.size()), i, (round + i) % 3 == 0)
                        .speculation(Speculation.off())
                        .build();
                Generation alone = model.generate(prompts.get(i), options);
                alone.text();
                plain.add(alone);
            }
            for (int i = 0; i < PROMPTS; i++) {
                GenerationOptions options = builder(names.get((round + i) % names.size()), i, (round + i) % 3 == 0)
                        .speculation(i % 5 == 4 ? Speculation.off() : SPECULATIONS.get((round + i) % 5))
                        .build();
                together.add(model.generate(prompts.get(i), options));
            }
            for (int i = 0; i < PROMPTS; i++) {
                assertSame(plain.get(i), together.get(i), names.get((round + i) % names.size()));
            }
        }
    }

    /** The logits that chose each token, as the model gave them. */
    private List<float[]> logits(String prompt, GenerationOptions options, List<Integer> tokens, float[][] told) {
        List<float[]> all = new ArrayList<>();
        Request.LogitObserver observer = (index, logits) -> all.add(logits.toArray(JAVA_FLOAT));
        try (Generation generation = model.generate(prompt, options, Optional.of(observer))) {
            for (int token : generation.tokens()) {
                tokens.add(token);
            }
            told[0] = generation.logProbabilities();
        }
        return all;
    }

    /** Greedy: every token is the argmax of what transformers' and OpenAI's penalties make of the logits. */
    @Test
    void penaltiesAreThoseOfTransformersAndOpenAi() {
        float repetition = 1.2f;
        float presence = 0.6f;
        float frequency = 0.35f;
        Map<Integer, Float> bias = Map.of(11, 1.5f, 90, -4f);
        int changed = 0;
        for (String prompt : prompts) {
            for (Speculation speculation : List.of(Speculation.off(), Speculation.tree(16))) {
                GenerationOptions options = GenerationOptions.builder()
                        .maxTokens(TOKENS)
                        .repetitionPenalty(repetition)
                        .presencePenalty(presence)
                        .frequencyPenalty(frequency)
                        .logitBias(bias)
                        .logProbabilities(true)
                        .speculation(speculation)
                        .build();
                List<Integer> tokens = new ArrayList<>();
                float[][] told = new float[1][];
                List<float[]> logits = logits(prompt, options, tokens, told);
                Set<Integer> seen = new HashSet<>();
                for (int token : model.tokenize(prompt)) {
                    seen.add(token);
                }
                int[] counts = new int[logits.getFirst().length];
                for (int i = 0; i < tokens.size(); i++) {
                    float[] raw = logits.get(i);
                    int token = tokens.get(i);
                    double[] adjusted = new double[raw.length];
                    for (int v = 0; v < raw.length; v++) {
                        double x = raw[v] + bias.getOrDefault(v, 0f);
                        if (seen.contains(v)) {
                            x = x > 0 ? x / repetition : x * repetition;
                        }
                        adjusted[v] = x - frequency * counts[v] - (counts[v] > 0 ? presence : 0);
                    }
                    double greatest = Arrays.stream(adjusted).max().orElseThrow();
                    assertEquals(greatest, adjusted[token], 1e-4, prompt + ", token " + i);
                    double rawGreatest = Double.NEGATIVE_INFINITY;
                    for (float x : raw) {
                        rawGreatest = Math.max(rawGreatest, x);
                    }
                    changed += raw[token] < rawGreatest ? 1 : 0;
                    double sum = 0;
                    for (float x : raw) {
                        sum += Math.exp(x - rawGreatest);
                    }
                    assertEquals(raw[token] - rawGreatest - Math.log(sum), told[0][i], 2e-4, prompt + ", token " + i);
                    seen.add(token);
                    counts[token]++;
                }
            }
        }
        assertTrue(changed > 4, "penalties changed " + changed + " tokens");
    }

    @Test
    void aStrongPenaltyKeepsTokensFromComingBack() {
        GenerationOptions options = GenerationOptions.builder()
                .maxTokens(40)
                .ignoreEndTokens(true)
                .logitBias(Map.of(7, 60f))
                .frequencyPenalty(2f)
                .build();
        int[] tokens = model.generate(prompts.getFirst(), options).tokens();
        long sevens = Arrays.stream(tokens).filter(token -> token == 7).count();
        assertTrue(sevens >= 15 && sevens <= 40, sevens + " times token 7");
    }

    @Test
    void constraintsAreKept() {
        for (Speculation speculation : SPECULATIONS) {
            GenerationOptions options = GenerationOptions.builder()
                    .maxTokens(TOKENS)
                    .constraint(SamplingOptionsTest::grammar)
                    .speculation(speculation)
                    .build();
            for (String prompt : prompts) {
                int[] tokens = model.generate(prompt, options).tokens();
                for (int i = 0; i < tokens.length; i++) {
                    TokenMask mask = new TokenMask(1 << 20);
                    grammar(IntBuffer.wrap(tokens, 0, i), mask);
                    assertTrue(mask.isAllowed(tokens[i]), prompt + ", token " + i);
                }
            }
        }
    }

    @Test
    void aConstraintThatSpellsATextGetsIt() {
        int[] spelled = model.tokenize("SELECT NAME FROM people WHERE AGE > 30");
        TokenConstraint spell = (tokens, allowed) -> allowed.allow(spelled[tokens.remaining() % spelled.length]);
        for (Speculation speculation : SPECULATIONS) {
            GenerationOptions options = GenerationOptions.builder()
                    .maxTokens(spelled.length)
                    .ignoreEndTokens(true)
                    .constraint(spell)
                    .speculation(speculation)
                    .build();
            assertArrayEquals(
                    spelled, model.generate(prompts.getFirst(), options).tokens());
        }
    }

    /** Where plain decoding does not get to, a constraint may fail as it likes. */
    @Test
    void aConstraintFailsOnlyTheTextThatGetsThere() {
        String prompt = prompts.getFirst();
        int[] whole = model.generate(
                        prompt, GenerationOptions.builder().maxTokens(20).build())
                .tokens();
        TokenConstraint onlyThatText = (tokens, allowed) -> {
            for (int i = 0; i < tokens.remaining(); i++) {
                if (tokens.get(i) != whole[i]) {
                    throw new IllegalStateException("off the text");
                }
            }
            allowed.allowAll();
        };
        for (Speculation speculation : SPECULATIONS) {
            GenerationOptions options = GenerationOptions.builder()
                    .maxTokens(whole.length)
                    .constraint(onlyThatText)
                    .speculation(speculation)
                    .build();
            assertArrayEquals(whole, model.generate(prompt, options).tokens(), speculation.toString());
        }
    }

    @Test
    void aFailingConstraintFailsItsOwnRequestAlone() {
        for (Speculation speculation : List.of(Speculation.off(), Speculation.tree(16))) {
            for (int after : new int[] {0, 1, 5}) {
                GenerationOptions plain = GenerationOptions.builder()
                        .maxTokens(12)
                        .ignoreEndTokens(true)
                        .speculation(speculation)
                        .build();
                GenerationOptions throwing = plain.toBuilder()
                        .constraint((tokens, allowed) -> {
                            if (tokens.remaining() == after) {
                                throw new IllegalStateException("no more");
                            }
                            allowed.allowAll();
                        })
                        .build();
                GenerationOptions empty = plain.toBuilder()
                        .constraint((tokens, allowed) -> {
                            if (tokens.remaining() < after) {
                                allowed.allowAll();
                            }
                        })
                        .build();
                Generation first = model.generate(prompts.get(0), plain);
                Generation second = model.generate(prompts.get(1), throwing);
                Generation third = model.generate(prompts.get(2), empty);
                Generation fourth = model.generate(prompts.get(3), plain);
                ConstraintException thrown = assertThrows(ConstraintException.class, second::text);
                assertTrue(
                        String.valueOf(thrown.getMessage()).contains("after " + after + " tokens"), thrown.toString());
                assertThrows(ConstraintException.class, third::tokens);
                assertEquals(12, first.tokens().length);
                assertEquals(12, fourth.tokens().length);
            }
        }
    }

    /** A message of its own that cannot be read, as a careless library throws it. */
    private static final class Unreadable extends RuntimeException {
        private static final long serialVersionUID = 1L;

        @Override
        public String getMessage() {
            throw new IllegalStateException("no message either");
        }
    }

    @Test
    void whateverAConstraintThrowsFailsItsOwnRequestAlone() throws Exception {
        List<Throwable> thrown = List.of(
                new NoClassDefFoundError("dev/missing/Grammar"),
                new ExceptionInInitializerError("no grammar"),
                new OutOfMemoryError("a grammar of any size"),
                new StackOverflowError(),
                new java.io.IOException("declared nowhere"),
                new Unreadable());
        GenerationOptions plain = GenerationOptions.builder()
                .maxTokens(12)
                .ignoreEndTokens(true)
                .speculation(Speculation.tree(16))
                .build();
        int[] expected = model.generate(prompts.getFirst(), plain).tokens();
        for (Throwable each : thrown) {
            GenerationOptions failing = plain.toBuilder()
                    .constraint((tokens, allowed) -> {
                        if (tokens.remaining() == 3) {
                            SamplingOptionsTest.<RuntimeException>sneak(each);
                        }
                        allowed.allowAll();
                    })
                    .build();
            Generation first = model.generate(prompts.getFirst(), plain);
            Generation second = model.generate(prompts.get(1), failing);
            Generation third = model.generate(prompts.getFirst(), plain);
            ConstraintException failure = assertThrows(ConstraintException.class, second::text);
            List<Throwable> causes = new ArrayList<>();
            for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
                causes.add(cause);
            }
            assertTrue(causes.contains(each), causes::toString);
            assertArrayEquals(expected, first.tokens());
            assertArrayEquals(expected, third.tokens());
        }
    }

    @SuppressWarnings("unchecked")
    private static <E extends Throwable> void sneak(Throwable thrown) throws E {
        throw (E) thrown;
    }

    @Test
    void choicesDifferByTheirNoiseAlone() {
        String prompt = prompts.getFirst();
        GenerationOptions options = GenerationOptions.builder()
                .maxTokens(24)
                .temperature(1.2f)
                .seed(9)
                .ignoreEndTokens(true)
                .build();
        int[] alone = model.generate(prompt, options).tokens();
        Set<String> texts = new HashSet<>();
        List<int[]> plain = new ArrayList<>();
        for (Speculation speculation : List.of(Speculation.off(), Speculation.tree(16), Speculation.adaptive())) {
            List<Generation> choices = model.generateChoices(
                    prompt, options.toBuilder().speculation(speculation).build(), 5);
            assertEquals(5, choices.size());
            for (int i = 0; i < 5; i++) {
                int[] tokens = choices.get(i).tokens();
                assertEquals(i, choices.get(i).choice());
                if (plain.size() <= i) {
                    plain.add(tokens);
                }
                assertArrayEquals(plain.get(i), tokens, "choice " + i);
                texts.add(Arrays.toString(tokens));
            }
        }
        assertArrayEquals(alone, plain.getFirst());
        assertTrue(texts.size() >= 3, texts.size() + " different texts of 5 choices");
    }

    @Test
    void choicesBeginAllOrNone() {
        GenerationOptions options =
                GenerationOptions.builder().maxTokens(4).temperature(1f).build();
        LoadOptions narrow = LoadOptions.builder()
                .device(device())
                .queueCapacity(4)
                .maxSequences(1)
                .build();
        try (LanguageModel small = DemoModel.load(narrow)) {
            QueueFullException refused =
                    assertThrows(QueueFullException.class, () -> small.generateChoices(prompts.getFirst(), options, 5));
            assertTrue(String.valueOf(refused.getMessage()).contains("5 would join them"), refused.toString());
            assertEquals(0, small.stats().submittedRequests());
            for (Generation choice : small.generateChoices(prompts.getFirst(), options, 4)) {
                assertTrue(choice.tokens().length > 0);
            }
            assertEquals(4, small.stats().completedRequests());
        }
    }

    /** What a grammar needs: which bytes a token stands for, and which tokens end a text. */
    @Test
    void tokensSayTheirBytes() {
        for (String prompt : prompts) {
            int[] tokens = model.tokenize(prompt);
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            for (int token : tokens) {
                bytes.writeBytes(model.tokenBytes(token));
            }
            assertEquals(prompt, bytes.toString(UTF_8).stripLeading());
        }
        for (int token : model.endTokens()) {
            assertEquals(0, model.tokenBytes(token).length);
        }
        assertFalse(model.endTokens().isEmpty());
        GenerationOptions untilEnd = GenerationOptions.builder()
                .maxTokens(50)
                .constraint((tokens, allowed) -> {
                    if (tokens.remaining() < 3) {
                        allowed.allowAll();
                        model.endTokens().forEach(allowed::forbid);
                    } else {
                        model.endTokens().forEach(allowed::allow);
                    }
                })
                .build();
        try (Generation generation = model.generate(prompts.getFirst(), untilEnd)) {
            assertEquals(4, generation.tokens().length);
            assertEquals(FinishReason.END_TOKEN, generation.finishReason());
        }
    }

    @Test
    void whoAcceptsTypicalTokensChangesNoOthersText() {
        GenerationOptions exact = GenerationOptions.builder()
                .maxTokens(TOKENS)
                .temperature(0.9f)
                .seed(3)
                .build();
        List<int[]> alone = new ArrayList<>();
        for (String prompt : prompts) {
            alone.add(model.generate(prompt, exact).tokens());
        }
        List<Generation> lossy = new ArrayList<>();
        List<Generation> lossless = new ArrayList<>();
        for (String prompt : prompts) {
            lossless.add(model.generate(prompt, exact));
            lossy.add(model.generate(
                    prompt,
                    exact.toBuilder().acceptance(new Acceptance.Typical(0.3f)).build()));
        }
        for (int i = 0; i < PROMPTS; i++) {
            assertArrayEquals(alone.get(i), lossless.get(i).tokens());
        }
        lossy.forEach(Generation::text);
    }

    @Test
    void typicalAcceptanceIsLossyAndOnlyOnRequest() {
        int exactAccepted = 0;
        int typicalAccepted = 0;
        int exactPasses = 0;
        int typicalPasses = 0;
        boolean differs = false;
        for (int i = 0; i < PROMPTS; i++) {
            GenerationOptions exact = GenerationOptions.builder()
                    .maxTokens(TOKENS)
                    .temperature(1f)
                    .seed(i)
                    .ignoreEndTokens(true)
                    // Drafts decide on the text here, so what is drafted must not hang on measured times.
                    .speculation(Speculation.tree(16).withPlacement(Speculation.Placement.ALL_NODES))
                    .build();
            GenerationOptions typical =
                    exact.toBuilder().acceptance(new Acceptance.Typical(0.09f)).build();
            Generation first = model.generate(prompts.get(i), exact);
            Generation second = model.generate(prompts.get(i), typical);
            differs |= !Arrays.equals(first.tokens(), second.tokens());
            exactAccepted += first.tokens().length;
            typicalAccepted += second.tokens().length;
            exactPasses += first.stats().passes();
            typicalPasses += second.stats().passes();
            // The same drafts give the same text.
            assertArrayEquals(
                    second.tokens(), model.generate(prompts.get(i), typical).tokens());
        }
        assertEquals(exactAccepted, typicalAccepted);
        assertTrue(differs, "typical acceptance accepts what plain decoding would not say");
        assertTrue(typicalPasses < exactPasses, typicalPasses + " passes, exact " + exactPasses);
    }

    @Test
    void whatIsOutOfRangeIsRefusedByName() {
        List<Runnable> wrong = List.of(
                () -> GenerationOptions.builder().repetitionPenalty(0f),
                () -> GenerationOptions.builder().repetitionPenalty(Float.NaN),
                () -> GenerationOptions.builder().presencePenalty(2.1f),
                () -> GenerationOptions.builder().frequencyPenalty(-2.1f),
                () -> GenerationOptions.builder().logitBias(Map.of(-1, 1f)),
                () -> GenerationOptions.builder().logitBias(Map.of(1, 101f)),
                () -> GenerationOptions.builder().logitBias(Map.of(1, Float.NaN)),
                () -> new Acceptance.Typical(0f),
                () -> new Acceptance.Typical(1f, 1f),
                () -> new Acceptance.Typical(0.5f, Float.NaN),
                () -> GenerationOptions.builder()
                        .acceptance(new Acceptance.Typical(0.09f))
                        .build(),
                () -> model.generate(
                        prompts.getFirst(),
                        GenerationOptions.builder()
                                .logitBias(Map.of(1 << 28, 1f))
                                .build()),
                () -> model.generateChoices(prompts.getFirst(), GenerationOptions.defaults(), 2),
                () -> model.generateChoices(prompts.getFirst(), GenerationOptions.defaults(), 0));
        for (Runnable each : wrong) {
            ConfigurationException refused = assertThrows(ConfigurationException.class, each::run);
            assertFalse(String.valueOf(refused.getMessage()).contains("\n"));
            assertTrue(String.valueOf(refused.getMessage()).contains("expected")
                    || String.valueOf(refused.getMessage()).contains("temperature 0"));
        }
    }
}
