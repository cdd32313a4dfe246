// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import dev.tributary.ModelFormatException;
import dev.tributary.engine.model.StrictJson;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What detokenization needs of {@code tokenizer.json}: the text of each token, which tokens are special, and the decoder.
 * The rest is read by the tokenizers library. Since that library ends the process on some malformed parts, only the kinds
 * of parts that it was tried with are let through.
 *
 * @param json the file's text
 * @param pieces text of each token as the vocabulary writes it, by id; empty where an id is not used
 * @param added ids of added tokens
 * @param special ids that never appear in text
 * @param unused ids without a token
 * @param decoder steps from pieces to text
 */
record TokenizerFile(
        String json, List<String> pieces, BitSet added, BitSet special, BitSet unused, List<DecodeStep> decoder) {
    private static final long MAX_BYTES = 256L << 20;

    private static final Map<String, Set<String>> SUPPORTED = Map.of(
            "normalizer",
            Set.of("Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Prepend", "Replace", "Strip"),
            "pre_tokenizer",
            Set.of("ByteLevel", "Digits", "Metaspace", "Punctuation", "Split", "Whitespace", "WhitespaceSplit"),
            "post_processor",
            Set.of("ByteLevel", "TemplateProcessing"));

    static TokenizerFile read(Path file, int vocabularySize) {
        String json = StrictJson.readText(file, MAX_BYTES);
        return new Parser(file, vocabularySize).parse(json);
    }

    /** The same without the file's text, which is large and not needed for long. */
    TokenizerFile withoutJson() {
        return new TokenizerFile("", pieces, added, special, unused, decoder);
    }

    /** One pass over the file, without a tree: vocabularies and merges are large. */
    private static final class Parser {
        private final Path file;
        private final int vocabularySize;
        private final Map<Integer, String> vocabulary = new HashMap<>();
        private final Map<Integer, String> added = new HashMap<>();
        private final BitSet special = new BitSet();
        private List<DecodeStep> decoder = List.of(new DecodeStep.Spaced());
        private boolean hasModel;

        Parser(Path file, int vocabularySize) {
            this.file = file;
            this.vocabularySize = vocabularySize;
        }

        TokenizerFile parse(String text) {
            try (JsonParser json = StrictJson.parser(text)) {
                require(json.nextToken() == JsonToken.START_OBJECT, "not a JSON object");
                for (String name = json.nextFieldName(); name != null; name = json.nextFieldName()) {
                    json.nextToken();
                    switch (name) {
                        case "added_tokens" -> addedTokens(json);
                        case "decoder" -> decoder = DecodeStep.read(file, json);
                        case "model" -> model(json);
                        case "normalizer", "pre_tokenizer", "post_processor" ->
                            requireSupported(name, StrictJson.value(json));
                        default -> json.skipChildren();
                    }
                }
                require(json.currentToken() == JsonToken.END_OBJECT, "not a JSON object");
                require(json.nextToken() == null, "goes on after its JSON object");
            } catch (JsonProcessingException e) {
                throw StrictJson.malformed(file.toString(), e);
            } catch (IOException e) {
                throw StrictJson.unreadable(file, e);
            }
            require(hasModel, "the field model is missing");
            return result(text);
        }

        private TokenizerFile result(String text) {
            BitSet unused = new BitSet();
            BitSet addedIds = new BitSet();
            added.keySet().forEach(addedIds::set);
            List<String> pieces = new ArrayList<>();
            vocabulary.putAll(added);
            require(!vocabulary.isEmpty(), "the vocabulary is empty");
            for (int id = 0; vocabulary.size() > id - unused.cardinality(); id++) {
                String piece = vocabulary.get(id);
                unused.set(id, piece == null);
                pieces.add(piece == null ? "" : piece);
            }
            return new TokenizerFile(text, List.copyOf(pieces), addedIds, special, unused, decoder);
        }

        private void require(boolean holds, String problem) {
            if (!holds) {
                throw new ModelFormatException(file + ": " + problem);
            }
        }

        private void requireSupported(String part, JsonNode node) {
            if (node.isNull()) {
                return;
            }
            String type = node.path("type").asText("");
            if (type.equals("Sequence")) {
                for (String list : List.of("normalizers", "pretokenizers", "processors")) {
                    node.path(list).forEach(element -> requireSupported(part, element));
                }
                return;
            }
            require(
                    SUPPORTED.getOrDefault(part, Set.of()).contains(type),
                    part + " of type " + StrictJson.quote(type) + " is not supported");
            boolean hasText = switch (type) {
                case "Prepend" -> !node.path("prepend").asText("").isEmpty();
                case "Replace" ->
                    !node.path("pattern").path("String").asText("").isEmpty();
                default -> true;
            };
            require(hasText, part + " " + StrictJson.quote(node.toString()) + " is not supported");
        }

        private int id(JsonParser json, String piece) throws IOException {
            require(
                    json.currentToken() == JsonToken.VALUE_NUMBER_INT
                            && json.getNumberType() == JsonParser.NumberType.INT
                            && json.getIntValue() >= 0,
                    "token " + StrictJson.quote(piece) + " has an id that is not a non-negative integer");
            return requireInVocabulary(json.getIntValue(), piece);
        }

        private int requireInVocabulary(int id, String piece) {
            require(
                    id < vocabularySize,
                    "token " + StrictJson.quote(piece) + " has id " + id + ", but the model's vocabulary ends at "
                            + (vocabularySize - 1));
            return id;
        }

        private void addedTokens(JsonParser json) throws IOException {
            require(json.currentToken() == JsonToken.START_ARRAY, "added_tokens is not a list");
            while (json.nextToken() != JsonToken.END_ARRAY) {
                require(
                        json.currentToken() == JsonToken.START_OBJECT,
                        "added_tokens holds something that is not a token");
                int id = -1;
                String content = "";
                boolean isSpecial = false;
                for (String name = json.nextFieldName(); name != null; name = json.nextFieldName()) {
                    json.nextToken();
                    switch (name) {
                        case "id" -> id = id(json, content);
                        case "content" -> content = json.getText();
                        case "special" -> isSpecial = json.currentToken() == JsonToken.VALUE_TRUE;
                        default -> json.skipChildren();
                    }
                }
                require(!content.isEmpty(), "an added token has no content");
                require(id >= 0, "added token " + StrictJson.quote(content) + " has no id");
                added.put(id, content);
                special.set(id, isSpecial);
            }
        }

        private void model(JsonParser json) throws IOException {
            require(json.currentToken() == JsonToken.START_OBJECT, "model is not an object");
            hasModel = true;
            for (String name = json.nextFieldName(); name != null; name = json.nextFieldName()) {
                json.nextToken();
                switch (name) {
                    case "type" ->
                        require(
                                "BPE".equals(json.getText()),
                                "model of type " + StrictJson.quote(json.getText()) + " is not supported, only BPE");
                    case "vocab" -> vocabulary(json);
                    case "dropout" ->
                        // It would tokenize the same text differently each time.
                        require(
                                json.currentToken() == JsonToken.VALUE_NULL
                                        || (json.currentToken().isNumeric() && json.getDoubleValue() == 0),
                                "model: dropout is not supported");
                    default -> json.skipChildren();
                }
            }
        }

        private void vocabulary(JsonParser json) throws IOException {
            require(json.currentToken() == JsonToken.START_OBJECT, "model: vocab is not an object");
            for (String piece = json.nextFieldName(); piece != null; piece = json.nextFieldName()) {
                json.nextToken();
                int id = id(json, piece);
                String other = vocabulary.put(id, piece);
                require(
                        other == null,
                        "id " + id + " is given to two tokens, " + StrictJson.quote(String.valueOf(other)) + " and "
                                + StrictJson.quote(piece));
            }
        }
    }
}
