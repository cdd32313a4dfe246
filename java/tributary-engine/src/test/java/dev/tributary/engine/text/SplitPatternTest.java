// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.ConfigurationException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SplitPatternTest {
    private static final String LLAMA3 =
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
                    + "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    private static final String O200K =
            "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
                    + "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+"
                    + "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}"
                    + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

    /** Those of published tokenizers: GPT-2, Llama 3 and Qwen, o200k, cl100k, DeepSeek, Kimi, BLOOM, SuperBPE, the demo. */
    @ParameterizedTest
    @ValueSource(
            strings = {
                LLAMA3,
                O200K,
                "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
                "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$"
                        + "|\\s*[\\r\\n]|\\s+(?!\\S)|\\s",
                "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
                        + "| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
                "[\\p{Han}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lo}\\p{M}&&[^\\p{Han}]]*[\\p{Ll}\\p{M}&&[^\\p{Han}]]+(?i:'s|'t)?",
                "[一-龥ࠀ-一가-퟿]+",
                " ?[^(\\s|[.,!?…。，、।۔،])]+",
                "(?=(\\d{3})+(?!\\d))",
                "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
                "[ _]?\\p{L}+|\\p{N}| ?(?:[^\\s\\p{L}\\p{N}_]|_(?!\\p{L}))+|\\s+(?!\\S)|\\s+",
                "[0-9][0-9][0-9]",
                "a{x}(?i)b|c",
                ""
            })
    void whatModelsUsePasses(String pattern) {
        assertEquals(Optional.empty(), SplitPattern.objection(pattern));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "(a+)+$",
                "(a|aa)+$",
                "(?:(\\w|\\w\\w)*)*x",
                "(?:a{1,3})+$",
                "(a?){30}a{30}",
                "(?=(a+)+$)",
                "(?i)(a+)+$",
                "\\s+\\s+x",
                "a*a*a*b",
                "a{0,3000}a{0,3000}a{0,3000}b",
                "a{2,}?a{2,}?b"
            })
    void whatCanBeRetriedWithoutEndDoesNot(String pattern) {
        String objection = SplitPattern.objection(pattern).orElse("");
        assertTrue(objection.startsWith("can be retried"), pattern + ": " + objection);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "(.*)\\1",
                "(?<n>a)\\k<n>",
                "\\g<0>",
                "(?x) a",
                "(?~a)",
                "(?(1)a|b)",
                "(",
                "a)",
                "[a",
                "\\",
                "\\p{L"
            })
    void whatIsNotUnderstoodDoesNot(String pattern) {
        String objection = SplitPattern.objection(pattern).orElse("");
        assertTrue(objection.endsWith("is not supported"), pattern + ": " + objection);
    }

    @Test
    void nestingIsBounded() {
        assertTrue(SplitPattern.objection("(?:".repeat(100_000)).isPresent());
    }

    /** The worst texts that are let through, through the library itself, which would end this process. */
    @Test
    void theLongestTextsAreTokenized(@TempDir Path directory) throws IOException {
        for (String pattern : List.of(LLAMA3, O200K)) {
            ObjectNode file = TinyTokenizer.byteLevel(1, 320);
            file.putObject("pre_tokenizer")
                    .put("type", "Split")
                    .put("behavior", "Isolated")
                    .put("invert", false)
                    .putObject("pattern")
                    .put("Regex", pattern);
            Files.writeString(directory.resolve("tokenizer.json"), file.toString());
            try (Tokenizer tokenizer = Tokenizer.open(directory, 320)) {
                for (String unit : List.of(" ", "A", "1")) {
                    tokenizer.encode(unit.repeat(SplitPattern.MAX_TEXT));
                }
                String longer = "a".repeat(SplitPattern.MAX_TEXT + 1);
                ConfigurationException e = assertThrows(ConfigurationException.class, () -> tokenizer.encode(longer));
                assertEquals("the text has 2097153 characters, expected at most 2097152", e.getMessage());
            }
        }
    }
}
