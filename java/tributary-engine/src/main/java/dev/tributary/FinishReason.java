// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

/** Why a generation ended. */
public enum FinishReason {
    /** The model produced an end token (not part of the text). */
    END_TOKEN,
    /** A stop string occurred (not part of the text). */
    STOP_STRING,
    /** The generation's own token limit. */
    MAX_TOKENS,
    /** The context that the model was loaded with is full. */
    CONTEXT_LIMIT
}
