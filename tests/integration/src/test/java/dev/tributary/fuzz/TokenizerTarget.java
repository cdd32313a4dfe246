// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.engine.text.Detokenizer;
import dev.tributary.engine.text.Tokenizer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.random.RandomGenerator;

/** {@code tokenizer.json}, which our own reader and a native library read; one that opens is used both ways. */
final class TokenizerTarget implements FuzzTarget {
    private static final String TEXT = "text";
    private static final int VOCABULARY = 512;
    private static final List<String> NORMALIZERS = List.of(
            "null",
            "{\"type\":\"NFC\"}",
            "{\"type\":\"NFKD\"}",
            "{\"type\":\"Lowercase\"}",
            "{\"type\":\"Prepend\",\"prepend\":\"▁\"}",
            "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"▁\"}",
            "{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true}",
            "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"Lowercase\"}]}",
            "{\"type\":\"StripAccents\"}",
            "{\"type\":\"BertNormalizer\"}",
            "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}");
    private static final List<String> PRE_TOKENIZERS = List.of(
            "null",
            "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true}",
            "{\"type\":\"Digits\",\"individual_digits\":true}",
            "{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"first\",\"split\":true}",
            "{\"type\":\"Punctuation\",\"behavior\":\"Isolated\"}",
            "{\"type\":\"Whitespace\"}",
            "{\"type\":\"WhitespaceSplit\"}",
            "{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":\"MergedWithPrevious\",\"invert\":true}",
            "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\s+|\\\\p{L}+\"},\"behavior\":\"Removed\",\"invert\":false}",
            "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a+)+$\"},\"behavior\":\"Isolated\",\"invert\":false}",
            "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?:(\\\\w|\\\\w\\\\w)*)*x\"},\"behavior\":\"Isolated\",\"invert\":false}",
            "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?:)\"},\"behavior\":\"Contiguous\",\"invert\":true}",
            "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(.*)\\\\1\\\\1\"},\"behavior\":\"Isolated\",\"invert\":false}",
            "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[\"},\"behavior\":\"Isolated\",\"invert\":false}",
            "{\"type\":\"BertPreTokenizer\"}",
            "{\"type\":\"UnicodeScripts\"}");
    private static final List<String> DECODERS = List.of(
            "null",
            "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true}",
            "{\"type\":\"ByteFallback\"}",
            "{\"type\":\"Fuse\"}",
            "{\"type\":\"Replace\",\"pattern\":{\"String\":\"▁\"},\"content\":\" \"}",
            "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}",
            "{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"always\",\"split\":true}",
            "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]}",
            "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}",
            "{\"type\":\"CTC\"}");
    private static final List<String> PROCESSORS = List.of(
            "null",
            "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":false,\"use_regex\":true}",
            "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],"
                    + "\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],"
                    + "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[1],\"tokens\":[\"<s>\"]}}}",
            "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<x>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":0}}],"
                    + "\"pair\":[],\"special_tokens\":{\"<x>\":{\"id\":\"<x>\",\"ids\":[7,600],\"tokens\":[\"<x>\",\"y\"]}}}",
            "{\"type\":\"TemplateProcessing\",\"single\":[],\"pair\":[],\"special_tokens\":{}}",
            "{\"type\":\"BertProcessing\",\"sep\":[\"a\",1],\"cls\":[\"b\",2]}",
            "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true}]}");
    private static final Map<String, List<String>> PARTS = Map.of(
            "normalizer", NORMALIZERS,
            "pre_tokenizer", PRE_TOKENIZERS,
            "decoder", DECODERS,
            "post_processor", PROCESSORS);
    private static final List<String> OTHERS = List.of(
            "\"BPE\"",
            "\"Unigram\"",
            "\"WordPiece\"",
            "\"WordLevel\"",
            "\"dropout\"",
            "\"unk_token\"",
            "\"continuing_subword_prefix\"",
            "\"end_of_word_suffix\"",
            "\"byte_fallback\"",
            "\"ignore_merges\"",
            "\"merges\"",
            "[\"a\",\"b\"]",
            "\"a b\"",
            "\"a\"",
            "\"##\"",
            "{\"id\":400,\"content\":\"<x>\",\"single_word\":false,\"lstrip\":true,\"rstrip\":true,\"normalized\":true,\"special\":false}",
            "{\"direction\":\"Right\",\"max_length\":0,\"strategy\":\"LongestFirst\",\"stride\":0}",
            "{\"direction\":\"Left\",\"max_length\":1,\"strategy\":\"OnlySecond\",\"stride\":7}",
            "{\"strategy\":{\"Fixed\":1000000000},\"direction\":\"Right\",\"pad_to_multiple_of\":0,\"pad_id\":0,\"pad_type_id\":0,\"pad_token\":\"<s>\"}",
            "{\"strategy\":\"BatchLongest\",\"direction\":\"Left\",\"pad_to_multiple_of\":0,\"pad_id\":4294967295,\"pad_type_id\":0,\"pad_token\":\"\"}",
            "\"truncation\"",
            "\"padding\"");

    private final List<ObjectNode> seeds = new ArrayList<>();
    private final List<String> words = new ArrayList<>(OTHERS);

    TokenizerTarget() {
        seeds.add(Seeds.demoTokenizer());
        seeds.add(Seeds.object(Seeds.models().getFirst().file(Seeds.TOKENIZER)));
        seeds.add(byteFallback());
        PARTS.forEach((part, choices) -> {
            words.add('"' + part + '"');
            words.addAll(choices);
        });
    }

    /** As Llama 2: words begin with ▁, other characters fall back to byte tokens. */
    private static ObjectNode byteFallback() {
        ObjectNode file = Seeds.demoTokenizer();
        ObjectNode model = (ObjectNode) file.get("model");
        ObjectNode vocabulary = model.putObject("vocab").put("<|endoftext|>", 0);
        model.putArray("merges").addArray().add("▁").add("a");
        for (int b = 0; b < 256; b++) {
            vocabulary.put(String.format("<0x%02X>", b), 1 + b);
        }
        for (String piece : List.of("▁", "a", "▁a", "日", "😀", "<unk>")) {
            vocabulary.put(piece, vocabulary.size());
        }
        model.put("byte_fallback", true).put("unk_token", "<unk>").put("fuse_unk", true);
        set(file, "normalizer", NORMALIZERS.get(5));
        set(file, "pre_tokenizer", PRE_TOKENIZERS.getFirst());
        set(file, "decoder", DECODERS.get(7));
        return file;
    }

    private static void set(ObjectNode file, String part, String json) {
        file.set(part, Seeds.object(Seeds.bytes("{\"x\":" + json + "}")).get("x"));
    }

    @Override
    public Input draw(RandomGenerator random) {
        ObjectNode file = seeds.get(random.nextInt(seeds.size())).deepCopy();
        for (String part : PARTS.keySet().stream().sorted().toList()) {
            List<String> choices = PARTS.getOrDefault(part, List.of());
            if (random.nextInt(4) == 0) {
                set(file, part, choices.get(random.nextInt(choices.size())));
            }
        }
        byte[] json = Seeds.bytes(file.toString());
        return new Input(Map.of(
                Seeds.TOKENIZER,
                random.nextInt(6) == 0 ? json : JsonDamage.to(json, words, random),
                TEXT,
                Seeds.bytes(random.nextInt(4) == 0 ? "a".repeat(random.nextInt(5000)) + "!" : Texts.any(random))));
    }

    @Override
    public void feed(Input input, Path scratch) throws Exception {
        input.write(scratch);
        String text = new String(input.file(TEXT), java.nio.charset.StandardCharsets.UTF_8);
        try (Tokenizer tokenizer = Tokenizer.open(scratch, VOCABULARY)) {
            int[] tokens = tokenizer.encode(text);
            tokenizer.encodeRendered("<s>"
                    + text.substring(
                            0, text.offsetByCodePoints(0, Math.min(40, text.codePointCount(0, text.length())))));
            for (int token : tokens) {
                if (token < 0 || token >= VOCABULARY) {
                    throw new AssertionError("token " + token + " outside the vocabulary");
                }
            }
            Detokenizer detokenizer = tokenizer.detokenizer();
            int length = 0;
            for (int token : tokens) {
                length += detokenizer.append(token).length();
            }
            length += detokenizer.flush().length();
            tokenizer.decode(tokens);
            if (length < 0) {
                throw new AssertionError("the length is there to be used");
            }
        }
    }
}
