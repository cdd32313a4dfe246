// SPDX-License-Identifier: Apache-2.0
/** How much to speculate: measured pass costs against expected acceptance. */
package dev.tributary.engine.policy;
