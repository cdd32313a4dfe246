// SPDX-License-Identifier: Apache-2.0
/** Events of the Java Flight Recorder. */
package dev.tributary.engine.jfr;
