// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

/** The seven linear layers of a decoder layer. */
public enum Projection {
    /** Queries. */
    Q_PROJ("q_proj", "self_attn.q_proj"),
    /** Keys. */
    K_PROJ("k_proj", "self_attn.k_proj"),
    /** Values. */
    V_PROJ("v_proj", "self_attn.v_proj"),
    /** Output of the attention. */
    O_PROJ("o_proj", "self_attn.o_proj"),
    /** Gate of the MLP. */
    GATE_PROJ("gate_proj", "mlp.gate_proj"),
    /** Up projection of the MLP. */
    UP_PROJ("up_proj", "mlp.up_proj"),
    /** Down projection of the MLP. */
    DOWN_PROJ("down_proj", "mlp.down_proj");

    private final String shortName;
    private final String path;

    Projection(String shortName, String path) {
        this.shortName = shortName;
        this.path = path;
    }

    /** Where it stands in a layer, as tensors are named. */
    String path() {
        return path;
    }

    /**
     * {@return inputs: the width of a row of the weight}
     *
     * @param config the architecture
     */
    public int inputs(ModelConfig config) {
        return switch (this) {
            case O_PROJ -> config.attentionHeads() * config.headDimension();
            case DOWN_PROJ -> config.intermediateSize();
            default -> config.hiddenSize();
        };
    }

    /**
     * {@return outputs: the rows of the weight}
     *
     * @param config the architecture
     */
    public int outputs(ModelConfig config) {
        return switch (this) {
            case Q_PROJ -> config.attentionHeads() * config.headDimension();
            case K_PROJ, V_PROJ -> config.keyValueHeads() * config.headDimension();
            case GATE_PROJ, UP_PROJ -> config.intermediateSize();
            case O_PROJ, DOWN_PROJ -> config.hiddenSize();
        };
    }

    /**
     * {@return whether the model gives it a bias}
     *
     * @param config the architecture
     */
    public boolean hasBias(ModelConfig config) {
        return switch (this) {
            case Q_PROJ, K_PROJ, V_PROJ -> config.queryKeyValueBias();
            case O_PROJ -> config.outputBias();
            case GATE_PROJ, UP_PROJ, DOWN_PROJ -> config.mlpBias();
        };
    }

    /** The name in {@code streams.json}, such as {@code q_proj}. */
    @Override
    public String toString() {
        return shortName;
    }
}
