// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

/**
 * What scheduling may take.
 *
 * @param queueCapacity requests that may wait
 * @param swapBytes host memory for the pages of sequences that make room for others
 */
record SchedulingLimits(int queueCapacity, long swapBytes) {}
