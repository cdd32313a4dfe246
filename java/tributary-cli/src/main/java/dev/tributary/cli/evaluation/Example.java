// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli.evaluation;

/**
 * One line of a data set.
 *
 * @param line its number in the file, from 1
 * @param prompt what the model goes on from
 * @param completion what the data set holds to be right
 */
public record Example(int line, String prompt, String completion) {}
