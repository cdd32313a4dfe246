// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.tributary.Generation;
import dev.tributary.GenerationOptions;
import dev.tributary.LanguageModel;
import dev.tributary.LoadOptions;
import dev.tributary.PassTrace;
import dev.tributary.Speculation;
import dev.tributary.Speculation.Budget;
import dev.tributary.Speculation.Placement;
import dev.tributary.Speculation.Shape;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class ScriptedLlamaTest {
    private static final Path DEMO = Path.of("..", "..", "models", "demo");
    private static final int TOKENS = 33;

    @TempDir
    private Path directory = Path.of("");

    @Test
    void everyPassAcceptsThreeDraftedTokensWhichAreNotTheFirstNodes() throws Exception {
        Path model = Files.createDirectory(directory.resolve("model"));
        new ScriptedLlama(new RandomLlama(4, 256, 512, 4, 2, 8192), 2, 256).write(model, DEMO);
        LoadOptions load = LoadOptions.builder().device("host").build();
        try (LanguageModel loaded = LanguageModel.load(model, load)) {
            String prompt = "What is repeated?";
            int[] promptTokens = loaded.tokenize(prompt);
            int[] repeated = new int[TOKENS];
            Arrays.fill(repeated, promptTokens[promptTokens.length - 1]);

            assertArrayEquals(repeated, run(loaded, prompt, Speculation.off()).tokens());
            for (int nodes : new int[] {8, 16, 32}) {
                for (Placement placement : new Placement[] {Placement.ALL_NODES, Placement.DEFERRED}) {
                    Speculation speculation =
                            new Speculation(new Budget.Fixed(nodes), new Shape.BestFirst(), placement);
                    Generation generation = run(loaded, prompt, speculation);
                    assertArrayEquals(repeated, generation.tokens());
                    assertEquals(4.0, generation.stats().tokensPerPass());
                    // The last tree is cut by the text's limit, and its depth with it.
                    for (PassTrace pass :
                            generation.trace().subList(0, generation.trace().size() - 1)) {
                        List<PassTrace.Node> tree = pass.nodes();
                        assertEquals(nodes, tree.size());
                        int[] path = IntStream.range(0, nodes)
                                .filter(node -> tree.get(node).accepted())
                                .toArray();
                        assertEquals(ScriptedLlama.ACCEPTED + 1, path.length);
                        assertNotEquals(1, path[1]);
                    }
                }
            }
        }
    }

    private static Generation run(LanguageModel model, String prompt, Speculation speculation) {
        GenerationOptions options = GenerationOptions.builder()
                .maxTokens(TOKENS)
                .ignoreEndTokens(true)
                .speculation(speculation)
                .trace(true)
                .build();
        try (Generation generation = model.generate(prompt, options)) {
            generation.text();
            return generation;
        }
    }
}
