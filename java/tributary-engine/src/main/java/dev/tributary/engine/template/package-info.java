// SPDX-License-Identifier: Apache-2.0
/**
 * Chat templates: an interpreter of the Jinja that models bring, with the settings that transformers renders them with. It
 * knows nothing of models; {@link dev.tributary.engine.template.Template} is its only entry.
 *
 * <p>Source → {@code Lexer} → {@code Parser} → {@code Node} → {@code Interpreter}. Values behave as Python's do, down to
 * how a list is printed, since that is what templates were written against.
 */
package dev.tributary.engine.template;
