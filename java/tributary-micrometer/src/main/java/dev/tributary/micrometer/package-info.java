// SPDX-License-Identifier: Apache-2.0
/** Micrometer meters of a model. */
package dev.tributary.micrometer;
