// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class RandomLlamaTest {
    @TempDir
    private Path directory = Path.of("");

    private Path written(RandomLlama llama) throws Exception {
        Path other = Files.createDirectory(directory.resolve("other"));
        Files.writeString(other.resolve("tokenizer.json"), "{}");
        Files.writeString(other.resolve("config.json"), "{\"eos_token_id\": 3, \"bos_token_id\": null}");
        Path model = Files.createDirectory(directory.resolve("model"));
        llama.write(model, other);
        return model;
    }

    @Test
    void theSizeIsWhatWasAskedFor() {
        for (int vocabulary : new int[] {8192, 32_000, 128_256}) {
            RandomLlama llama = RandomLlama.ofSize(700_000_000, vocabulary);
            assertTrue(Math.abs(llama.passBytes() - 700_000_000) < 91_000_000 / 2, llama::toString);
        }
    }

    @Test
    void tensorsFillTheirFilesWithoutGapsAndWeightsStayInRange() throws Exception {
        RandomLlama llama = new RandomLlama(3, 32, 48, 4, 2, 64);
        Path model = written(llama);
        JsonNode config = JsonMapper.builder()
                .build()
                .readTree(model.resolve("config.json").toFile());
        assertEquals(3, config.get("eos_token_id").intValue());
        assertTrue(config.path("bos_token_id").isMissingNode());
        for (Path file : new Path[] {
            model.resolve("model.safetensors"), model.resolve("streams").resolve("streams.safetensors")
        }) {
            ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
            int data = 8 + Math.toIntExact(bytes.getLong());
            assertEquals(0, data % 8);
            JsonNode header = JsonMapper.builder().build().readTree(bytes.array(), 8, data - 8);
            long end = 0;
            for (Map.Entry<String, JsonNode> tensor : header.properties()) {
                assertEquals(end, tensor.getValue().get("data_offsets").get(0).longValue(), tensor::getKey);
                end = tensor.getValue().get("data_offsets").get(1).longValue();
            }
            assertEquals(bytes.capacity(), data + end);
            if (file.endsWith("model.safetensors")) {
                // Of the embedding a pass reads one row for itself, and all of it as the LM head.
                assertEquals(llama.passBytes(), end + 32 * 2);
            }
        }
    }

    @Test
    void weightsAreFiniteAndHaveNoMeanToSpeakOf() throws Exception {
        Path model = written(new RandomLlama(1, 256, 512, 4, 2, 64));
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(model.resolve("model.safetensors")))
                .order(ByteOrder.LITTLE_ENDIAN);
        int data = 8 + Math.toIntExact(bytes.getLong());
        double sum = 0;
        int count = 64 * 256; // the embedding, which stands first
        for (int i = 0; i < count; i++) {
            float value = Float.intBitsToFloat(bytes.getShort(data + 2 * i) << 16);
            assertTrue(Math.abs(value) >= 1 / 64f && Math.abs(value) < 1 / 32f, () -> "weight " + value);
            sum += value;
        }
        assertEquals(0, sum / count, 0.001);
    }
}
