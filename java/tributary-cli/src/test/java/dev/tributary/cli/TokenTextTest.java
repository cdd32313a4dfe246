// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

final class TokenTextTest {
    @Test
    void whatATerminalWouldActOnIsEscaped() {
        assertEquals("\" a\\n\\t\\r\"", TokenText.quoted(" a\n\t\r"));
        assertEquals("\"\\\"\\\\\"", TokenText.quoted("\"\\"));
        assertEquals("\"\\u001b[2J\"", TokenText.quoted("\u001b[2J"));
        assertEquals("\"\\u202e\"", TokenText.quoted("\u202e"));
        assertEquals("\"\\u00a0\"", TokenText.quoted("\u00a0"));
        assertEquals("\"\\u{e0001}\"", TokenText.quoted(Character.toString(0xE0001)));
        assertEquals("\"Käse 日 😀 \uFFFD\"", TokenText.quoted("Käse 日 😀 \uFFFD"));
    }

    @Test
    void columnsAreWhatATerminalGives() {
        assertEquals(4, TokenText.columns("Käse"));
        assertEquals(4, TokenText.columns("日本"));
        assertEquals(2, TokenText.columns("😀"));
        assertEquals(1, TokenText.columns("a\u0301"));
    }
}
