// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import dev.tributary.ModelFormatException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * A streams adapter directory: {@code streams.json} and {@code streams.safetensors}, which is memory-mapped until this is
 * closed. It holds exactly the tensors that its configuration asks for, all bf16 or all fp16, all finite.
 */
public final class StreamsAdapter implements AutoCloseable {
    private static final ValueLayout.OfShort BITS = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /**
     * A low-rank pair: what it adds is up · (down · x), before any scale.
     *
     * @param down {@code [rank, inputs]}: lora_A
     * @param up {@code [outputs, rank]}: lora_B
     */
    public record LowRank(WeightTensor down, WeightTensor up) {}

    private final WeightFiles files;
    private final StreamsConfig config;
    private final DType dtype;
    private final WeightTensor embeddings;
    private final List<Map<Projection, LowRank>> lora;
    private final Optional<LowRank> pruning;
    private final long parameters;

    private StreamsAdapter(StreamsConfig config, ModelConfig base, WeightFiles files) {
        this.files = files;
        this.config = config;
        List<WeightTensor> taken = new ArrayList<>();
        embeddings = take(taken, "stream_embeddings", config.gamma(), base.hiddenSize());
        lora = new ArrayList<>();
        for (int i = 0; i < base.layers(); i++) {
            Map<Projection, LowRank> pairs = new EnumMap<>(Projection.class);
            if (i >= base.layers() - config.streamLayers() && config.lora().isPresent()) {
                int rank = config.lora().get().rank();
                for (Projection target : config.lora().get().targets()) {
                    String name = "layers." + i + "." + target.path();
                    pairs.put(
                            target,
                            new LowRank(
                                    take(taken, name + ".lora_A", rank, target.inputs(base)),
                                    take(taken, name + ".lora_B", target.outputs(base), rank)));
                }
            }
            lora.add(pairs);
        }
        pruning = config.pruning()
                .map(p -> new LowRank(
                        take(taken, "pruning.down", p.rank(), base.hiddenSize()),
                        take(taken, "pruning.up", base.hiddenSize(), p.rank())));
        Set<String> known = new HashSet<>();
        for (WeightTensor tensor : taken) {
            known.add(tensor.name());
        }
        files.refuseOthers(known);
        dtype = ModelWeights.oneFloatType(files, taken);
        if (dtype == DType.F32) {
            throw files.refuse("the tensors are F32, a streams adapter must be BF16 or F16");
        }
        for (WeightTensor tensor : taken) {
            requireFinite(tensor);
        }
        parameters = taken.stream().mapToLong(WeightTensor::elements).sum();
    }

    /**
     * Opens an adapter.
     *
     * @param directory holds {@code streams.json} and {@code streams.safetensors}
     * @param base the architecture of the model that it is for
     * @return the adapter; the caller closes it
     * @throws ModelFormatException when a file is missing or malformed, does not fit the base, or holds other tensors than
     *     {@code streams.json} asks for; nothing stays mapped then
     */
    public static StreamsAdapter open(Path directory, ModelConfig base) {
        if (!Files.isDirectory(directory)) {
            throw new ModelFormatException(
                    directory + ": not a directory; a streams adapter is a directory with streams.json");
        }
        StreamsConfig config = StreamsConfig.read(directory.resolve("streams.json"), base);
        WeightFiles files = WeightFiles.openFile(directory.resolve("streams.safetensors"));
        boolean done = false;
        try {
            StreamsAdapter adapter = new StreamsAdapter(config, base, files);
            done = true;
            return adapter;
        } finally {
            if (!done) {
                files.close();
            }
        }
    }

    private WeightTensor take(List<WeightTensor> taken, String name, long... shape) {
        WeightTensor tensor = files.tensor(name, shape);
        taken.add(tensor);
        return tensor;
    }

    /** One non-finite weight would silently end all drafting; an adapter is small enough to look at every number. */
    private void requireFinite(WeightTensor tensor) {
        int exponent = tensor.dtype() == DType.BF16 ? 0x7f80 : 0x7c00;
        MemorySegment data = tensor.data();
        for (long i = 0; i < data.byteSize(); i += Short.BYTES) {
            if ((data.get(BITS, i) & exponent) == exponent) {
                throw files.refuse("tensor " + StrictJson.quote(tensor.name())
                        + " holds a value that is not finite, at element " + i / Short.BYTES);
            }
        }
    }

    /** {@return what {@code streams.json} says} */
    public StreamsConfig config() {
        return config;
    }

    /** {@return element type of all tensors, {@link DType#BF16} or {@link DType#F16}} */
    public DType dtype() {
        return dtype;
    }

    /** {@return {@code [γ, hidden]}: P_1 … P_γ} */
    public WeightTensor embeddings() {
        return embeddings;
    }

    /**
     * {@return the update that stream rows get there, if any}
     *
     * @param layer a decoder layer of the base
     * @param projection one of its linear layers
     */
    public Optional<LowRank> lora(int layer, Projection projection) {
        return Optional.ofNullable(lora.get(layer).get(projection));
    }

    /** {@return the pruning adapter, if any} */
    public Optional<LowRank> pruning() {
        return pruning;
    }

    /** {@return how many numbers the adapter adds to the base} */
    public long parameters() {
        return parameters;
    }

    /** Unmaps the tensors. */
    @Override
    public void close() {
        files.close();
    }
}
