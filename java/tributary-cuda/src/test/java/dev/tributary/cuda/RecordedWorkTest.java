// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.DeviceException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;

/** When launches are captured, and what becomes of them where there is no memory for a graph. */
class RecordedWorkTest {
    private final List<String> calls = new ArrayList<>();
    private final List<RecordedWork> forgotten = new ArrayList<>();
    private boolean roomForGraph = true;
    private boolean roomForLaunch = true;

    /** Says what was asked for. */
    private final class Played implements Recorder {
        @Override
        public void begin() {
            calls.add("begin");
        }

        @Override
        public void end() {
            calls.add("end");
        }

        @Override
        public long nanos() {
            return 7;
        }

        @Override
        public Optional<Graph> capture(Runnable launches) {
            calls.add("capture");
            launches.run();
            return roomForGraph ? Optional.of(new PlayedGraph()) : Optional.empty();
        }

        @Override
        public void close() {
            calls.add("close");
        }
    }

    private final class PlayedGraph implements Recorder.Graph {
        @Override
        public boolean launch() {
            calls.add(roomForLaunch ? "replay" : "no room");
            return roomForLaunch;
        }

        @Override
        public void close() {
            calls.add("close graph");
        }
    }

    private final RecordedWork work = new RecordedWork(new Played(), () -> calls.add("launch"), forgotten::add);

    private List<String> run() {
        calls.clear();
        work.run();
        assertEquals(OptionalLong.of(7), work.deviceNanos());
        return List.copyOf(calls);
    }

    @Test
    void theSecondRunCapturesAndTheLaterOnesReplay() {
        assertEquals(OptionalLong.empty(), work.deviceNanos());
        assertEquals(List.of("begin", "launch", "end"), run());
        assertFalse(work.isPrepared());
        assertEquals(List.of("capture", "launch", "begin", "replay", "end"), run());
        assertTrue(work.isPrepared());
        assertEquals(List.of("begin", "replay", "end"), run());
        calls.clear();
        work.close();
        assertEquals(List.of("close graph", "close"), calls);
        assertEquals(List.of(work), forgotten);
        assertThrows(IllegalStateException.class, work::run);
    }

    @Test
    void withoutMemoryForAGraphEveryRunLaunches() {
        roomForGraph = false;
        run();
        assertEquals(List.of("capture", "launch", "begin", "launch", "end"), run());
        assertTrue(work.isPrepared());
        assertEquals(List.of("begin", "launch", "end"), run());
        calls.clear();
        work.close();
        assertEquals(List.of("close"), calls);
    }

    @Test
    void aGraphThatThereIsNoMemoryToLaunchIsGivenUp() {
        run();
        run();
        roomForLaunch = false;
        assertEquals(List.of("begin", "no room", "close graph", "launch", "end"), run());
        assertEquals(List.of("begin", "launch", "end"), run());
        calls.clear();
        work.close();
        assertEquals(List.of("close"), calls);
    }

    @Test
    void aFailedRunIsNotTimed() {
        RecordedWork failing = new RecordedWork(
                new Played(),
                () -> {
                    throw new DeviceException("linear: cudaErrorIllegalAddress (700)", DeviceException.Reason.FAILURE);
                },
                forgotten::add);
        assertThrows(DeviceException.class, failing::run);
        assertEquals(OptionalLong.empty(), failing.deviceNanos());
    }
}
