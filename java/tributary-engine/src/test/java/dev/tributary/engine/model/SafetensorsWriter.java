// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/** Writes safetensors files, well-formed unless the header is changed before it is written. */
final class SafetensorsWriter {
    @SuppressWarnings("ArrayRecordComponent") // compared nowhere, changed on purpose
    record Tensor(DType dtype, long[] shape, byte[] data) {}

    final Map<String, Tensor> tensors = new LinkedHashMap<>();

    /** The bytes of a tensor, which a test may change before they are written. */
    byte[] data(String name) {
        return Optional.ofNullable(tensors.get(name)).orElseThrow().data();
    }

    ObjectNode header() {
        ObjectNode header = new JsonMapper().createObjectNode();
        header.putObject("__metadata__").put("format", "pt");
        long offset = 0;
        for (Map.Entry<String, Tensor> e : tensors.entrySet()) {
            Tensor t = e.getValue();
            ObjectNode entry = header.putObject(e.getKey());
            entry.put("dtype", t.dtype().name());
            Arrays.stream(t.shape()).forEach(entry.putArray("shape")::add);
            entry.putArray("data_offsets").add(offset).add(offset + t.data().length);
            offset += t.data().length;
        }
        return header;
    }

    void write(Path file) {
        write(file, header().toString());
    }

    void write(Path file, String header) {
        write(file, header.getBytes(StandardCharsets.UTF_8));
    }

    void write(Path file, byte[] header) {
        ByteArrayOutputStream data = new ByteArrayOutputStream();
        tensors.values().forEach(t -> data.writeBytes(t.data()));
        ByteBuffer bytes = ByteBuffer.allocate(8 + header.length + data.size()).order(ByteOrder.LITTLE_ENDIAN);
        bytes.putLong(header.length).put(header).put(data.toByteArray());
        try {
            Files.write(file, bytes.array());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
