// SPDX-License-Identifier: Apache-2.0
/** Requests, sequences and the thread that steps them. */
package dev.tributary.engine.run;
