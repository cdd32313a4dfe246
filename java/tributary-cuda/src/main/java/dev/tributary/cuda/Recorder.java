// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cuda;

import java.util.Optional;

/** What recorded work asks of CUDA: a clock on the stream, and graphs. */
interface Recorder extends AutoCloseable {
    /** Launches kept as one. */
    interface Graph extends AutoCloseable {
        /** Enqueues the launches; false when there is no memory for that, and nothing was enqueued. */
        boolean launch();

        @Override
        void close();
    }

    /** Starts the clock, in stream order. */
    void begin();

    /** Stops the clock, likewise. */
    void end();

    /** {@return nanoseconds from begin to end, which the stream must have passed} */
    long nanos();

    /**
     * Keeps launches as a graph; none of them is run.
     *
     * @param launches enqueues them
     * @return the graph, or nothing when there is no memory for it
     */
    Optional<Graph> capture(Runnable launches);

    @Override
    void close();
}
