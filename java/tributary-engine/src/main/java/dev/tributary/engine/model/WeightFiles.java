// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import dev.tributary.ModelFormatException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The tensors of one or several safetensors files, memory-mapped. Closing unmaps them: no segment that came from here may
 * be used afterwards. Any thread may read, any thread may close.
 */
public final class WeightFiles implements AutoCloseable {
    private static final String SINGLE = "model.safetensors";
    private static final String INDEX = "model.safetensors.index.json";

    private final Arena arena;
    private final String where;
    private final Map<String, WeightTensor> tensors;

    private WeightFiles(Arena arena, String where, Map<String, WeightTensor> tensors) {
        this.arena = arena;
        this.where = where;
        this.tensors = Collections.unmodifiableMap(tensors);
    }

    /**
     * Maps a model directory's weights: {@code model.safetensors}, or the shards that {@code
     * model.safetensors.index.json} names.
     *
     * @param directory the model
     * @return its tensors; the caller closes them
     * @throws ModelFormatException when a file is missing or malformed, or index and shards disagree; nothing stays
     *     mapped then
     */
    public static WeightFiles open(Path directory) {
        Path single = directory.resolve(SINGLE);
        Path index = directory.resolve(INDEX);
        boolean hasSingle = Files.exists(single);
        if (hasSingle && Files.exists(index)) {
            throw new ModelFormatException(directory + ": holds both " + SINGLE + " and " + INDEX + ", one must go");
        }
        if (hasSingle) {
            return openFile(single);
        }
        if (!Files.exists(index)) {
            throw new ModelFormatException(directory + ": holds neither " + SINGLE + " nor " + INDEX);
        }
        return openShards(directory, index);
    }

    /**
     * Maps one file.
     *
     * @param file a safetensors file
     * @return its tensors; the caller closes them
     * @throws ModelFormatException when the file is missing or malformed; nothing stays mapped then
     */
    public static WeightFiles openFile(Path file) {
        return mapped(file.toString(), arena -> map(file, arena));
    }

    private static WeightFiles openShards(Path directory, Path index) {
        Map<String, Set<String>> namesByShard = readIndex(index);
        return mapped(index.toString(), arena -> {
            Map<String, WeightTensor> all = new LinkedHashMap<>();
            for (Map.Entry<String, Set<String>> shard : namesByShard.entrySet()) {
                Path file = directory.resolve(shard.getKey());
                Map<String, WeightTensor> held = map(file, arena);
                for (String name : shard.getValue()) {
                    if (!held.containsKey(name)) {
                        throw new ModelFormatException(index + ": tensor " + StrictJson.quote(name) + " is not in "
                                + StrictJson.quote(shard.getKey()));
                    }
                }
                for (String name : held.keySet()) {
                    if (!shard.getValue().contains(name)) {
                        throw new ModelFormatException(file + ": tensor " + StrictJson.quote(name)
                                + " is not assigned to this file by the index");
                    }
                }
                all.putAll(held);
            }
            return all;
        });
    }

    private static Map<String, Set<String>> readIndex(Path index) {
        JsonFields fields = StrictJson.readObject(index);
        JsonFields map = fields.requiredObject("weight_map");
        fields.refuseOthers(Set.of("metadata"));
        Map<String, Set<String>> namesByShard = new LinkedHashMap<>();
        for (String name : map.names()) {
            String shard = map.requiredString(name);
            // A shard is a plain file name: an index must not reach outside its directory.
            if (!shard.endsWith(".safetensors")
                    || shard.startsWith(".")
                    || shard.chars().anyMatch(c -> c == '/' || c == '\\' || c == ':' || Character.isISOControl(c))) {
                throw map.refuse(StrictJson.quote(name) + " names " + StrictJson.quote(shard)
                        + ", which is not a plain *.safetensors file name");
            }
            namesByShard.computeIfAbsent(shard, _ -> new LinkedHashSet<>()).add(name);
        }
        if (namesByShard.isEmpty()) {
            throw map.refuse("names no tensor");
        }
        return namesByShard;
    }

    private interface Mapping {
        Map<String, WeightTensor> into(Arena arena);
    }

    /** Hands the arena to the result, or closes it whatever goes wrong. */
    @SuppressWarnings("MustBeClosedChecker") // the result closes it
    private static WeightFiles mapped(String where, Mapping mapping) {
        Arena arena = Arena.ofShared();
        boolean done = false;
        try {
            WeightFiles files = new WeightFiles(arena, where, mapping.into(arena));
            done = true;
            return files;
        } finally {
            if (!done) {
                arena.close();
            }
        }
    }

    private static Map<String, WeightTensor> map(Path file, Arena arena) {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            SafetensorsHeader header = SafetensorsHeader.read(file, channel);
            MemorySegment data = channel.map(MapMode.READ_ONLY, header.dataStart(), header.dataBytes(), arena);
            Map<String, WeightTensor> tensors = new LinkedHashMap<>();
            header.tensors()
                    .forEach((name, t) -> tensors.put(
                            name,
                            new WeightTensor(
                                    name, t.dtype(), t.shape(), data.asSlice(t.begin(), t.end() - t.begin()))));
            return tensors;
        } catch (IOException e) {
            throw StrictJson.unreadable(file, e);
        }
    }

    /** {@return where the tensors are from, for messages} */
    public String where() {
        return where;
    }

    /** {@return the names of all tensors} */
    public Set<String> names() {
        return tensors.keySet();
    }

    /**
     * {@return the tensor, of whatever shape}
     *
     * @param name of a tensor
     * @throws ModelFormatException when it is missing
     */
    public WeightTensor tensorOfAnyShape(String name) {
        WeightTensor tensor = tensors.get(name);
        if (tensor == null) {
            throw refuse("tensor " + StrictJson.quote(name) + " is missing");
        }
        return tensor;
    }

    /**
     * {@return the tensor}
     *
     * @param name of a tensor
     * @param expectedShape the shape that it must have
     * @throws ModelFormatException when it is missing or has another shape
     */
    public WeightTensor tensor(String name, long... expectedShape) {
        WeightTensor tensor = tensorOfAnyShape(name);
        List<Long> expected = Arrays.stream(expectedShape).boxed().toList();
        if (!tensor.shape().equals(expected)) {
            throw refuse(
                    "tensor " + StrictJson.quote(name) + " must have shape " + expected + ", got " + tensor.shape());
        }
        return tensor;
    }

    /** Refuses tensors that nothing asked for. */
    void refuseOthers(Set<String> known) {
        List<String> others = new ArrayList<>(tensors.keySet());
        others.removeAll(known);
        if (!others.isEmpty()) {
            throw refuse("tensor " + StrictJson.quote(others.getFirst()) + " is not part of this architecture"
                    + (others.size() == 1 ? "" : ", nor are " + (others.size() - 1) + " more"));
        }
    }

    ModelFormatException refuse(String problem) {
        return new ModelFormatException(where + ": " + problem);
    }

    /** Unmaps all files. */
    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}
