// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.JsonNode;
import dev.tributary.ModelFormatException;
import dev.tributary.engine.model.StrictJson;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * One step of the decoder of {@code tokenizer.json}: a list of pieces becomes another one. What the last step leaves,
 * joined, is the text.
 */
sealed interface DecodeStep {
    /** No decoder: pieces are joined by spaces. */
    record Spaced() implements DecodeStep {}

    /** Pieces spell bytes, one printable character each; the bytes of all pieces are read as UTF-8. */
    record ByteLevel() implements DecodeStep {}

    /**
     * Exchanges a pattern in every piece.
     *
     * @param pattern what to replace
     * @param content by what
     */
    record Replace(String pattern, String content) implements DecodeStep {}

    /** Runs of pieces such as {@code <0xE2>} are bytes of UTF-8. */
    record ByteFallback() implements DecodeStep {}

    /** Joins all pieces into one. */
    record Fuse() implements DecodeStep {}

    /**
     * Removes a character from the start of every piece.
     *
     * @param content code point
     * @param start at most so many times
     */
    record Strip(int content, int start) implements DecodeStep {}

    /**
     * A visible character stands for a space.
     *
     * @param replacement that character, code point
     * @param dropInFirst whether the first piece has none
     */
    record Metaspace(int replacement, boolean dropInFirst) implements DecodeStep {}

    /** Reads the value of the field {@code decoder} and checks that it can be streamed. */
    static List<DecodeStep> read(Path file, JsonParser json) throws IOException {
        JsonNode node = StrictJson.value(json);
        List<DecodeStep> steps = new ArrayList<>();
        if (node.isNull()) {
            steps.add(new Spaced());
        } else {
            add(file, node, steps);
        }
        boolean fused = false;
        for (DecodeStep step : steps) {
            switch (step) {
                case ByteLevel(), ByteFallback(), Metaspace _ -> require(file, !fused, step, "after pieces are joined");
                case Replace replace ->
                    require(
                            file,
                            !fused
                                    || replace.pattern()
                                                    .codePointCount(
                                                            0, replace.pattern().length())
                                            == 1,
                            step,
                            "of several characters after pieces are joined");
                case Spaced(), Fuse(), Strip _ -> {}
            }
            fused |= step instanceof Fuse || step instanceof ByteLevel;
        }
        return List.copyOf(steps);
    }

    private static void require(Path file, boolean holds, DecodeStep step, String problem) {
        if (!holds) {
            throw new ModelFormatException(
                    file + ": decoder: " + step.getClass().getSimpleName() + " " + problem + " is not supported");
        }
    }

    private static void add(Path file, JsonNode node, List<DecodeStep> steps) {
        String type = node.path("type").asText("");
        switch (type) {
            case "Sequence" -> node.path("decoders").forEach(step -> add(file, step, steps));
            case "ByteLevel" -> steps.add(new ByteLevel());
            case "ByteFallback" -> steps.add(new ByteFallback());
            case "Fuse" -> steps.add(new Fuse());
            case "Replace" -> {
                String pattern = node.path("pattern").path("String").asText("");
                if (pattern.isEmpty()) {
                    throw unsupported(file, node);
                }
                steps.add(new Replace(pattern, node.path("content").asText("")));
            }
            case "Strip" -> {
                if (node.path("stop").asInt(0) != 0) {
                    throw unsupported(file, node);
                }
                steps.add(new Strip(
                        character(file, node, "content"), node.path("start").asInt(0)));
            }
            case "Metaspace" -> {
                boolean drop = node.has("prepend_scheme")
                        ? !node.path("prepend_scheme").asText("").equals("never")
                        : node.path("add_prefix_space").asBoolean(true);
                steps.add(new Metaspace(character(file, node, "replacement"), drop));
            }
            default -> throw unsupported(file, node);
        }
    }

    private static int character(Path file, JsonNode node, String field) {
        String text = node.path(field).asText("");
        if (text.codePointCount(0, text.length()) != 1) {
            throw unsupported(file, node);
        }
        return text.codePointAt(0);
    }

    private static ModelFormatException unsupported(Path file, JsonNode node) {
        return new ModelFormatException(file + ": decoder " + StrictJson.quote(node.toString()) + " is not supported");
    }
}
