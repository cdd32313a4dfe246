// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * The families of decoders that run. They share everything but what {@link ModelConfig} asks a family for: biases, norms
 * of queries and keys, windows, how projections are stored, and which RoPE types there are.
 */
public enum Family {
    /** Llama 2 and 3, and what shares their architecture. */
    LLAMA("llama", "LlamaForCausalLM"),
    /** Mistral: every layer may have a sliding window. */
    MISTRAL("mistral", "MistralForCausalLM"),
    /** Qwen 2 and 2.5: biases on q, k and v; upper layers may have a sliding window. */
    QWEN2("qwen2", "Qwen2ForCausalLM"),
    /** Qwen 3: queries and keys are normed, head by head, before RoPE. */
    QWEN3("qwen3", "Qwen3ForCausalLM"),
    /** Phi-3, 3.5 and 4: q, k and v are stored as one matrix, gate and up as another; RoPE on a part of each head. */
    PHI3("phi3", "Phi3ForCausalLM");

    private final String modelType;
    private final String className;

    Family(String modelType, String className) {
        this.modelType = modelType;
        this.className = className;
    }

    /** The family that {@code model_type} and {@code architectures} name. */
    static Family read(JsonFields fields) {
        String type = fields.requiredString("model_type");
        List<String> supported = new ArrayList<>();
        for (Family family : values()) {
            if (family.modelType.equals(type)) {
                fields.only("architectures", Set.of("[\"" + family.className + "\"]"));
                return family;
            }
            supported.add(StrictJson.quote(family.modelType));
        }
        String last = supported.removeLast();
        throw fields.refuse("model_type " + StrictJson.quote(type) + " is not supported, only "
                + String.join(", ", supported) + " and " + last);
    }

    /** Whether q, k and v are stored as one matrix, and gate and up as another. */
    boolean storesFusedProjections() {
        return this == PHI3;
    }

    /** The {@code model_type} of its configurations. */
    @Override
    public String toString() {
        return modelType;
    }
}
