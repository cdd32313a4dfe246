// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.ConfigurationException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.random.RandomGenerator;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** The short form of {@code scripts/fuzz}: the same inputs at every run. */
class FuzzTest {
    private static final long SEED = 20261125;

    /** So many that each target takes a few seconds. */
    private static final Map<String, Integer> INPUTS = Map.of(
            "safetensors", 300,
            "config", 150,
            "tokenizer", 60,
            "streams", 60,
            "template", 150,
            "model", 40,
            "prompt", 60,
            "options", 100,
            "command", 12);

    @TempDir
    Path scratch;

    @TestFactory
    Stream<DynamicTest> everyInputWorksOrIsRefused() {
        assertEquals(INPUTS.keySet(), Targets.all().keySet());
        return Targets.all().entrySet().stream()
                .map(target -> DynamicTest.dynamicTest(
                        target.getKey(),
                        () -> feed(target.getKey(), target.getValue(), scratch.resolve(target.getKey()))));
    }

    private static void feed(String name, Supplier<FuzzTarget> made, Path scratch) {
        try (FuzzTarget target = made.get()) {
            Rounds rounds = new Rounds(target, scratch);
            for (long seed = SEED; seed < SEED + INPUTS.getOrDefault(name, 0); seed++) {
                Optional<String> failure = rounds.run(Rounds.input(target, seed));
                assertTrue(failure.isEmpty(), name + ", seed " + seed + ": " + failure.orElse(""));
            }
            // A target that lets through nothing, or everything, tests little.
            assertTrue(rounds.worked() > 0 && rounds.refusals().size() > 3, () -> name + ": " + rounds.refusals());
        }
    }

    private interface Feeding {
        void feed(Input input, Path scratch) throws Exception;
    }

    private Optional<String> outcome(Feeding feeding) {
        return new Rounds(
                        new FuzzTarget() {
                            @Override
                            public Input draw(RandomGenerator random) {
                                return new Input(Map.of());
                            }

                            @Override
                            public void feed(Input input, Path folder) throws Exception {
                                feeding.feed(input, folder);
                            }
                        },
                        scratch)
                .run(new Input(Map.of()));
    }

    @Test
    void whatIsNoTypedLineIsAFailure() {
        assertEquals(Optional.empty(), outcome((input, folder) -> {}));
        assertEquals(Optional.empty(), outcome((input, folder) -> {
            throw new ConfigurationException("a is 1, expected 2");
        }));
        assertTrue(outcome((input, folder) -> {
                    throw new ConfigurationException(" ");
                })
                .isPresent());
        assertTrue(outcome((input, folder) -> {
                    throw new IOException("untyped");
                })
                .isPresent());
        assertTrue(outcome((input, folder) -> {
                    throw new StackOverflowError();
                })
                .isPresent());
        assertTrue(Rounds.objection("two\nlines").isPresent());
        assertTrue(Rounds.objection("half \uD83D").isPresent());
    }

    @Test
    void aSeedDrawsTheSameInput() {
        for (Map.Entry<String, Supplier<FuzzTarget>> entry : Targets.all().entrySet()) {
            try (FuzzTarget one = entry.getValue().get();
                    FuzzTarget other = entry.getValue().get()) {
                for (long seed = SEED; seed < SEED + 5; seed++) {
                    Map<String, byte[]> expected = Rounds.input(one, seed).files();
                    Map<String, byte[]> drawn = Rounds.input(other, seed).files();
                    assertEquals(expected.keySet(), drawn.keySet());
                    expected.forEach((name, content) -> org.junit.jupiter.api.Assertions.assertArrayEquals(
                            content, drawn.get(name), entry.getKey()));
                }
            }
        }
    }
}
