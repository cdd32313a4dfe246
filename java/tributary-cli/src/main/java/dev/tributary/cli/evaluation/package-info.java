// SPDX-License-Identifier: Apache-2.0
/** What speculation gains on a data set: every prompt with it and without, texts compared, times beside each other. */
@NullMarked
package dev.tributary.cli.evaluation;

import org.jspecify.annotations.NullMarked;
