// SPDX-License-Identifier: Apache-2.0
/**
 * Hostile inputs of every kind, drawn from a seed: whatever is read either works or is refused by one typed line.
 * {@code FuzzTest} draws a few in the ordinary tests, {@code scripts/fuzz} as many as time allows.
 */
package dev.tributary.fuzz;
