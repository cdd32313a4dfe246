// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.Acceptance;
import dev.tributary.GenerationOptions;
import dev.tributary.InsufficientMemoryException;
import dev.tributary.LoadListener;
import dev.tributary.LoadOptions;
import dev.tributary.engine.device.PlayedDevices;
import dev.tributary.engine.device.PlayedDevices.Gpu;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A GPU that is too small for a model, or becomes so while it computes. */
@Timeout(120)
class MemoryTest {
    private static final Path DEMO = Path.of(System.getProperty("tributary.root"), "models", "demo");
    private static final long LARGE = 8L << 30;
    private static final long SMALL = 1L << 20;

    /** What a listener was told. */
    private static final class Notices implements LoadListener {
        private final List<String> heard = new ArrayList<>();

        @Override
        public void progress(long bytes, long total) {}

        @Override
        public void notice(String text) {
            heard.add(text);
        }
    }

    private static LoadOptions options(String device, LoadListener listener) {
        return LoadOptions.builder()
                .device(device)
                .contextTokens(512)
                .maxSequences(2)
                .listener(listener)
                .build();
    }

    private static LoadedModel load(Gpu gpu, LoadOptions options) {
        return LoadedModel.load(DEMO, options, PlayedDevices.of(gpu));
    }

    @Test
    void whereAnyDeviceWillDoTheHostTakesTheModel() {
        Notices notices = new Notices();
        try (LoadedModel model = load(new Gpu(SMALL), options("auto", notices))) {
            assertTrue(model.info().device().startsWith("host"), model.info().device());
            String why = model.info().deviceNote().orElseThrow();
            assertTrue(why.matches("cuda:0, played: .* for weights, .* the 1[.]0 MB it may take;.*"), why);
            assertEquals(1, notices.heard.size());
            assertTrue(notices.heard.getFirst().contains(why), notices.heard.getFirst());
        }
        try (LoadedModel model = load(new Gpu(LARGE), options("auto", notices))) {
            assertEquals("cuda:0, played", model.info().device());
            assertEquals(Optional.empty(), model.info().deviceNote());
            assertEquals(1, notices.heard.size());
        }
    }

    @Test
    void aGpuThatWasAskedForRefuses() {
        Notices notices = new Notices();
        InsufficientMemoryException refusal =
                assertThrows(InsufficientMemoryException.class, () -> load(new Gpu(SMALL), options("cuda", notices)));
        assertTrue(String.valueOf(refusal.getMessage()).contains("1.0 MB it may take"), refusal::getMessage);
        assertEquals(List.of(), notices.heard);
    }

    @Test
    void aPassWithoutMemoryFailsItsRequestAndNoOther() {
        Gpu gpu = new Gpu(LARGE);
        try (Engine engine =
                Engine.start("memory", () -> load(gpu, options("cuda", LoadListener.SILENT)), EngineObserver.SILENT)) {
            GenerationOptions greedy = GenerationOptions.builder().maxTokens(24).build();
            GenerationOptions sampled = GenerationOptions.builder()
                    .maxTokens(24)
                    .temperature(0.8f)
                    .seed(1)
                    .build();
            String before = text(engine, greedy);
            // The first sampled request takes memory for logits; greedy ones fail in the middle of a pass.
            for (GenerationOptions options : List.of(sampled, greedy)) {
                gpu.exhausted(true);
                InsufficientMemoryException failure =
                        assertThrows(InsufficientMemoryException.class, () -> text(engine, options));
                assertTrue(String.valueOf(failure.getMessage()).contains("cudaErrorMemoryAllocation (2)"));
                assertEquals(
                        engine.model().pages().capacity(),
                        engine.model().pages().available());
                gpu.exhausted(false);
                assertEquals(before, text(engine, greedy));
            }
            assertTrue(!text(engine, sampled).isEmpty());
        }
    }

    /** What choices need that are not greedy ones is taken before their request begins, whoever runs meanwhile. */
    @Test
    void aRequestThatFindsNoMemoryForItsChoicesFailsAlone() throws Exception {
        GenerationOptions greedy =
                GenerationOptions.builder().maxTokens(24).ignoreEndTokens(true).build();
        GenerationOptions sampled = greedy.toBuilder().temperature(0.8f).seed(1).build();
        List<GenerationOptions> demanding = List.of(
                sampled,
                greedy.toBuilder().logProbabilities(true).build(),
                greedy.toBuilder().frequencyPenalty(0.5f).build(),
                greedy.toBuilder().logitBias(Map.of(7, 1f)).build(),
                greedy.toBuilder()
                        .constraint((tokens, allowed) -> allowed.allowAll())
                        .build(),
                sampled.toBuilder().acceptance(new Acceptance.Typical(0.09f)).build());
        for (GenerationOptions options : demanding) {
            Gpu gpu = new Gpu(LARGE);
            try (Engine engine = Engine.start(
                    "memory", () -> load(gpu, options("cuda", LoadListener.SILENT)), EngineObserver.SILENT)) {
                String expected = text(engine, greedy);
                Request running =
                        submit(engine, greedy.toBuilder().maxTokens(400).build());
                long before = gpu.takenBytes();
                int failures = 0;
                boolean began = false;
                for (int allowed = 0; !began; allowed++) {
                    long taken = -1;
                    for (int attempt = 0; attempt < 3; attempt++) {
                        // What was taken stays; so the next attempt needs what was refused, and again in vain.
                        gpu.allows(attempt == 0 ? allowed : 0);
                        Request request = submit(engine, options);
                        try {
                            request.await(Request::text);
                            began = true;
                        } catch (InsufficientMemoryException e) {
                            failures++;
                            assertTrue(String.valueOf(e.getMessage()).contains("bytes left"), e::getMessage);
                        }
                        if (attempt > 0 && !began) {
                            assertEquals(taken, gpu.takenBytes(), "an attempt in vain keeps nothing");
                        }
                        taken = gpu.takenBytes();
                    }
                }
                assertTrue(failures > 0, "nothing was refused");
                assertTrue(gpu.takenBytes() > before);
                assertEquals(400, running.await(Request::tokens).length);
                assertEquals(expected, text(engine, greedy));
            }
        }
    }

    private static String text(Engine engine, GenerationOptions options) {
        return submit(engine, options).await(Request::text);
    }

    private static Request submit(Engine engine, GenerationOptions options) {
        int[] prompt = engine.model().tokenizer().encode("Columns: YEAR, TEAM\nQuestion: Which team won?\nSQL:");
        Request request = new Request(prompt, options, Optional.empty());
        engine.submit(List.of(request));
        return request;
    }
}
