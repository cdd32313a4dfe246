// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.kernels.ffi.trib_linear_params;
import java.lang.foreign.Arena;
import java.lang.foreign.GroupLayout;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Setters write the members that they name, and no other. */
class KernelParamsTest {
    /** Setters that do not write the one member of their own name. */
    private static final Map<String, List<String>> OTHERWISE = Map.ofEntries(
            Map.entry("RopeAppendParams.rotaryDimension", List.of("rotary_dim")),
            Map.entry("RopeAppendParams.rotatedQ", List.of("rotated_q")),
            Map.entry("MultiStreamAttentionParams.nextRead", List.of("next_read", "next_read_bytes")),
            Map.entry("GatherRowsParams.index", List.of("index", "max_rows")),
            Map.entry("LinearParams.partColumns", List.of("parts", "part_columns")),
            Map.entry("LinearParams.lora", List.of("lora_table", "adapters", "max_rank")),
            Map.entry("LinearParams.segments", List.of("segments", "max_segments", "segment_count")),
            Map.entry("LmHeadParams.rowIndex", List.of("row_index", "row_count")),
            Map.entry("LmHeadParams.top", List.of("top_ids", "top_logits")),
            Map.entry("TopKParams.top", List.of("top_ids", "top_logits")),
            Map.entry("VerifyTreeParams.logProbability", List.of("log_sum_exp", "log_probability")),
            Map.entry("VerifyTreeParams.accepted", List.of("accepted_count", "accepted_node", "accepted_row")),
            Map.entry("CommitPathParams.accepted", List.of("accepted_count", "accepted_node")));

    static Stream<Class<?>> types() {
        Stream<Class<?>> direct = Arrays.stream(KernelParams.class.getPermittedSubclasses())
                .filter(type -> type != WorkspaceParams.class);
        return Stream.concat(
                Stream.of(KernelStep.class),
                Stream.concat(direct, Arrays.stream(WorkspaceParams.class.getPermittedSubclasses())));
    }

    @ParameterizedTest
    @MethodSource("types")
    void settersWriteWhatTheyName(Class<?> type) throws ReflectiveOperationException {
        GroupLayout layout = layout(type);
        Set<String> written = new HashSet<>(Set.of("struct_size", "reserved"));
        for (Method setter : type.getDeclaredMethods()) {
            if (!Modifier.isPublic(setter.getModifiers()) || setter.isBridge()) {
                continue;
            }
            try (Arena arena = Arena.ofConfined()) {
                Object params = type.getConstructor(Arena.class).newInstance(arena);
                MemorySegment segment = segment(params);
                assertEquals(layout.byteSize(), segment.get(ValueLayout.JAVA_INT, 0), "struct_size");
                Object[] arguments = arguments(setter, arena);
                assertSame(params, setter.invoke(params, arguments), setter::toString);
                List<String> named = members(type, setter);
                for (int i = 0; i < arguments.length; i++) {
                    // Members of a group stand in the order of the arguments.
                    if (arguments[i] instanceof Number number) {
                        assertEquals(number, read(segment, layout, named.get(i), number), setter + ", " + named.get(i));
                    }
                }
                Set<String> expected = new HashSet<>(named);
                for (MemoryLayout member : layout.memberLayouts()) {
                    String name = member.name().orElse("");
                    if (!name.isEmpty() && !name.equals("struct_size")) {
                        long offset = layout.byteOffset(PathElement.groupElement(name));
                        boolean changed =
                                segment.asSlice(offset, member.byteSize()).mismatch(arena.allocate(member.byteSize()))
                                        >= 0;
                        assertEquals(expected.contains(name), changed, setter + " and member " + name);
                    }
                }
                written.addAll(expected);
            }
        }
        Set<String> members = new HashSet<>();
        layout.memberLayouts().forEach(member -> member.name().ifPresent(members::add));
        assertTrue(written.containsAll(members), () -> type + " has no setter for some of " + members);
    }

    @Test
    void groupedSettersKeepTheirOrder() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment linear = new LinearParams(arena)
                    .partColumns(5, 6, 7)
                    .lora(0x100, 2, 3)
                    .segments(0x200, 4, 0x300)
                    .workspace(0x400, 8)
                    .segment;
            assertEquals(3, trib_linear_params.parts(linear));
            assertEquals(5, trib_linear_params.part_columns(linear, 0));
            assertEquals(7, trib_linear_params.part_columns(linear, 2));
            assertEquals(0, trib_linear_params.part_columns(linear, 3));
            assertEquals(0x100, trib_linear_params.lora_table(linear));
            assertEquals(2, trib_linear_params.adapters(linear));
            assertEquals(3, trib_linear_params.max_rank(linear));
            assertEquals(0x200, trib_linear_params.segments(linear));
            assertEquals(4, trib_linear_params.max_segments(linear));
            assertEquals(0x300, trib_linear_params.segment_count(linear));
            assertEquals(0x400, trib_linear_params.workspace(linear));
            assertEquals(8, trib_linear_params.workspace_bytes(linear));
        }
    }

    @Test
    void partsThatAreFewerThanBeforeLeaveNoneBehind() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment linear = new LinearParams(arena).partColumns(5, 6, 7).partColumns(9).segment;
            assertEquals(1, trib_linear_params.parts(linear));
            assertEquals(0, trib_linear_params.part_columns(linear, 1));
        }
    }

    @Test
    void impossibleCountsAreRefusedAtOnce() {
        try (Arena arena = Arena.ofConfined()) {
            assertThrows(IllegalArgumentException.class, () -> new KernelStep(arena).maxMainRows(-1));
            assertThrows(IllegalArgumentException.class, () -> new KernelStep(arena).boundMainRows(-1));
            assertThrows(IllegalArgumentException.class, () -> new KernelStep(arena).boundStreamRows(-1));
            assertThrows(IllegalArgumentException.class, () -> new KernelStep(arena).boundContext(-1));
            assertThrows(IllegalArgumentException.class, () -> new LmHeadParams(arena).maxRows(-1));
            assertThrows(IllegalArgumentException.class, () -> new LinearParams(arena).workspace(0, -1));
            assertThrows(IllegalArgumentException.class, () -> new LinearParams(arena).partColumns());
            assertThrows(IllegalArgumentException.class, () -> new LinearParams(arena).partColumns(1, 1, 1, 1, 1));
        }
    }

    private static List<String> members(Class<?> type, Method setter) {
        List<String> otherwise = OTHERWISE.get(type.getSimpleName() + "." + setter.getName());
        if (otherwise != null) {
            return otherwise;
        }
        return setter.getName().equals("workspace")
                ? List.of("workspace", "workspace_bytes")
                : List.of(snake(setter.getName()));
    }

    private static Number read(MemorySegment segment, GroupLayout layout, String member, Number like) {
        long offset = layout.byteOffset(PathElement.groupElement(member));
        assertEquals(
                layout.select(PathElement.groupElement(member)).byteSize(),
                like instanceof Long ? Long.BYTES : Integer.BYTES,
                member);
        return switch (like) {
            case Long _ -> segment.get(ValueLayout.JAVA_LONG, offset);
            case Float _ -> segment.get(ValueLayout.JAVA_FLOAT, offset);
            default -> segment.get(ValueLayout.JAVA_INT, offset);
        };
    }

    /** Arguments without a zero byte, each another one. */
    private static Object[] arguments(Method setter, Arena arena) {
        Class<?>[] types = setter.getParameterTypes();
        return IntStream.range(0, types.length)
                .mapToObj(i -> argument(types[i], i, arena))
                .toArray();
    }

    private static Object argument(Class<?> type, int position, Arena arena) {
        Map<Class<?>, Object> values = new HashMap<>();
        values.put(int.class, 0x01020304 + position);
        values.put(long.class, 0x0102030405060708L + position);
        values.put(float.class, 0.1f);
        values.put(int[].class, new int[] {0x01020304, 0x01020304});
        values.put(Tensor.class, Tensor.cube(DType.F16, 64, 2, 3, 4));
        values.put(KvCache.class, new KvCache(64, DType.F16, 2, 3, 4, 8));
        values.put(KernelStep.class, new KernelStep(arena));
        values.put(Rows.class, Rows.ALL);
        values.put(Epilogue.class, Epilogue.RESIDUAL);
        Object value = values.get(type);
        if (value == null) {
            throw new AssertionError("no argument of " + type);
        }
        return value;
    }

    private static MemorySegment segment(Object params) {
        return params instanceof KernelStep step ? step.segment : ((KernelParams) params).segment;
    }

    private static GroupLayout layout(Class<?> type) throws ReflectiveOperationException {
        return (GroupLayout) Class.forName("dev.tributary.kernels.ffi.trib_"
                        + (type == KernelStep.class ? "step" : snake(type.getSimpleName())))
                .getMethod("layout")
                .invoke(null);
    }

    private static String snake(String camel) {
        return camel.replaceAll("(?<=[a-z])(?=[A-Z])|(?<=K)(?=Params)", "_").toLowerCase(Locale.ROOT);
    }
}
