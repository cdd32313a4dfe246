// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TributaryExceptionTest {
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "'a\nb\r\tc'        | a\\u000ab\\u000d\\u0009c",
                "'\u0000\u001b[2J'  | \\u0000\\u001b[2J",
                "'a\u0085\u2028b'   | a\\u0085\\u2028b",
                "'a\u202e\ufeffb'   | a\\u202e\\ufeffb",
                "'\uD83D x \uDE00'  | \\ud83d x \\ude00",
                "'é 日本 😀'         | é 日本 😀"
            })
    void aMessageIsOneLineOfCharactersThatAreSeen(String message, String shown) {
        assertEquals(shown, new TributaryException(message).getMessage());
        assertEquals(shown, new ModelFormatException(message, new IllegalStateException()).getMessage());
    }

    @Test
    void aMessageIsNotEndless() {
        String message = new ConfigurationException("😀".repeat(1_000_000)).getMessage();
        assertEquals("😀".repeat(500) + "…", message);
        assertEquals("a".repeat(1000), new ConfigurationException("a".repeat(1000)).getMessage());
    }

    @Test
    void whatIsGivenIsShownInOneLine() {
        String message = assertThrows(
                        ConfigurationException.class,
                        () -> LoadOptions.builder().device("a\nb"))
                .getMessage();
        assertEquals("device is a\\u000ab, expected auto, host, cuda or cuda:N", message);
    }

    /** Ninety lists that hold each other twice are 2^90 values. */
    @Test
    void fewObjectsThatAreVeryManyValuesAreRefused() {
        Object wide = "a";
        for (int i = 0; i < 90; i++) {
            wide = List.of(wide, wide);
        }
        Map<String, Object> arguments = Map.of("x", wide);
        String message = assertThrows(ConfigurationException.class, () -> new ToolCall("1", "f", arguments))
                .getMessage();
        assertEquals("the arguments of f holds more than 1000000 values", message);
    }
}
