// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.kernels.ffi.Tributary;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.GroupLayout;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Java and the compiled library agree on every struct's size, and on every member's offset and size. */
class StructLayoutTest {
    private record Extent(long offset, long size) {}

    @BeforeAll
    static void load() {
        NativeLibrary.require();
    }

    static List<String> structs() throws IOException {
        List<String> structs = Header.structs();
        assertTrue(structs.size() >= 18, () -> "the header's structs are not recognised: " + structs);
        return structs;
    }

    @ParameterizedTest
    @MethodSource("structs")
    void structIsLaidOutAsTheLibraryWasCompiled(String name) throws ReflectiveOperationException {
        GroupLayout layout = (GroupLayout) Class.forName("dev.tributary.kernels.ffi." + name)
                .getMethod("layout")
                .invoke(null);
        List<Executable> checks = new ArrayList<>();
        checks.add(() -> assertEquals(new Extent(0, layout.byteSize()), compiled(name, null), name));
        for (MemoryLayout member : layout.memberLayouts()) {
            // Padding has no name.
            member.name()
                    .ifPresent(field -> checks.add(() -> assertEquals(
                            new Extent(layout.byteOffset(PathElement.groupElement(field)), member.byteSize()),
                            compiled(name, field),
                            name + "." + field)));
        }
        assertAll(checks);
    }

    @Test
    void unknownMemberIsRefused() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(ValueLayout.JAVA_LONG, 2);
            assertEquals(
                    Tributary.TRIB_INVALID_ARGUMENT(),
                    Tributary.trib_struct_layout(
                            arena.allocateFrom("trib_step"),
                            arena.allocateFrom("no_such_member"),
                            out,
                            out.asSlice(Long.BYTES)));
            assertNotEquals("", Tributary.trib_last_error().getString(0));
        }
    }

    private static Extent compiled(String struct, @Nullable String field) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment offset = arena.allocate(ValueLayout.JAVA_LONG);
            MemorySegment size = arena.allocate(ValueLayout.JAVA_LONG);
            int status = Tributary.trib_struct_layout(
                    arena.allocateFrom(struct),
                    field == null ? MemorySegment.NULL : arena.allocateFrom(field),
                    offset,
                    size);
            assertEquals(
                    Tributary.TRIB_OK(),
                    status,
                    () -> struct + "." + field + ": "
                            + Tributary.trib_last_error().getString(0));
            return new Extent(offset.get(ValueLayout.JAVA_LONG, 0), size.get(ValueLayout.JAVA_LONG, 0));
        }
    }
}
