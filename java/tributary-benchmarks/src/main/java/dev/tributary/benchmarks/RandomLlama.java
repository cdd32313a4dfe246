// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import dev.tributary.cli.evaluation.JsonFile;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;

/**
 * A Llama of a given shape with random bf16 weights and random streams, for measuring what passes cost: a cost depends on
 * shapes and types, not on what the weights have learnt. Its text is noise.
 *
 * @param layers decoder layers N
 * @param hidden hidden size h
 * @param intermediate width of the MLP
 * @param heads query heads
 * @param keyValueHeads key/value heads
 * @param vocabulary V; the LM head is the embedding
 */
record RandomLlama(int layers, int hidden, int intermediate, int heads, int keyValueHeads, int vocabulary) {
    static final int GAMMA = 4;

    static final int LORA_RANK = 16;
    static final int BYTES = 2; // of a bf16 element

    private static final ObjectMapper JSON = JsonMapper.builder().build();

    /**
     * {@return the shape of a 1-billion-parameter Llama with as many layers as come nearest to the size}
     *
     * @param bytes of weights that a pass reads
     * @param vocabulary V
     */
    static RandomLlama ofSize(long bytes, int vocabulary) {
        RandomLlama one = new RandomLlama(1, 2048, 5632, 16, 4, vocabulary);
        long rest = bytes - one.headBytes();
        return new RandomLlama(
                Math.max(1, Math.toIntExact(Math.round(rest / (double) one.layerBytes()))),
                one.hidden,
                one.intermediate,
                one.heads,
                one.keyValueHeads,
                vocabulary);
    }

    /** {@return bytes of weights that a pass of one row reads: every layer and the LM head, of the embedding one row} */
    long passBytes() {
        return layers * layerBytes() + headBytes() + (long) hidden * BYTES;
    }

    private long layerBytes() {
        long attention = 2L * hidden * hidden + 2L * hidden * keyValueWidth();
        return (attention + 3L * hidden * intermediate + 2L * hidden) * BYTES;
    }

    private long headBytes() {
        return ((long) vocabulary * hidden + hidden) * BYTES;
    }

    private int keyValueWidth() {
        return hidden / heads * keyValueHeads;
    }

    private int streamLayers() {
        return Math.max(1, layers / 3);
    }

    /**
     * Writes the model and its streams.
     *
     * @param directory an empty directory
     * @param tokenizerOf a model whose tokenizer to take; its vocabulary is V
     */
    void write(Path directory, Path tokenizerOf) throws IOException {
        Files.copy(tokenizerOf.resolve("tokenizer.json"), directory.resolve("tokenizer.json"));
        JsonFile.write(directory.resolve("config.json"), configuration(tokenizerOf, true, 2048));
        write(directory.resolve("model.safetensors"), baseTensors(true), new SplittableRandom(1));
        Path streams = Files.createDirectory(directory.resolve("streams"));
        JsonFile.write(streams.resolve("streams.json"), adapter(streamLayers()));
        write(streams.resolve("streams.safetensors"), streamTensors(streamLayers()), new SplittableRandom(2));
    }

    /**
     * {@return the contents of {@code config.json}}
     *
     * @param tokenizerOf a model whose special tokens to take
     * @param tied whether the LM head is the embedding
     * @param positions greatest length of a sequence
     */
    Map<String, Object> configuration(Path tokenizerOf, boolean tied, int positions) throws IOException {
        JsonNode other = JSON.readTree(Files.readString(tokenizerOf.resolve("config.json")));
        Map<String, Object> config = new LinkedHashMap<>();
        config.put("architectures", List.of("LlamaForCausalLM"));
        config.put("model_type", "llama");
        config.put("hidden_act", "silu");
        config.put("hidden_size", hidden);
        config.put("intermediate_size", intermediate);
        config.put("num_hidden_layers", layers);
        config.put("num_attention_heads", heads);
        config.put("num_key_value_heads", keyValueHeads);
        config.put("vocab_size", vocabulary);
        config.put("max_position_embeddings", positions);
        config.put("rms_norm_eps", 1e-5);
        config.put("rope_theta", 10000.0);
        config.put("tie_word_embeddings", tied);
        for (String token : List.of("bos_token_id", "eos_token_id")) {
            JsonNode id = other.get(token);
            if (id != null && !id.isNull()) {
                config.put(token, id);
            }
        }
        return config;
    }

    /**
     * {@return the contents of {@code streams.json}}
     *
     * @param streamLayers N_s
     */
    Map<String, Object> adapter(int streamLayers) {
        Map<String, Object> adapter = new LinkedHashMap<>();
        adapter.put("format_version", 1);
        adapter.put("mode", "lossless");
        adapter.put("gamma", GAMMA);
        adapter.put("stream_layers", streamLayers);
        adapter.put("position", "offset");
        adapter.put(
                "lora",
                Map.of(
                        "rank",
                        LORA_RANK,
                        "alpha",
                        2 * LORA_RANK,
                        "targets",
                        List.copyOf(linears().keySet())));
        adapter.put("pruning", JSON.nullNode());
        adapter.put("base", Map.of("hidden_size", hidden, "num_hidden_layers", layers, "vocab_size", vocabulary));
        return adapter;
    }

    /** A linear's place in a layer, and its shape. */
    private record Linear(String block, int out, int in) {}

    private Map<String, Linear> linears() {
        Map<String, Linear> linears = new LinkedHashMap<>();
        linears.put("q_proj", new Linear("self_attn", hidden, hidden));
        linears.put("k_proj", new Linear("self_attn", keyValueWidth(), hidden));
        linears.put("v_proj", new Linear("self_attn", keyValueWidth(), hidden));
        linears.put("o_proj", new Linear("self_attn", hidden, hidden));
        linears.put("gate_proj", new Linear("mlp", intermediate, hidden));
        linears.put("up_proj", new Linear("mlp", intermediate, hidden));
        linears.put("down_proj", new Linear("mlp", hidden, intermediate));
        return linears;
    }

    /**
     * {@return the base's tensors and their shapes, the embedding first, then layer by layer}
     *
     * @param tied whether the LM head is the embedding
     */
    Map<String, int[]> baseTensors(boolean tied) {
        Map<String, int[]> tensors = new LinkedHashMap<>();
        tensors.put("model.embed_tokens.weight", new int[] {vocabulary, hidden});
        for (int layer = 0; layer < layers; layer++) {
            String prefix = "model.layers." + layer + ".";
            linears()
                    .forEach((name, linear) -> tensors.put(
                            prefix + linear.block() + "." + name + ".weight", new int[] {linear.out(), linear.in()}));
            tensors.put(prefix + "input_layernorm.weight", new int[] {hidden});
            tensors.put(prefix + "post_attention_layernorm.weight", new int[] {hidden});
        }
        tensors.put("model.norm.weight", new int[] {hidden});
        if (!tied) {
            tensors.put("lm_head.weight", new int[] {vocabulary, hidden});
        }
        return tensors;
    }

    /**
     * {@return the adapter's tensors and their shapes}
     *
     * @param streamLayers N_s
     */
    Map<String, int[]> streamTensors(int streamLayers) {
        Map<String, int[]> tensors = new LinkedHashMap<>();
        tensors.put("stream_embeddings", new int[] {GAMMA, hidden});
        for (int layer = layers - streamLayers; layer < layers; layer++) {
            String prefix = "layers." + layer + ".";
            linears().forEach((name, linear) -> {
                tensors.put(prefix + linear.block() + "." + name + ".lora_A", new int[] {LORA_RANK, linear.in()});
                tensors.put(prefix + linear.block() + "." + name + ".lora_B", new int[] {linear.out(), LORA_RANK});
            });
        }
        return tensors;
    }

    private static void write(Path file, Map<String, int[]> tensors, SplittableRandom random) throws IOException {
        try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(file), 1 << 20)) {
            out.write(header(tensors));
            for (Map.Entry<String, int[]> tensor : tensors.entrySet()) {
                boolean norm = tensor.getKey().endsWith("norm.weight");
                write(out, elements(tensor.getValue()), norm, random);
            }
        }
    }

    /**
     * {@return what stands before the data of a safetensors file: a multiple of 8 bytes}
     *
     * @param tensors bf16 tensors in the order of their data, and their shapes
     */
    static byte[] header(Map<String, int[]> tensors) throws IOException {
        Map<String, Object> header = new LinkedHashMap<>();
        long offset = 0;
        for (Map.Entry<String, int[]> tensor : tensors.entrySet()) {
            long end = offset + elements(tensor.getValue()) * BYTES;
            header.put(
                    tensor.getKey(),
                    Map.of("dtype", "BF16", "shape", tensor.getValue(), "data_offsets", new long[] {offset, end}));
            offset = end;
        }
        String text = JSON.writeValueAsString(header);
        byte[] json = (text + " ".repeat(Math.floorMod(-text.length(), 8))).getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(Long.BYTES + json.length)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(json.length)
                .put(json)
                .array();
    }

    static long elements(int[] shape) {
        return Arrays.stream(shape).asLongStream().reduce(1, Math::multiplyExact);
    }

    private static void write(OutputStream out, long elements, boolean norm, SplittableRandom random)
            throws IOException {
        ByteBuffer chunk = ByteBuffer.allocate(1 << 16).order(ByteOrder.LITTLE_ENDIAN);
        for (long left = elements * BYTES; left > 0; left -= chunk.capacity()) {
            chunk.clear();
            while (chunk.hasRemaining()) {
                chunk.putLong(norm ? ONES : fourWeights(random.nextLong()));
            }
            out.write(chunk.array(), 0, (int) Math.min(left, chunk.capacity()));
        }
    }

    private static final long ONES = 0x3F80_3F80_3F80_3F80L;

    // Sign and mantissa at random under one exponent: ±[2⁻⁶, 2⁻⁵), about the spread that keeps states of this width
    // finite.
    private static long fourWeights(long random) {
        return (random & 0x807F_807F_807F_807FL) | 0x3C80_3C80_3C80_3C80L;
    }
}
