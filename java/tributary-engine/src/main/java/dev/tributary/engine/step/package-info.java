// SPDX-License-Identifier: Apache-2.0
/** One pass: its plan, its launches, its results. */
package dev.tributary.engine.step;
