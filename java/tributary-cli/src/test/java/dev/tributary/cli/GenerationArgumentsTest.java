// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.Acceptance;
import dev.tributary.GenerationOptions;
import dev.tributary.Speculation;
import dev.tributary.Speculation.Budget;
import dev.tributary.Speculation.Placement;
import dev.tributary.Speculation.Shape;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

final class GenerationArgumentsTest {
    @Command
    private static final class Holder {
        @Mixin
        private GenerationArguments generation = new GenerationArguments();
    }

    private static GenerationOptions parsed(String... arguments) {
        Holder holder = new Holder();
        new CommandLine(holder).parseArgs(arguments);
        return holder.generation.options();
    }

    private static Speculation speculation(String... arguments) {
        return parsed(arguments).speculation();
    }

    @Test
    void whatIsLeftOutIsTheEnginesDefault() {
        GenerationOptions options = parsed();
        GenerationOptions defaults = GenerationOptions.defaults();
        assertEquals(defaults.maxTokens(), options.maxTokens());
        assertEquals(defaults.temperature(), options.temperature());
        assertEquals(defaults.topK(), options.topK());
        assertEquals(defaults.topP(), options.topP());
        assertEquals(defaults.minP(), options.minP());
        assertEquals(defaults.repetitionPenalty(), options.repetitionPenalty());
        assertEquals(defaults.presencePenalty(), options.presencePenalty());
        assertEquals(defaults.frequencyPenalty(), options.frequencyPenalty());
        assertEquals(defaults.logitBias(), options.logitBias());
        assertEquals(defaults.acceptance(), options.acceptance());
        assertEquals(defaults.seed(), options.seed());
        assertEquals(defaults.stopStrings(), options.stopStrings());
        assertEquals(defaults.ignoreEndTokens(), options.ignoreEndTokens());
        assertEquals(defaults.speculation(), options.speculation());
    }

    @Test
    void everyOptionArrives() {
        GenerationOptions options = parsed(
                "-n",
                "7",
                "-t",
                "0.8",
                "--top-k",
                "40",
                "--top-p",
                "0.9",
                "--min-p",
                "0.1",
                "--repetition-penalty",
                "1.2",
                "--presence-penalty",
                "0.5",
                "--frequency-penalty",
                "0.25",
                "--logit-bias",
                "7=-1.5",
                "--logit-bias",
                "9=100",
                "--typical-acceptance",
                "0.09",
                "--seed",
                "-3",
                "--stop",
                ";",
                "--stop",
                "two words",
                "--ignore-end");
        assertEquals(7, options.maxTokens());
        assertEquals(0.8f, options.temperature());
        assertEquals(40, options.topK());
        assertEquals(0.9f, options.topP());
        assertEquals(0.1f, options.minP());
        assertEquals(1.2f, options.repetitionPenalty());
        assertEquals(0.5f, options.presencePenalty());
        assertEquals(0.25f, options.frequencyPenalty());
        assertEquals(Map.of(7, -1.5f, 9, 100f), options.logitBias());
        assertEquals(new Acceptance.Typical(0.09f), options.acceptance());
        assertEquals(-3, options.seed());
        assertEquals(List.of(";", "two words"), options.stopStrings());
        assertTrue(options.ignoreEndTokens());
    }

    @Test
    void speculationIsPutTogether() {
        assertEquals(Speculation.off(), speculation("--tree-budget", "0"));
        assertEquals(Speculation.off(), speculation("--tree-budget", "1"));
        assertEquals(Speculation.tree(16), speculation("--tree-budget", "16"));
        assertEquals(
                new Speculation(new Budget.Fixed(5), new Shape.Chain(), Placement.ALL_NODES),
                speculation("--tree-budget", "5", "--shape", "chain", "--placement", "all"));
        Speculation adaptive = speculation("--shape", "cartesian", "--width", "2", "--placement", "chosen");
        assertEquals(Speculation.adaptive().budget(), adaptive.budget());
        assertEquals(new Shape.Cartesian(2), adaptive.shape());
        assertEquals(Placement.CHOSEN_NODES, adaptive.placement());
        assertEquals(Placement.DEFERRED, speculation("--placement", "deferred").placement());
        assertEquals(Placement.AUTOMATIC, speculation("--placement", "auto").placement());
        assertEquals(new Shape.BestFirst(), speculation("--shape", "best-first").shape());
    }
}
