// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.ModelFormatException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ModelWeightsTest {
    @TempDir
    Path directory;

    private interface Check {
        void of(ModelWeights weights);
    }

    private void load(TinyModel model, Check check) {
        model.write(directory);
        try (WeightFiles files = WeightFiles.open(directory)) {
            check.of(ModelWeights.of(ModelConfig.read(directory), files));
        }
    }

    @Test
    void everyTensorIsTheOneOfItsName() {
        TinyModel model = new TinyModel(3);
        load(model, weights -> {
            assertEquals(DType.BF16, weights.dtype());
            assertFalse(weights.roundedFromFp32());
            long parameters = 0;
            for (SafetensorsWriter.Tensor tensor : model.weights.tensors.values()) {
                parameters += tensor.data().length / 2;
            }
            assertEquals(parameters, weights.parameters());
            assertSameBytes(model, "model.embed_tokens.weight", weights.embedding());
            assertSameBytes(model, "lm_head.weight", weights.languageModelHead());
            assertSameBytes(model, "model.norm.weight", weights.finalNorm());
            for (int i = 0; i < TinyModel.LAYERS; i++) {
                ModelWeights.Layer layer = weights.layers().get(i);
                String p = "model.layers." + i + ".";
                assertSameBytes(model, p + "input_layernorm.weight", layer.inputNorm());
                assertSameBytes(model, p + "post_attention_layernorm.weight", layer.postAttentionNorm());
                assertSameBytes(model, p + "self_attn.k_proj.weight", layer.weight(Projection.K_PROJ));
                assertSameBytes(model, p + "self_attn.o_proj.weight", layer.weight(Projection.O_PROJ));
                assertSameBytes(model, p + "mlp.gate_proj.weight", layer.weight(Projection.GATE_PROJ));
                assertSameBytes(model, p + "mlp.down_proj.weight", layer.weight(Projection.DOWN_PROJ));
                assertEquals(Optional.empty(), layer.bias(Projection.Q_PROJ));
            }
        });
    }

    private static void assertSameBytes(TinyModel model, String name, WeightTensor tensor) {
        assertEquals(name, tensor.name());
        assertArrayEquals(model.weights.data(name), tensor.data().toArray(ValueLayout.JAVA_BYTE), name);
    }

    @Test
    void biasesAreTakenWhereTheConfigSaysSo() {
        TinyModel model = new TinyModel(3);
        model.config.put("attention_bias", true).put("mlp_bias", true);
        for (int i = 0; i < TinyModel.LAYERS; i++) {
            String p = "model.layers." + i + ".";
            model.add(model.weights, p + "self_attn.q_proj.bias", DType.BF16, 32);
            model.add(model.weights, p + "self_attn.k_proj.bias", DType.BF16, 16);
            model.add(model.weights, p + "self_attn.v_proj.bias", DType.BF16, 16);
            model.add(model.weights, p + "self_attn.o_proj.bias", DType.BF16, 16);
            model.add(model.weights, p + "mlp.gate_proj.bias", DType.BF16, 40);
            model.add(model.weights, p + "mlp.up_proj.bias", DType.BF16, 40);
            model.add(model.weights, p + "mlp.down_proj.bias", DType.BF16, 16);
        }
        load(model, weights -> {
            for (Projection p : Projection.values()) {
                WeightTensor bias = weights.layers().get(1).bias(p).orElseThrow();
                assertSameBytes(model, bias.name(), bias);
            }
        });
    }

    @Test
    void tiedHeadIsTheEmbedding() {
        TinyModel model = new TinyModel(3);
        model.config.put("tie_word_embeddings", true);
        model.weights.tensors.remove("lm_head.weight");
        load(model, weights -> assertSame(weights.embedding(), weights.languageModelHead()));
        model.weights.tensors.put("lm_head.weight", model.weights.tensors.get("model.embed_tokens.weight"));
        load(model, weights -> assertSame(weights.embedding(), weights.languageModelHead()));
    }

    @Test
    void oldFrequencyBuffersAreIgnored() {
        TinyModel model = new TinyModel(3);
        model.add(model.weights, "model.layers.0.self_attn.rotary_emb.inv_freq", DType.F32, 4);
        load(model, weights -> assertEquals(DType.BF16, weights.dtype()));
    }

    @Test
    void fp16StaysAndFp32IsFlagged() {
        load(new TinyModel(3, DType.F16), weights -> {
            assertEquals(DType.F16, weights.dtype());
            assertFalse(weights.roundedFromFp32());
        });
        load(new TinyModel(3, DType.F32), weights -> {
            assertEquals(DType.BF16, weights.dtype());
            assertTrue(weights.roundedFromFp32());
        });
    }

    @Test
    void segmentsDieWithTheirFilesAndCannotBeWritten() {
        new TinyModel(3).write(directory);
        WeightFiles files = WeightFiles.open(directory);
        WeightTensor norm = files.tensor("model.norm.weight", 16);
        assertTrue(norm.data().isReadOnly());
        files.close();
        files.close();
        assertThrows(IllegalStateException.class, () -> norm.data().get(ValueLayout.JAVA_BYTE, 0));
    }

    @Test
    void fusedProjectionsAreRowsOfOneTensor() {
        TinyModel model = new TinyModel(3);
        model.config.put("model_type", "phi3").putArray("architectures").add("Phi3ForCausalLM");
        for (int i = 0; i < TinyModel.LAYERS; i++) {
            String p = "model.layers." + i + ".";
            for (String part : List.of("self_attn.q", "self_attn.k", "self_attn.v", "mlp.gate", "mlp.up")) {
                model.weights.tensors.remove(p + part + "_proj.weight");
            }
            model.add(model.weights, p + "self_attn.qkv_proj.weight", DType.BF16, 32 + 16 + 16, TinyModel.HIDDEN);
            model.add(model.weights, p + "mlp.gate_up_proj.weight", DType.BF16, 80, TinyModel.HIDDEN);
        }
        load(model, weights -> {
            long parameters = 0;
            for (SafetensorsWriter.Tensor tensor : model.weights.tensors.values()) {
                parameters += tensor.data().length / 2;
            }
            assertEquals(parameters, weights.parameters());
            ModelWeights.Layer layer = weights.layers().get(1);
            byte[] queryKeyValue = model.weights.data("model.layers.1.self_attn.qkv_proj.weight");
            byte[] gateUp = model.weights.data("model.layers.1.mlp.gate_up_proj.weight");
            assertRows(queryKeyValue, 0, 32, layer.weight(Projection.Q_PROJ));
            assertRows(queryKeyValue, 32, 16, layer.weight(Projection.K_PROJ));
            assertRows(queryKeyValue, 48, 16, layer.weight(Projection.V_PROJ));
            assertRows(gateUp, 0, 40, layer.weight(Projection.GATE_PROJ));
            assertRows(gateUp, 40, 40, layer.weight(Projection.UP_PROJ));
        });
    }

    private static void assertRows(byte[] fused, int first, int count, WeightTensor part) {
        int rowBytes = TinyModel.HIDDEN * 2;
        assertEquals(List.of((long) count, (long) TinyModel.HIDDEN), part.shape());
        assertArrayEquals(
                Arrays.copyOfRange(fused, first * rowBytes, (first + count) * rowBytes),
                part.data().toArray(ValueLayout.JAVA_BYTE));
    }

    @Test
    void headNormsAreTakenWhereTheFamilyHasThem() {
        TinyModel model = new TinyModel(3);
        model.config.put("model_type", "qwen3").putArray("architectures").add("Qwen3ForCausalLM");
        ModelFormatException missing = assertThrows(ModelFormatException.class, () -> load(model, _ -> {}));
        assertTrue(
                String.valueOf(missing.getMessage()).contains("\"model.layers.0.self_attn.q_norm.weight\" is missing"));
        for (int i = 0; i < TinyModel.LAYERS; i++) {
            for (String norm : List.of("q_norm", "k_norm")) {
                model.add(model.weights, "model.layers." + i + ".self_attn." + norm + ".weight", DType.BF16, 8);
            }
        }
        load(model, weights -> {
            ModelWeights.Layer layer = weights.layers().get(2);
            assertSameBytes(
                    model,
                    "model.layers.2.self_attn.q_norm.weight",
                    layer.queryNorm().orElseThrow());
            assertSameBytes(
                    model,
                    "model.layers.2.self_attn.k_norm.weight",
                    layer.keyNorm().orElseThrow());
        });
    }
}
