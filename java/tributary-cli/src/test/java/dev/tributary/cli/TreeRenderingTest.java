// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.PassTrace;
import dev.tributary.PassTrace.Node;
import java.util.List;
import org.junit.jupiter.api.Test;

final class TreeRenderingTest {
    private static final PassTrace PASS = new PassTrace(
            2,
            List.of(
                    new Node(10, " SELECT", -1, 0, 1f, true),
                    new Node(11, " *", 0, 1, 0.0625f, false),
                    new Node(12, " NAME", 0, 1, 0.5f, true),
                    new Node(13, " FROM", 2, 2, 0.375f, true),
                    new Node(14, "\n", 2, 2, 0.01f, false),
                    new Node(15, " COUNT", 0, 1, 0.25f, false),
                    new Node(16, "日", 5, 2, 0.125f, false),
                    new Node(17, " table", 3, 3, 0.3f, false)),
            18,
            " town",
            "");

    @Test
    void aTreeIsDrawn() {
        assertEquals(
                """
                pass 3  8 nodes, depth 3, 2 accepted  →  " NAME FROM town"
                ● " SELECT"
                ├─✓ " NAME"        50.0 %  ██████████
                │ ├─✓ " FROM"      37.5 %  ███████▌
                │ │ ├─· " table"   30.0 %  ██████
                │ │ └─★ " town"
                │ └─· "\\n"          1.0 %  ▎
                ├─· " COUNT"       25.0 %  █████
                │ └─· "日"         12.5 %  ██▌
                └─· " *"            6.3 %  █▎
                """,
                String.join("\n", new TreeRendering(new Terminal.Style(false)).lines(PASS, TakenPath.of(PASS, 9)))
                        + "\n");
    }

    @Test
    void colourAddsNothingButColour() {
        List<String> plain = new TreeRendering(new Terminal.Style(false)).lines(PASS, TakenPath.of(PASS, 9));
        List<String> coloured = new TreeRendering(new Terminal.Style(true)).lines(PASS, TakenPath.of(PASS, 9));
        assertEquals(
                plain,
                coloured.stream()
                        .map(line -> line.replaceAll("\u001b\\[[0-9;]*m", ""))
                        .toList());
        assertTrue(coloured.get(2).contains("\u001b[1;32m✓ \" NAME\"\u001b[0m"), coloured.get(2));
    }

    @Test
    void aPassWithoutADraftIsItsRootAndTheTargetsToken() {
        PassTrace pass = new PassTrace(0, List.of(new Node(1, "a", -1, 0, 1f, true)), 2, "b", "b");
        assertEquals(
                List.of("pass 1  1 node, nothing drafted  →  \"b\"", "● \"a\"", "└─★ \"b\""),
                new TreeRendering(new Terminal.Style(false)).lines(pass, TakenPath.of(pass, 1)));
    }

    @Test
    void whatComesAfterTheEndOfTheTextIsNotMarked() {
        PassTrace pass = new PassTrace(
                0,
                List.of(
                        new Node(1, "a", -1, 0, 1f, true),
                        new Node(0, "", 0, 1, 0.5f, true),
                        new Node(3, "c", 1, 2, 0.25f, true)),
                4,
                "d",
                "");
        assertEquals(
                """
                pass 1  3 nodes, depth 2, 1 accepted  →  ""
                ● "a"
                └─✓ ⟨token 0⟩   50.0 %  ██████████
                  └─· "c"       25.0 %  █████
                """,
                String.join("\n", new TreeRendering(new Terminal.Style(false)).lines(pass, TakenPath.of(pass, 1)))
                        + "\n");
    }
}
