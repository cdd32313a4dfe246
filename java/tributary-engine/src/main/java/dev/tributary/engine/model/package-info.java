// SPDX-License-Identifier: Apache-2.0
/** A model's files, read strictly: configuration, weights, speculative streams. Nothing is trusted before it is checked. */
package dev.tributary.engine.model;
