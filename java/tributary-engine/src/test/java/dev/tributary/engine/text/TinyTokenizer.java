// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/** Small but real {@code tokenizer.json} files: BPE with random merges. */
public final class TinyTokenizer {
    private TinyTokenizer() {}

    /** As GPT-2 and Llama 3: pieces spell bytes. Ids 0 and 1 are special. */
    public static ObjectNode byteLevel(long seed, int vocabularySize) {
        List<String> alphabet = new ArrayList<>();
        for (int b = 0, substitute = 0x100; b < 256; b++) {
            boolean printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
            alphabet.add(String.valueOf((char) (printable ? b : substitute++)));
        }
        ObjectNode file = bpe(List.of("<s>", "</s>"), List.of(), alphabet, seed, vocabularySize);
        file.putObject("pre_tokenizer")
                .put("type", "ByteLevel")
                .put("add_prefix_space", false)
                .put("trim_offsets", true)
                .put("use_regex", true);
        file.putObject("decoder")
                .put("type", "ByteLevel")
                .put("add_prefix_space", true)
                .put("trim_offsets", true)
                .put("use_regex", true);
        return file;
    }

    /** As Llama 2: words begin with ▁, other characters fall back to byte tokens. Ids 0 to 2 are special. */
    public static ObjectNode byteFallback(long seed, int vocabularySize) {
        List<String> bytes = new ArrayList<>();
        for (int b = 0; b < 256; b++) {
            bytes.add(String.format("<0x%02X>", b));
        }
        List<String> alphabet = new ArrayList<>(List.of("▁", "é", "日", "😀"));
        for (char c = '!'; c <= '~'; c++) {
            alphabet.add(String.valueOf(c));
        }
        ObjectNode file = bpe(List.of("<unk>", "<s>", "</s>"), bytes, alphabet, seed, vocabularySize);
        ((ObjectNode) file.get("model"))
                .put("byte_fallback", true)
                .put("unk_token", "<unk>")
                .put("fuse_unk", true);
        ObjectNode normalizer = file.putObject("normalizer").put("type", "Sequence");
        ArrayNode normalizers = normalizer.putArray("normalizers");
        normalizers.addObject().put("type", "Prepend").put("prepend", "▁");
        replace(normalizers.addObject(), " ", "▁");
        ArrayNode decoders = file.putObject("decoder").put("type", "Sequence").putArray("decoders");
        replace(decoders.addObject(), "▁", " ");
        decoders.addObject().put("type", "ByteFallback");
        decoders.addObject().put("type", "Fuse");
        decoders.addObject()
                .put("type", "Strip")
                .put("content", " ")
                .put("start", 1)
                .put("stop", 0);
        return file;
    }

    /** As byteFallback, but spaces are handled by Metaspace alone. */
    public static ObjectNode metaspace(long seed, int vocabularySize, String scheme) {
        ObjectNode file = byteFallback(seed, vocabularySize);
        file.putNull("normalizer");
        metaspace(file.putObject("pre_tokenizer"), scheme);
        ArrayNode decoders = file.putObject("decoder").put("type", "Sequence").putArray("decoders");
        decoders.addObject().put("type", "ByteFallback");
        metaspace(decoders.addObject(), scheme);
        return file;
    }

    private static void metaspace(ObjectNode node, String scheme) {
        node.put("type", "Metaspace")
                .put("replacement", "▁")
                .put("prepend_scheme", scheme)
                .put("split", false);
    }

    private static void replace(ObjectNode node, String pattern, String content) {
        node.put("type", "Replace").put("content", content).putObject("pattern").put("String", pattern);
    }

    private static ObjectNode bpe(
            List<String> special, List<String> bytes, List<String> alphabet, long seed, int vocabularySize) {
        ObjectNode file = new JsonMapper().createObjectNode();
        file.put("version", "1.0").putNull("truncation").putNull("padding");
        ArrayNode added = file.putArray("added_tokens");
        Map<String, Integer> ids = new LinkedHashMap<>();
        for (String content : special) {
            added.addObject()
                    .put("id", ids.size())
                    .put("content", content)
                    .put("single_word", false)
                    .put("lstrip", false)
                    .put("rstrip", false)
                    .put("normalized", false)
                    .put("special", true);
            ids.put(content, ids.size());
        }
        bytes.forEach(piece -> ids.put(piece, ids.size()));
        alphabet.forEach(piece -> ids.put(piece, ids.size()));
        file.putNull("normalizer").putNull("pre_tokenizer").putNull("post_processor");
        ObjectNode model = file.putObject("model");
        model.put("type", "BPE")
                .putNull("dropout")
                .putNull("unk_token")
                .putNull("continuing_subword_prefix")
                .putNull("end_of_word_suffix")
                .put("fuse_unk", false)
                .put("byte_fallback", false)
                .put("ignore_merges", false);
        ObjectNode vocabulary = model.putObject("vocab");
        ArrayNode merges = model.putArray("merges");
        Random random = new Random(seed);
        List<String> pieces = new ArrayList<>(alphabet);
        while (ids.size() < vocabularySize) {
            String left = pieces.get(random.nextInt(pieces.size()));
            String right = pieces.get(random.nextInt(pieces.size()));
            if (ids.putIfAbsent(left + right, ids.size()) == null) {
                pieces.add(left + right);
                merges.addArray().add(left).add(right);
            }
        }
        ids.forEach(vocabulary::put);
        return file;
    }
}
