// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import java.time.Duration;
import java.util.Locale;

/** How figures are written: a point for decimals and a comma for thousands, whatever the locale. */
final class Figures {
    private Figures() {}

    static String count(long value) {
        return String.format(Locale.ROOT, "%,d", value);
    }

    static String count(long value, String noun) {
        return count(value) + " " + noun + (value == 1 ? "" : noun.endsWith("ss") ? "es" : "s");
    }

    static String ratio(double value) {
        return String.format(Locale.ROOT, "%.2f", value);
    }

    /** {@return a speed with about four digits} */
    static String rate(double value) {
        return String.format(Locale.ROOT, value < 100 ? "%.1f" : "%,.0f", value);
    }

    static String percent(double fraction) {
        double percent = 100 * fraction;
        return String.format(Locale.ROOT, percent != 0 && percent < 0.1 ? "%.4f %%" : "%.1f %%", percent);
    }

    static String time(Duration duration) {
        double milliseconds = duration.toNanos() / 1e6;
        if (milliseconds >= 1000) {
            return String.format(Locale.ROOT, "%.2f s", milliseconds / 1000);
        }
        return String.format(Locale.ROOT, milliseconds < 10 ? "%.1f ms" : "%.0f ms", milliseconds);
    }

    /** {@return bytes in units of 1000, as memory bandwidths are} */
    static String bytes(long bytes) {
        if (bytes < 1_000_000) {
            return String.format(Locale.ROOT, "%.1f kB", bytes / 1e3);
        }
        return bytes < 1_000_000_000
                ? String.format(Locale.ROOT, "%.1f MB", bytes / 1e6)
                : String.format(Locale.ROOT, "%.2f GB", bytes / 1e9);
    }
}
