// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.DeviceException;
import dev.tributary.FinishReason;
import dev.tributary.GenerationOptions;
import dev.tributary.LoadOptions;
import dev.tributary.TributaryException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Whatever happens at a request's end, whoever waits for it hears of it. */
@Timeout(120)
class EndsTest {
    private static final Path DEMO = Path.of(System.getProperty("tributary.root"), "models", "demo");
    private static final GenerationOptions LONG =
            GenerationOptions.builder().maxTokens(400).ignoreEndTokens(true).build();

    /** An engine that cannot tell anybody of an end. */
    private static Engine broken() {
        LoadOptions options =
                LoadOptions.builder().device("host").maxSequences(3).build();
        return Engine.start("ends", () -> LoadedModel.load(DEMO, options), new EngineObserver() {
            @Override
            public void ended(Request request, @Nullable FinishReason reason, @Nullable TributaryException failure) {
                throw new AssertionError("the end of " + request.number() + " cannot be told, on purpose");
            }
        });
    }

    private static Request submit(Engine engine, GenerationOptions options) {
        Request request = new Request(new int[] {5, 6, 7}, options, Optional.empty());
        engine.submit(List.of(request));
        return request;
    }

    private static void assertFails(CompletableFuture<String> text) {
        Throwable failure = assertThrows(ExecutionException.class, () -> text.get(30, TimeUnit.SECONDS));
        assertTrue(failure.getCause() instanceof DeviceException, failure::toString);
    }

    @Test
    void ofThoseThatRunAndWait() throws Exception {
        try (Engine engine = broken()) {
            CompletableFuture<String> first =
                    submit(engine, LONG.toBuilder().maxTokens(4).build()).future();
            List<CompletableFuture<String>> others = new ArrayList<>();
            for (int i = 0; i < 5; i++) {
                others.add(submit(engine, LONG).future());
            }
            assertFalse(first.get(30, TimeUnit.SECONDS).isEmpty());
            others.forEach(EndsTest::assertFails);
            DeviceException refusal = assertThrows(DeviceException.class, () -> submit(engine, LONG));
            assertTrue(String.valueOf(refusal.getMessage()).contains("on purpose"), refusal::getMessage);
        }
    }

    @Test
    void ofThoseThatEndTogether() throws Exception {
        for (boolean cancelled : new boolean[] {true, false}) {
            Engine engine = broken();
            List<Request> requests = new ArrayList<>();
            List<CompletableFuture<String>> texts = new ArrayList<>();
            for (int i = 0; i < 9; i++) {
                requests.add(submit(engine, LONG));
                texts.add(requests.getLast().future());
            }
            if (cancelled) {
                requests.forEach(Request::cancel);
                engine.wake();
            } else {
                engine.close();
            }
            for (CompletableFuture<String> text : texts) {
                assertThrows(ExecutionException.class, () -> text.get(30, TimeUnit.SECONDS));
            }
            engine.close();
            assertEquals(0, engine.queued());
        }
    }
}
