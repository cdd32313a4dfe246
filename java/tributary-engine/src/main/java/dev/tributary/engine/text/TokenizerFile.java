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
import java.util.Optional;
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
    /** The library's own limit is 128. */
    private static final int MAX_NESTING = 100;

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
                requireReadable(text);
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

        /** What the library's own JSON refuses, wherever it stands: inside a decoder that would end the process. */
        private void requireReadable(String text) throws IOException {
            int depth = 0;
            try (JsonParser json = StrictJson.parser(text)) {
                for (JsonToken token = json.nextToken(); token != null; token = json.nextToken()) {
                    switch (token) {
                        case START_OBJECT, START_ARRAY ->
                            require(++depth <= MAX_NESTING, "nested deeper than " + MAX_NESTING + " levels");
                        case END_OBJECT, END_ARRAY -> depth--;
                        case FIELD_NAME, VALUE_STRING ->
                            require(
                                    Unicode.unpairedSurrogate(json.getText()) < 0,
                                    StrictJson.quote(json.getText()) + " is not valid Unicode: unpaired surrogate");
                        case VALUE_NUMBER_INT, VALUE_NUMBER_FLOAT ->
                            require(
                                    Double.isFinite(json.getDoubleValue()),
                                    "the number " + StrictJson.quote(json.getText()) + " is too large");
                        default -> {}
                    }
                }
            }
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
            if (type.equals("TemplateProcessing")) {
                requireTemplate(node);
            }
            JsonNode regex = node.path("pattern").path("Regex");
            if (regex.isTextual()) {
                Optional<String> objection = SplitPattern.objection(regex.textValue());
                require(
                        objection.isEmpty(),
                        part + ": the regular expression " + StrictJson.quote(regex.textValue()) + " "
                                + objection.orElse(""));
            }
        }

        /** The library looks its pieces up without a check when a text is tokenized. */
        private void requireTemplate(JsonNode node) {
            JsonNode specialTokens = node.path("special_tokens");
            for (String template : List.of("single", "pair")) {
                for (JsonNode piece : node.path(template)) {
                    String name = piece.path("SpecialToken").path("id").asText("");
                    require(
                            !piece.has("SpecialToken") || specialTokens.has(name),
                            "post_processor: " + template + " names " + StrictJson.quote(name)
                                    + ", which special_tokens lacks");
                }
            }
            for (JsonNode piece : node.path("single")) {
                require(
                        !piece.path("Sequence").path("id").asText("").equals("B"),
                        "post_processor: single holds the sequence \"B\", expected only \"A\"");
            }
            for (JsonNode token : specialTokens) {
                JsonNode ids = token.path("ids");
                require(
                        ids.isArray() && ids.size() == token.path("tokens").size(),
                        "post_processor: special_tokens holds " + StrictJson.quote(token.toString())
                                + ", expected as many ids as tokens");
                for (JsonNode id : ids) {
                    require(
                            id.canConvertToInt() && id.intValue() >= 0 && id.intValue() < vocabularySize,
                            "post_processor: special_tokens holds the id " + StrictJson.quote(id.toString())
                                    + ", expected one from 0 to " + (vocabularySize - 1));
                }
            }
        }

        private int id(JsonParser json, String piece) throws IOException {
            require(
                    json.currentToken() == JsonToken.VALUE_NUMBER_INT
                            && json.getNumberType() == JsonParser.NumberType.INT
                            && json.getIntValue() >= 0,
                    "token " + StrictJson.quote(piece) + " has the id " + StrictJson.quote(json.getText())
                            + ", expected a non-negative integer");
            return requireInVocabulary(json.getIntValue(), piece);
        }

        private String text(JsonParser json, String what) throws IOException {
            require(
                    json.currentToken() == JsonToken.VALUE_STRING,
                    "the " + what + " is " + json.getText() + ", expected a string");
            return json.getText();
        }

        private int requireInVocabulary(int id, String piece) {
            require(
                    id < vocabularySize,
                    "token " + StrictJson.quote(piece) + " has id " + id + ", but the model's vocabulary ends at "
                            + (vocabularySize - 1));
            return id;
        }

        private void addedTokens(JsonParser json) throws IOException {
            require(
                    json.currentToken() == JsonToken.START_ARRAY,
                    "added_tokens is " + json.getText() + ", expected a list");
            while (json.nextToken() != JsonToken.END_ARRAY) {
                require(
                        json.currentToken() == JsonToken.START_OBJECT,
                        "added_tokens holds " + json.getText() + ", expected objects");
                int id = -1;
                String content = "";
                boolean isSpecial = false;
                for (String name = json.nextFieldName(); name != null; name = json.nextFieldName()) {
                    json.nextToken();
                    switch (name) {
                        case "id" -> id = id(json, content);
                        case "content" -> content = text(json, "content of an added token");
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
            require(
                    json.currentToken() == JsonToken.START_OBJECT,
                    "model is " + json.getText() + ", expected an object");
            hasModel = true;
            for (String name = json.nextFieldName(); name != null; name = json.nextFieldName()) {
                json.nextToken();
                switch (name) {
                    case "type" -> {
                        String type = text(json, "type of the model");
                        require(
                                type.equals("BPE"),
                                "model of type " + StrictJson.quote(type) + " is not supported, only BPE");
                    }
                    case "vocab" -> vocabulary(json);
                    case "dropout" ->
                        // It would tokenize the same text differently each time.
                        require(
                                json.currentToken() == JsonToken.VALUE_NULL
                                        || (json.currentToken().isNumeric() && json.getDoubleValue() == 0),
                                "model: dropout is " + json.getText() + ", expected null or 0");
                    case "continuing_subword_prefix" ->
                        // The library cuts so much off the second piece of each merge, without looking how long that
                        // is.
                        require(
                                json.currentToken() == JsonToken.VALUE_NULL
                                        || (json.currentToken() == JsonToken.VALUE_STRING
                                                && json.getText().isEmpty()),
                                "model: continuing_subword_prefix is " + StrictJson.quote(json.getText())
                                        + ", expected null");
                    default -> json.skipChildren();
                }
            }
        }

        private void vocabulary(JsonParser json) throws IOException {
            require(
                    json.currentToken() == JsonToken.START_OBJECT,
                    "model: vocab is " + json.getText() + ", expected an object");
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
