// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cuda;

import static org.bytedeco.cuda.global.cudart.cudaEventCreate;
import static org.bytedeco.cuda.global.cudart.cudaEventDestroy;
import static org.bytedeco.cuda.global.cudart.cudaEventElapsedTime;
import static org.bytedeco.cuda.global.cudart.cudaEventRecord;
import static org.bytedeco.cuda.global.cudart.cudaGetLastError;
import static org.bytedeco.cuda.global.cudart.cudaGraphDestroy;
import static org.bytedeco.cuda.global.cudart.cudaGraphExecDestroy;
import static org.bytedeco.cuda.global.cudart.cudaGraphInstantiate;
import static org.bytedeco.cuda.global.cudart.cudaGraphLaunch;
import static org.bytedeco.cuda.global.cudart.cudaStreamBeginCapture;
import static org.bytedeco.cuda.global.cudart.cudaStreamCaptureModeThreadLocal;
import static org.bytedeco.cuda.global.cudart.cudaStreamEndCapture;
import static org.bytedeco.cuda.global.cudart.cudaSuccess;

import dev.tributary.engine.device.DeviceWork;
import dev.tributary.kernels.KernelException;
import java.util.List;
import java.util.OptionalLong;
import java.util.function.Consumer;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUgraphExec_st;
import org.bytedeco.cuda.cudart.CUgraph_st;
import org.bytedeco.cuda.cudart.CUstream_st;

/**
 * Launches as a graph. The first run launches one by one: it loads kernels, which a capture must not, and work that
 * comes once, such as the odd chunk of a prompt, is not worth a capture. The second captures; the later ones replay.
 * Each run lies between two events, which tell what it took on the GPU.
 */
final class RecordedWork implements DeviceWork {
    private enum State {
        NEW,
        RUN_ONCE,
        CAPTURED,
        CLOSED
    }

    private final CUstream_st stream;
    private final Runnable launches;
    private final Consumer<RecordedWork> forget;
    private final CUgraphExec_st graph = new CUgraphExec_st();
    private final CUevent_st begin = new CUevent_st();
    private final CUevent_st end = new CUevent_st();
    private State state = State.NEW;
    private boolean timed;

    /**
     * Work that has not run yet.
     *
     * @param stream what it runs on
     * @param launches what it runs
     * @param forget hears when it is closed
     */
    RecordedWork(CUstream_st stream, Runnable launches, Consumer<RecordedWork> forget) {
        this.stream = stream;
        this.launches = launches;
        this.forget = forget;
    }

    @Override
    public void run() {
        switch (state) {
            case NEW -> {
                createEvents();
                timed(this::launch);
                state = State.RUN_ONCE;
            }
            case RUN_ONCE -> {
                capture();
                state = State.CAPTURED;
                timed(this::replay);
            }
            case CAPTURED -> timed(this::replay);
            case CLOSED -> throw new IllegalStateException("the work is closed");
        }
    }

    /**
     * {@inheritDoc}
     *
     * <p>Of the first run, which launches one by one, this counts how long the GPU waited for the host between launches;
     * of every run, the few microseconds for which it waits for the first.
     */
    @Override
    public OptionalLong deviceNanos() {
        if (!timed) {
            return OptionalLong.empty();
        }
        float[] milliseconds = new float[1];
        CudaCalls.check(cudaEventElapsedTime(milliseconds, begin, end), "cudaEventElapsedTime");
        return OptionalLong.of(Math.round(1e6 * milliseconds[0]));
    }

    private void createEvents() {
        for (CUevent_st event : List.of(begin, end)) {
            if (event.isNull()) { // the first run may have failed before
                CudaCalls.check(cudaEventCreate(event), "cudaEventCreate");
            }
        }
    }

    private void timed(Runnable run) {
        timed = false;
        CudaCalls.check(cudaEventRecord(begin, stream), "cudaEventRecord");
        run.run();
        CudaCalls.check(cudaEventRecord(end, stream), "cudaEventRecord");
        timed = true;
    }

    @Override
    public boolean isPrepared() {
        return state == State.CAPTURED;
    }

    private void launch() {
        try {
            launches.run();
        } catch (KernelException e) {
            throw CudaCalls.failure(e);
        }
    }

    private void replay() {
        CudaCalls.check(cudaGraphLaunch(graph, stream), "cudaGraphLaunch");
    }

    private void capture() {
        CUgraph_st captured = new CUgraph_st();
        CudaCalls.check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
        try {
            launch();
        } catch (Throwable e) {
            // The stream must leave the capture, whatever becomes of it.
            if (cudaStreamEndCapture(stream, captured) == 0 && !captured.isNull()) {
                cudaGraphDestroy(captured);
            }
            cudaGetLastError();
            throw e;
        }
        CudaCalls.check(cudaStreamEndCapture(stream, captured), "cudaStreamEndCapture");
        int code = cudaGraphInstantiate(graph, captured, 0);
        int destroyed = cudaGraphDestroy(captured);
        CudaCalls.check(code, "cudaGraphInstantiate");
        CudaCalls.check(destroyed, "cudaGraphDestroy");
    }

    @Override
    public void close() {
        boolean captured = state == State.CAPTURED;
        state = State.CLOSED;
        timed = false;
        forget.accept(this);
        int code = captured ? cudaGraphExecDestroy(graph) : cudaSuccess;
        for (CUevent_st event : List.of(begin, end)) {
            if (!event.isNull()) {
                int destroyed = cudaEventDestroy(event);
                event.setNull();
                CudaCalls.check(destroyed, "cudaEventDestroy");
            }
        }
        CudaCalls.check(code, "cudaGraphExecDestroy");
    }
}
