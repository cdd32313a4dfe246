// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import java.util.Locale;
import java.util.Optional;
import me.tongfei.progressbar.ConsoleProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/** Progress on the diagnostics: a moving bar where somebody watches, else a line at every tenth. */
final class ProgressLine implements AutoCloseable {
    private static final int WIDTH = 100;

    private final Terminal terminal;
    private final String task;
    private final long total;
    private final Optional<ProgressBar> bar;
    private long tenthsTold;

    private ProgressLine(Terminal terminal, String task, long total, String unit, long unitSize) {
        this.terminal = terminal;
        this.task = task;
        this.total = total;
        bar = terminal.diagnosticsAreWatched()
                ? Optional.of(new ProgressBarBuilder()
                        .setTaskName(task)
                        .setInitialMax(total)
                        .setUnit(unit, unitSize)
                        .setStyle(ProgressBarStyle.UNICODE_BLOCK)
                        .setUpdateIntervalMillis(100)
                        // Given explicitly: asking the terminal library for the width would start other processes.
                        .setConsumer(new ConsoleProgressBarConsumer(terminal.diagnostics(), WIDTH))
                        .build())
                : Optional.empty();
    }

    static ProgressLine count(Terminal terminal, String task, long total) {
        return new ProgressLine(terminal, task, total, "", 1);
    }

    static ProgressLine bytes(Terminal terminal, String task, long total) {
        return new ProgressLine(terminal, task, total, " MB", 1_000_000);
    }

    void reach(long done) {
        reach(done, "");
    }

    /**
     * @param done how much of the total is done
     * @param figures what to show beside it
     */
    void reach(long done, String figures) {
        bar.ifPresent(shown -> {
            shown.setExtraMessage(figures.isEmpty() ? "" : " " + figures);
            shown.stepTo(done);
        });
        long tenths = total == 0 ? 10 : 10 * done / total;
        if (bar.isEmpty() && tenths > tenthsTold) {
            tenthsTold = tenths;
            terminal.tell(String.format(
                    Locale.ROOT, "%s %d %%%s", task, 10 * tenths, figures.isEmpty() ? "" : " · " + figures));
        }
    }

    @Override
    public void close() {
        bar.ifPresent(ProgressBar::close);
    }
}
