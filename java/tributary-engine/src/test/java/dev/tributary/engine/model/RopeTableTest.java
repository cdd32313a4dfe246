// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Against what transformers computes (rope_reference.py wrote the reference). */
class RopeTableTest {
    private static final int DIMENSION = 32;

    @TestFactory
    List<DynamicTest> agreesWithTransformers() throws IOException {
        JsonNode reference;
        try (InputStream in = RopeTableTest.class.getResourceAsStream("rope_reference.json")) {
            assertNotNull(in, "rope_reference.json");
            reference = new JsonMapper().readTree(in);
        }
        List<DynamicTest> tests = new ArrayList<>();
        for (JsonNode kase : reference.get("cases")) {
            tests.add(DynamicTest.dynamicTest(kase.get("name").textValue(), () -> {
                ObjectNode modern = new JsonMapper().createObjectNode();
                modern.set("rope_parameters", kase.get("rope_parameters"));
                agrees(modern, kase);
                ObjectNode scaling = kase.get("rope_parameters").deepCopy();
                ObjectNode classic = new JsonMapper().createObjectNode();
                classic.set("rope_theta", scaling.remove("rope_theta"));
                classic.set("rope_scaling", scaling);
                agrees(classic, kase);
            }));
        }
        assertEquals(8, tests.size());
        return tests;
    }

    private static void agrees(ObjectNode config, JsonNode kase) {
        int maxPositions = kase.get("max_position_embeddings").intValue();
        int context = kase.get("context").intValue();
        RopeParameters rope =
                RopeParameters.read(new JsonFields("config.json", config), Family.LLAMA, DIMENSION, maxPositions);
        RopeTable table = RopeTable.of(rope, DIMENSION, context);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment rows = arena.allocate(table.bytes(context));
            table.write(rows);
            for (int r = 0; r < kase.get("positions").size(); r++) {
                int position = kase.get("positions").get(r).intValue();
                for (int i = 0; i < DIMENSION; i++) {
                    float expected = (float) kase.get("rows").get(r).get(i).doubleValue();
                    float got = rows.getAtIndex(ValueLayout.JAVA_FLOAT, (long) position * DIMENSION + i);
                    // The frequencies and angles agree to the bit, else position 131071 would be far off; cosine and
                    // sine of the two libraries differ in their last bit here and there.
                    double tolerance = 2 * Math.ulp(1f);
                    int at = i;
                    assertEquals(
                            expected,
                            got,
                            tolerance,
                            () -> kase.get("name") + " position " + position + " value " + at);
                }
            }
        }
    }

    @Test
    void longRopeTakesItsLongFactorsForTheWholeText() {
        RopeParameters rope =
                new RopeParameters.LongRope(10_000, List.of(1.0, 1.0, 1.0, 1.0), List.of(4.0, 4.0, 4.0, 4.0), 64, 1);
        float[] atLimit = row(rope, 64, 5);
        float[] above = row(rope, 65, 5);
        assertEquals(Math.cos(5), atLimit[0], 1e-6);
        assertEquals(Math.cos(5 / 4.0), above[0], 1e-6);
    }

    @Test
    void frequenciesAreUnitCircle() {
        float[] row = row(new RopeParameters.Default(10_000), 100, 99);
        for (int i = 0; i < 4; i++) {
            assertTrue(Math.abs(row[i] * row[i] + row[4 + i] * row[4 + i] - 1) < 1e-6);
        }
    }

    private static float[] row(RopeParameters rope, int context, int position) {
        RopeTable table = RopeTable.of(rope, 8, context);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment rows = arena.allocate(table.bytes(context));
            table.write(rows);
            return rows.asSlice(table.bytes(1) * position, table.bytes(1)).toArray(ValueLayout.JAVA_FLOAT);
        }
    }
}
