// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ModelConfigTest {
    @TempDir
    Path directory;

    private final ObjectNode config = new TinyModel(1).config;

    private ModelConfig read() throws IOException {
        Files.writeString(directory.resolve("config.json"), config.toString());
        return ModelConfig.read(directory);
    }

    @Test
    void readsEveryField() throws IOException {
        assertEquals(
                new ModelConfig(
                        16,
                        3,
                        4,
                        2,
                        8,
                        40,
                        320,
                        512,
                        1e-5f,
                        new RopeParameters.Default(10_000),
                        false,
                        false,
                        false,
                        Set.of(1),
                        OptionalInt.of(0)),
                read());
    }

    @Test
    void readsWhatTransformers5Writes() throws IOException {
        config.remove(List.of("rope_theta", "rope_scaling", "torch_dtype", "pretraining_tp", "head_dim"));
        config.put("dtype", "bfloat16")
                .put("hidden_size", 32)
                .putNull("pad_token_id")
                .put("transformers_version", "5.17.0");
        config.putObject("rope_parameters").put("rope_theta", 500000.0).put("rope_type", "default");
        ModelConfig read = read();
        assertEquals(new RopeParameters.Default(500_000), read.rope());
        assertEquals(8, read.headDimension());
    }

    @Test
    void absentFieldsMeanWhatTheyMeantBefore() throws IOException {
        config.remove(List.of(
                "num_key_value_heads",
                "rope_theta",
                "rope_scaling",
                "tie_word_embeddings",
                "attention_bias",
                "mlp_bias",
                "hidden_act",
                "bos_token_id",
                "eos_token_id"));
        ModelConfig read = read();
        assertEquals(4, read.keyValueHeads());
        assertEquals(new RopeParameters.Default(10_000), read.rope());
        assertEquals(OptionalInt.empty(), read.beginToken());
        assertTrue(read.endTokens().isEmpty());
    }

    @Test
    void endTokensComeFromBothFiles() throws IOException {
        config.putArray("eos_token_id").add(7).add(3);
        Files.writeString(
                directory.resolve("generation_config.json"), "{\"temperature\": 0.6, \"eos_token_id\": [3, 11]}");
        assertEquals(List.of(7, 3, 11), List.copyOf(read().endTokens()));
    }

    @Test
    void yarnDerivesItsFactorAndTemperature() throws IOException {
        config.putObject("rope_scaling").put("rope_type", "yarn").put("original_max_position_embeddings", 128);
        RopeParameters.Yarn yarn = assertInstanceOf(RopeParameters.Yarn.class, read().rope());
        assertEquals(4, yarn.factor());
        assertEquals(0.1 * Math.log(4) + 1, yarn.attentionFactor());
    }
}
