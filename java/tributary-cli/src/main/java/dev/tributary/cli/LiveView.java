// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import dev.tributary.ModelStats;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Supplier;

/**
 * What a model does, as it does it: a few lines that are drawn anew where the output is a terminal, else a line now and
 * then. Rates and acceptance are those of the time between two drawings.
 */
final class LiveView implements AutoCloseable {
    private static final Duration REDRAWN = Duration.ofMillis(500);
    private static final Duration TOLD = Duration.ofSeconds(2);
    private static final int BAR = 24;
    private static final String EIGHTHS = " ▏▎▍▌▋▊▉";
    // Lines must not wrap, or the cursor would not come back to where they began.
    private static final String NO_WRAP = "\u001b[?7l";
    private static final String WRAP = "\u001b[?7h";

    private final Terminal terminal;
    private final String title;
    private final Supplier<ModelStats> source;
    private final long begin = System.nanoTime();
    private final Thread thread;

    // Owned by the thread, and after it by whoever closes.
    private ModelStats before;
    private long beforeNanos = begin;
    private int linesDrawn;

    /**
     * Starts to show.
     *
     * @param title of the view
     * @param source asked for figures, from a thread of its own
     */
    LiveView(Terminal terminal, String title, Supplier<ModelStats> source) {
        this.terminal = terminal;
        this.title = title;
        this.source = source;
        before = source.get();
        thread = Thread.ofPlatform().daemon().name("tributary-view").start(this::run);
    }

    private void run() {
        try {
            while (true) {
                Thread.sleep(terminal.outputIsRedrawn() ? REDRAWN : TOLD);
                show();
            }
        } catch (InterruptedException e) {
            // The view is closed.
        } catch (Terminal.OutputClosedException e) {
            // Nobody looks any more; the command itself goes on.
        }
    }

    private void show() {
        ModelStats now = source.get();
        long nanos = System.nanoTime();
        Span span = new Span(before, now, nanos - beforeNanos);
        Duration elapsed = Duration.ofNanos(nanos - begin);
        if (terminal.outputIsRedrawn()) {
            redraw(span.lines(terminal.outputStyle(), title, elapsed));
        } else {
            terminal.println(span.line(elapsed));
        }
        before = now;
        beforeNanos = nanos;
    }

    private void redraw(List<String> lines) {
        StringBuilder drawing = new StringBuilder(NO_WRAP);
        if (linesDrawn > 0) {
            drawing.append("\u001b[").append(linesDrawn).append('A');
        }
        lines.forEach(line -> drawing.append("\r\u001b[2K").append(line).append('\n'));
        // A drawing with fewer lines leaves nothing of the one before.
        terminal.print(drawing.append("\u001b[J").append(WRAP).toString());
        linesDrawn = lines.size();
    }

    /** Shows the figures once more, those of the time since the last drawing. */
    @Override
    public void close() {
        thread.interrupt();
        boolean interrupted = false;
        while (thread.isAlive()) {
            try {
                thread.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        show();
    }

    /**
     * Figures of a time.
     *
     * @param before at its beginning
     * @param now at its end
     * @param nanos its length
     */
    private record Span(ModelStats before, ModelStats now, long nanos) {
        private double perSecond(long change) {
            return nanos == 0 ? 0 : change * 1e9 / nanos;
        }

        private double tokensPerSecond() {
            return perSecond(now.tokens() - before.tokens());
        }

        private long passes() {
            return now.passes() - before.passes();
        }

        private long steps() {
            return now.steps() - before.steps();
        }

        private static double ratio(long part, long whole) {
            return whole == 0 ? 0 : part / (double) whole;
        }

        private long read() {
            return now.promptTokens() - before.promptTokens();
        }

        private long shared() {
            return now.sharedPromptTokens() - before.sharedPromptTokens();
        }

        private double tokensPerPass() {
            double tokens = now.tokensPerPass() * now.passes() - before.tokensPerPass() * before.passes();
            return passes() == 0 ? 0 : tokens / passes();
        }

        private double accepted() {
            return ratio(now.acceptedTokens() - before.acceptedTokens(), passes());
        }

        private double drafted() {
            return ratio(now.draftedTokens() - before.draftedTokens(), passes());
        }

        /** Shares of passes that accepted at least so many drafted tokens; as deep as was drafted so far. */
        private List<Double> acceptance() {
            long[] drafted = now.draftedPerDepth();
            long[] accepted = now.acceptedPerDepth();
            long[] acceptedBefore = before.acceptedPerDepth();
            List<Double> shares = new ArrayList<>();
            for (int depth = 0; depth < drafted.length && drafted[depth] > 0; depth++) {
                shares.add(ratio(accepted[depth] - acceptedBefore[depth], passes()));
            }
            return shares;
        }

        private static long drafts(ModelStats stats) {
            return stats.placements().values().stream()
                    .mapToLong(Long::longValue)
                    .sum();
        }

        /** Why trees have their sizes, or where streams ran: shares of a whole. */
        private static <E extends Enum<E>> String shares(Map<E, Long> now, Map<E, Long> before, long whole) {
            StringBuilder shares = new StringBuilder();
            now.forEach((what, count) -> {
                long change = count - before.getOrDefault(what, 0L);
                if (change > 0) {
                    shares.append(" · ")
                            .append(what.name().toLowerCase(Locale.ROOT).replace('_', ' '))
                            .append(' ')
                            .append(share(ratio(change, whole)).strip());
                }
            });
            return shares.toString();
        }

        private String milliseconds(Duration later, Duration earlier) {
            return String.format(Locale.ROOT, "%.2f", ratio(later.minus(earlier).toNanos(), steps()) / 1e6);
        }

        List<String> lines(Terminal.Style style, String title, Duration elapsed) {
            List<String> lines = new ArrayList<>();
            lines.add(style.bold(title) + "  " + style.faint(Figures.time(elapsed)));
            lines.add(row(
                    "requests",
                    Figures.count(now.runningRequests()) + " running · " + Figures.count(now.queuedRequests())
                            + " queued · " + Figures.count(now.completedRequests()) + " done"
                            + unusual(now.preemptedRequests(), "preempted")
                            + unusual(now.cancelledRequests(), "cancelled")
                            + unusual(now.timedOutRequests(), "timed out") + unusual(now.failedRequests(), "failed")));
            lines.add(row(
                    "speed",
                    style.bold(Figures.rate(tokensPerSecond()) + " tokens/s") + " · "
                            + Figures.rate(perSecond(steps())) + " steps/s · batch "
                            + String.format(Locale.ROOT, "%.1f", ratio(passes(), steps()))));
            lines.add(row(
                    "passes",
                    Figures.ratio(tokensPerPass()) + " tokens/pass · " + Figures.ratio(accepted()) + " accepted of "
                            + Figures.ratio(drafted()) + " drafted"));
            lines.add(row(
                    "trees",
                    String.format(Locale.ROOT, "%.1f nodes", 1 + drafted())
                            + shares(now.treeDecisions(), before.treeDecisions(), passes())));
            lines.add(row(
                    "drafts",
                    Figures.count(drafts(now) - drafts(before))
                            + shares(now.placements(), before.placements(), drafts(now) - drafts(before))));
            List<Double> acceptance = acceptance();
            for (int i = 0; i < acceptance.size(); i++) {
                lines.add(row(
                        i == 0 ? "accepted" : "",
                        (i + 1) + " " + style.accepted(bar(acceptance.get(i))) + " " + share(acceptance.get(i))
                                + (i == 0 ? style.faint("  share of passes, by depth") : "")));
            }
            lines.add(row(
                    "pages",
                    "  " + bar(ratio(now.pagesInUse(), now.pages())) + " " + Figures.count(now.pagesInUse()) + " of "
                            + Figures.count(now.pages()) + " · " + Figures.count(now.pagesCached()) + " cached"));
            lines.add(row(
                    "prompts",
                    Figures.rate(perSecond(read())) + " tokens/s read · "
                            + share(ratio(shared(), read() + shared())).strip()
                            + " shared"));
            lines.add(row(
                    "step",
                    milliseconds(now.stepping(), before.stepping()) + " ms: forward "
                            + milliseconds(now.forward(), before.forward()) + ", verify "
                            + milliseconds(now.verify(), before.verify()) + ", draft "
                            + milliseconds(now.draft(), before.draft()) + ", host "
                            + milliseconds(now.host(), before.host())));
            return lines;
        }

        String line(Duration elapsed) {
            List<String> parts = new ArrayList<>();
            parts.add(Figures.time(elapsed));
            parts.add(Figures.count(now.runningRequests()) + " running, " + Figures.count(now.queuedRequests())
                    + " queued, " + Figures.count(now.completedRequests()) + " done");
            parts.add(Figures.rate(tokensPerSecond()) + " tokens/s");
            parts.add(Figures.ratio(tokensPerPass()) + " tokens/pass");
            if (!acceptance().isEmpty()) {
                parts.add("accepted by depth "
                        + String.join(
                                " ",
                                acceptance().stream()
                                        .map(share -> String.format(Locale.ROOT, "%.0f", 100 * share))
                                        .toList())
                        + " %");
            }
            parts.add(Figures.count(now.pagesInUse()) + " of " + Figures.count(now.pages()) + " pages");
            return String.join(" · ", parts);
        }

        private static String row(String name, String value) {
            return String.format("%-10s%s", name, value);
        }

        private static String unusual(long count, String what) {
            return count == 0 ? "" : " · " + Figures.count(count) + " " + what;
        }

        private static String share(double share) {
            return String.format(Locale.ROOT, "%3.0f %%", 100 * share);
        }

        private static String bar(double share) {
            int eighths = Math.toIntExact(Math.round(Math.clamp(share, 0, 1) * BAR * 8));
            String drawn = "█".repeat(eighths / 8) + (eighths % 8 == 0 ? "" : EIGHTHS.charAt(eighths % 8));
            return drawn + " ".repeat(BAR - drawn.length());
        }
    }
}
