// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli.evaluation;

import dev.tributary.TributaryException;

/** A data set cannot be read; the message names file and line. */
public final class DataException extends TributaryException {
    private static final long serialVersionUID = 1L;

    DataException(String message) {
        super(message);
    }

    DataException(String message, Throwable cause) {
        super(message, cause);
    }
}
