// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.engine.text.TinyTokenizer;
import dev.tributary.engine.text.Tokenizer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;

/** A complete small model with random weights, tokenizer and streams, whose parts a test may change before writing. */
final class TinyModel {
    static final int HIDDEN = 16;
    static final int LAYERS = 3;
    static final int VOCABULARY = 320;
    static final int STREAM_LAYERS = 2;
    static final int RANK = 4;

    final ObjectNode config = config();
    final ObjectNode streams = streams();
    final SafetensorsWriter weights = new SafetensorsWriter();
    final SafetensorsWriter streamWeights = new SafetensorsWriter();
    final ObjectNode tokenizer = TinyTokenizer.byteLevel(1, VOCABULARY);
    private final Random random;

    TinyModel(long seed) {
        this(seed, DType.BF16);
    }

    TinyModel(long seed, DType dtype) {
        random = new Random(seed);
        add(weights, "model.embed_tokens.weight", dtype, VOCABULARY, HIDDEN);
        for (int i = 0; i < LAYERS; i++) {
            String p = "model.layers." + i + ".";
            add(weights, p + "input_layernorm.weight", dtype, HIDDEN);
            add(weights, p + "post_attention_layernorm.weight", dtype, HIDDEN);
            add(weights, p + "self_attn.q_proj.weight", dtype, 32, HIDDEN);
            add(weights, p + "self_attn.k_proj.weight", dtype, 16, HIDDEN);
            add(weights, p + "self_attn.v_proj.weight", dtype, 16, HIDDEN);
            add(weights, p + "self_attn.o_proj.weight", dtype, HIDDEN, 32);
            add(weights, p + "mlp.gate_proj.weight", dtype, 40, HIDDEN);
            add(weights, p + "mlp.up_proj.weight", dtype, 40, HIDDEN);
            add(weights, p + "mlp.down_proj.weight", dtype, HIDDEN, 40);
        }
        add(weights, "model.norm.weight", dtype, HIDDEN);
        add(weights, "lm_head.weight", dtype, VOCABULARY, HIDDEN);

        add(streamWeights, "stream_embeddings", DType.BF16, 4, HIDDEN);
        for (int i = LAYERS - STREAM_LAYERS; i < LAYERS; i++) {
            String p = "layers." + i + ".";
            add(streamWeights, p + "self_attn.q_proj.lora_A", DType.BF16, RANK, HIDDEN);
            add(streamWeights, p + "self_attn.q_proj.lora_B", DType.BF16, 32, RANK);
            add(streamWeights, p + "mlp.down_proj.lora_A", DType.BF16, RANK, 40);
            add(streamWeights, p + "mlp.down_proj.lora_B", DType.BF16, HIDDEN, RANK);
        }
        add(streamWeights, "pruning.down", DType.BF16, 2, HIDDEN);
        add(streamWeights, "pruning.up", DType.BF16, HIDDEN, 2);
    }

    /** Random finite numbers of magnitude about one, whatever the type: the top byte of each is fixed. */
    void add(SafetensorsWriter to, String name, DType dtype, long... shape) {
        long elements = 1;
        for (long dimension : shape) {
            elements *= dimension;
        }
        byte[] data = new byte[Math.toIntExact(elements * dtype.bytes())];
        random.nextBytes(data);
        for (int i = dtype.bytes() - 1; i < data.length; i += dtype.bytes()) {
            data[i] = (byte) (0x3c | (data[i] & 0x83));
        }
        to.tensors.put(name, new SafetensorsWriter.Tensor(dtype, shape, data));
    }

    private static ObjectNode config() {
        ObjectNode config = new JsonMapper().createObjectNode();
        config.putArray("architectures").add("LlamaForCausalLM");
        return config.put("model_type", "llama")
                .put("hidden_size", HIDDEN)
                .put("num_hidden_layers", LAYERS)
                .put("num_attention_heads", 4)
                .put("num_key_value_heads", 2)
                .put("head_dim", 8)
                .put("intermediate_size", 40)
                .put("vocab_size", VOCABULARY)
                .put("max_position_embeddings", 512)
                .put("rms_norm_eps", 1e-5)
                .put("rope_theta", 10000.0)
                .putNull("rope_scaling")
                .put("hidden_act", "silu")
                .put("tie_word_embeddings", false)
                .put("attention_bias", false)
                .put("mlp_bias", false)
                .put("attention_dropout", 0.0)
                .put("initializer_range", 0.02)
                .put("pretraining_tp", 1)
                .put("use_cache", true)
                .put("torch_dtype", "bfloat16")
                .put("transformers_version", "4.50.0")
                .put("bos_token_id", 0)
                .put("eos_token_id", 1);
    }

    private static ObjectNode streams() {
        ObjectNode streams = new JsonMapper().createObjectNode();
        streams.put("format_version", 1)
                .put("mode", "lossless")
                .put("gamma", 4)
                .put("stream_layers", STREAM_LAYERS)
                .put("position", "offset");
        streams.putObject("lora")
                .put("rank", RANK)
                .put("alpha", 8)
                .putArray("targets")
                .add("q_proj")
                .add("down_proj");
        streams.putObject("pruning").put("rank", 2).put("threshold", 0.05);
        streams.putObject("base")
                .put("hidden_size", HIDDEN)
                .put("num_hidden_layers", LAYERS)
                .put("vocab_size", VOCABULARY);
        return streams;
    }

    void write(Path directory) {
        try {
            Files.createDirectories(directory.resolve("streams"));
            Files.writeString(directory.resolve("config.json"), config.toString());
            Files.writeString(directory.resolve("tokenizer.json"), tokenizer.toString());
            Files.writeString(directory.resolve("streams/streams.json"), streams.toString());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        weights.write(directory.resolve("model.safetensors"));
        streamWeights.write(directory.resolve("streams/streams.safetensors"));
    }

    /** Everything that loading reads, in the order of loading. */
    static void load(Path directory) {
        ModelConfig config = ModelConfig.read(directory);
        try (WeightFiles files = WeightFiles.open(directory);
                Tokenizer tokenizer = Tokenizer.open(directory, config.vocabularySize());
                StreamsAdapter adapter = StreamsAdapter.open(directory.resolve("streams"), config)) {
            ModelWeights weights = ModelWeights.of(config, files);
            if (weights.layers().size() != config.layers()
                    || tokenizer.vocabularySize() > config.vocabularySize()
                    || adapter.embeddings().shape().getFirst()
                            != adapter.config().gamma()) {
                throw new AssertionError("inconsistent");
            }
        }
    }
}
