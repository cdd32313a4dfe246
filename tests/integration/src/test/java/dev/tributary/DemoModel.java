// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** The bundled model, and prompts in the form that it was trained on. */
final class DemoModel {
    private static final String[] COLUMNS = {
        "YEAR",
        "TEAM",
        "PLAYER",
        "DATE",
        "SCORE",
        "VENUE",
        "ATTENDANCE",
        "RESULT",
        "TITLE",
        "DIRECTOR",
        "COUNTRY",
        "POPULATION",
        "CAPITAL",
        "DRIVER",
        "LAPS",
        "TIME/RETIRED",
        "POINTS",
        "NO._IN_SERIES",
        "ORIGINAL_AIR_DATE"
    };
    private static final String[] VALUES = {
        "Ann Miller", "12", "New York", "1998", "Paris", "April 3, 2004", "7", "blue", "3-2", "Lake Garda", "Ferrari"
    };
    private static final String[] QUESTIONS = {
        "What is the %1$s when the %2$s is %3$s?",
        "How many %1$s were there for %3$s?",
        "Name the %1$s for %3$s",
        "Which %1$s has a %2$s of %3$s, and a %4$s of %5$s?"
    };

    private DemoModel() {}

    static LanguageModel load(LoadOptions options) {
        return LanguageModel.load(directory(), options);
    }

    static Path directory() {
        return Path.of(System.getProperty("tributary.root"), "models", "demo");
    }

    /** Text-to-SQL prompts, a word problem in every fourth, of lengths that cross page borders. */
    static List<String> prompts(int count, long seed) {
        Random random = new Random(seed);
        List<String> prompts = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            prompts.add(i % 4 == 3 ? wordProblem(random) : sql(random));
        }
        return prompts;
    }

    private static String sql(Random random) {
        List<String> columns = new ArrayList<>(List.of(COLUMNS));
        java.util.Collections.shuffle(columns, random);
        List<String> chosen = columns.subList(0, 3 + random.nextInt(12));
        String question = String.format(
                QUESTIONS[random.nextInt(QUESTIONS.length)],
                words(chosen.get(0)),
                words(chosen.get(1)),
                VALUES[random.nextInt(VALUES.length)],
                words(chosen.get(2)),
                VALUES[random.nextInt(VALUES.length)]);
        return "Columns: " + String.join(", ", chosen) + "\nQuestion: " + question + "\nSQL:";
    }

    private static String words(String column) {
        return column.toLowerCase(java.util.Locale.ROOT).replace('_', ' ');
    }

    private static String wordProblem(Random random) {
        int boxes = 2 + random.nextInt(9);
        int each = 3 + random.nextInt(20);
        int given = 1 + random.nextInt(5);
        return "Question: Maria buys " + boxes + " boxes of pencils with " + each + " pencils in each box. She gives "
                + given + " pencils to her brother. How many pencils does she have left?\nAnswer:";
    }
}
