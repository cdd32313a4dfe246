// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class StreamsAdapterTest {
    @TempDir
    Path directory;

    private StreamsAdapter open(TinyModel model) {
        model.write(directory);
        return StreamsAdapter.open(directory.resolve("streams"), ModelConfig.read(directory));
    }

    @Test
    void readsConfigurationAndTensors() {
        TinyModel model = new TinyModel(4);
        try (StreamsAdapter adapter = open(model)) {
            StreamsConfig config = adapter.config();
            assertEquals(StreamsConfig.Mode.LOSSLESS, config.mode());
            assertEquals(StreamsConfig.Position.OFFSET, config.position());
            assertEquals(4, config.gamma());
            assertEquals(2, config.streamLayers());
            assertEquals(
                    Set.of(Projection.Q_PROJ, Projection.DOWN_PROJ),
                    config.lora().orElseThrow().targets());
            assertEquals(2f, config.lora().orElseThrow().scale());
            assertEquals(0.05, config.pruning().orElseThrow().threshold());
            assertEquals(List.of(4L, 16L), adapter.embeddings().shape());
            for (int layer = 0; layer < TinyModel.LAYERS; layer++) {
                for (Projection p : Projection.values()) {
                    boolean expected = layer > 0 && (p == Projection.Q_PROJ || p == Projection.DOWN_PROJ);
                    assertEquals(expected, adapter.lora(layer, p).isPresent());
                }
            }
            WeightTensor up =
                    adapter.lora(2, Projection.DOWN_PROJ).orElseThrow().up();
            assertArrayEquals(
                    model.streamWeights.data("layers.2.mlp.down_proj.lora_B"),
                    up.data().toArray(ValueLayout.JAVA_BYTE));
            // 4·16 + 2 layers · (4·16 + 32·4 + 4·40 + 16·4) + 2·(2·16)
            assertEquals(64 + 2 * (64 + 128 + 160 + 64) + 64, adapter.parameters());
        }
    }

    @Test
    void loraAndPruningMayBeNull() {
        TinyModel model = new TinyModel(4);
        model.streams.putNull("lora").putNull("pruning").put("mode", "shared").put("position", "anchor");
        model.streamWeights.tensors.keySet().removeIf(name -> !name.equals("stream_embeddings"));
        try (StreamsAdapter adapter = open(model)) {
            assertEquals(StreamsConfig.Mode.SHARED, adapter.config().mode());
            assertEquals(StreamsConfig.Position.ANCHOR, adapter.config().position());
            assertEquals(Optional.empty(), adapter.pruning());
            assertFalse(adapter.lora(2, Projection.Q_PROJ).isPresent());
        }
    }
}
