// SPDX-License-Identifier: Apache-2.0
/** JMH benchmarks, and the measurements of the host backend and of single kernels. */
@NullMarked
package dev.tributary.benchmarks;

import org.jspecify.annotations.NullMarked;
