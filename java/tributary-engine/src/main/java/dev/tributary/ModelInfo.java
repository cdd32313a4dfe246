// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * What is loaded.
 *
 * @param architecture the base's architecture, e.g. {@code llama}
 * @param weightType the type that weights run in, e.g. {@code bf16}
 * @param layers decoder layers N
 * @param hiddenSize h
 * @param attentionHeads query heads
 * @param keyValueHeads key/value heads
 * @param headDimension elements of one head
 * @param vocabularySize V
 * @param parameters parameters of the base
 * @param contextTokens tokens that one sequence may hold, prompt included
 * @param device one line about the device that computes
 * @param deviceNote why the host computes, where the device was chosen and no GPU could be used or held the model
 * @param weightBytes bytes of weights on the device, adapter included
 * @param cacheBytes bytes of the KV cache
 * @param workspaceBytes bytes of row buffers and workspace, and of what is taken when the first request asks for it: full
 *     logits (sampling, log-probabilities), adjusted ones, their adjustments and masks (penalties, biases, constraints)
 * @param streams the model's own speculative streams, if they are loaded
 * @param namedStreams further adapters, by the names that requests give
 */
public record ModelInfo(
        String architecture,
        String weightType,
        int layers,
        int hiddenSize,
        int attentionHeads,
        int keyValueHeads,
        int headDimension,
        int vocabularySize,
        long parameters,
        int contextTokens,
        String device,
        Optional<String> deviceNote,
        long weightBytes,
        long cacheBytes,
        long workspaceBytes,
        Optional<Streams> streams,
        Map<String, Streams> namedStreams) {

    /** Copies the map, in its order. */
    public ModelInfo {
        namedStreams = Collections.unmodifiableMap(new LinkedHashMap<>(namedStreams));
    }

    /**
     * The speculative streams of an adapter.
     *
     * @param mode {@code lossless} or {@code shared}
     * @param gamma streams per anchor γ
     * @param streamLayers layers that hold streams N_s
     * @param embeddingParameters parameters of the stream embeddings P_j
     * @param loraParameters parameters of the LoRA updates
     * @param pruningParameters parameters of the pruning adapter
     */
    public record Streams(
            String mode,
            int gamma,
            int streamLayers,
            long embeddingParameters,
            long loraParameters,
            long pruningParameters) {}
}
