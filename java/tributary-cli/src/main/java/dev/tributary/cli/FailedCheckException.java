// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

/** What the command was asked to check does not hold. */
final class FailedCheckException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    FailedCheckException(String message) {
        super(message);
    }
}
