// SPDX-License-Identifier: Apache-2.0
/**
 * The C ABI in Java: library loading, and status codes as typed exceptions.
 *
 * <p>A {@link dev.tributary.kernels.KernelContext} is a device. Each operation has a params class whose setters write a
 * native struct in the caller's arena; the params are built once, and a call passes their address:
 *
 * {@snippet :
 * RmsNormParams norm = new RmsNormParams(arena)
 *         .step(step).rows(Rows.ALL).x(hidden).weight(weight).y(normalised).epsilon(1e-5f);
 * context.rmsNorm(norm);
 * }
 *
 * <p>Shapes use the words of the C header: R and Q are the capacities of main and stream rows of a step, S that of its
 * sequences, P that of the pages of one sequence; h is the hidden size, V the vocabulary, d the head size. Memory is the
 * caller's: nothing here allocates, frees or retains what an address names.
 */
package dev.tributary.kernels;
