// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.ModelFormatException;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Every malformed model is refused by one line that names file and problem, and leaves nothing mapped. */
class MalformedModelTest {
    private static final String WEIGHTS = "model.safetensors";
    private static final String INDEX = "model.safetensors.index.json";

    /** Changes the model before it is written, or its files afterwards. */
    private interface Damage {
        void to(TinyModel model, Path directory) throws IOException;
    }

    private record Malformed(String name, String file, String problem, boolean afterWriting, Damage damage) {}

    private final List<Malformed> all = new ArrayList<>();

    @TempDir
    Path temporary;

    private void before(String name, String file, String problem, Damage damage) {
        all.add(new Malformed(name, file, problem, false, damage));
    }

    private void after(String name, String file, String problem, Damage damage) {
        all.add(new Malformed(name, file, problem, true, damage));
    }

    private void config(String name, String problem, String field, Object value) {
        before(name, "config.json", problem, (m, d) -> m.config.set(field, new JsonMapper().valueToTree(value)));
    }

    private void header(String name, String problem, Consumer<ObjectNode> change) {
        after(name, WEIGHTS, problem, (m, d) -> {
            ObjectNode header = m.weights.header();
            change.accept(header);
            m.weights.write(d.resolve(WEIGHTS), header.toString());
        });
    }

    private void rawHeader(String name, String problem, String header) {
        after(name, WEIGHTS, problem, (m, d) -> m.weights.write(d.resolve(WEIGHTS), header));
    }

    private void headerLength(String name, long length) {
        after(name, WEIGHTS, "header length", (m, d) -> {
            byte[] bytes = Files.readAllBytes(d.resolve(WEIGHTS));
            ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putLong(length);
            Files.write(d.resolve(WEIGHTS), bytes);
        });
    }

    private static ObjectNode norm(ObjectNode header) {
        return (ObjectNode) header.get("model.norm.weight");
    }

    private static void offsets(ObjectNode tensor, long begin, long end) {
        tensor.putArray("data_offsets").add(begin).add(end);
    }

    /** Two shards and their index. */
    private static ObjectNode shard(TinyModel model, Path directory) throws IOException {
        SafetensorsWriter first = new SafetensorsWriter();
        SafetensorsWriter second = new SafetensorsWriter();
        ObjectNode index = new JsonMapper().createObjectNode();
        index.putObject("metadata").put("total_size", 1);
        ObjectNode map = index.putObject("weight_map");
        model.weights.tensors.forEach((name, tensor) -> {
            boolean inFirst = name.startsWith("model.layers.");
            (inFirst ? first : second).tensors.put(name, tensor);
            map.put(name, inFirst ? "model-00001-of-00002.safetensors" : "model-00002-of-00002.safetensors");
        });
        first.write(directory.resolve("model-00001-of-00002.safetensors"));
        second.write(directory.resolve("model-00002-of-00002.safetensors"));
        Files.delete(directory.resolve(WEIGHTS));
        return index;
    }

    private void index(String name, String file, String problem, Consumer<ObjectNode> change) {
        after(name, file, problem, (m, d) -> {
            ObjectNode index = shard(m, d);
            change.accept(index);
            Files.writeString(d.resolve(INDEX), index.toString());
        });
    }

    private static void replaceText(Path file, String from, String to) throws IOException {
        String text = Files.readString(file);
        assertTrue(text.contains(from), from);
        Files.writeString(file, text.replace(from, to));
    }

    private List<Malformed> malformed() {
        all.clear();
        // The length and the text of the header.
        headerLength("header length zero", 0);
        headerLength("header length beyond the file", 1L << 20);
        headerLength("header length above the format's limit", 100_000_001);
        headerLength("header length negative", -1);
        headerLength("header length overflows when added to", Long.MAX_VALUE);
        after("empty weights", WEIGHTS, "0 bytes", (m, d) -> Files.write(d.resolve(WEIGHTS), new byte[0]));
        after("seven bytes", WEIGHTS, "7 bytes", (m, d) -> Files.write(d.resolve(WEIGHTS), new byte[7]));
        after("truncated in the header", WEIGHTS, "header length", (m, d) -> truncate(d.resolve(WEIGHTS), 100));
        after(
                "truncated in the data",
                WEIGHTS,
                "do not lie within",
                (m, d) -> truncate(d.resolve(WEIGHTS), Files.size(d.resolve(WEIGHTS)) - 1));
        after(
                "bytes behind the tensors",
                WEIGHTS,
                "the tensors end at",
                (m, d) -> Files.write(d.resolve(WEIGHTS), new byte[3], StandardOpenOption.APPEND));
        rawHeader("header is no JSON", "not valid JSON", "{\"a\": }");
        rawHeader("header begins with a space", "does not begin with '{'", " {}");
        rawHeader("header is a list", "does not begin with '{'", "[]");
        rawHeader("header goes on", "goes on after", "{} {}");
        rawHeader("header ends early", "not valid JSON", "{\"a\":{\"dtype\":\"BF16\"");
        rawHeader("tensor is a string", "is not an object", "{\"a\":\"b\"}");
        rawHeader("tensor twice", "not valid JSON: Duplicate", "{\"a\":" + EMPTY + ",\"a\":" + EMPTY + "}");
        rawHeader("metadata twice", "not valid JSON: Duplicate", "{\"__metadata__\":{},\"__metadata__\":{}}");
        rawHeader("metadata not of strings", "__metadata__", "{\"__metadata__\":{\"a\":1}}");
        rawHeader("name with a line break", "tensor \"a\\u000ab\"", "{\"a\\nb\":1}");
        after(
                "header is not UTF-8",
                WEIGHTS,
                "not valid UTF-8",
                (m, d) -> m.weights.write(
                        d.resolve(WEIGHTS), new byte[] {'{', '"', (byte) 0xC0, (byte) 0x80, '"', ':', '1', '}'}));
        // The tensors.
        header("unknown dtype", "\"BF17\" is unknown", h -> norm(h).put("dtype", "BF17"));
        header("dtype is a number", "dtype is not a string", h -> norm(h).put("dtype", 16));
        header("dtype of another size", "hold 32", h -> norm(h).put("dtype", "F32"));
        header("unknown field of a tensor", "unknown field", h -> norm(h).put("strides", 1));
        header("no shape", "lacks its shape", h -> norm(h).remove("shape"));
        header("no offsets", "lacks its data_offsets", h -> norm(h).remove("data_offsets"));
        header(
                "negative dimension",
                "non-negative",
                h -> norm(h).putArray("shape").add(-16));
        header(
                "fractional dimension",
                "non-negative",
                h -> norm(h).putArray("shape").add(16.5));
        header(
                "dimension above 64 bits",
                "non-negative",
                h -> norm(h).putArray("shape").add(new BigInteger("18446744073709551632")));
        header(
                "shape overflows",
                "overflows",
                h -> norm(h).putArray("shape").add(1L << 40).add(1L << 40));
        header("shape of nine dimensions", "more than 8", h -> {
            ArrayNode shape = norm(h).putArray("shape");
            for (int i = 0; i < 9; i++) {
                shape.add(1);
            }
        });
        header(
                "one offset",
                "must be two numbers",
                h -> norm(h).putArray("data_offsets").add(0));
        header("offsets reversed", "do not lie within", h -> offsets(norm(h), 64, 32));
        header("offsets beyond the file", "do not lie within", h -> offsets(norm(h), 1L << 40, (1L << 40) + 32));
        header("size is not the shape's", "has 32 bytes", h -> offsets(norm(h), 0, 30));
        header("overlap", "inside another one", h -> offsets(norm(h), 0, 32));
        header("hole", "after a hole", h -> h.remove("model.norm.weight"));
        // What the architecture asks for.
        before(
                "tensor missing",
                WEIGHTS,
                "\"model.norm.weight\" is missing",
                (m, d) -> m.weights.tensors.remove("model.norm.weight"));
        before(
                "tensor extra",
                WEIGHTS,
                "\"model.extra\" is not part",
                (m, d) -> m.add(m.weights, "model.extra", DType.BF16, 4));
        before(
                "tensor transposed",
                WEIGHTS,
                "must have shape [40, 16], got [16, 40]",
                (m, d) -> m.add(m.weights, "model.layers.1.mlp.up_proj.weight", DType.BF16, 16, 40));
        before("types mixed", WEIGHTS, "one type", (m, d) -> m.add(m.weights, "model.norm.weight", DType.F16, 16));
        before(
                "weights of integers",
                WEIGHTS,
                "is I16",
                (m, d) -> m.add(m.weights, "model.norm.weight", DType.I16, 16));
        before(
                "tied head that differs",
                WEIGHTS,
                "differs from the embedding",
                (m, d) -> m.config.put("tie_word_embeddings", true));
        after("no weights", "", "holds neither", (m, d) -> Files.delete(d.resolve(WEIGHTS)));
        after("weights are a directory", WEIGHTS, "cannot be read", (m, d) -> {
            Files.delete(d.resolve(WEIGHTS));
            Files.createDirectory(d.resolve(WEIGHTS));
        });
        // Shards.
        after(
                "index beside a single file",
                "",
                "holds both",
                (m, d) -> Files.writeString(d.resolve(INDEX), "{\"weight_map\":{}}"));
        index(
                "shard outside the directory",
                INDEX,
                "not a plain",
                i -> map(i).put("lm_head.weight", "../a.safetensors"));
        index("shard with an absolute path", INDEX, "not a plain", i -> map(i).put("lm_head.weight", "/a.safetensors"));
        index("shard with a backslash", INDEX, "not a plain", i -> map(i).put("lm_head.weight", "..\\a.safetensors"));
        index("shard that is no safetensors", INDEX, "not a plain", i -> map(i).put("lm_head.weight", "config.json"));
        index(
                "tensor that its shard lacks",
                INDEX,
                "\"ghost\" is not in",
                i -> map(i).put("ghost", "model-00001-of-00002.safetensors"));
        after("shard missing", "model-00002-of-00002.safetensors", "no such file", (m, d) -> {
            Files.writeString(d.resolve(INDEX), shard(m, d).toString());
            Files.delete(d.resolve("model-00002-of-00002.safetensors"));
        });
        index(
                "tensor that the index forgets",
                "model-00002-of-00002.safetensors",
                "not assigned",
                i -> map(i).remove("lm_head.weight"));
        index("index without a map", INDEX, "weight_map is missing", i -> i.remove("weight_map"));
        index("index with an empty map", INDEX, "names no tensor", i -> i.putObject("weight_map"));
        index("index of numbers", INDEX, "must be a string", i -> map(i).put("lm_head.weight", 2));
        // The configuration.
        after("no config", "config.json", "no such file", (m, d) -> Files.delete(d.resolve("config.json")));
        after(
                "config is a list",
                "config.json",
                "expected a JSON object",
                (m, d) -> Files.writeString(d.resolve("config.json"), "[]"));
        after(
                "config is empty",
                "config.json",
                "got nothing",
                (m, d) -> Files.writeString(d.resolve("config.json"), ""));
        after(
                "config with a field twice",
                "config.json",
                "Duplicate",
                (m, d) -> replaceText(d.resolve("config.json"), "\"use_cache\"", "\"hidden_size\":16,\"use_cache\""));
        after(
                "config goes on",
                "config.json",
                "not valid JSON",
                (m, d) -> replaceText(d.resolve("config.json"), "\"eos_token_id\":1}", "\"eos_token_id\":1} true"));
        after(
                "config is not UTF-8",
                "config.json",
                "not valid UTF-8",
                (m, d) -> Files.write(d.resolve("config.json"), new byte[] {'{', (byte) 0xFF, '}'}));
        after(
                "config nested without end",
                "config.json",
                "not valid JSON",
                (m, d) -> Files.writeString(d.resolve("config.json"), "{\"a\":" + "[".repeat(100_000)));
        before(
                "config lacks a field",
                "config.json",
                "rms_norm_eps is missing",
                (m, d) -> m.config.remove("rms_norm_eps"));
        config("hidden size is a string", "hidden_size must be an integer", "hidden_size", "16");
        config("hidden size is a fraction", "hidden_size must be an integer", "hidden_size", 16.5);
        config("no layers", "num_hidden_layers must be", "num_hidden_layers", 0);
        config("layers beyond measure", "num_hidden_layers must be", "num_hidden_layers", Integer.MAX_VALUE);
        config("vocabulary above 32 bits", "vocab_size must be", "vocab_size", 1L << 40);
        config("another architecture", "architectures", "architectures", List.of("MixtralForCausalLM"));
        config(
                "another model type",
                "model_type \"gemma2\" is not supported, only \"llama\", \"mistral\", \"qwen2\", \"qwen3\" and \"phi3\"",
                "model_type",
                "gemma2");
        config("another activation", "hidden_act", "hidden_act", "gelu");
        config("quantized", "quantization_config", "quantization_config", Map.of("bits", 4));
        config("tensor-parallel pre-training", "pretraining_tp", "pretraining_tp", 2);
        config("unknown field", "\"logit_softcap\" = 30 is not supported", "logit_softcap", 30);
        config("heads do not divide", "multiple of num_key_value_heads", "num_key_value_heads", 3);
        config("head dimension 12", "head_dim must be a multiple of 8", "head_dim", 12);
        config("epsilon zero", "rms_norm_eps must be a positive number", "rms_norm_eps", 0.0);
        config("end token outside", "eos_token_id must be", "eos_token_id", 320);
        config("attention bias is a number", "attention_bias must be true or false", "attention_bias", 1);
        config("unknown rope", "\"ntk\" is not supported", "rope_scaling", Map.of("type", "ntk"));
        before("rope scaling twice", "config.json", "both given", (m, d) -> {
            m.config.putObject("rope_scaling").put("type", "linear").put("factor", 2.0);
            m.config.putObject("rope_parameters").put("rope_type", "default").put("rope_theta", 10000.0);
        });
        config("rope without its factor", "factor is missing", "rope_scaling", Map.of("type", "linear"));
        config("rope with an unknown field", "\"depth\"", "rope_scaling", Map.of("depth", 1));
        config("partial rotary", "partial_rotary_factor", "partial_rotary_factor", 0.5);
        after(
                "generation_config is no JSON",
                "generation_config.json",
                "not valid JSON",
                (m, d) -> Files.writeString(d.resolve("generation_config.json"), "{"));
        // The tokenizer.
        after("no tokenizer", "tokenizer.json", "no such file", (m, d) -> Files.delete(d.resolve("tokenizer.json")));
        after(
                "tokenizer is garbage",
                "tokenizer.json",
                "not valid JSON",
                (m, d) -> Files.writeString(d.resolve("tokenizer.json"), "garbage"));
        after(
                "tokenizer without a model",
                "tokenizer.json",
                "model is missing",
                (m, d) -> Files.writeString(d.resolve("tokenizer.json"), "{}"));
        after(
                "tokenizer cut off",
                "tokenizer.json",
                "not valid JSON",
                (m, d) -> truncate(d.resolve("tokenizer.json"), Files.size(d.resolve("tokenizer.json")) / 2));
        before(
                "tokenizer larger than the model",
                "tokenizer.json",
                "vocabulary ends at 319",
                (m, d) -> ((ObjectNode) m.tokenizer.get("model").get("vocab")).put("zzz", 320));
        before(
                "two tokens with one id",
                "tokenizer.json",
                "given to two tokens",
                (m, d) -> ((ObjectNode) m.tokenizer.get("model").get("vocab")).put("zzz", 319));
        before("added token behind a gap", "tokenizer.json", "\"<x>\" cannot have id 319", (m, d) -> {
            ((ObjectNode) m.tokenizer.get("model").get("vocab")).retain(firstPieces(m.tokenizer));
            ((ObjectNode) m.tokenizer.get("model")).putArray("merges");
            m.tokenizer
                    .withArray("added_tokens")
                    .addObject()
                    .put("id", 319)
                    .put("content", "<x>")
                    .put("single_word", false)
                    .put("lstrip", false)
                    .put("rstrip", false)
                    .put("normalized", false)
                    .put("special", true);
        });
        before(
                "merge of unknown tokens",
                "tokenizer.json",
                "",
                (m, d) -> ((ArrayNode) m.tokenizer.get("model").get("merges"))
                        .addArray()
                        .add("zzz")
                        .add("yyy"));
        before(
                "unknown decoder",
                "tokenizer.json",
                "is not supported",
                (m, d) -> m.tokenizer.putObject("decoder").put("type", "CTC"));
        before(
                "normalizer that would end the process",
                "tokenizer.json",
                "normalizer of type \"Precompiled\" is not supported",
                (m, d) -> m.tokenizer
                        .putObject("normalizer")
                        .put("type", "Precompiled")
                        .put("precompiled_charsmap", "AAAA"));
        before(
                "normalizer that prepends nothing",
                "tokenizer.json",
                "is not supported",
                (m, d) -> m.tokenizer
                        .putObject("normalizer")
                        .put("type", "Prepend")
                        .put("prepend", ""));
        before(
                "normalizer with a regular expression",
                "tokenizer.json",
                "is not supported",
                (m, d) -> m.tokenizer
                        .putObject("normalizer")
                        .put("type", "Replace")
                        .put("content", "")
                        .putObject("pattern")
                        .put("Regex", "(a+)+$"));
        before(
                "Unigram",
                "tokenizer.json",
                "model of type \"Unigram\" is not supported, only BPE",
                (m, d) -> ((ObjectNode) m.tokenizer.get("model")).put("type", "Unigram"));
        before(
                "unknown tokenizer model",
                "tokenizer.json",
                "\"Nonsense\" is not supported",
                (m, d) -> ((ObjectNode) m.tokenizer.get("model")).put("type", "Nonsense"));
        // The streams.
        after(
                "no streams.json",
                "streams.json",
                "no such file",
                (m, d) -> Files.delete(d.resolve("streams/streams.json")));
        before(
                "another format version",
                "streams.json",
                "format_version",
                (m, d) -> m.streams.put("format_version", 2));
        before(
                "gamma nine",
                "streams.json",
                "gamma must be an integer from 1 to 8",
                (m, d) -> m.streams.put("gamma", 9));
        before(
                "more stream layers than layers",
                "streams.json",
                "stream_layers",
                (m, d) -> m.streams.put("stream_layers", 4));
        before("unknown mode", "streams.json", "\"lossless\", \"shared\"", (m, d) -> m.streams.put("mode", "lossy"));
        before(
                "unknown position",
                "streams.json",
                "position must be one of",
                (m, d) -> m.streams.put("position", "there"));
        before("lora not mentioned", "streams.json", "lora is missing", (m, d) -> m.streams.remove("lora"));
        before(
                "unknown target",
                "streams.json",
                "\"lm_head\" is none of",
                (m, d) -> ((ArrayNode) m.streams.get("lora").get("targets")).add("lm_head"));
        before(
                "no target",
                "streams.json",
                "at least one",
                (m, d) -> ((ArrayNode) m.streams.get("lora").get("targets")).removeAll());
        before(
                "threshold one",
                "streams.json",
                "threshold must be a number in [0, 1)",
                (m, d) -> ((ObjectNode) m.streams.get("pruning")).put("threshold", 1.0));
        before(
                "another base",
                "streams.json",
                "hidden_size 32, the model has 16",
                (m, d) -> ((ObjectNode) m.streams.get("base")).put("hidden_size", 32));
        before("unknown field of the streams", "streams.json", "\"heads\"", (m, d) -> m.streams.put("heads", 4));
        after(
                "no streams.safetensors",
                "streams.safetensors",
                "no such file",
                (m, d) -> Files.delete(d.resolve("streams/streams.safetensors")));
        before(
                "stream tensor missing",
                "streams.safetensors",
                "\"layers.2.mlp.down_proj.lora_B\" is missing",
                (m, d) -> m.streamWeights.tensors.remove("layers.2.mlp.down_proj.lora_B"));
        before(
                "stream tensor extra",
                "streams.safetensors",
                "\"layers.0.mlp.down_proj.lora_A\" is not part",
                (m, d) -> m.add(m.streamWeights, "layers.0.mlp.down_proj.lora_A", DType.BF16, 4, 40));
        before(
                "stream tensor of another shape",
                "streams.safetensors",
                "must have shape [4, 16]",
                (m, d) -> m.add(m.streamWeights, "stream_embeddings", DType.BF16, 3, 16));
        before(
                "streams in fp32",
                "streams.safetensors",
                "F32",
                (m, d) -> new ArrayList<>(m.streamWeights.tensors.entrySet())
                        .forEach(t -> m.add(
                                m.streamWeights,
                                t.getKey(),
                                DType.F32,
                                t.getValue().shape())));
        before("streams with a NaN", "streams.safetensors", "not finite, at element 5", (m, d) -> {
            byte[] data = m.streamWeights.data("pruning.up");
            data[10] = (byte) 0xC0;
            data[11] = 0x7F;
        });
        before("streams with an infinity", "streams.safetensors", "not finite, at element 0", (m, d) -> {
            byte[] data = m.streamWeights.data("stream_embeddings");
            data[0] = (byte) 0x80;
            data[1] = (byte) 0xFF;
        });
        return List.copyOf(all);
    }

    private static final String EMPTY = "{\"dtype\":\"BF16\",\"shape\":[0],\"data_offsets\":[0,0]}";

    /** Special tokens and the alphabet: what merges do not add. */
    private static List<String> firstPieces(ObjectNode tokenizer) {
        List<String> pieces = new ArrayList<>();
        tokenizer.get("model").get("vocab").fieldNames().forEachRemaining(pieces::add);
        return pieces.subList(0, 258);
    }

    private static ObjectNode map(ObjectNode index) {
        return (ObjectNode) index.get("weight_map");
    }

    private static void truncate(Path file, long size) throws IOException {
        Files.write(file, Arrays.copyOf(Files.readAllBytes(file), Math.toIntExact(size)));
    }

    private static void refuse(Malformed malformed, Path directory) throws IOException {
        TinyModel model = new TinyModel(7);
        if (!malformed.afterWriting()) {
            malformed.damage().to(model, directory);
        }
        model.write(directory);
        if (malformed.afterWriting()) {
            malformed.damage().to(model, directory);
        }
        String message = String.valueOf(
                assertThrows(ModelFormatException.class, () -> TinyModel.load(directory), malformed.name())
                        .getMessage());
        assertTrue(
                message.startsWith(directory.toString()) && message.contains(malformed.file()),
                () -> malformed.name() + " does not name " + malformed.file() + ": " + message);
        assertTrue(message.contains(malformed.problem()), () -> malformed.name() + ": " + message);
        assertEquals(1, message.lines().count(), message);
        assertTrue(message.codePoints().noneMatch(Character::isISOControl), message);
        assertTrue(message.length() < directory.toString().length() + 400, message);
    }

    @TestFactory
    Stream<DynamicTest> refused() {
        List<Malformed> cases = malformed();
        Set<String> names = new HashSet<>();
        cases.forEach(c -> assertTrue(names.add(c.name()), c.name()));
        return cases.stream()
                .map(c -> DynamicTest.dynamicTest(
                        c.name(), () -> refuse(c, temporary.resolve(c.name().replace(' ', '_')))));
    }

    /** The same model, not damaged, loads: the refusals are not of something else. */
    @Test
    void theModelItselfLoads() throws IOException {
        new TinyModel(7).write(temporary);
        TinyModel.load(temporary);
        TinyModel sharded = new TinyModel(8);
        Path directory = temporary.resolve("sharded");
        sharded.write(directory);
        Files.writeString(directory.resolve(INDEX), shard(sharded, directory).toString());
        TinyModel.load(directory);
    }

    @Test
    void nothingStaysMapped() throws IOException {
        assumeTrue(Files.exists(Path.of("/proc/self/maps")), "needs /proc/self/maps");
        for (Malformed c : malformed()) {
            refuse(c, temporary.resolve(c.name().replace(' ', '_')));
        }
        assertFalse(mapped(), "a refusal left a mapping");
        Path directory = temporary.resolve("sound");
        new TinyModel(7).write(directory);
        try (WeightFiles files = WeightFiles.open(directory)) {
            assertTrue(mapped(), "this test would not see a mapping");
            assertFalse(files.names().isEmpty());
        }
        assertFalse(mapped(), "closing left a mapping");
    }

    private boolean mapped() throws IOException {
        String directory = temporary.toRealPath().toString();
        return Files.readString(Path.of("/proc/self/maps"), StandardCharsets.ISO_8859_1)
                .contains(directory);
    }

    /** Random damage: loads or is refused, but nothing else happens. */
    @Test
    void randomDamageIsRefusedOrHarmless() throws IOException {
        Random random = new Random(20261123);
        TinyModel model = new TinyModel(9);
        List<String> files = List.of(
                "config.json", WEIGHTS, "streams/streams.json", "streams/streams.safetensors", "tokenizer.json");
        int refused = 0;
        model.write(temporary);
        for (int round = 0; round < 400; round++) {
            String name = files.get(random.nextInt(files.size()));
            Path file = temporary.resolve(name);
            byte[] sound = Files.readAllBytes(file);
            byte[] bytes = sound.clone();
            int end = name.endsWith(".safetensors") ? headerEnd(bytes) : bytes.length;
            for (int i = random.nextInt(3); i >= 0; i--) {
                int at = random.nextInt(end);
                switch (random.nextInt(3)) {
                    case 0 -> bytes[at] ^= (byte) (1 << random.nextInt(8));
                    case 1 -> bytes[at] = (byte) "{}[]\",:0123456789-.eE\\ n".charAt(random.nextInt(24));
                    default -> bytes[at] = bytes[random.nextInt(end)];
                }
            }
            Files.write(file, random.nextInt(8) == 0 ? Arrays.copyOf(bytes, random.nextInt(bytes.length)) : bytes);
            try {
                TinyModel.load(temporary);
            } catch (ModelFormatException e) {
                refused++;
                assertEquals(1, String.valueOf(e.getMessage()).lines().count(), e.getMessage());
            } catch (RuntimeException | Error e) {
                throw new AssertionError("seed 20261123, round " + round + ", " + name, e);
            }
            Files.write(file, sound);
        }
        assertTrue(refused > 200, "only " + refused + " were refused");
    }

    private static int headerEnd(byte[] bytes) {
        return 8
                + Math.toIntExact(
                        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong());
    }
}
