// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import java.time.Duration;
import java.util.Optional;

/** How a request ended: by itself, with a {@link #finishReason()}, or otherwise, with a {@link #failure()}. */
public final class RequestOutcome {
    private final long request;
    private final GenerationStats stats;
    private final Optional<FinishReason> finishReason;
    private final Optional<TributaryException> failure;
    private final Duration elapsed;

    RequestOutcome(
            long request,
            GenerationStats stats,
            Optional<FinishReason> finishReason,
            Optional<TributaryException> failure,
            Duration elapsed) {
        this.request = request;
        this.stats = stats;
        this.finishReason = finishReason;
        this.failure = failure;
        this.elapsed = elapsed;
    }

    /** {@return number of the request, from 1 in each model} */
    public long request() {
        return request;
    }

    /** {@return its figures} */
    public GenerationStats stats() {
        return stats;
    }

    /** {@return why the text ended; empty when the request was cancelled or failed} */
    public Optional<FinishReason> finishReason() {
        return finishReason;
    }

    /** {@return what ended it otherwise; a {@link GenerationCancelledException} when it was cancelled} */
    public Optional<TributaryException> failure() {
        return failure;
    }

    /** {@return time from its submission to its end} */
    public Duration elapsed() {
        return elapsed;
    }

    @Override
    public String toString() {
        return "RequestOutcome[request=" + request + ", "
                + finishReason
                        .map(Object::toString)
                        .orElseGet(() -> failure.map(Object::toString).orElse(""))
                + ", elapsed=" + elapsed + ", stats=" + stats + "]";
    }
}
