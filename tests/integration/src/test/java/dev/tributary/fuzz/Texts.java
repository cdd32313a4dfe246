// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import java.util.List;
import java.util.random.RandomGenerator;

/** Texts of every kind: words, all planes of Unicode, halves of characters, control characters, nothing, a megabyte. */
final class Texts {
    private static final List<String> PIECES = List.of(
            "<|endoftext|>",
            "<s>",
            "</s>",
            "<unk>",
            "<0xE2>",
            "the ",
            "SELECT ",
            "Columns: NAME, AGE\nQuestion: How old is Ann?\nSQL:",
            "\r\n",
            "\t",
            "\u0000",
            "\u0007",
            "\u001b[2J",
            "\u007f",
            "\u0085",
            "\u00a0",
            "\u00ad",
            "\u0301",
            "\u200b",
            "\u200d",
            "\u202e",
            "\u2028",
            "\ufeff",
            "\ufffd",
            "\uffff",
            "é",
            "日本",
            "שלום",
            "👩‍👩‍👧‍👦",
            "\uD83D",
            "\uDE00",
            "▁",
            "Ġ",
            "İ",
            "ß",
            "ﬀ",
            "{{",
            "\\n",
            "%s",
            "'",
            "\"");

    private Texts() {}

    /** A text of at most about a megabyte, mostly short. */
    static String any(RandomGenerator random) {
        int length = switch (random.nextInt(40)) {
            case 0 -> 1 << 20;
            case 1, 2 -> 5000 + random.nextInt(20_000);
            case 3, 4 -> 0;
            default -> 1 + random.nextInt(60);
        };
        return of(random, length);
    }

    /** A short text. */
    static String some(RandomGenerator random) {
        return of(random, random.nextInt(30));
    }

    private static String of(RandomGenerator random, int length) {
        StringBuilder text = new StringBuilder(length + 64);
        int kind = random.nextInt(6);
        String piece = PIECES.get(random.nextInt(PIECES.size()));
        while (text.length() < length) {
            switch (kind) {
                case 0 -> text.append(piece);
                case 1 -> text.append((char) (' ' + random.nextInt(95)));
                case 2 -> text.append(PIECES.get(random.nextInt(PIECES.size())));
                case 3 -> text.appendCodePoint(codePoint(random));
                case 4 -> text.append((char) random.nextInt(1 << 16)); // halves of characters too
                default ->
                    text.append(random.nextInt(8) == 0 ? " " : String.valueOf((char) ('a' + random.nextInt(26))));
            }
        }
        return text.toString();
    }

    /** Any code point that is no surrogate, each plane as often as another. */
    private static int codePoint(RandomGenerator random) {
        int point = (random.nextInt(17) << 16) | random.nextInt(1 << 16);
        return point >= 0xD800 && point < 0xE000 ? 'x' : point;
    }
}
