// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import dev.tributary.ModelFormatException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * The tensors of a decoder, found by name and checked by shape. All have one element type: bf16, fp16, or fp32 that
 * the loader rounds to bf16.
 *
 * @param dtype the type that inference uses: {@link DType#BF16} or {@link DType#F16}
 * @param roundedFromFp32 whether the files hold fp32 instead, to be rounded by {@link Bfloat16}
 * @param embedding {@code [vocabulary, hidden]}
 * @param layers the decoder layers
 * @param finalNorm {@code [hidden]}
 * @param languageModelHead {@code [vocabulary, hidden]}; the embedding itself when the two are tied
 * @param parameters how many numbers the model has, a tied head counted once
 */
public record ModelWeights(
        DType dtype,
        boolean roundedFromFp32,
        WeightTensor embedding,
        List<Layer> layers,
        WeightTensor finalNorm,
        WeightTensor languageModelHead,
        long parameters) {

    /**
     * One decoder layer.
     *
     * @param inputNorm {@code [hidden]}, before the attention
     * @param postAttentionNorm {@code [hidden]}, before the MLP
     * @param weights {@code [outputs, inputs]} of each projection; parts of one tensor where the files hold them fused
     * @param biases {@code [outputs]} of those that have one
     * @param queryNorm {@code [head dimension]}, where queries are normed head by head
     * @param keyNorm {@code [head dimension]}, where keys are normed head by head
     */
    public record Layer(
            WeightTensor inputNorm,
            WeightTensor postAttentionNorm,
            Map<Projection, WeightTensor> weights,
            Map<Projection, WeightTensor> biases,
            Optional<WeightTensor> queryNorm,
            Optional<WeightTensor> keyNorm) {
        /** Copies the maps. */
        public Layer {
            weights = Map.copyOf(weights);
            biases = Map.copyOf(biases);
        }

        /**
         * {@return its weight, {@code [outputs, inputs]}}
         *
         * @param projection one of the seven
         */
        public WeightTensor weight(Projection projection) {
            return Optional.ofNullable(weights.get(projection)).orElseThrow();
        }

        /**
         * {@return its bias, {@code [outputs]}, if it has one}
         *
         * @param projection one of the seven
         */
        public Optional<WeightTensor> bias(Projection projection) {
            return Optional.ofNullable(biases.get(projection));
        }
    }

    /** Copies the list. */
    public ModelWeights {
        layers = List.copyOf(layers);
    }

    /**
     * Finds and checks every tensor of the architecture.
     *
     * <p>Older files hold {@code rotary_emb.inv_freq} buffers, which are ignored. A tied model may hold {@code
     * lm_head.weight} too, if it is a copy of the embedding.
     *
     * @param config the architecture
     * @param files the weights; stays the caller's, and must outlive the result
     * @return the tensors
     * @throws ModelFormatException when a tensor is missing, has another shape or type, or is not part of the
     *     architecture
     */
    public static ModelWeights of(ModelConfig config, WeightFiles files) {
        Set<String> known = new HashSet<>();
        Collector collector = new Collector(files, known, new ArrayList<>());
        long hidden = config.hiddenSize();
        WeightTensor embedding = collector.take("model.embed_tokens.weight", config.vocabularySize(), hidden);
        List<Layer> layers = new ArrayList<>();
        for (int i = 0; i < config.layers(); i++) {
            String prefix = "model.layers." + i + ".";
            Map<Projection, WeightTensor> biases = new EnumMap<>(Projection.class);
            for (Projection p : Projection.values()) {
                if (p.hasBias(config)) {
                    biases.put(p, collector.take(prefix + p.path() + ".bias", p.outputs(config)));
                }
            }
            layers.add(new Layer(
                    collector.take(prefix + "input_layernorm.weight", hidden),
                    collector.take(prefix + "post_attention_layernorm.weight", hidden),
                    projections(config, collector, prefix),
                    biases,
                    headNorm(config, collector, prefix + "self_attn.q_norm.weight"),
                    headNorm(config, collector, prefix + "self_attn.k_norm.weight")));
            known.add(prefix + "self_attn.rotary_emb.inv_freq");
        }
        known.add("model.rotary_emb.inv_freq");
        WeightTensor finalNorm = collector.take("model.norm.weight", hidden);
        WeightTensor head = head(config, files, collector, embedding);
        files.refuseOthers(known);

        long parameters =
                collector.taken().stream().mapToLong(WeightTensor::elements).sum();
        DType stored = oneFloatType(files, collector.taken());
        return new ModelWeights(
                stored == DType.F32 ? DType.BF16 : stored,
                stored == DType.F32,
                embedding,
                layers,
                finalNorm,
                head,
                parameters);
    }

    private static Map<Projection, WeightTensor> projections(ModelConfig config, Collector collector, String prefix) {
        Map<Projection, WeightTensor> weights = new EnumMap<>(Projection.class);
        if (config.family().storesFusedProjections()) {
            String queryKeyValue = prefix + "self_attn.qkv_proj.weight";
            String gateUp = prefix + "mlp.gate_up_proj.weight";
            split(config, collector, queryKeyValue, weights, Projection.Q_PROJ, Projection.K_PROJ, Projection.V_PROJ);
            split(config, collector, gateUp, weights, Projection.GATE_PROJ, Projection.UP_PROJ);
        }
        for (Projection p : Projection.values()) {
            if (!weights.containsKey(p)) {
                weights.put(p, collector.take(prefix + p.path() + ".weight", p.outputs(config), p.inputs(config)));
            }
        }
        return weights;
    }

    /** Takes a fused tensor and gives each projection its rows. */
    private static void split(
            ModelConfig config,
            Collector collector,
            String name,
            Map<Projection, WeightTensor> weights,
            Projection... parts) {
        long rows = 0;
        for (Projection part : parts) {
            rows += part.outputs(config);
        }
        WeightTensor fused = collector.take(name, rows, parts[0].inputs(config));
        long first = 0;
        for (Projection part : parts) {
            weights.put(part, fused.rows(first, part.outputs(config)));
            first += part.outputs(config);
        }
    }

    private static Optional<WeightTensor> headNorm(ModelConfig config, Collector collector, String name) {
        return config.queryKeyNorms() ? Optional.of(collector.take(name, config.headDimension())) : Optional.empty();
    }

    private static WeightTensor head(
            ModelConfig config, WeightFiles files, Collector collector, WeightTensor embedding) {
        String name = "lm_head.weight";
        if (!config.tiedEmbeddings()) {
            return collector.take(name, config.vocabularySize(), config.hiddenSize());
        }
        if (files.names().contains(name)) {
            WeightTensor copy = files.tensor(name, config.vocabularySize(), config.hiddenSize());
            if (copy.dtype() != embedding.dtype() || copy.data().mismatch(embedding.data()) >= 0) {
                throw files.refuse(
                        "tensor \"" + name + "\" differs from the embedding, though tie_word_embeddings is true");
            }
            collector.known().add(name);
        }
        return embedding;
    }

    /** The one type of all tensors, among those that {@code allowed} by the caller's rules can be loaded. */
    static DType oneFloatType(WeightFiles files, Collection<WeightTensor> tensors) {
        WeightTensor first = tensors.iterator().next();
        for (WeightTensor tensor : tensors) {
            switch (tensor.dtype()) {
                case BF16, F16, F32 -> {
                    if (tensor.dtype() != first.dtype()) {
                        throw files.refuse("all tensors must have one type, but " + StrictJson.quote(first.name())
                                + " is " + first.dtype() + " and " + StrictJson.quote(tensor.name()) + " is "
                                + tensor.dtype());
                    }
                }
                default ->
                    throw files.refuse("tensor " + StrictJson.quote(tensor.name()) + " is " + tensor.dtype()
                            + ", only BF16, F16 and F32 are supported");
            }
        }
        return first.dtype();
    }

    /** Takes tensors by name and remembers them. */
    private record Collector(WeightFiles files, Set<String> known, List<WeightTensor> taken) {
        WeightTensor take(String name, long... shape) {
            WeightTensor tensor = files.tensor(name, shape);
            known.add(name);
            taken.add(tensor);
            return tensor;
        }
    }
}
