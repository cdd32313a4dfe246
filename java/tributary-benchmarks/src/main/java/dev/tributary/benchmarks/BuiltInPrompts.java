// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import dev.tributary.cli.evaluation.Example;
import java.util.ArrayList;
import java.util.List;

/** Prompts of the kinds that the bundled model was trained on, for measuring without a data set. */
final class BuiltInPrompts {
    private static final List<String> TABLES = List.of(
            "Columns: CITY, COUNTRY, POPULATION, AREA\nQuestion: What is the population of Lisbon?\nSQL:",
            "Columns: PLAYER, TEAM, GOALS, SEASON\nQuestion: How many goals did Ada Berg score in 1998?\nSQL:",
            "Columns: TITLE, DIRECTOR, YEAR, STUDIO\nQuestion: Who directed the film Northern Lights?\nSQL:",
            "Columns: ROUND, DATE, OPPONENT, SCORE\nQuestion: What was the score against Union on May 4?\nSQL:",
            "Columns: SHIP, CLASS, LAUNCHED, FATE\nQuestion: Which ships were launched after 1920?\nSQL:",
            "Columns: EPISODE, AIR_DATE, VIEWERS, WRITER\nQuestion: What is the highest number of viewers?\nSQL:",
            "Columns: MOUNTAIN, HEIGHT, RANGE\nQuestion: What is the average height in the Andes?\nSQL:",
            "Columns: RIVER, LENGTH, MOUTH\nQuestion: Name the mouth when the length is 540\nSQL:");
    private static final List<String> SUMS = List.of(
            "Question: Ida has 12 pears and buys 5 more. She gives 4 to Tom. How many pears has she left?\nAnswer:",
            "Question: A train travels 60 miles in an hour. How far does it travel in 3 hours?\nAnswer:",
            "Question: A book costs $8 and a pen $2. What do 3 books and 4 pens cost?\nAnswer:",
            "Question: Half of the 28 pupils walk to school. How many do not?\nAnswer:");

    private BuiltInPrompts() {}

    /** {@return the prompts; nothing is known to be right, so completions are empty} */
    static List<Example> examples() {
        List<Example> examples = new ArrayList<>();
        for (List<String> kind : List.of(TABLES, SUMS)) {
            for (String prompt : kind) {
                examples.add(new Example(examples.size() + 1, prompt, ""));
            }
        }
        return examples;
    }
}
