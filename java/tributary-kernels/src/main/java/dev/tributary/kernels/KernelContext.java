// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.KernelException.Status;
import dev.tributary.kernels.ffi.Tributary;
import dev.tributary.kernels.ffi.trib_context_params;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A backend with its device, and its threads or stream: the receiver of every operation.
 *
 * <p>Operations run in the order of the calls. On the host a call returns when its work is done; on a GPU it returns when
 * the work is enqueued. Nothing allocates device memory or waits.
 *
 * <p>A context serves one thread at a time, and may pass from one to another. A call while another thread is in a call,
 * or after {@link #close}, throws {@link IllegalStateException} and does nothing. Several contexts run side by side.
 *
 * <p>An operation that is refused throws {@link KernelException} and has done nothing.
 */
public final class KernelContext implements AutoCloseable {
    private static final int FREE = 0;
    private static final int BUSY = 1;
    private static final int CLOSED = 2;

    private final MemorySegment context;
    private final String description;

    private final AtomicInteger state = new AtomicInteger(FREE);

    private KernelContext(MemorySegment context) {
        this.context = context;
        description = Tributary.trib_context_description(context).getString(0);
    }

    /**
     * A context on the processor. It is to be closed.
     *
     * @param threads threads that work, the calling one included; 0 for one per available core
     * @return the context
     * @throws KernelException if the native library cannot be loaded, or there is no memory for the context
     */
    public static KernelContext host(int threads) {
        return create(Tributary.TRIB_BACKEND_HOST(), 0, KernelParams.count("threads", threads), 0);
    }

    /**
     * A context on an NVIDIA GPU, whose library {@link #loadBackend} has loaded. It is to be closed, before its stream
     * is destroyed.
     *
     * @param device ordinal of the device, as the CUDA runtime counts
     * @param stream the cudaStream_t that operations are enqueued on, which stays the caller's; 0 for the default stream
     * @return the context
     * @throws KernelException if the native library cannot be loaded, the backend is not loaded
     *     ({@link Status#BACKEND_MISSING}), the device cannot be used, or there is no memory for the context
     */
    public static KernelContext cuda(int device, long stream) {
        return create(Tributary.TRIB_BACKEND_CUDA(), KernelParams.count("device", device), 0, stream);
    }

    private static KernelContext create(int backend, int device, int threads, long stream) {
        NativeLibrary.require();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment params = arena.allocate(trib_context_params.layout());
            trib_context_params.struct_size(params, (int) params.byteSize());
            trib_context_params.backend(params, backend);
            trib_context_params.device(params, device);
            trib_context_params.threads(params, threads);
            trib_context_params.stream(params, stream);
            MemorySegment created = arena.allocate(ValueLayout.ADDRESS);
            check(Tributary.trib_context_create(params, created));
            return new KernelContext(created.get(ValueLayout.ADDRESS, 0));
        }
    }

    /**
     * The version of the native library, which is loaded if need be.
     *
     * @return the version, such as "0.1.0"
     * @throws KernelException if the native library cannot be loaded
     */
    public static String libraryVersion() {
        return NativeLibrary.require();
    }

    /**
     * Loads the library of another backend for the whole process.
     *
     * @param library file of the library, such as libtributary_cuda.so
     * @throws KernelException if it cannot be loaded, or was already
     */
    public static void loadBackend(Path library) {
        NativeLibrary.require();
        try (Arena arena = Arena.ofConfined()) {
            check(Tributary.trib_backend_load(arena.allocateFrom(library.toString())));
        }
    }

    /** {@return one line for people: backend, threads, instruction set} */
    public String description() {
        return description;
    }

    /**
     * Bytes of workspace that an operation needs for params of these capacities.
     *
     * @param params the params, complete but for the workspace; addresses may still be 0
     * @return size in bytes, possibly 0
     */
    public long workspaceSize(WorkspaceParams params) {
        begin();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment bytes = arena.allocate(ValueLayout.JAVA_LONG);
            check(Tributary.trib_workspace_size(context, params.operation(), params.segment, bytes));
            return bytes.get(ValueLayout.JAVA_LONG, 0);
        } finally {
            end();
        }
    }

    /**
     * Bytes of a packed weight [rows, columns].
     *
     * @param dtype type of the weight
     * @param layout {@link Layout#PACKED} or {@link Layout#PACKED_GATE}
     * @param rows rows of the weight, its outputs
     * @param columns columns of the weight, its inputs
     * @return size in bytes
     */
    public long packedSize(DType dtype, Layout layout, long rows, long columns) {
        begin();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment bytes = arena.allocate(ValueLayout.JAVA_LONG);
            check(Tributary.trib_packed_size(context, dtype.code, layout.code, rows, columns, bytes));
            return bytes.get(ValueLayout.JAVA_LONG, 0);
        } finally {
            end();
        }
    }

    /**
     * Copies rows into a weight of the backend's own order.
     *
     * @param params what to work on
     */
    public void packWeight(PackWeightParams params) {
        begin();
        try {
            check(Tributary.trib_pack_weight(context, params.segment));
        } finally {
            end();
        }
    }

    /**
     * Looks up the embeddings of the tokens of main rows.
     *
     * @param params what to work on
     */
    public void embed(EmbedParams params) {
        begin();
        try {
            check(Tributary.trib_embed(context, params.segment));
        } finally {
            end();
        }
    }

    /**
     * Root-mean-square normalisation over the last dimension.
     *
     * @param params what to work on
     */
    public void rmsNorm(RmsNormParams params) {
        begin();
        try {
            check(Tributary.trib_rms_norm(context, params.segment));
        } finally {
            end();
        }
    }

    /**
     * Copies rows by index.
     *
     * @param params what to work on
     */
    public void gatherRows(GatherRowsParams params) {
        begin();
        try {
            check(Tributary.trib_gather_rows(context, params.segment));
        } finally {
            end();
        }
    }

    /**
     * Linear layer with bias, adapters and epilogue, accumulated in fp32 in one order of K whatever the number of
     * rows.
     *
     * @param params what to work on
     */
    public void linear(LinearParams params) {
        begin();
        try {
            check(Tributary.trib_linear(context, params.segment));
        } finally {
            end();
        }
    }

    /**
     * Rotary position embedding of q and k, and appending of k and v to the cache and the stream scratch.
     *
     * @param params what to work on
     */
    public void ropeAppend(RopeAppendParams params) {
        begin();
        try {
            check(Tributary.trib_rope_append(context, params.segment));
        } finally {
            end();
        }
    }

    /**
     * Multi-stream attention: main rows over the prefix and their ancestors, stream rows over what their anchor sees
     * and their own streams.
     *
     * @param params what to work on
     */
    public void multiStreamAttention(MultiStreamAttentionParams params) {
        begin();
        try {
            check(Tributary.trib_multi_stream_attention(context, params.segment));
        } finally {
            end();
        }
    }

    /**
     * Inserts the speculative streams: main states plus stream embeddings.
     *
     * @param params what to work on
     */
    public void insertStreams(InsertStreamsParams params) {
        begin();
        try {
            check(Tributary.trib_insert_streams(context, params.segment));
        } finally {
            end();
        }
    }

    /**
     * Tree pruning by the confidence of edges; compacts the step in place.
     *
     * @param params what to work on
     */
    public void edgeConfidence(EdgeConfidenceParams params) {
        begin();
        try {
            check(Tributary.trib_edge_confidence(context, params.segment));
        } finally {
            end();
        }
    }

    /**
     * Logits, reduced per row to argmax, maximum, log-sum-exp and the top k.
     *
     * @param params what to work on
     */
    public void lmHead(LmHeadParams params) {
        begin();
        try {
            check(Tributary.trib_lm_head(context, params.segment));
        } finally {
            end();
        }
    }

    /**
     * The largest logits of each row.
     *
     * @param params what to work on
     */
    public void topK(TopKParams params) {
        begin();
        try {
            check(Tributary.trib_top_k(context, params.segment));
        } finally {
            end();
        }
    }

    /**
     * Verification: accepted path and bonus token of each active sequence.
     *
     * @param params what to work on
     */
    public void verifyTree(VerifyTreeParams params) {
        begin();
        try {
            check(Tributary.trib_verify_tree(context, params.segment));
        } finally {
            end();
        }
    }

    /**
     * Moves K and V of accepted nodes to the slots behind the committed tokens.
     *
     * @param params what to work on
     */
    public void commitPath(CommitPathParams params) {
        begin();
        try {
            check(Tributary.trib_commit_path(context, params.segment));
        } finally {
            end();
        }
    }

    /**
     * Joins the context's threads and frees it; a second call does nothing.
     *
     * @throws IllegalStateException if another thread is in a call; the context then stays open
     */
    @Override
    public void close() {
        if (state.compareAndSet(FREE, CLOSED)) {
            check(Tributary.trib_context_destroy(context));
        } else if (state.get() == BUSY) {
            throw new IllegalStateException("context is in use by another thread");
        }
    }

    private void begin() {
        if (!state.compareAndSet(FREE, BUSY)) {
            throw new IllegalStateException(
                    state.get() == CLOSED ? "context is closed" : "context is in use by another thread");
        }
    }

    private void end() {
        state.setRelease(FREE);
    }

    private static void check(int status) {
        if (status != Tributary.TRIB_OK()) {
            throw failure(status);
        }
    }

    private static KernelException failure(int code) {
        String text = Tributary.trib_last_error().getString(0);
        return new KernelException(Status.of(code), text.isEmpty() ? "status " + code + " without a text" : text);
    }
}
