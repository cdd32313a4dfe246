// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import java.time.LocalDateTime;
import java.time.format.TextStyle;
import java.time.temporal.ChronoUnit;
import java.util.Locale;

/** Python's {@code strftime} of a local time, in the C locale. */
final class Strftime {
    private Strftime() {}

    static String format(String format, LocalDateTime time, Budget budget) {
        StringBuilder text = new StringBuilder();
        budget.text(format.length());
        int i = 0;
        while (i < format.length()) {
            char c = format.charAt(i++);
            if (c != '%' || i == format.length()) {
                text.append(c);
                continue;
            }
            char directive = format.charAt(i++);
            boolean unpadded = directive == '-' && i < format.length();
            String value = directive(unpadded ? format.charAt(i++) : directive, time);
            text.append(unpadded ? withoutPadding(value) : value);
        }
        return text.toString();
    }

    private static String withoutPadding(String value) {
        int begin = 0;
        while (begin + 1 < value.length() && (value.charAt(begin) == '0' || value.charAt(begin) == ' ')) {
            begin++;
        }
        return value.substring(begin);
    }

    private static String directive(char directive, LocalDateTime time) {
        int hour12 = (time.getHour() + 11) % 12 + 1;
        return switch (directive) {
            case 'a' ->
                time.getDayOfWeek()
                        .getDisplayName(TextStyle.FULL, Locale.ENGLISH)
                        .substring(0, 3);
            case 'A' -> time.getDayOfWeek().getDisplayName(TextStyle.FULL, Locale.ENGLISH);
            case 'b', 'h' ->
                time.getMonth().getDisplayName(TextStyle.FULL, Locale.ENGLISH).substring(0, 3);
            case 'B' -> time.getMonth().getDisplayName(TextStyle.FULL, Locale.ENGLISH);
            case 'd' -> padded(time.getDayOfMonth(), 2);
            case 'e' -> String.format(Locale.ROOT, "%2d", time.getDayOfMonth());
            case 'm' -> padded(time.getMonthValue(), 2);
            case 'y' -> padded(time.getYear() % 100, 2);
            case 'Y' -> String.valueOf(time.getYear());
            case 'H' -> padded(time.getHour(), 2);
            case 'I' -> padded(hour12, 2);
            case 'p' -> time.getHour() < 12 ? "AM" : "PM";
            case 'M' -> padded(time.getMinute(), 2);
            case 'S' -> padded(time.getSecond(), 2);
            case 'f' -> padded((int) ChronoUnit.MICROS.between(time.truncatedTo(ChronoUnit.SECONDS), time), 6);
            case 'j' -> padded(time.getDayOfYear(), 3);
            case 'w' -> String.valueOf(time.getDayOfWeek().getValue() % 7);
            case 'u' -> String.valueOf(time.getDayOfWeek().getValue());
            case 'U' -> padded((time.getDayOfYear() + 6 - time.getDayOfWeek().getValue() % 7) / 7, 2);
            case 'W' -> padded((time.getDayOfYear() + 6 - (time.getDayOfWeek().getValue() + 6) % 7) / 7, 2);
            case 'D' -> expand("%m/%d/%y", time);
            case 'F' -> expand("%Y-%m-%d", time);
            case 'T', 'X' -> expand("%H:%M:%S", time);
            case 'R' -> expand("%H:%M", time);
            case 'x' -> expand("%m/%d/%y", time);
            case 'c' -> expand("%a %b %e %H:%M:%S %Y", time);
            case 'z', 'Z' -> "";
            case 'n' -> "\n";
            case 't' -> "\t";
            case '%' -> "%";
            default -> throw new TemplateFailure("the directive '%" + directive + "' of a date is not supported");
        };
    }

    private static String expand(String format, LocalDateTime time) {
        return format(format, time, new Budget());
    }

    private static String padded(int value, int digits) {
        String text = String.valueOf(value);
        return "0".repeat(Math.max(0, digits - text.length())) + text;
    }
}
