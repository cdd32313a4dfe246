// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.engine.model.WeightFiles;
import dev.tributary.engine.model.WeightTensor;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.random.RandomGenerator;

/** Safetensors files: length, header and data. */
final class SafetensorsTarget implements FuzzTarget {
    private static final String FILE = "model.safetensors";
    private static final int SMALL = 100_000;
    private static final List<String> WORDS = List.of(
            "\"dtype\"",
            "\"shape\"",
            "\"data_offsets\"",
            "\"__metadata__\"",
            "\"BF16\"",
            "\"F16\"",
            "\"F32\"",
            "\"F64\"",
            "\"I8\"",
            "\"BOOL\"",
            "\"F4\"",
            "[0,0]",
            "[0,9223372036854775807]",
            "[4611686018427387904,4]",
            "[0,4611686018427387904]",
            "[1,1,1,1,1,1,1,1,1]",
            "{\"dtype\":\"BF16\",\"shape\":[0],\"data_offsets\":[0,0]}",
            "{\"dtype\":\"BF16\",\"shape\":[0,9223372036854775807],\"data_offsets\":[0,0]}");

    private final List<byte[]> seeds = new ArrayList<>();

    SafetensorsTarget() {
        for (Input model : Seeds.models()) {
            model.files().forEach((name, content) -> {
                if (name.endsWith(".safetensors") && content.length < SMALL) {
                    seeds.add(content);
                }
            });
        }
    }

    @Override
    public Input draw(RandomGenerator random) {
        byte[] file = damaged(seeds.get(random.nextInt(seeds.size())), random);
        return new Input(java.util.Map.of(FILE, file));
    }

    /** A file with damage to any of its three parts. */
    static byte[] damaged(byte[] file, RandomGenerator random) {
        int begin = Long.BYTES;
        int end = begin + Math.toIntExact(buffer(file).getLong(0));
        return switch (random.nextInt(10)) {
            case 0 -> {
                byte[] other = file.clone();
                long length = (long) end - begin;
                buffer(other)
                        .putLong(
                                0,
                                switch (random.nextInt(5)) {
                                    case 0 -> length + random.nextInt(-9, 10);
                                    case 1 -> length ^ (1L << random.nextInt(64));
                                    case 2 -> random.nextLong();
                                    case 3 -> Long.MAX_VALUE - random.nextInt(16);
                                    default -> file.length - Long.BYTES;
                                });
                yield other;
            }
            case 1 -> Arrays.copyOf(file, random.nextInt(file.length + 100));
            case 2 -> Damage.to(file, random);
            case 3, 4 -> withHeader(file, end, offsets(Seeds.object(Arrays.copyOfRange(file, begin, end)), random));
            default -> withHeader(file, end, JsonDamage.to(Arrays.copyOfRange(file, begin, end), WORDS, random));
        };
    }

    private static ByteBuffer buffer(byte[] bytes) {
        return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    }

    private static byte[] withHeader(byte[] file, int end, byte[] header) {
        byte[] changed = Damage.spliced(file, Long.BYTES, end, header);
        buffer(changed).putLong(0, header.length);
        return changed;
    }

    /** Two tensors whose places overlap, are exchanged, or reach far out. */
    private static byte[] offsets(ObjectNode header, RandomGenerator random) {
        List<ObjectNode> tensors = new ArrayList<>();
        header.properties().forEach(entry -> {
            if (entry.getValue().has("data_offsets")) {
                tensors.add((ObjectNode) entry.getValue());
            }
        });
        ObjectNode one = tensors.get(random.nextInt(tensors.size()));
        ObjectNode other = tensors.get(random.nextInt(tensors.size()));
        ArrayNode place = (ArrayNode) one.get("data_offsets");
        switch (random.nextInt(5)) {
            case 0 -> one.set("data_offsets", other.get("data_offsets"));
            case 1 -> {
                one.set("data_offsets", other.get("data_offsets"));
                other.set("data_offsets", place);
            }
            case 2 -> {
                one.set("shape", other.get("shape"));
                one.set("dtype", other.get("dtype"));
            }
            case 3 ->
                one.putArray("data_offsets")
                        .add(place.get(1).longValue())
                        .add(place.get(0).longValue());
            default -> {
                long shift = 1L << random.nextInt(63);
                one.putArray("data_offsets")
                        .add(place.get(0).longValue() + shift)
                        .add(place.get(1).longValue() + shift);
            }
        }
        return Seeds.bytes(header.toString());
    }

    @Override
    public void feed(Input input, Path scratch) throws Exception {
        input.write(scratch);
        try (WeightFiles files = WeightFiles.openFile(scratch.resolve(FILE))) {
            long sum = 0;
            for (String name : files.names()) {
                WeightTensor tensor = files.tensorOfAnyShape(name);
                long bytes = tensor.data().byteSize();
                if (bytes > 0) {
                    sum += tensor.data().get(ValueLayout.JAVA_BYTE, 0)
                            + tensor.data().get(ValueLayout.JAVA_BYTE, bytes - 1);
                }
                sum += tensor.elements();
            }
            if (sum == Long.MIN_VALUE) {
                throw new AssertionError("the sum is there to be used");
            }
        }
    }
}
