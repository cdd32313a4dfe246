// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

final class ProgressLineTest {
    @Test
    void withoutATerminalThereIsALineForEveryTenth() {
        Capture capture = new Capture();
        try (ProgressLine progress = ProgressLine.count(capture.terminal, "evaluating", 300)) {
            for (int done = 1; done <= 300; done++) {
                progress.reach(done, "figures");
            }
        }
        assertEquals(10, capture.diagnostics().size());
        assertEquals("evaluating 10 % · figures", capture.diagnostics().getFirst());
        assertEquals("evaluating 100 % · figures", capture.diagnostics().getLast());
    }
}
