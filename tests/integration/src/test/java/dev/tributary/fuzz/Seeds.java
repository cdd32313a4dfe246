// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.stream.Stream;

/** Sound inputs, which targets damage: the models of the fixtures, the demo's tokenizer, the reference's templates. */
final class Seeds {
    static final String CONFIG = "config.json";
    static final String GENERATION = "generation_config.json";
    static final String TOKENIZER = "tokenizer.json";
    static final String TOKENIZER_CONFIG = "tokenizer_config.json";
    static final String STREAMS = "streams/streams.json";
    static final String STREAM_WEIGHTS = "streams/streams.safetensors";

    private static final JsonMapper MAPPER = new JsonMapper();
    private static final int DEMO_PIECES = 300;

    private Seeds() {}

    static Path root() {
        return Path.of(System.getProperty("tributary.root"));
    }

    /** The models of the fixtures that are whole: with weights, tokenizer and streams; small, of every family. */
    static List<Input> models() {
        List<Input> models = new ArrayList<>();
        byte[] tokenizer = read(root().resolve("tests/fixtures/models/tiny-qwen2/tokenizer.json"));
        for (Path folder : list(root().resolve("tests/fixtures/models"))) {
            Input model;
            try {
                model = Input.read(folder);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
            // Those without a tokenizer have a vocabulary that is large enough for this one.
            Input whole = model.files().containsKey(TOKENIZER) ? model : model.with(TOKENIZER, tokenizer);
            models.add(whole.with(GENERATION, bytes("{\"eos_token_id\": [1, 2], \"temperature\": 0.6}"))
                    .with(TOKENIZER_CONFIG, bytes(tokenizerConfig())));
        }
        return models;
    }

    private static String tokenizerConfig() {
        return MAPPER.createObjectNode()
                .put("bos_token", "<s>")
                .put("eos_token", "</s>")
                .put("tokenizer_class", "LlamaTokenizer")
                .put(
                        "chat_template",
                        "{{ bos_token }}{% for m in messages %}{{ m.role ~ ': ' ~ m.content }}{% endfor %}")
                .toString();
    }

    /** The demo's tokenizer with its first pieces only, and the merges that they allow. */
    static ObjectNode demoTokenizer() {
        ObjectNode file = object(read(root().resolve("models/demo/tokenizer.json")));
        ObjectNode model = (ObjectNode) file.get("model");
        ObjectNode pieces = MAPPER.createObjectNode();
        model.get("vocab").properties().forEach(piece -> {
            if (piece.getValue().intValue() < DEMO_PIECES) {
                pieces.set(piece.getKey(), piece.getValue());
            }
        });
        ArrayNode merges = MAPPER.createArrayNode();
        for (JsonNode merge : model.get("merges")) {
            if (pieces.has(merge.get(0).textValue() + merge.get(1).textValue())) {
                merges.add(merge);
            }
        }
        model.set("vocab", pieces);
        model.set("merges", merges);
        return file;
    }

    /** What transformers makes of chat templates: {@code templates}, {@code snippets}, {@code conversations}, {@code tools}. */
    static ObjectNode chatReference() {
        return object(read(root().resolve("java/tributary-engine/src/test/resources/dev/tributary/engine/template/"
                + "chat_reference.json")));
    }

    static ObjectNode object(byte[] json) {
        try {
            return (ObjectNode) MAPPER.readTree(json);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static byte[] read(Path file) {
        try {
            return Files.readAllBytes(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** The names of the safetensors files of a model's base. */
    static List<String> weights(Input model) {
        return new TreeMap<>(model.files())
                .keySet().stream()
                        .filter(name -> name.endsWith(".safetensors") && !name.contains("/"))
                        .toList();
    }

    private static List<Path> list(Path folder) {
        try (Stream<Path> found = Files.list(folder)) {
            return found.sorted().toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
