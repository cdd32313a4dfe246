// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.step;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.engine.device.Device;
import dev.tributary.engine.device.SplitDevice;
import dev.tributary.engine.tree.TokenTree;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Whole models where the host's memory and the device's are two, and launches are recorded. */
class SplitWholeModelTest extends WholeModelTest {
    private final List<SplitDevice> devices = new ArrayList<>();

    @Override
    Device open() {
        SplitDevice device = new SplitDevice();
        devices.add(device);
        return device;
    }

    /** A pass over a tree of so many nodes with streams on the first of them; and its bonus token. */
    private static int pass(Model model, int nodes, int anchors, boolean logits) {
        TokenTree tree = new TokenTree();
        tree.reset(7);
        while (tree.size() < nodes) {
            tree.add(0, tree.size(), 0.5f);
        }
        StepPlan plan = model.decoder.plan();
        model.cache.reserve(nodes);
        plan.begin();
        int sequence = plan.openSequence(model.cache);
        plan.addTree(tree);
        for (int node = 0; node < anchors; node++) {
            plan.addStreams(sequence, node, node, model.cache.length() + tree.depth(node), 0);
        }
        plan.choose(sequence, Sampling.GREEDY, 0);
        if (logits) {
            plan.keepLogits();
        }
        plan.finish();
        model.decoder.verify(true);
        model.cache.rollback();
        return model.decoder.results().bonus(sequence);
    }

    @Test
    void passesOfOneShapeAreOneWork() {
        try (Model model = new Model("tiny-gqa", true, 40, 40, 8)) {
            SplitDevice device = devices.getLast();
            int bonus = pass(model, 5, 0, false);
            for (int nodes : new int[] {6, 7, 8, 5}) {
                pass(model, nodes, 0, false);
            }
            assertEquals(1, device.works().size());
            assertEquals(5, device.works().getFirst().runs());
            assertTrue(model.decoder.wasPrepared());
            pass(model, 9, 0, false);
            assertEquals(2, device.works().size());
            assertTrue(!model.decoder.wasPrepared());
            pass(model, 5, 3, false);
            pass(model, 5, 0, true);
            assertEquals(4, device.works().size());
            assertEquals(bonus, pass(model, 5, 4, true));
            assertEquals(bonus, pass(model, 5, 1, false));
        }
    }
}
