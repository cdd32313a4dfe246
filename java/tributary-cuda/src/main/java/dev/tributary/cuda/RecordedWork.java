// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cuda;

import dev.tributary.engine.device.DeviceWork;
import dev.tributary.engine.device.KernelFailure;
import dev.tributary.kernels.KernelException;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Consumer;

/**
 * Launches as a graph. The first run launches one by one: it loads kernels, which a capture must not, and work that
 * comes once, such as the odd chunk of a prompt, is not worth a capture. The second captures; the later ones replay.
 * Where there is no memory for a graph, all runs launch one by one. Each run lies between two events, which tell what it
 * took on the GPU.
 */
final class RecordedWork implements DeviceWork {
    private enum State {
        NEW,
        RUN_ONCE,
        CAPTURED,
        WITHOUT_GRAPH,
        CLOSED
    }

    private final Recorder recorder;
    private final Runnable launches;
    private final Consumer<RecordedWork> forget;
    private Optional<Recorder.Graph> graph = Optional.empty();
    private State state = State.NEW;
    private boolean timed;

    /**
     * Work that has not run yet.
     *
     * @param recorder its own; closed with it
     * @param launches what it runs
     * @param forget hears when it is closed
     */
    RecordedWork(Recorder recorder, Runnable launches, Consumer<RecordedWork> forget) {
        this.recorder = recorder;
        this.launches = launches;
        this.forget = forget;
    }

    @Override
    public void run() {
        if (state == State.CLOSED) {
            throw new IllegalStateException("the work is closed");
        }
        if (state == State.RUN_ONCE) {
            graph = recorder.capture(this::launch);
            state = graph.isPresent() ? State.CAPTURED : State.WITHOUT_GRAPH;
        }
        timed = false;
        recorder.begin();
        if (!replay()) {
            launch();
        }
        recorder.end();
        timed = true;
        if (state == State.NEW) {
            state = State.RUN_ONCE;
        }
    }

    /** Whether there is a graph and it was enqueued; one that there is no memory for is given up. */
    private boolean replay() {
        if (graph.isEmpty()) {
            return false;
        }
        if (graph.get().launch()) {
            return true;
        }
        graph.get().close();
        graph = Optional.empty();
        state = State.WITHOUT_GRAPH;
        return false;
    }

    private void launch() {
        try {
            launches.run();
        } catch (KernelException e) {
            throw KernelFailure.of(e);
        }
    }

    /**
     * {@inheritDoc}
     *
     * <p>Of a run that launches one by one this counts how long the GPU waited for the host between launches; of every
     * run, the few microseconds for which it waits for the first.
     */
    @Override
    public OptionalLong deviceNanos() {
        return timed ? OptionalLong.of(recorder.nanos()) : OptionalLong.empty();
    }

    @Override
    public boolean isPrepared() {
        return state == State.CAPTURED || state == State.WITHOUT_GRAPH;
    }

    @Override
    public void close() {
        state = State.CLOSED;
        timed = false;
        forget.accept(this);
        Optional<Recorder.Graph> last = graph;
        graph = Optional.empty();
        CudaCalls.runAll(List.of(() -> last.ifPresent(Recorder.Graph::close), recorder::close))
                .ifPresent(failure -> {
                    throw failure;
                });
    }
}
