// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.GenerationOptions;
import dev.tributary.LoadOptions;
import dev.tributary.ModelInfo;
import dev.tributary.engine.device.Limits;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Who makes room, and for how many, where sequences share a prefix; nothing is computed. */
@Timeout(120)
class ScheduleTest {
    private static final Path DEMO = Path.of(System.getProperty("tributary.root"), "models", "demo");
    private static final int PAGE = Limits.PAGE_TOKENS;
    private static final int SHARING = 8;
    /** Of the common prefix; each sequence has one more of its own, and is promised one for its text. */
    private static final int PREFIX_PAGES = 2;

    private static final int PAGES = PREFIX_PAGES + 2 * SHARING;
    private static final int URGENT_PAGES = 5;

    /** A model whose cache has exactly so many pages. */
    private static LoadedModel load() {
        LoadOptions.Builder options =
                LoadOptions.builder().device("host").maxSequences(SHARING + 2).contextTokens(7 * PAGE);
        ModelInfo info;
        long page;
        try (LoadedModel model = LoadedModel.load(DEMO, options.build())) {
            info = model.info();
            page = info.cacheBytes() / model.pages().capacity();
        }
        options.memoryLimit(info.weightBytes() + info.workspaceBytes() + PAGES * page);
        return LoadedModel.load(DEMO, options.build());
    }

    private static Request request(long number, int[] prompt, int priority) {
        GenerationOptions options =
                GenerationOptions.builder().maxTokens(PAGE).priority(priority).build();
        Request request = new Request(prompt, options, 0, Optional.empty(), number);
        request.submitted(number, EngineObserver.SILENT, Thread.currentThread());
        return request;
    }

    /** So many pages of one token and one more of another. */
    private static int[] prompt(int pages, int token, int last) {
        int[] prompt = new int[pages * PAGE + PAGE];
        Arrays.fill(prompt, token);
        Arrays.fill(prompt, pages * PAGE, prompt.length, last);
        return prompt;
    }

    /** Fills the cache with sequences of these priorities that have read their prompts. */
    private static void fill(LoadedModel model, Schedule schedule, int ahead) {
        for (int i = 0; i < SHARING; i++) {
            Request request = request(i, prompt(PREFIX_PAGES, 1, 10 + i), i < ahead ? 1000 : 0);
            assertTrue(schedule.admits(request));
            Sequence sequence = Engine.sequence(model, request, System.nanoTime());
            schedule.start(sequence);
            schedule.makeRoom();
            schedule.adopt(sequence);
            sequence.chunk = sequence.leftToRead();
            sequence.cache.reserve(sequence.chunk);
            sequence.commitChunk();
        }
        assertEquals(SHARING, schedule.running().size());
        assertEquals(PAGES - PREFIX_PAGES - SHARING, model.pages().available());
    }

    @Test
    void asManyMakeRoomAtOnceAsItTakes() {
        try (LoadedModel model = load()) {
            assertEquals(PAGES, model.pages().capacity());
            Schedule schedule = new Schedule(model);
            fill(model, schedule, 0);
            Request urgent = request(100, prompt(URGENT_PAGES - 2, 2, 3), 100);
            // It takes five pages; each of the others gives its own and the one it was promised.
            assertTrue(schedule.admits(urgent), "it begins now, not when enough steps have parked somebody");
            assertEquals(3, schedule.parked());
            assertEquals(SHARING - 3, schedule.running().size());
            close(schedule);
            assertEquals(PAGES, model.pages().available());
        }
    }

    @Test
    void nobodyMakesRoomWhereItWouldNotBeEnough() {
        try (LoadedModel model = load()) {
            Schedule schedule = new Schedule(model);
            fill(model, schedule, SHARING - 2);
            assertFalse(schedule.admits(request(100, prompt(URGENT_PAGES - 2, 2, 3), 100)));
            assertEquals(0, schedule.parked());
            assertEquals(0, schedule.takePreemptions());
            // Who begins as they do needs two pages of its own, which one of them gives.
            assertTrue(schedule.admits(request(101, prompt(PREFIX_PAGES, 1, 99), 100)));
            assertEquals(1, schedule.parked());
            close(schedule);
            assertEquals(PAGES, model.pages().available());
        }
    }

    private static void close(Schedule schedule) {
        schedule.all().forEach(schedule::end);
        assertEquals(0, schedule.savedBytes());
    }
}
