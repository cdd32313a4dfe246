// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.ModelFormatException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
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
                        Family.LLAMA,
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
                        8,
                        Optional.empty(),
                        false,
                        false,
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

    /** The configurations of published models, without their names and versions. */
    private ModelConfig published(String json) throws IOException {
        Files.writeString(directory.resolve("config.json"), json);
        return ModelConfig.read(directory);
    }

    @Test
    void mistralHasAWindowInEveryLayerOrNone() throws IOException {
        String mistral = """
                {"architectures": ["MistralForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2,
                 "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
                 "max_position_embeddings": 32768, "model_type": "mistral", "num_attention_heads": 32,
                 "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
                 "sliding_window": %s, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true,
                 "vocab_size": 32768}
                """;
        ModelConfig first = published(String.format(mistral, "4096"));
        assertEquals(Family.MISTRAL, first.family());
        assertEquals(4096, first.slidingWindow().orElseThrow().tokens());
        assertTrue(first.hasWindow(0) && first.hasWindow(31));
        assertFalse(first.queryKeyValueBias() || first.outputBias() || first.mlpBias() || first.queryKeyNorms());
        assertEquals(Optional.empty(), published(String.format(mistral, "null")).slidingWindow());
        assertRefused("the field sliding_window is missing", mistral.replace("\"sliding_window\": %s,", ""));
        assertRefused(
                "the field num_key_value_heads is missing",
                String.format(mistral, "null").replace("\"num_key_value_heads\": 8,", ""));
        assertRefused(
                "attention_bias = true is not supported",
                String.format(mistral, "null").replace("{\"arch", "{\"attention_bias\": true, \"arch"));
    }

    @Test
    void qwen2HasBiasesOnQueriesKeysAndValuesAndWindowsOnRequest() throws IOException {
        String qwen = """
                {"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
                 "eos_token_id": 151645, "hidden_act": "silu", "hidden_size": 896, "initializer_range": 0.02,
                 "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 21,
                 "model_type": "qwen2", "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2,
                 "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true,
                 "torch_dtype": "bfloat16", "use_cache": true, "use_sliding_window": false, "use_mrope": false,
                 "vocab_size": 151936}
                """;
        ModelConfig config = published(qwen);
        assertEquals(64, config.headDimension());
        assertTrue(config.queryKeyValueBias() && config.tiedEmbeddings());
        assertFalse(config.outputBias() || config.queryKeyNorms());
        assertEquals(Optional.empty(), config.slidingWindow());

        String windowed = qwen.replace("\"use_sliding_window\": false", "\"use_sliding_window\": true");
        SlidingWindow window = published(windowed).slidingWindow().orElseThrow();
        assertEquals(new SlidingWindow(32768, Set.of(21, 22, 23)), window);
        assertFalse(published(windowed).hasWindow(20));
        assertEquals(
                Optional.empty(),
                published(windowed.replace("\"max_window_layers\": 21", "\"max_window_layers\": 24"))
                        .slidingWindow());
        assertRefused("neither layer_types nor max_window_layers", windowed.replace("\"max_window_layers\": 21,", ""));
        String types = "[\"sliding_attention\"" + ", \"full_attention\"".repeat(23) + "]";
        String byLayer = windowed.replace("{\"arch", "{\"layer_types\": " + types + ", \"arch");
        assertEquals(Set.of(0), published(byLayer).slidingWindow().orElseThrow().layers());
        assertRefused(
                "there is no sliding_window", byLayer.replace("\"sliding_window\": 32768", "\"sliding_window\": null"));
        assertRefused(
                "must name 24 layers, got 1",
                windowed.replace("{\"arch", "{\"layer_types\": [\"full_attention\"], \"arch"));
        assertRefused(
                "\"linear_attention\" is not supported", byLayer.replaceFirst("full_attention", "linear_attention"));
        assertRefused("use_mrope", qwen.replace("\"use_mrope\": false", "\"use_mrope\": true"));
    }

    @Test
    void qwen3NormsQueriesAndKeysAndSaysItsHeadSize() throws IOException {
        String qwen = """
                {"architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
                 "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu",
                 "hidden_size": 1024, "initializer_range": 0.02, "intermediate_size": 3072,
                 "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3",
                 "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06,
                 "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null, "tie_word_embeddings": true,
                 "torch_dtype": "bfloat16", "use_cache": true, "use_sliding_window": false, "vocab_size": 151936}
                """;
        ModelConfig config = published(qwen);
        assertEquals(128, config.headDimension());
        assertTrue(config.queryKeyNorms());
        assertFalse(config.queryKeyValueBias());
        assertRefused("the field head_dim is missing", qwen.replace("\"head_dim\": 128,", ""));
        ModelConfig biased = published(qwen.replace("\"attention_bias\": false", "\"attention_bias\": true"));
        assertTrue(biased.queryKeyValueBias() && biased.outputBias());
    }

    @Test
    void phi3RotatesAPartOfEachHeadByLongRope() throws IOException {
        String phi = """
                {"architectures": ["Phi3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
                 "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"}, "bos_token_id": 199999,
                 "embd_pdrop": 0.0, "eos_token_id": 199999, "full_attn_mod": 1, "hidden_act": "silu",
                 "hidden_size": 3072, "initializer_range": 0.02, "intermediate_size": 8192, "interpolate_factor": 1,
                 "lm_head_bias": false, "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "phi3",
                 "num_attention_heads": 24, "num_hidden_layers": 32, "num_key_value_heads": 8,
                 "original_max_position_embeddings": 4096, "pad_token_id": 199999, "partial_rotary_factor": 0.75,
                 "resid_pdrop": 0.0, "rms_norm_eps": 1e-05, "rope_scaling": {"long_factor": %s, "short_factor": %s,
                 "type": "longrope"}, "rope_theta": 10000.0, "sliding_window": 262144, "tie_word_embeddings": true,
                 "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 200064}
                """.replace("%s", Collections.nCopies(48, 1.5).toString());
        ModelConfig config = published(phi);
        assertEquals(128, config.headDimension());
        assertEquals(96, config.rotaryDimension());
        assertEquals(262144, config.slidingWindow().orElseThrow().tokens());
        RopeParameters.LongRope rope = assertInstanceOf(RopeParameters.LongRope.class, config.rope());
        assertEquals(4096, rope.originalMaxPositions());
        assertEquals(Math.sqrt(1 + Math.log(32) / Math.log(4096)), rope.attentionFactor());
        // The first Phi-3 models call it otherwise.
        assertEquals(config, published(phi.replace("\"longrope\"", "\"su\"")));
        assertRefused("\"linear\" is not supported for model_type \"phi3\"", phi.replace("\"longrope\"", "\"linear\""));
        assertRefused(
                "original_max_position_embeddings is missing",
                phi.replace("\"original_max_position_embeddings\": 4096,", ""));
        assertRefused("a list of 64 positive numbers", phi.replace("\"partial_rotary_factor\": 0.75,", ""));
        assertRefused("partial_rotary_factor must leave an even number", phi.replace("0.75", "1.5"));
        assertRefused(
                "full_attn_mod = 2 is not supported", phi.replace("\"full_attn_mod\": 1", "\"full_attn_mod\": 2"));

        ModelConfig mini = published("""
                {"architectures": ["Phi3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
                 "bos_token_id": 1, "embd_pdrop": 0.0, "eos_token_id": 32000, "hidden_act": "silu", "hidden_size": 3072,
                 "initializer_range": 0.02, "intermediate_size": 8192, "max_position_embeddings": 4096,
                 "model_type": "phi3", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
                 "original_max_position_embeddings": 4096, "pad_token_id": 32000, "resid_pdrop": 0.0,
                 "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 10000.0, "sliding_window": 2047,
                 "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 32064}
                """);
        assertEquals(96, mini.rotaryDimension());
        assertEquals(new RopeParameters.Default(10_000), mini.rope());
    }

    @Test
    void otherArchitecturesAreRefusedByName() throws IOException {
        for (String type : List.of("gemma", "gemma3_text", "mixtral", "qwen3_moe", "phi", "gpt2", "Llama")) {
            config.put("model_type", type);
            assertRefused(
                    "model_type \"" + type
                            + "\" is not supported, only \"llama\", \"mistral\", \"qwen2\", \"qwen3\" and \"phi3\"",
                    config.toString());
        }
        config.put("model_type", "mistral");
        assertRefused("architectures = [\"LlamaForCausalLM\"] is not supported", config.toString());
    }

    private void assertRefused(String problem, String json) {
        String message = String.valueOf(
                assertThrows(ModelFormatException.class, () -> published(json)).getMessage());
        assertTrue(message.contains(problem), message);
    }
}
