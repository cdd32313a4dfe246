// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import dev.tributary.ModelFormatException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * The architecture of a decoder, from {@code config.json} (and the end tokens of {@code generation_config.json}).
 *
 * @param family which decoder it is
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
 * @param rotaryDimension leading elements of a head that RoPE rotates: even, at most {@code headDimension}
 * @param slidingWindow the layers that see only so many tokens, if there are any
 * @param queryKeyNorms whether queries and keys are normed, head by head, before RoPE
 * @param tiedEmbeddings whether the LM head is the embedding
 * @param queryKeyValueBias whether q, k and v projections have biases
 * @param outputBias whether the o projection has a bias
 * @param mlpBias whether gate, up and down projections have biases
 * @param endTokens tokens that end a text
 * @param beginToken the token that begins a text
 */
public record ModelConfig(
        Family family,
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
        int rotaryDimension,
        Optional<SlidingWindow> slidingWindow,
        boolean queryKeyNorms,
        boolean tiedEmbeddings,
        boolean queryKeyValueBias,
        boolean outputBias,
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
            "auto_map",
            "chunk_size_feed_forward",
            "dtype",
            "embd_pdrop",
            "finetuning_task",
            "id2label",
            "initializer_range",
            "is_llama_config",
            "label2id",
            "output_attentions",
            "output_hidden_states",
            "pad_token_id",
            "problem_type",
            "resid_pdrop",
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
        Family family = Family.read(fields);
        fields.only("hidden_act", Set.of("\"silu\""));
        fields.only("pretraining_tp", Set.of("1"));
        fields.only("quantization_config", Set.of());
        fields.only("compression_config", Set.of());
        fields.only("rope_interleaved", Set.of("false"));
        fields.only("is_encoder_decoder", Set.of("false"));
        fields.only("is_decoder", Set.of("false", "true"));
        fields.only("add_cross_attention", Set.of("false"));
        fields.only("use_mrope", Set.of("false"));
        fields.only("lm_head_bias", Set.of("false"));
        fields.only("full_attn_mod", Set.of("1"));
        fields.only("interpolate_factor", Set.of("1"));

        int hidden = fields.requiredInt("hidden_size", 8, MAX_WIDTH);
        int heads = fields.requiredInt("num_attention_heads", 1, MAX_HEADS);
        if (family != Family.LLAMA && family != Family.PHI3) {
            // Without it transformers takes the number of one published size, which is no default that anyone means.
            fields.requireWritten("num_key_value_heads");
        }
        int keyValueHeads =
                fields.optionalInt("num_key_value_heads", 1, MAX_HEADS).orElse(heads);
        if (heads % keyValueHeads != 0) {
            throw fields.refuse("num_attention_heads must be a multiple of num_key_value_heads, got " + heads + " and "
                    + keyValueHeads);
        }
        if (family == Family.QWEN3) {
            fields.requireWritten("head_dim"); // likewise
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
        int layers = fields.requiredInt("num_hidden_layers", 1, MAX_LAYERS);
        int rotaryDimension = RopeParameters.rotaryDimension(fields, family, headDimension);

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

        boolean attentionBias = attentionBias(fields, family);
        ModelConfig config = new ModelConfig(
                family,
                hidden,
                layers,
                heads,
                keyValueHeads,
                headDimension,
                fields.requiredInt("intermediate_size", 1, 4 * MAX_WIDTH),
                vocabulary,
                maxPositions,
                (float) fields.requiredPositive("rms_norm_eps"),
                RopeParameters.read(fields, family, rotaryDimension, maxPositions),
                rotaryDimension,
                slidingWindow(fields, family, layers),
                family == Family.QWEN3,
                fields.optionalBoolean("tie_word_embeddings", false),
                attentionBias,
                attentionBias && family != Family.QWEN2,
                mlpBias(fields, family),
                end,
                begin.isEmpty() ? OptionalInt.empty() : OptionalInt.of(begin.getFirst()));
        fields.refuseOthers(HARMLESS);
        return config;
    }

    private static boolean attentionBias(JsonFields fields, Family family) {
        return switch (family) {
            case LLAMA, QWEN3 -> fields.optionalBoolean("attention_bias", false);
            case MISTRAL, PHI3 -> {
                fields.only("attention_bias", Set.of("false"));
                yield false;
            }
            case QWEN2 -> {
                fields.only("attention_bias", Set.of("true"));
                yield true;
            }
        };
    }

    private static boolean mlpBias(JsonFields fields, Family family) {
        if (family == Family.LLAMA) {
            return fields.optionalBoolean("mlp_bias", false);
        }
        fields.only("mlp_bias", Set.of("false"));
        return false;
    }

    private static Optional<SlidingWindow> slidingWindow(JsonFields fields, Family family, int layers) {
        String name = "sliding_window";
        return switch (family) {
            case LLAMA -> {
                fields.only(name, Set.of());
                yield Optional.empty();
            }
            case MISTRAL, PHI3 -> {
                if (family == Family.MISTRAL) {
                    fields.requireWritten(name); // without it transformers takes 4096, with null there is no window
                }
                OptionalInt tokens = fields.optionalInt(name, 1, MAX_POSITIONS);
                yield tokens.isEmpty() ? Optional.empty() : window(tokens.getAsInt(), IntStream.range(0, layers));
            }
            case QWEN2, QWEN3 -> {
                boolean used = fields.optionalBoolean("use_sliding_window", false);
                if (used) {
                    fields.requireWritten(name);
                }
                OptionalInt tokens = fields.optionalInt(name, 1, MAX_POSITIONS);
                Optional<List<Boolean>> windowed = windowedLayers(fields, layers);
                OptionalInt below = fields.optionalInt("max_window_layers", 0, MAX_LAYERS);
                if (!used || tokens.isEmpty()) {
                    if (windowed.isPresent() && windowed.get().contains(true)) {
                        throw fields.refuse("layer_types names \"sliding_attention\", but there is no sliding_window");
                    }
                    yield Optional.empty();
                }
                if (windowed.isEmpty() && below.isEmpty()) {
                    throw fields.refuse("use_sliding_window is true, but neither layer_types nor max_window_layers says"
                            + " which layers have the window");
                }
                yield window(
                        tokens.getAsInt(),
                        IntStream.range(0, layers)
                                .filter(i -> windowed.map(w -> w.get(i)).orElseGet(() -> i >= below.getAsInt())));
            }
        };
    }

    private static Optional<SlidingWindow> window(int tokens, IntStream layers) {
        Set<Integer> windowed = new LinkedHashSet<>(layers.boxed().toList());
        return windowed.isEmpty() ? Optional.empty() : Optional.of(new SlidingWindow(tokens, windowed));
    }

    /** Of each layer whether it has the window, where the configuration says it layer by layer. */
    private static Optional<List<Boolean>> windowedLayers(JsonFields fields, int layers) {
        if (fields.value("layer_types").isEmpty()) {
            return Optional.empty();
        }
        List<String> types = fields.requiredStrings("layer_types");
        if (types.size() != layers) {
            throw fields.refuse("layer_types must name " + layers + " layers, got " + types.size());
        }
        for (String type : types) {
            if (!type.equals("full_attention") && !type.equals("sliding_attention")) {
                throw fields.refuse("layer_types: " + StrictJson.quote(type)
                        + " is not supported, only \"full_attention\" and \"sliding_attention\"");
            }
        }
        return Optional.of(types.stream().map("sliding_attention"::equals).toList());
    }

    /**
     * {@return whether rows of a layer see only the newest tokens}
     *
     * @param layer from 0
     */
    public boolean hasWindow(int layer) {
        return slidingWindow.map(w -> w.layers().contains(layer)).orElse(false);
    }
}
