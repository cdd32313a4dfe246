// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;

/** The bundled tokenizer gives the ids that training saw, and its detokenizer the text. */
class TokenizerFixtureTest {
    private static final Path ROOT = Path.of(System.getProperty("tributary.root"));
    private static final int VOCABULARY = 4096;

    @Test
    void idsAndTextsEqualThoseOfTraining() throws IOException {
        JsonNode fixture = JsonMapper.builder()
                .build()
                .readTree(ROOT.resolve("tests/fixtures/tokenizer/demo.json").toFile());
        assertTrue(fixture.size() > 20, fixture.size() + " texts");
        try (Tokenizer tokenizer = Tokenizer.open(ROOT.resolve("models/demo"), VOCABULARY)) {
            for (JsonNode each : fixture) {
                String text = each.get("text").asText();
                int[] ids = StreamSupport.stream(each.get("ids").spliterator(), false)
                        .mapToInt(JsonNode::asInt)
                        .toArray();
                assertArrayEquals(ids, tokenizer.encode(text), text);
                Detokenizer detokenizer = tokenizer.detokenizer();
                StringBuilder joined = new StringBuilder();
                boolean special = false;
                for (int id : ids) {
                    special |= tokenizer.isSpecial(id);
                    joined.append(detokenizer.append(id));
                }
                joined.append(detokenizer.flush());
                if (!special) {
                    assertEquals(each.get("decoded").asText(), joined.toString(), text);
                }
            }
        }
    }
}
