// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.junit.jupiter.api.Test;

class Utf8StreamTest {
    private static String decode(byte[] bytes) {
        Utf8Stream stream = new Utf8Stream();
        StringBuilder text = new StringBuilder();
        for (byte b : bytes) {
            stream.accept(b, text);
        }
        stream.finish(text);
        return text.toString();
    }

    @Test
    void everyCharacterSurvives() {
        StringBuilder all = new StringBuilder();
        for (int c = 0; c <= Character.MAX_CODE_POINT; c += c < 0x3000 ? 1 : 37) {
            if (c < 0xD800 || c > 0xDFFF) {
                all.appendCodePoint(c);
            }
        }
        assertEquals(all.toString(), decode(all.toString().getBytes(StandardCharsets.UTF_8)));
    }

    /** The Unicode standard's own examples, tables 3-8 to 3-11. */
    @Test
    void maximalInvalidPartsBecomeOneReplacementEach() {
        assertEquals(
                "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA",
                decode(HexFormat.of().parseHex("c0afe080bff0818241")));
        assertEquals(
                "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA",
                decode(HexFormat.of().parseHex("eda080edbfbfedaf41")));
        assertEquals(
                "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA\uFFFD\uFFFDB",
                decode(HexFormat.of().parseHex("f4919293ff4180bf42")));
        assertEquals("\uFFFD\uFFFD\uFFFD\uFFFDA", decode(HexFormat.of().parseHex("e180e2f09192f1bf41")));
    }
}
