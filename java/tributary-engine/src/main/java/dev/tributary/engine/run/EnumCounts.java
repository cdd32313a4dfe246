// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import java.util.Collections;
import java.util.EnumMap;
import java.util.Map;
import java.util.Objects;

/**
 * Counters by constants of an enum; counting allocates nothing. Not thread-safe.
 *
 * @param <E> the enum
 */
public final class EnumCounts<E extends Enum<E>> {
    private final Class<E> type;
    private final EnumMap<E, long[]> counts;

    /**
     * All 0.
     *
     * @param type the enum
     */
    public EnumCounts(Class<E> type) {
        this.type = type;
        counts = new EnumMap<>(type);
        for (E constant : type.getEnumConstants()) {
            counts.put(constant, new long[1]);
        }
    }

    /**
     * Counts one more.
     *
     * @param constant of what
     */
    public void add(E constant) {
        Objects.requireNonNull(counts.get(constant))[0]++; // all are there
    }

    void clear() {
        counts.values().forEach(count -> count[0] = 0);
    }

    /** {@return a copy that counts on its own} */
    public EnumCounts<E> copy() {
        EnumCounts<E> copy = new EnumCounts<>(type);
        counts.forEach((constant, count) -> copy.counts.put(constant, count.clone()));
        return copy;
    }

    /** {@return the counts that are not 0} */
    public Map<E, Long> toMap() {
        Map<E, Long> map = new EnumMap<>(type);
        counts.forEach((constant, count) -> {
            if (count[0] > 0) {
                map.put(constant, count[0]);
            }
        });
        return Collections.unmodifiableMap(map);
    }
}
