// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cookbook;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.ChatOptions;
import dev.tributary.FinishReason;
import dev.tributary.Generation;
import dev.tributary.GenerationCancelledException;
import dev.tributary.GenerationOptions;
import dev.tributary.InsufficientMemoryException;
import dev.tributary.LanguageModel;
import dev.tributary.LoadListener;
import dev.tributary.LoadOptions;
import dev.tributary.Message;
import dev.tributary.ModelListener;
import dev.tributary.ModelStats;
import dev.tributary.PassTrace;
import dev.tributary.RequestOutcome;
import dev.tributary.Speculation;
import dev.tributary.StepStats;
import dev.tributary.TokenConstraint;
import dev.tributary.TributaryException;
import dev.tributary.micrometer.ModelMetrics;
import io.micrometer.core.instrument.Tags;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;

/**
 * The tasks of {@code docs/cookbook.md}. What stands there is what stands here between {@code region} and
 * {@code endregion}; {@link CookbookDocumentTest} compares them.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class CookbookTest {
    private static final String TEMPLATE = "Columns: {{ messages[0].content }}\n"
            + "{%- for message in messages[1:] if message.role == 'user' %}\nQuestion: {{ message.content }}{% endfor %}"
            + "{{ '\nSQL:' if add_generation_prompt }}";

    private final String prompt = "Columns: NAME, AGE, TEAM\nQuestion: How old is Ann?\nSQL:";
    private final StringBuilder printed = new StringBuilder();

    private Path directory;
    private LanguageModel model;

    /** The demo model, with a template so that it can chat. */
    @BeforeAll
    void load(@TempDir Path temporary) throws IOException {
        directory = temporary.resolve("model");
        Path demo = Path.of(System.getProperty("tributary.root"), "models", "demo");
        try (Stream<Path> files = Files.walk(demo)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                Path copy = directory.resolve(demo.relativize(file).toString());
                Files.createDirectories(copy.resolveSibling(""));
                Files.copy(file, copy);
            }
        }
        Files.writeString(directory.resolve("chat_template.jinja"), TEMPLATE);
        model = LanguageModel.load(
                directory, LoadOptions.builder().device("host").build());
    }

    @AfterAll
    void close() {
        model.close();
    }

    private void print(String part) {
        printed.append(part);
    }

    @Test
    void generateText() {
        // region generate
        String text;
        try (LanguageModel model = LanguageModel.load(directory)) {
            text = model.generate(prompt).text();
        }
        // endregion
        assertTrue(text.contains("SELECT AGE"), text);
    }

    @Test
    void streamTokens() {
        printed.setLength(0);
        // region stream
        try (Generation generation = model.generate(prompt)) {
            for (String part : generation) {
                print(part);
            }
        }
        // endregion
        assertEquals(model.generate(prompt).text(), printed.toString());
    }

    @Test
    void chatWithASystemTurn() {
        // region chat
        List<Message> conversation = new ArrayList<>();
        conversation.add(Message.system("NAME, AGE, TEAM"));
        conversation.add(Message.user("How old is Ann?"));
        String answer = model.chat(conversation).text();

        conversation.add(Message.assistant(answer));
        conversation.add(Message.user("Which team is Ann in?"));
        String next = model.chat(conversation).text();

        String whatTheModelReads = model.renderChat(conversation, ChatOptions.defaults());
        // endregion
        assertEquals(model.generate(prompt).text(), answer);
        assertEquals(model.generate(whatTheModelReads).text(), next);
    }

    @Test
    void sampleWithASeed() {
        // region sample
        GenerationOptions options = GenerationOptions.builder()
                .temperature(0.8f)
                .topP(0.95f)
                .seed(42)
                .maxTokens(40)
                .ignoreEndTokens(true)
                .build();
        String once = model.generate(prompt, options).text();
        String again = model.generate(prompt, options).text();
        String other =
                model.generate(prompt, options.toBuilder().seed(43).build()).text();
        // endregion
        assertEquals(once, again);
        assertNotEquals(once, other);
    }

    @Test
    void constrainATextToAGrammar() {
        // region constrain
        BitSet digits = new BitSet(); // tokens of digits alone, looked up once
        for (int token = 0; token < model.info().vocabularySize(); token++) {
            String text = new String(model.tokenBytes(token), StandardCharsets.UTF_8);
            digits.set(token, text.matches("[0-9]+"));
        }
        TokenConstraint number = (tokens, allowed) -> {
            digits.stream().forEach(allowed::allow);
            if (tokens.hasRemaining()) {
                model.endTokens().forEach(allowed::allow); // a number may end behind its first digit
            }
        };
        GenerationOptions options =
                GenerationOptions.builder().constraint(number).maxTokens(6).build();
        String text = model.generate(prompt, options).text();
        // endregion
        assertTrue(text.matches("[0-9]+"), text);
    }

    @Test
    void severalChoicesWithTheirProbabilities() {
        printed.setLength(0);
        // region choices
        GenerationOptions options = GenerationOptions.builder()
                .temperature(0.8f)
                .frequencyPenalty(0.3f)
                .logProbabilities(true)
                .build();
        for (Generation choice : model.generateChoices(prompt, options, 3)) {
            double sum = 0; // of the model's own distribution, before temperature and penalties
            for (float logProbability : choice.logProbabilities()) {
                sum += logProbability;
            }
            print(String.format("%d: %.2f %s%n", choice.choice(), sum, choice.text()));
        }
        // endregion
        assertEquals(
                3,
                printed.toString()
                        .lines()
                        .filter(line -> line.matches("[0-2]: -.*"))
                        .count(),
                printed.toString());
    }

    @Test
    void stopAtAString() {
        // region stop
        GenerationOptions options =
                GenerationOptions.builder().stopStrings(List.of(" FROM", ";")).build();
        try (Generation generation = model.generate(prompt, options)) {
            String text = generation.text();
            boolean stopped = generation.finishReason() == FinishReason.STOP_STRING;
            print(text + (stopped ? " …" : ""));
        }
        // endregion
        String text = model.generate(prompt, options).text();
        assertTrue(text.contains("SELECT") && !text.contains(" FROM"), text);
        assertTrue(printed.toString().endsWith(text + " …"), printed.toString());
    }

    @Test
    void severalAtOnce() {
        List<String> prompts = List.of(prompt, prompt.replace("Ann", "Bob"), prompt.replace("AGE", "CITY"));
        // region several
        List<Generation> running = prompts.stream().map(model::generate).toList();
        List<String> texts = running.stream().map(Generation::text).toList();
        // endregion
        for (int i = 0; i < prompts.size(); i++) {
            assertEquals(model.generate(prompts.get(i)).text(), texts.get(i));
        }
    }

    @Test
    void plainAgainstSpeculative() {
        // region compare
        GenerationOptions plain =
                GenerationOptions.builder().speculation(Speculation.off()).build();
        GenerationOptions drafted =
                GenerationOptions.builder().speculation(Speculation.tree(16)).build();
        try (Generation slow = model.generate(prompt, plain);
                Generation swift = model.generate(prompt, drafted)) {
            boolean same = slow.text().equals(swift.text()); // always
            print(String.format(
                    "%b: %d passes, then %d, %.2f tokens a pass",
                    same,
                    slow.stats().passes(),
                    swift.stats().passes(),
                    swift.stats().tokensPerPass()));
        }
        // endregion
        assertTrue(printed.toString().contains("true: "), printed.toString());
        try (Generation slow = model.generate(prompt, plain);
                Generation swift = model.generate(prompt, drafted)) {
            assertEquals(slow.text(), swift.text());
            assertTrue(
                    swift.stats().passes() < slow.stats().passes(),
                    swift.stats().toString());
        }
    }

    @Test
    void cancelAndTimeOut() throws Exception {
        GenerationOptions endless = GenerationOptions.builder()
                .ignoreEndTokens(true)
                .maxTokens(100_000)
                .build();
        assertThrows(TimeoutException.class, () -> {
            // region timeout
            try (Generation generation = model.generate(prompt, endless)) {
                print(generation.future().get(50, TimeUnit.MILLISECONDS));
            } // closing cancels it: its memory is free within one step
            // endregion
        });
        // region cancel
        Generation generation = model.generate(prompt, endless);
        Thread.ofVirtual().start(generation::cancel); // from any thread
        try {
            print(generation.text());
        } catch (GenerationCancelledException e) {
            print("cancelled after " + generation.stats().tokens() + " tokens");
        }
        // endregion
        assertTrue(printed.toString().contains("cancelled after "), printed.toString());
    }

    @Test
    void watchAModel() {
        AtomicReference<RequestOutcome> last = new AtomicReference<>();
        List<Integer> tokens = Collections.synchronizedList(new ArrayList<>());
        // region watch
        ModelListener listener = new ModelListener() {
            @Override
            public void stepped(StepStats step) {
                tokens.add(step.tokens());
            }

            @Override
            public void ended(RequestOutcome outcome) {
                last.set(outcome);
            }
        };
        model.addListener(listener);
        String text = model.generate(prompt).text();
        model.removeListener(listener);
        ModelStats since = model.stats(); // of all requests since the model was loaded
        // endregion
        assertFalse(text.isEmpty());
        // Steps are told of when their texts are there already: the last of these may be missed, another's may be
        // heard.
        assertTrue(tokens.stream().mapToInt(i -> i).sum() > 0, tokens::toString);
        assertTrue(last.get().stats().tokens() > 0, () -> last.get().toString());
        assertTrue(since.completedRequests() >= 1, since.toString());
    }

    @Test
    void meterAModel() {
        SimpleMeterRegistry registry = new SimpleMeterRegistry();
        // region meters
        try (ModelMetrics metrics = new ModelMetrics(model, Tags.of("model", "demo"))) {
            metrics.bindTo(registry);
            model.generate(prompt).text();
            print(registry.get("tributary.tokens.generated").functionCounter().count() + " tokens");
        }
        // endregion
        assertTrue(printed.toString().endsWith(" tokens"), printed.toString());
    }

    @Test
    void seeTheTrees() {
        printed.setLength(0);
        // region trees
        GenerationOptions traced = GenerationOptions.builder()
                .speculation(Speculation.tree(8))
                .trace(true)
                .build();
        for (PassTrace pass : model.generate(prompt, traced).trace()) {
            for (PassTrace.Node node : pass.nodes()) {
                print("  ".repeat(node.depth()) + (node.accepted() ? "✓ " : "· ") + node.text() + "\n");
            }
            print("★ " + pass.bonusText() + "\n");
        }
        // endregion
        assertTrue(printed.toString().contains("\n  ✓ "), printed.toString());
    }

    @Test
    void loadWithABudget() {
        List<String> notices = new ArrayList<>();
        // region budget
        LoadOptions options = LoadOptions.builder()
                .memoryLimit(64L << 20) // bytes for weights, rows and KV cache together
                .contextTokens(512)
                .maxSequences(4)
                .listener(new LoadListener() {
                    @Override
                    public void notice(String message) {
                        notices.add(message);
                    }
                })
                .build();
        try (LanguageModel small = LanguageModel.load(directory, options)) {
            print(small.info().weightBytes() + " + " + small.info().workspaceBytes() + " + "
                    + small.info().cacheBytes());
        } catch (InsufficientMemoryException e) {
            print(e.getMessage()); // one line with the figures
        }
        // endregion
        assertTrue(printed.toString().matches("(?s).*(\\d+ \\+ \\d+ \\+ \\d+|the model needs .*)"), printed.toString());
        assertTrue(notices.stream().noneMatch(String::isBlank), notices::toString);
        LoadOptions tooLittle =
                LoadOptions.builder().device("host").memoryLimit(1 << 20).build();
        assertThrows(InsufficientMemoryException.class, () -> LanguageModel.load(directory, tooLittle));
    }

    @Test
    void tellErrorsApart() {
        // region errors
        try {
            print(model.generate("").text());
        } catch (TributaryException e) {
            print(e.getClass().getSimpleName() + ": " + e.getMessage());
        }
        // endregion
        assertTrue(printed.toString().contains("ConfigurationException: "), printed.toString());
    }
}
