// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Tokens one by one against the tokenizers library, which sees them all at once. */
class DetokenizerTest {
    private static final int VOCABULARY = 512;
    private static final String TEXT = "Select the « naïve » value 日本 😀👩‍👩‍👧 from  table\n\tend.\u0000 e\u0301 ";

    enum Kind {
        BYTE_LEVEL {
            @Override
            ObjectNode file() {
                ObjectNode file = TinyTokenizer.byteLevel(2, VOCABULARY - 3);
                // Added tokens: one that spells bytes, one that does not, a special one.
                add(file, VOCABULARY - 3, "Ãł", false);
                add(file, VOCABULARY - 2, "日 本", false);
                add(file, VOCABULARY - 1, "<end>", true);
                return file;
            }
        },
        BYTE_FALLBACK {
            @Override
            ObjectNode file() {
                return TinyTokenizer.byteFallback(2, VOCABULARY);
            }
        },
        METASPACE_FIRST {
            @Override
            ObjectNode file() {
                return TinyTokenizer.metaspace(2, VOCABULARY, "first");
            }
        },
        METASPACE_NEVER {
            @Override
            ObjectNode file() {
                return TinyTokenizer.metaspace(2, VOCABULARY, "never");
            }
        },
        NO_DECODER {
            @Override
            ObjectNode file() {
                ObjectNode file = TinyTokenizer.byteLevel(3, VOCABULARY);
                file.putNull("decoder");
                return file;
            }
        };

        abstract ObjectNode file();

        private static void add(ObjectNode file, int id, String content, boolean special) {
            file.withArray("added_tokens")
                    .addObject()
                    .put("id", id)
                    .put("content", content)
                    .put("single_word", false)
                    .put("lstrip", false)
                    .put("rstrip", false)
                    .put("normalized", false)
                    .put("special", special);
        }
    }

    @TempDir
    Path directory;

    private Tokenizer open(Kind kind) throws IOException {
        Files.writeString(directory.resolve("tokenizer.json"), kind.file().toString());
        return Tokenizer.open(directory, VOCABULARY);
    }

    @ParameterizedTest
    @EnumSource
    void partsJoinToTheWhole(Kind kind) throws IOException {
        Random random = new Random(17);
        try (Tokenizer tokenizer = open(kind)) {
            int[] real = tokenizer.encode(TEXT);
            for (int round = 0; round < 3_000; round++) {
                // Tokens of real text in a row, mixed with random ones, some beyond the tokenizer's vocabulary.
                int[] tokens = new int[random.nextInt(40)];
                int from = random.nextInt(real.length);
                double mix = random.nextDouble();
                for (int i = 0; i < tokens.length; i++) {
                    tokens[i] =
                            random.nextDouble() < mix ? random.nextInt(VOCABULARY + 8) : real[(from + i) % real.length];
                }
                Detokenizer detokenizer = tokenizer.detokenizer();
                StringBuilder text = new StringBuilder();
                for (int token : tokens) {
                    String part = detokenizer.append(token);
                    assertTrue(
                            part.isEmpty()
                                    || (!Character.isLowSurrogate(part.charAt(0))
                                            && !Character.isHighSurrogate(part.charAt(part.length() - 1))),
                            "a character was split");
                    text.append(part);
                }
                text.append(detokenizer.flush());
                String message = "seed 17, round " + round + ": " + Arrays.toString(tokens);
                assertEquals(tokenizer.decode(tokens), text.toString(), message);
            }
        }
    }

    @ParameterizedTest
    @EnumSource(names = "NO_DECODER", mode = EnumSource.Mode.EXCLUDE)
    void validTextNeverShowsAReplacementCharacter(Kind kind) throws IOException {
        try (Tokenizer tokenizer = open(kind)) {
            int[] tokens = tokenizer.encode(TEXT);
            Detokenizer detokenizer = tokenizer.detokenizer();
            StringBuilder text = new StringBuilder();
            for (int token : tokens) {
                String part = detokenizer.append(token);
                assertFalse(part.contains("\uFFFD"));
                text.append(part);
                assertTrue(TEXT.startsWith(text.toString()), text.toString());
            }
            text.append(detokenizer.flush());
            assertEquals(TEXT, text.toString());
        }
    }

    @ParameterizedTest
    @EnumSource(names = "NO_DECODER", mode = EnumSource.Mode.EXCLUDE)
    void continuesAPrompt(Kind kind) throws IOException {
        try (Tokenizer tokenizer = open(kind)) {
            int[] tokens = tokenizer.encode(TEXT);
            String whole = tokenizer.decode(tokens);
            for (int cut = 0; cut <= tokens.length; cut++) {
                int[] prompt = Arrays.copyOf(tokens, cut);
                String known = tokenizer.decode(prompt);
                if (known.contains("\uFFFD")) {
                    continue; // a prompt is whole text
                }
                Detokenizer detokenizer = tokenizer.detokenizer(prompt);
                StringBuilder text = new StringBuilder();
                for (int i = cut; i < tokens.length; i++) {
                    text.append(detokenizer.append(tokens[i]));
                }
                text.append(detokenizer.flush());
                assertEquals(whole, known + text);
            }
        }
    }

    @Test
    void charactersComeAsSoonAsTheyAreWhole() throws IOException {
        try (Tokenizer tokenizer = open(Kind.BYTE_LEVEL)) {
            int[] ids = new int[4];
            String[] spelled = {"ð", "Ł", "ĺ", "Ģ"}; // F0 9F 98 80 = 😀
            for (int i = 0; i < 4; i++) {
                for (int id = 0; id < VOCABULARY; id++) {
                    if (tokenizer.piece(id).equals(spelled[i])) {
                        ids[i] = id;
                    }
                }
            }
            Detokenizer detokenizer = tokenizer.detokenizer();
            assertEquals("", detokenizer.append(ids[0]) + detokenizer.append(ids[1]) + detokenizer.append(ids[2]));
            assertEquals("😀", detokenizer.append(ids[3]));
            assertEquals("", detokenizer.append(ids[0]));
            assertEquals("\uFFFD", detokenizer.flush());
        }
    }
}
