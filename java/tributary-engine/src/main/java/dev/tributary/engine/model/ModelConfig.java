// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import dev.tributary.ModelFormatException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;

/**
 * The architecture of a Llama model, from {@code config.json} (and the end tokens of {@code generation_config.json}).
 *
 * @param hiddenSize width of the residual stream
 * @param layers decoder layers
 * @param attentionHeads query heads
 * @param keyValueHeads key and value heads; divides {@code attentionHeads}
 * @param headDimension width of a head: a multiple of 8, at most 256
 * @param intermediateSize width of the MLP
 * @param vocabularySize rows of the embedding and of the LM head
 * @param maxPositions the context that the model was made for, tokens
 * @param rmsNormEpsilon added to the mean square in every norm
 * @param rope rotary position embedding
 * @param tiedEmbeddings whether the LM head is the embedding
 * @param attentionBias whether q, k, v and o projections have biases
 * @param mlpBias whether gate, up and down projections have biases
 * @param endTokens tokens that end a text
 * @param beginToken the token that begins a text
 */
public record ModelConfig(
        int hiddenSize,
        int layers,
        int attentionHeads,
        int keyValueHeads,
        int headDimension,
        int intermediateSize,
        int vocabularySize,
        int maxPositions,
        float rmsNormEpsilon,
        RopeParameters rope,
        boolean tiedEmbeddings,
        boolean attentionBias,
        boolean mlpBias,
        Set<Integer> endTokens,
        OptionalInt beginToken) {

    // Well above any published model, and low enough that no product of two and an element size overflows a long.
    private static final int MAX_WIDTH = 1 << 18;
    private static final int MAX_LAYERS = 1 << 12;
    private static final int MAX_HEADS = 1 << 12;
    private static final int MAX_VOCABULARY = 1 << 24;
    static final int MAX_POSITIONS = 1 << 24;

    /** Fields that say something about files, training or the Python side, nothing about what inference computes. */
    private static final Set<String> HARMLESS = Set.of(
            "_attn_implementation_autoset",
            "_name_or_path",
            "attention_dropout",
            "chunk_size_feed_forward",
            "dtype",
            "finetuning_task",
            "id2label",
            "initializer_range",
            "is_llama_config",
            "label2id",
            "output_attentions",
            "output_hidden_states",
            "pad_token_id",
            "problem_type",
            "return_dict",
            "tokenizer_class",
            "torch_dtype",
            "torchscript",
            "transformers.js_config",
            "transformers_version",
            "unsloth_fixed",
            "unsloth_version",
            "use_cache");

    /** Copies the end tokens, in their order. */
    public ModelConfig {
        endTokens = Collections.unmodifiableSet(new LinkedHashSet<>(endTokens));
    }

    /**
     * Reads a model directory's configuration.
     *
     * @param directory the model
     * @return its architecture
     * @throws ModelFormatException when a file is missing or malformed, or a field is missing, out of range or not
     *     supported
     */
    public static ModelConfig read(Path directory) {
        if (!Files.isDirectory(directory)) {
            throw new ModelFormatException(directory + ": not a directory; a model is a directory with config.json");
        }
        JsonFields fields = StrictJson.readObject(directory.resolve("config.json"));
        String modelType = fields.requiredString("model_type");
        if (!modelType.equals("llama")) {
            throw fields.refuse("model_type " + StrictJson.quote(modelType) + " is not supported, only \"llama\"");
        }
        fields.only("architectures", Set.of("[\"LlamaForCausalLM\"]"));
        fields.only("hidden_act", Set.of("\"silu\""));
        fields.only("pretraining_tp", Set.of("1"));
        fields.only("quantization_config", Set.of());
        fields.only("compression_config", Set.of());
        fields.only("sliding_window", Set.of());
        fields.only("rope_interleaved", Set.of("false"));
        fields.only("is_encoder_decoder", Set.of("false"));
        fields.only("is_decoder", Set.of("false", "true"));
        fields.only("add_cross_attention", Set.of("false"));

        int hidden = fields.requiredInt("hidden_size", 8, MAX_WIDTH);
        int heads = fields.requiredInt("num_attention_heads", 1, MAX_HEADS);
        int keyValueHeads =
                fields.optionalInt("num_key_value_heads", 1, MAX_HEADS).orElse(heads);
        if (heads % keyValueHeads != 0) {
            throw fields.refuse("num_attention_heads must be a multiple of num_key_value_heads, got " + heads + " and "
                    + keyValueHeads);
        }
        OptionalInt givenHeadDimension = fields.optionalInt("head_dim", 8, 256);
        if (givenHeadDimension.isEmpty() && hidden % heads != 0) {
            throw fields.refuse("hidden_size must be a multiple of num_attention_heads when head_dim is not given, got "
                    + hidden + " and " + heads);
        }
        int headDimension = givenHeadDimension.orElse(hidden / heads);
        if (headDimension % 8 != 0 || headDimension < 8 || headDimension > 256) {
            throw fields.refuse("head_dim must be a multiple of 8 from 8 to 256, got " + headDimension);
        }
        int vocabulary = fields.requiredInt("vocab_size", 1, MAX_VOCABULARY);
        int maxPositions = fields.requiredInt("max_position_embeddings", 1, MAX_POSITIONS);

        List<Integer> begin = fields.tokenIds("bos_token_id", vocabulary);
        if (begin.size() > 1) {
            throw fields.refuse("bos_token_id must be one token, got " + begin);
        }
        Set<Integer> end = new LinkedHashSet<>(fields.tokenIds("eos_token_id", vocabulary));
        Path generation = directory.resolve("generation_config.json");
        if (Files.exists(generation)) {
            // Its other fields are defaults of sampling, which the caller's options decide here.
            end.addAll(StrictJson.readObject(generation).tokenIds("eos_token_id", vocabulary));
        }

        ModelConfig config = new ModelConfig(
                hidden,
                fields.requiredInt("num_hidden_layers", 1, MAX_LAYERS),
                heads,
                keyValueHeads,
                headDimension,
                fields.requiredInt("intermediate_size", 1, 4 * MAX_WIDTH),
                vocabulary,
                maxPositions,
                (float) fields.requiredPositive("rms_norm_eps"),
                RopeParameters.read(fields, headDimension, maxPositions),
                fields.optionalBoolean("tie_word_embeddings", false),
                fields.optionalBoolean("attention_bias", false),
                fields.optionalBoolean("mlp_bias", false),
                end,
                begin.isEmpty() ? OptionalInt.empty() : OptionalInt.of(begin.getFirst()));
        fields.refuseOthers(HARMLESS);
        return config;
    }
}
