// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.step;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.engine.cache.Pools;
import dev.tributary.engine.cache.SequenceCache;
import dev.tributary.engine.device.Device;
import dev.tributary.engine.device.HostDevice;
import dev.tributary.engine.device.Limits;
import dev.tributary.engine.device.TransferBlock;
import dev.tributary.engine.model.StreamsConfig;
import dev.tributary.engine.model.WeightFiles;
import dev.tributary.engine.model.WeightTensor;
import dev.tributary.engine.tree.TokenTree;
import dev.tributary.kernels.DType;
import dev.tributary.kernels.KvCache;
import dev.tributary.kernels.MultiStreamAttentionParams;
import dev.tributary.kernels.Rows;
import dev.tributary.kernels.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.OptionalInt;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Multi-stream attention against PyTorch's dense-mask attention, through plans as the engine writes them. */
class AttentionFixtureTest {
    private static final Path FIXTURES =
            Path.of(System.getProperty("tributary.root")).resolve("tests/fixtures/attention");

    private static float value(WeightTensor tensor, long index) {
        return switch (tensor.dtype()) {
            case F32 -> Float.intBitsToFloat(tensor.data().get(JAVA_INT_UNALIGNED, index * Float.BYTES));
            case BF16 -> Float.intBitsToFloat(tensor.data().get(JAVA_SHORT_UNALIGNED, index * Short.BYTES) << 16);
            default -> throw new IllegalArgumentException(tensor.name() + " is " + tensor.dtype());
        };
    }

    private static int extent(WeightTensor tensor, int dimension) {
        return Math.toIntExact(tensor.shape().get(dimension));
    }

    /** {@return where attention runs; a subclass may have another device, or skip where there is none} */
    Device open() {
        return new HostDevice(2);
    }

    @ParameterizedTest
    @ValueSource(strings = {"root", "chain", "tree", "wide"})
    void equalsDenseMaskAttention(String name) {
        try (WeightFiles fixture = WeightFiles.openFile(FIXTURES.resolve(name + ".safetensors"));
                Device device = open();
                Arena arena = Arena.ofConfined()) {
            WeightTensor query = fixture.tensorOfAnyShape("query");
            WeightTensor treeKey = fixture.tensorOfAnyShape("tree_key");
            WeightTensor prefixKey = fixture.tensorOfAnyShape("prefix_key");
            WeightTensor streamQuery = fixture.tensorOfAnyShape("stream_query");
            WeightTensor streamKey = fixture.tensorOfAnyShape("stream_key");
            WeightTensor anchors = fixture.tensorOfAnyShape("anchors");
            WeightTensor parents = fixture.tensorOfAnyShape("parents");
            int nodes = extent(query, 0);
            int heads = extent(query, 1);
            int d = extent(query, 2);
            int kvHeads = extent(treeKey, 1);
            int prefix = extent(prefixKey, 0);
            int gamma = extent(streamQuery, 1);
            int anchorCount = extent(anchors, 0);
            int pages = Limits.pages(prefix + nodes);
            StepCapacity capacity = new StepCapacity(1, nodes, gamma * anchorCount, gamma, pages, 1, 1);
            StepPlan plan = new StepPlan(device, arena, capacity, StreamsConfig.Position.OFFSET, OptionalInt.empty());

            SequenceCache sequence = new SequenceCache(Pools.alone(pages), pages);
            sequence.reserve(prefix);
            sequence.commit(prefix);
            sequence.reserve(nodes);
            TokenTree tree = new TokenTree();
            tree.reset(0);
            for (int node = 1; node < nodes; node++) {
                tree.add(parents.data().get(JAVA_INT_UNALIGNED, (long) node * Integer.BYTES), node, 1);
            }
            plan.begin();
            int index = plan.openSequence(sequence);
            plan.addTree(tree);
            for (int i = 0; i < anchorCount; i++) {
                int node = anchors.data().get(JAVA_INT_UNALIGNED, (long) i * Integer.BYTES);
                plan.addStreams(index, node, node, prefix + tree.depth(node), 0);
            }
            plan.finish();

            KvCache shape = new KvCache(0, DType.BF16, 1, pages, kvHeads, d);
            TransferBlock cache = device.allocateBlock(shape.byteSize());
            // Unused slots may hold anything: here NaN.
            cache.host().fill((byte) 0xff);
            for (int slot = 0; slot < prefix + nodes; slot++) {
                boolean committed = slot < prefix;
                int row = committed ? slot : slot - prefix;
                copySlot(committed ? prefixKey : treeKey, row, cache.host(), sequence, slot, 0, kvHeads, d);
                copySlot(
                        fixture.tensorOfAnyShape(committed ? "prefix_value" : "tree_value"),
                        row,
                        cache.host(),
                        sequence,
                        slot,
                        1,
                        kvHeads,
                        d);
            }
            int rows = capacity.rows();
            TransferBlock q = device.allocateBlock((long) rows * heads * d * Short.BYTES);
            TransferBlock y = device.allocateBlock((long) rows * heads * d * Float.BYTES);
            y.host().fill((byte) 0xff);
            q.host().copyFrom(query.data());
            q.host().asSlice(query.data().byteSize()).copyFrom(streamQuery.data());
            cache.push();
            q.push();
            y.push();
            TransferBlock streamK = copy(device, streamKey);
            TransferBlock streamV = copy(device, fixture.tensorOfAnyShape("stream_value"));

            MultiStreamAttentionParams params = new MultiStreamAttentionParams(arena)
                    .step(plan.step())
                    .rows(Rows.ALL)
                    .q(Tensor.cube(DType.BF16, q.address(), rows, heads, d))
                    .y(Tensor.cube(DType.F32, y.address(), rows, heads, d))
                    .cache(new KvCache(cache.address(), DType.BF16, 1, pages, kvHeads, d))
                    .streamK(Tensor.cube(DType.BF16, streamK.address(), capacity.streamRows(), kvHeads, d))
                    .streamV(Tensor.cube(DType.BF16, streamV.address(), capacity.streamRows(), kvHeads, d))
                    .layer(0)
                    .scale((float) (1 / Math.sqrt(d)));
            long needed = Math.max(1, device.kernels().workspaceSize(params));
            params.workspace(device.allocate(needed).address(), needed);
            device.kernels().multiStreamAttention(params);
            y.pull();

            check(name + " main", y.host(), 0, fixture, "out");
            check(name + " streams", y.host(), (long) nodes * heads * d, fixture, "stream_out");
            assertEquals(nodes, plan.mainRows());
        }
    }

    private static void copySlot(
            WeightTensor source,
            int row,
            MemorySegment cache,
            SequenceCache sequence,
            int slot,
            int part,
            int kvHeads,
            int d) {
        int page = sequence.page(slot / Limits.PAGE_TOKENS);
        for (int head = 0; head < kvHeads; head++) {
            long to = (((long) page * 2 + part) * kvHeads + head) * Limits.PAGE_TOKENS + slot % Limits.PAGE_TOKENS;
            MemorySegment.copy(
                    source.data(),
                    ((long) row * kvHeads + head) * d * Short.BYTES,
                    cache,
                    to * d * Short.BYTES,
                    (long) d * Short.BYTES);
        }
    }

    private static TransferBlock copy(Device device, WeightTensor source) {
        TransferBlock block = device.allocateBlock(source.data().byteSize());
        MemorySegment.copy(
                source.data(),
                JAVA_BYTE,
                0,
                block.host(),
                JAVA_BYTE,
                0,
                source.data().byteSize());
        block.push();
        return block;
    }

    private static void check(String what, MemorySegment y, long first, WeightFiles fixture, String expected) {
        WeightTensor reference = fixture.tensorOfAnyShape(expected);
        WeightTensor sixteen = fixture.tensorOfAnyShape(expected + "_16bit");
        double ours = 0;
        double plain = 0;
        double unit = 0;
        for (int i = 0; i < reference.elements(); i++) {
            double exact = value(reference, i);
            double our = Math.abs(y.getAtIndex(JAVA_FLOAT, first + i) - exact);
            assertTrue(our >= 0, what + ": NaN at " + i);
            ours = Math.max(ours, our);
            plain = Math.max(plain, Math.abs(value(sixteen, i) - exact));
            unit = Math.max(unit, Math.ulp((float) exact));
        }
        assertTrue(ours <= 2 * plain + unit, what + ": error " + ours + ", plain 16-bit " + plain);
    }
}
