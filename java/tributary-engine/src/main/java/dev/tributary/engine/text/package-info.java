// SPDX-License-Identifier: Apache-2.0
/** Between text and tokens: the tokenizer, incremental detokenization, stop strings. */
package dev.tributary.engine.text;
