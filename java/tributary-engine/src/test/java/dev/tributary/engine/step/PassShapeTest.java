// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.step;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;

class PassShapeTest {
    private static final StepCapacity CAPACITY = new StepCapacity(8, 768, 4 * 520, 4, 67, 16, 1);

    @Test
    void boundsHoldThePassAndNeverExceedTheCapacity() {
        for (int rows = 1; rows <= CAPACITY.mainRows(); rows++) {
            for (int anchors : new int[] {0, 1, 3, rows / 2, Math.min(rows, 520)}) {
                for (int context : new int[] {1, 255, 256, 257, 4096, 67 * 64}) {
                    PassShape shape = PassShape.verifying(CAPACITY, rows, 4 * anchors, context, false, false, true);
                    assertTrue(shape.mainRows() >= rows && shape.mainRows() <= CAPACITY.mainRows());
                    assertTrue(shape.streamRows() >= 4 * anchors && shape.streamRows() <= CAPACITY.streamRows());
                    assertEquals(0, shape.streamRows() % 4);
                    assertEquals(anchors == 0, shape.streamRows() == 0);
                    assertTrue(shape.context() >= context && shape.context() <= 67 * 64);
                    assertTrue(shape.results() <= CAPACITY.rows());
                }
            }
        }
    }

    @Test
    void fewShapesServeAllPasses() {
        Set<PassShape> shapes = new HashSet<>();
        for (int rows = 1; rows <= 128; rows++) {
            for (int context = 1; context <= 4096; context += 13) {
                shapes.add(PassShape.verifying(CAPACITY, rows, 4 * rows, context, false, false, true));
            }
        }
        assertEquals(8 * 5, shapes.size());
    }

    @Test
    void exactPowersAreTheirOwnBound() {
        for (int rows = 1; rows <= 512; rows *= 2) {
            assertEquals(
                    rows,
                    PassShape.verifying(CAPACITY, rows, 0, 1, false, false, false)
                            .mainRows());
        }
        assertEquals(
                256,
                PassShape.verifying(CAPACITY, 1, 0, 256, false, false, false).context());
        assertEquals(
                512,
                PassShape.verifying(CAPACITY, 1, 0, 257, false, false, false).context());
    }

    @Test
    void withoutStreamsThereAreNone() {
        StepCapacity plain = new StepCapacity(1, 384, 0, 0, 65, 0, 0);
        assertEquals(
                0, PassShape.verifying(plain, 7, 0, 100, true, false, false).streamRows());
    }

    @Test
    void aDraftingPassHasStreamRowsOnly() {
        PassShape shape = PassShape.drafting(CAPACITY, 12, 700);
        assertEquals(new PassShape(true, 1, 16, 1024, false, false, false), shape);
        assertEquals(16, shape.results());
    }
}
