// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import dev.tributary.PassTrace;
import dev.tributary.PassTrace.Node;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;

/**
 * Draws a pass's token tree: one node a line, children under their parent with the likeliest first, path probabilities
 * in a column with a bar each. Signs, not colour alone, say what became of a node.
 */
final class TreeRendering {
    static final String LEGEND = "● root (accepted before)   ✓ accepted   ★ the target's own token   · rejected";

    private static final int BAR = 20;
    private static final int MOST_TEXT = 40;
    private static final String EIGHTHS = " ▏▎▍▌▋▊▉";

    private final Terminal.Style style;

    TreeRendering(Terminal.Style style) {
        this.style = style;
    }

    /**
     * A line to be.
     *
     * @param branches the branches that lead to it
     * @param sign what became of the node
     * @param text its token
     * @param probability of the path to here, NaN for what was not drafted
     */
    private record Line(String branches, Sign sign, String text, double probability) {
        int columns() {
            return TokenText.columns(branches) + 2 + TokenText.columns(text);
        }
    }

    /** What became of a node. */
    private enum Sign {
        ROOT("●"),
        ACCEPTED("✓"),
        REJECTED("·"),
        BONUS("★");

        private final String mark;

        Sign(String mark) {
            this.mark = mark;
        }

        String styled(Terminal.Style style, String text) {
            return switch (this) {
                case ROOT -> style.bold(text);
                case ACCEPTED -> style.accepted(text);
                case REJECTED -> style.faint(text);
                case BONUS -> style.bonus(text);
            };
        }
    }

    /**
     * Draws a pass.
     *
     * @param pass what it drafted, and what the target made of it
     * @param taken what the text took of it
     * @return a header, then a line for each node and the target's own token
     */
    List<String> lines(PassTrace pass, TakenPath taken) {
        Drawing drawing = new Drawing(pass, taken.nodes(), taken.bonus(), new ArrayList<>());
        drawing.draw(0, "", "");
        List<Line> lines = drawing.lines();
        int width = lines.stream().mapToInt(Line::columns).max().orElse(0);
        List<String> drawn = new ArrayList<>();
        drawn.add(header(drawing));
        for (Line line : lines) {
            drawn.add(drawn(line, width));
        }
        return drawn;
    }

    private String header(Drawing drawing) {
        PassTrace pass = drawing.pass();
        int deepest = pass.nodes().stream().mapToInt(Node::depth).max().orElse(0);
        StringBuilder emitted = new StringBuilder();
        drawing.path().forEach(index -> emitted.append(pass.nodes().get(index).text()));
        if (drawing.bonus()) {
            emitted.append(pass.bonusText());
        }
        return style.bold("pass " + (pass.pass() + 1)) + "  "
                + Figures.count(pass.nodes().size(), "node")
                + (deepest == 0
                        ? ", nothing drafted"
                        : ", depth " + deepest + ", " + drawing.path().size() + " accepted")
                + "  →  " + style.bold(TokenText.quoted(emitted.toString()));
    }

    /**
     * A tree as it turns into lines.
     *
     * @param pass the pass
     * @param path the accepted nodes that the text took, the root left out
     * @param bonus whether the text took the target's own token too
     * @param lines the lines so far
     */
    private record Drawing(PassTrace pass, List<Integer> path, boolean bonus, List<Line> lines) {
        void draw(int index, String before, String below) {
            Node node = pass.nodes().get(index);
            Sign sign = index == 0 ? Sign.ROOT : path.contains(index) ? Sign.ACCEPTED : Sign.REJECTED;
            lines.add(new Line(
                    before, sign, text(node.token(), node.text()), index == 0 ? Double.NaN : node.probability()));
            List<Integer> children = children(pass, index);
            boolean bonusBelow = bonus && index == (path.isEmpty() ? 0 : path.getLast());
            for (int i = 0; i < children.size(); i++) {
                boolean last = i == children.size() - 1 && !bonusBelow;
                draw(children.get(i), below + (last ? "└─" : "├─"), below + (last ? "  " : "│ "));
            }
            if (bonusBelow) {
                lines.add(new Line(below + "└─", Sign.BONUS, text(pass.bonus(), pass.bonusText()), Double.NaN));
            }
        }
    }

    private static List<Integer> children(PassTrace pass, int parent) {
        List<Integer> children = new ArrayList<>();
        for (int i = 1; i < pass.nodes().size(); i++) {
            if (pass.nodes().get(i).parent() == parent) {
                children.add(i);
            }
        }
        children.sort(Comparator.comparingDouble(i -> -pass.nodes().get(i).probability()));
        return children;
    }

    private static String text(int token, String text) {
        if (text.isEmpty()) {
            return "⟨token " + token + "⟩"; // an end token, or another that stands for no text
        }
        String quoted = TokenText.quoted(text);
        return quoted.codePointCount(0, quoted.length()) <= MOST_TEXT
                ? quoted
                : quoted.substring(0, quoted.offsetByCodePoints(0, MOST_TEXT - 2)) + "…\"";
    }

    private String drawn(Line line, int width) {
        String node = style.faint(line.branches()) + line.sign().styled(style, line.sign().mark + " " + line.text());
        if (Double.isNaN(line.probability())) {
            return node;
        }
        String figures = String.format(Locale.ROOT, "%5.1f %%  ", 100 * line.probability()) + bar(line.probability());
        figures = figures.stripTrailing();
        return node
                + " ".repeat(width - line.columns() + 2)
                + (line.sign() == Sign.REJECTED ? style.faint(figures) : figures);
    }

    private static String bar(double probability) {
        int eighths = Math.toIntExact(Math.round(Math.clamp(probability, 0, 1) * BAR * 8));
        return "█".repeat(eighths / 8) + EIGHTHS.charAt(eighths % 8);
    }
}
