// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import java.util.Set;

/**
 * Layers whose rows see only the newest tokens.
 *
 * @param tokens how many a row sees, its own among them
 * @param layers the layers that have the window; the others see everything
 */
public record SlidingWindow(int tokens, Set<Integer> layers) {
    /** Copies the set. */
    public SlidingWindow {
        layers = Set.copyOf(layers);
    }
}
