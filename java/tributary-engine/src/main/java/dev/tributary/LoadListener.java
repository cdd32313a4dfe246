// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

/** Hears how far loading is, and of what a user should know. Called on the loading thread; must not throw. */
public interface LoadListener {
    /** Hears nothing. */
    LoadListener SILENT = new LoadListener() {};

    /**
     * Weights were brought to the device.
     *
     * @param done bytes so far
     * @param total bytes in all
     */
    default void progress(long done, long total) {}

    /**
     * Something that the user did not ask for happens, e.g. fp32 weights are rounded.
     *
     * @param message one line
     */
    default void notice(String message) {}
}
