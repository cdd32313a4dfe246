// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import dev.tributary.ModelFormatException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The header of a safetensors file, validated in full: afterwards every tensor lies within the file, its size is that of
 * its shape, and the tensors cover the data without hole or overlap.
 *
 * @param dataStart where the data begins in the file, bytes
 * @param dataBytes size of the data
 * @param tensors by name
 */
record SafetensorsHeader(long dataStart, long dataBytes, Map<String, Entry> tensors) {
    private static final int LENGTH_BYTES = Long.BYTES;
    /** The format's own limit. */
    private static final long MAX_HEADER_BYTES = 100_000_000;

    private static final int MAX_TENSORS = 1 << 18;
    private static final int MAX_RANK = 8;

    /**
     * What the header says about a tensor.
     *
     * @param dtype element type
     * @param shape dimensions
     * @param begin first byte, from the start of the data
     * @param end past the last byte
     */
    record Entry(DType dtype, List<Long> shape, long begin, long end) {}

    static SafetensorsHeader read(Path file, FileChannel channel) throws IOException {
        long size = channel.size();
        if (size < LENGTH_BYTES) {
            throw refuse(file, size + " bytes are too few for a header");
        }
        long length = readFully(file, channel, 0, LENGTH_BYTES).getLong();
        if (length < 2 || length > MAX_HEADER_BYTES || length > size - LENGTH_BYTES) {
            throw refuse(
                    file,
                    "header length " + Long.toUnsignedString(length) + " must be from 2 to "
                            + Math.min(MAX_HEADER_BYTES, size - LENGTH_BYTES) + " (the file has " + size + " bytes)");
        }
        byte[] header = readFully(file, channel, LENGTH_BYTES, (int) length).array();
        if (header[0] != '{') {
            throw refuse(file, "the header does not begin with '{'");
        }
        long dataStart = LENGTH_BYTES + length;
        long dataBytes = size - dataStart;
        Map<String, Entry> tensors = new Parser(file, dataBytes).parse(StrictJson.decode(file + ": header", header));
        requireCover(file, tensors, dataBytes);
        return new SafetensorsHeader(dataStart, dataBytes, tensors);
    }

    private static ModelFormatException refuse(Path file, String problem) {
        return new ModelFormatException(file + ": " + problem);
    }

    private static ByteBuffer readFully(Path file, FileChannel channel, long position, int length) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
        while (buffer.hasRemaining()) {
            if (channel.read(buffer, position + buffer.position()) < 0) {
                throw refuse(file, "the file ends within its header");
            }
        }
        return buffer.flip();
    }

    private static void requireCover(Path file, Map<String, Entry> tensors, long dataBytes) {
        List<Map.Entry<String, Entry>> inOrder = new ArrayList<>(tensors.entrySet());
        inOrder.sort(Comparator.comparingLong(
                        (Map.Entry<String, Entry> e) -> e.getValue().begin())
                .thenComparingLong(e -> e.getValue().end()));
        long covered = 0;
        for (Map.Entry<String, Entry> tensor : inOrder) {
            long begin = tensor.getValue().begin();
            if (begin != covered) {
                throw refuse(
                        file,
                        "tensor " + StrictJson.quote(tensor.getKey()) + " begins at " + begin
                                + (begin < covered ? ", inside another one that ends at " : ", after a hole from ")
                                + covered);
            }
            covered = tensor.getValue().end();
        }
        if (covered != dataBytes) {
            throw refuse(file, "the tensors end at byte " + covered + " of " + dataBytes + " bytes of data");
        }
    }

    /** Streams through the JSON: a tree of a hostile header could be many times its size. */
    private record Parser(Path file, long dataBytes) {
        Map<String, Entry> parse(String header) throws IOException {
            Map<String, Entry> tensors = new LinkedHashMap<>();
            try (JsonParser json = StrictJson.parser(header)) {
                require(json.nextToken() == JsonToken.START_OBJECT, "the header is not a JSON object");
                for (String name = json.nextFieldName(); name != null; name = json.nextFieldName()) {
                    if (name.equals("__metadata__")) {
                        metadata(json);
                    } else {
                        tensors.put(name, tensor(json, "tensor " + StrictJson.quote(name)));
                        require(tensors.size() <= MAX_TENSORS, "more than " + MAX_TENSORS + " tensors");
                    }
                }
                require(json.currentToken() == JsonToken.END_OBJECT, "the header is not a JSON object");
                require(json.nextToken() == null, "the header goes on after its JSON object");
            } catch (JsonProcessingException e) {
                throw StrictJson.malformed(file + ": header", e);
            }
            return tensors;
        }

        private void require(boolean holds, String problem) {
            if (!holds) {
                throw refuse(file, problem);
            }
        }

        private void metadata(JsonParser json) throws IOException {
            require(json.nextToken() == JsonToken.START_OBJECT, "__metadata__ is not an object");
            while (json.nextFieldName() != null) {
                require(json.nextToken() == JsonToken.VALUE_STRING, "__metadata__ holds a value that is not a string");
            }
        }

        private Entry tensor(JsonParser json, String tensor) throws IOException {
            require(json.nextToken() == JsonToken.START_OBJECT, tensor + " is not an object");
            DType dtype = null;
            List<Long> shape = null;
            List<Long> offsets = null;
            for (String field = json.nextFieldName(); field != null; field = json.nextFieldName()) {
                switch (field) {
                    case "dtype" -> dtype = dtype(json, tensor);
                    case "shape" -> shape = numbers(json, tensor + ": shape", MAX_RANK);
                    case "data_offsets" -> offsets = numbers(json, tensor + ": data_offsets", 2);
                    default -> throw refuse(file, tensor + ": unknown field " + StrictJson.quote(field));
                }
            }
            if (dtype == null || shape == null || offsets == null) {
                throw refuse(
                        file,
                        tensor + " lacks "
                                + (dtype == null ? "its dtype" : shape == null ? "its shape" : "its data_offsets"));
            }
            require(offsets.size() == 2, tensor + ": data_offsets must be two numbers, got " + offsets);
            long begin = offsets.getFirst();
            long end = offsets.getLast();
            require(
                    begin <= end && end <= dataBytes,
                    tensor + ": data_offsets " + offsets + " do not lie within " + dataBytes + " bytes of data");
            long bytes = dtype.bytes();
            try {
                for (long dimension : shape) {
                    bytes = Math.multiplyExact(bytes, dimension);
                }
            } catch (ArithmeticException e) {
                throw new ModelFormatException(file + ": " + tensor + ": shape " + shape + " overflows", e);
            }
            require(
                    bytes == end - begin,
                    tensor + ": " + dtype + " of shape " + shape + " has " + bytes + " bytes, but data_offsets "
                            + offsets + " hold " + (end - begin));
            return new Entry(dtype, List.copyOf(shape), begin, end);
        }

        private DType dtype(JsonParser json, String tensor) throws IOException {
            @Nullable String name = json.nextTextValue();
            for (DType dtype : DType.values()) {
                if (dtype.name().equals(name)) {
                    return dtype;
                }
            }
            throw refuse(
                    file,
                    tensor + ": dtype " + (name == null ? "is not a string" : StrictJson.quote(name) + " is unknown"));
        }

        private List<Long> numbers(JsonParser json, String what, int max) throws IOException {
            require(json.nextToken() == JsonToken.START_ARRAY, what + " is not a list");
            List<Long> numbers = new ArrayList<>(max);
            while (json.nextToken() != JsonToken.END_ARRAY) {
                require(
                        json.currentToken() == JsonToken.VALUE_NUMBER_INT
                                && json.getNumberType() != JsonParser.NumberType.BIG_INTEGER
                                && json.getLongValue() >= 0,
                        what + " must hold non-negative 64-bit integers");
                require(numbers.size() < max, what + " has more than " + max + " numbers");
                numbers.add(json.getLongValue());
            }
            return numbers;
        }
    }
}
