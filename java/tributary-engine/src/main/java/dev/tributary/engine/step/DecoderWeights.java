// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.step;

import dev.tributary.LoadListener;
import dev.tributary.engine.device.Device;
import dev.tributary.engine.device.DeviceMemory;
import dev.tributary.engine.device.MeasuringDevice;
import dev.tributary.engine.model.Bfloat16;
import dev.tributary.engine.model.ModelConfig;
import dev.tributary.engine.model.ModelWeights;
import dev.tributary.engine.model.Projection;
import dev.tributary.engine.model.StreamsAdapter;
import dev.tributary.engine.model.StreamsConfig;
import dev.tributary.engine.model.WeightTensor;
import dev.tributary.kernels.DType;
import dev.tributary.kernels.Layout;
import dev.tributary.kernels.LoraEntry;
import dev.tributary.kernels.PackWeightParams;
import dev.tributary.kernels.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A model's weights in a device's memory, in the layout that its kernels read, with those of its streams adapters.
 *
 * @param dtype the type that weights and KV cache have
 * @param embedding [V, h] packed
 * @param layers decoder layers
 * @param finalNorm [h]
 * @param head [V, h] packed; the embedding's memory when the two are tied
 * @param streams the adapters' weights, if there are any
 * @param bytes device memory in all
 */
public record DecoderWeights(
        DType dtype,
        Tensor embedding,
        List<Layer> layers,
        Tensor finalNorm,
        Tensor head,
        Optional<Streams> streams,
        long bytes) {

    /**
     * One decoder layer.
     *
     * @param inputNorm [h]
     * @param qkv q, k and v
     * @param queryNorm [d], or none
     * @param keyNorm [d], or none
     * @param output the attention's output
     * @param postAttentionNorm [h]
     * @param gateUp gate and up
     * @param down down
     */
    public record Layer(
            Tensor inputNorm,
            Linear qkv,
            Optional<Tensor> queryNorm,
            Optional<Tensor> keyNorm,
            Linear output,
            Tensor postAttentionNorm,
            Linear gateUp,
            Linear down) {}

    /**
     * A linear of one or several output parts.
     *
     * @param weight packed
     * @param bias [N] or none
     * @param parts columns of each part
     * @param loraTable address of the LoRA table [adapters, parts]; 0 = none
     * @param rank greatest rank in the table
     */
    public record Linear(Tensor weight, Tensor bias, List<Integer> parts, long loraTable, int rank) {
        int[] partColumns() {
            return parts.stream().mapToInt(Integer::intValue).toArray();
        }
    }

    /**
     * What only stream rows use.
     *
     * @param config what the adapters have in common: γ, layers, position
     * @param embeddings [adapters · γ, h]: P_1 … P_γ of one adapter after another
     */
    public record Streams(StreamsConfig config, Tensor embeddings) {}

    /** Copies the list. */
    public DecoderWeights {
        layers = List.copyOf(layers);
    }

    /**
     * The weights as {@link #load} would place them, at no address: so that what they take, and what a decoder takes
     * beside them, is known before anything is brought to the device.
     *
     * @param device the device; nothing is allocated on it
     * @param config the architecture
     * @param weights the base
     * @param adapters the streams, if any: alike in γ, layers, position and type
     * @return the weights, not to be computed with
     */
    public static DecoderWeights imagined(
            Device device, ModelConfig config, ModelWeights weights, List<StreamsAdapter> adapters) {
        try (MeasuringDevice measuring = new MeasuringDevice(device);
                Arena arena = Arena.ofConfined()) {
            return place(new Loader(measuring, arena, weights, LoadListener.SILENT, false), config, weights, adapters);
        }
    }

    /**
     * Brings weights to a device.
     *
     * @param device the device
     * @param config the architecture
     * @param weights the base, mapped
     * @param adapters the streams, mapped, if any: alike in γ, layers, position and type
     * @param listener hears of progress
     * @return the weights; the files may be closed
     */
    public static DecoderWeights load(
            Device device,
            ModelConfig config,
            ModelWeights weights,
            List<StreamsAdapter> adapters,
            LoadListener listener) {
        try (Arena arena = Arena.ofConfined()) {
            return place(new Loader(device, arena, weights, listener, true), config, weights, adapters);
        }
    }

    private static DecoderWeights place(
            Loader loader, ModelConfig config, ModelWeights weights, List<StreamsAdapter> adapters) {
        Tensor embedding = loader.pack(Layout.PACKED, List.of(weights.embedding()));
        List<Layer> layers = new ArrayList<>();
        for (int i = 0; i < config.layers(); i++) {
            ModelWeights.Layer source = weights.layers().get(i);
            layers.add(new Layer(
                    loader.vector(source.inputNorm()),
                    loader.linear(source, adapters, i, QKV),
                    source.queryNorm().map(loader::vector),
                    source.keyNorm().map(loader::vector),
                    loader.linear(source, adapters, i, OUTPUT),
                    loader.vector(source.postAttentionNorm()),
                    loader.linear(source, adapters, i, GATE_UP),
                    loader.linear(source, adapters, i, DOWN)));
        }
        Tensor finalNorm = loader.vector(weights.finalNorm());
        Tensor head =
                config.tiedEmbeddings() ? embedding : loader.pack(Layout.PACKED, List.of(weights.languageModelHead()));
        Optional<Streams> streams = adapters.isEmpty()
                ? Optional.empty()
                : Optional.of(new Streams(
                        adapters.getFirst().config(),
                        loader.matrix(adapters.stream()
                                .map(StreamsAdapter::embeddings)
                                .toList())));
        loader.staging.close();
        return new DecoderWeights(
                kernelType(weights.dtype()), embedding, layers, finalNorm, head, streams, loader.bytes);
    }

    private static final Projection[] QKV = {Projection.Q_PROJ, Projection.K_PROJ, Projection.V_PROJ};
    private static final Projection[] OUTPUT = {Projection.O_PROJ};
    private static final Projection[] GATE_UP = {Projection.GATE_PROJ, Projection.UP_PROJ};
    private static final Projection[] DOWN = {Projection.DOWN_PROJ};

    private static Layout layoutOf(Projection[] parts) {
        return parts[0] == Projection.GATE_PROJ ? Layout.PACKED_GATE : Layout.PACKED;
    }

    private static long packedBytes(Device device, DType dtype, Layout layout, long rows, long columns) {
        return device.kernels().packedSize(dtype, layout, rows, columns);
    }

    static DType kernelType(dev.tributary.engine.model.DType dtype) {
        return switch (dtype) {
            case BF16, F32 -> DType.BF16;
            case F16 -> DType.F16;
            default -> throw new IllegalArgumentException("weights of type " + dtype + " are refused before loading");
        };
    }

    /** Moves tensors through an aligned staging buffer, since those of a mapped file stand anywhere. */
    private static final class Loader {
        private static final long STAGING_BYTES = 16L << 20;
        private static final long ALIGNMENT = 64;

        private final Device device;
        private final Arena arena;
        private final DType dtype;
        private final long total;
        private final LoadListener listener;
        private final boolean copies;
        private final MemorySegment rounding;
        private DeviceMemory staging;
        private long done;
        private long bytes;

        /** {@code copies}: whether memory is filled, too; where a device only counts, it cannot be. */
        Loader(Device device, Arena arena, ModelWeights weights, LoadListener listener, boolean copies) {
            this.device = device;
            this.arena = arena;
            this.listener = listener;
            this.copies = copies;
            dtype = kernelType(weights.dtype());
            total = weights.parameters() * weights.dtype().bytes();
            rounding = copies ? arena.allocate(STAGING_BYTES, ALIGNMENT) : MemorySegment.NULL;
            staging = device.allocate(STAGING_BYTES);
        }

        Linear linear(ModelWeights.Layer layer, List<StreamsAdapter> adapters, int index, Projection[] parts) {
            List<WeightTensor> sources = new ArrayList<>();
            List<Integer> columns = new ArrayList<>();
            for (Projection part : parts) {
                WeightTensor weight = layer.weight(part);
                sources.add(weight);
                columns.add(Math.toIntExact(weight.shape().getFirst()));
            }
            Tensor weight = pack(layoutOf(parts), sources);
            Tensor bias = bias(layer, parts, columns);
            return lora(adapters, index, parts)
                    .map(lora -> new Linear(weight, bias, columns, lora.address(), lora.rank()))
                    .orElseGet(() -> new Linear(weight, bias, columns, 0, 0));
        }

        private Tensor bias(ModelWeights.Layer layer, Projection[] parts, List<Integer> columns) {
            if (layer.bias(parts[0]).isEmpty()) {
                return Tensor.NONE;
            }
            long width = columns.stream().mapToLong(Integer::longValue).sum();
            DeviceMemory memory = allocate(width * dtype.byteSize());
            long offset = 0;
            for (Projection part : parts) {
                WeightTensor source = layer.bias(part).orElseThrow();
                fill(memory, offset, source);
                offset += source.elements() * dtype.byteSize();
            }
            return Tensor.vector(dtype, memory.address(), width);
        }

        private record LoraTable(long address, int rank) {}

        private Optional<LoraTable> lora(List<StreamsAdapter> adapters, int layer, Projection[] parts) {
            MemorySegment table = arena.allocate((long) adapters.size() * parts.length * LoraEntry.BYTES, ALIGNMENT);
            int greatestRank = 0;
            for (int i = 0; i < adapters.size(); i++) {
                StreamsAdapter adapter = adapters.get(i);
                for (int part = 0; part < parts.length; part++) {
                    Optional<StreamsAdapter.LowRank> update = adapter.lora(layer, parts[part]);
                    if (update.isPresent()) {
                        StreamsConfig.Lora config = adapter.config().lora().orElseThrow();
                        write(table, i * parts.length + part, update.get(), config, kernelType(adapter.dtype()));
                        greatestRank = Math.max(greatestRank, config.rank());
                    }
                }
            }
            if (greatestRank == 0) {
                return Optional.empty();
            }
            DeviceMemory memory = allocate(table.byteSize());
            memory.write(0, table);
            return Optional.of(new LoraTable(memory.address(), greatestRank));
        }

        private void write(
                MemorySegment table, int entry, StreamsAdapter.LowRank update, StreamsConfig.Lora config, DType type) {
            Tensor down = packAs(type, Layout.PACKED, List.of(update.down()));
            Tensor up = packAs(type, Layout.PACKED, List.of(update.up()));
            LoraEntry.write(table, entry, down.address(), up.address(), config.rank(), config.scale(), type);
        }

        Tensor vector(WeightTensor source) {
            DeviceMemory memory = allocate(source.elements() * dtype.byteSize());
            fill(memory, 0, source);
            advance(source.elements());
            return Tensor.vector(dtype, memory.address(), source.elements());
        }

        /** Matrices of one type and width, one below another. */
        Tensor matrix(List<WeightTensor> sources) {
            DType type = kernelType(sources.getFirst().dtype());
            DeviceMemory memory =
                    allocate(sources.stream().mapToLong(WeightTensor::elements).sum() * type.byteSize());
            long offset = 0;
            for (WeightTensor source : sources) {
                fill(memory, offset, source);
                offset += source.elements() * type.byteSize();
            }
            return Tensor.matrix(
                    type,
                    memory.address(),
                    sources.stream().mapToLong(s -> s.shape().get(0)).sum(),
                    sources.getFirst().shape().get(1));
        }

        Tensor pack(Layout layout, List<WeightTensor> sources) {
            return packAs(dtype, layout, sources);
        }

        private Tensor packAs(DType type, Layout layout, List<WeightTensor> sources) {
            long columns = sources.getFirst().shape().get(1);
            long rows = sources.stream().mapToLong(s -> s.shape().getFirst()).sum();
            DeviceMemory memory = allocate(packedBytes(device, type, layout, rows, columns));
            Tensor destination = Tensor.packed(type, layout, memory.address(), rows, columns);
            if (copies) {
                copy(sources, destination);
            }
            return destination;
        }

        private void copy(List<WeightTensor> sources, Tensor destination) {
            DType type = destination.dtype();
            long columns = destination.size2();
            long rowBytes = columns * type.byteSize();
            if (rowBytes > staging.bytes()) {
                staging.close();
                staging = device.allocate(rowBytes);
            }
            long block = Math.min(staging.bytes(), STAGING_BYTES / 2) / rowBytes;
            long first = 0;
            for (WeightTensor source : sources) {
                long sourceRows = source.shape().getFirst();
                for (long row = 0; row < sourceRows; row += Math.max(1, block)) {
                    long count = Math.min(Math.max(1, block), sourceRows - row);
                    staging.write(0, converted(source, row * columns, count * columns));
                    device.kernels()
                            .packWeight(new PackWeightParams(arena)
                                    .source(Tensor.matrix(type, staging.address(), count, columns))
                                    .destination(destination)
                                    .firstRow(first));
                    first += count;
                    advance(count * columns);
                }
            }
        }

        private void fill(DeviceMemory memory, long offset, WeightTensor source) {
            if (copies) {
                memory.write(offset, converted(source, 0, source.elements()));
            }
        }

        /** Elements of a source in the type that runs. */
        private MemorySegment converted(WeightTensor source, long from, long count) {
            int size = source.dtype().bytes();
            MemorySegment elements = source.data().asSlice(from * size, count * size);
            if (source.dtype() != dev.tributary.engine.model.DType.F32) {
                return elements;
            }
            long rounded = count * DType.BF16.byteSize();
            MemorySegment target =
                    rounded <= rounding.byteSize() ? rounding.asSlice(0, rounded) : arena.allocate(rounded, ALIGNMENT);
            Bfloat16.round(elements, target);
            return target;
        }

        private DeviceMemory allocate(long size) {
            bytes += size;
            return device.allocate(size);
        }

        private void advance(long elements) {
            done = Math.min(total, done + elements * dtype.byteSize());
            listener.progress(done, total);
        }
    }
}
