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

import dev.tributary.InsufficientMemoryException;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUgraphExec_st;
import org.bytedeco.cuda.cudart.CUgraph_st;
import org.bytedeco.cuda.cudart.CUstream_st;

/** Events and graphs of a stream. */
final class StreamRecorder implements Recorder {
    private final CUstream_st stream;
    private final CUevent_st begin = new CUevent_st();
    private final CUevent_st end = new CUevent_st();
    private final float[] milliseconds = new float[1];

    /**
     * Nothing is taken yet.
     *
     * @param stream what everything runs on
     */
    StreamRecorder(CUstream_st stream) {
        this.stream = stream;
    }

    @Override
    public void begin() {
        record(begin);
    }

    @Override
    public void end() {
        record(end);
    }

    private void record(CUevent_st event) {
        if (event.isNull()) {
            CudaCalls.check(cudaEventCreate(event), "cudaEventCreate");
        }
        CudaCalls.check(cudaEventRecord(event, stream), "cudaEventRecord");
    }

    @Override
    public long nanos() {
        CudaCalls.check(cudaEventElapsedTime(milliseconds, begin, end), "cudaEventElapsedTime");
        return Math.round(1e6 * milliseconds[0]);
    }

    @Override
    public Optional<Graph> capture(Runnable launches) {
        CUgraph_st captured = new CUgraph_st();
        try {
            CudaCalls.check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
            try {
                launches.run();
            } catch (Throwable e) {
                // The stream must leave the capture, whatever becomes of it.
                if (cudaStreamEndCapture(stream, captured) == 0 && !captured.isNull()) {
                    cudaGraphDestroy(captured);
                }
                cudaGetLastError();
                throw e;
            }
            CudaCalls.check(cudaStreamEndCapture(stream, captured), "cudaStreamEndCapture");
            return Optional.of(instantiate(captured));
        } catch (InsufficientMemoryException e) {
            return Optional.empty();
        }
    }

    private Graph instantiate(CUgraph_st captured) {
        CUgraphExec_st graph = new CUgraphExec_st();
        int code = cudaGraphInstantiate(graph, captured, 0);
        int destroyed = cudaGraphDestroy(captured);
        CudaCalls.check(code, "cudaGraphInstantiate");
        CudaCalls.check(destroyed, "cudaGraphDestroy");
        return new Instantiated(graph, stream);
    }

    private record Instantiated(CUgraphExec_st graph, CUstream_st stream) implements Graph {
        @Override
        public boolean launch() {
            int code = cudaGraphLaunch(graph, stream);
            if (CudaCalls.isOutOfMemory(code)) {
                return false;
            }
            CudaCalls.check(code, "cudaGraphLaunch");
            return true;
        }

        @Override
        public void close() {
            CudaCalls.check(cudaGraphExecDestroy(graph), "cudaGraphExecDestroy");
        }
    }

    @Override
    public void close() {
        List<Runnable> steps = Stream.of(begin, end)
                .filter(event -> !event.isNull())
                .<Runnable>map(event -> () -> {
                    int destroyed = cudaEventDestroy(event);
                    event.setNull();
                    CudaCalls.check(destroyed, "cudaEventDestroy");
                })
                .toList();
        CudaCalls.runAll(steps).ifPresent(failure -> {
            throw failure;
        });
    }
}
