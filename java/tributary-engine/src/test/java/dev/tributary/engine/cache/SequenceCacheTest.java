// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.cache;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.engine.device.Limits;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

class SequenceCacheTest {
    @Test
    void noPageIsHeldTwiceAndNoneIsLost() {
        for (long seed = 0; seed < 50; seed++) {
            Random random = new Random(seed);
            PagePool pool = Pools.alone(64);
            List<SequenceCache> sequences = new ArrayList<>();
            for (int step = 0; step < 300; step++) {
                if (sequences.size() < 4) {
                    sequences.add(new SequenceCache(pool, 12));
                }
                SequenceCache sequence = sequences.get(random.nextInt(sequences.size()));
                int rows = 1 + random.nextInt(128);
                if (Limits.pages(sequence.length() + rows) > 12) {
                    sequence.close();
                    sequences.remove(sequence);
                } else {
                    sequence.reserve(rows);
                    int committed = random.nextInt(rows + 1);
                    int before = sequence.length();
                    sequence.commit(committed);
                    assertEquals(before + committed, sequence.length());
                    assertEquals(Limits.pages(sequence.length()), sequence.pageCount());
                }
                Set<Integer> held = new HashSet<>();
                int count = 0;
                for (SequenceCache each : sequences) {
                    for (int i = 0; i < each.pageCount(); i++) {
                        held.add(each.page(i));
                        count++;
                    }
                }
                assertEquals(count, held.size(), "seed " + seed);
                assertEquals(pool.capacity(), pool.available() + count, "seed " + seed);
            }
            sequences.forEach(SequenceCache::close);
            assertEquals(pool.capacity(), pool.available());
        }
    }

    @Test
    void committedPagesStayWhereTheyAre() {
        PagePool pool = Pools.alone(8);
        SequenceCache sequence = new SequenceCache(pool, 8);
        sequence.reserve(100);
        int first = sequence.page(0);
        int second = sequence.page(1);
        sequence.commit(70);
        sequence.reserve(128);
        sequence.rollback();
        assertEquals(2, sequence.pageCount());
        assertEquals(first, sequence.page(0));
        assertEquals(second, sequence.page(1));
    }

    @Test
    void tooManyRowsAreRefusedAndNothingIsTaken() {
        PagePool pool = Pools.alone(8);
        SequenceCache sequence = new SequenceCache(pool, 2);
        var refusal = assertThrows(IllegalArgumentException.class, () -> sequence.reserve(129));
        assertTrue(String.valueOf(refusal.getMessage()).contains("at most 2"));
        assertEquals(8, pool.available());
    }
}
