// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli.evaluation;

import java.util.Locale;
import java.util.regex.Pattern;

/** When two SQL queries count as the same text: case, quotes, spaces and closing semicolons apart. */
final class SqlQuery {
    private static final Pattern QUOTES = Pattern.compile("[\"'`]");
    private static final Pattern SPACES = Pattern.compile("\\s+");
    private static final Pattern AROUND_SIGNS = Pattern.compile(" ?([(),=<>!]) ?");
    private static final Pattern END = Pattern.compile("[; ]+$");

    private SqlQuery() {}

    /** {@return whether a completion is a query, so that comparing queries makes sense} */
    static boolean isQuery(String completion) {
        return completion.strip().toLowerCase(Locale.ROOT).startsWith("select ");
    }

    static boolean same(String generated, String expected) {
        return normalised(generated).equals(normalised(expected));
    }

    static String normalised(String query) {
        String text = QUOTES.matcher(query.toLowerCase(Locale.ROOT)).replaceAll("");
        text = SPACES.matcher(text).replaceAll(" ").strip();
        text = AROUND_SIGNS.matcher(text).replaceAll("$1");
        return END.matcher(text).replaceAll("");
    }
}
