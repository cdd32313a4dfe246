// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli.evaluation;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class SqlQueryTest {
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '#',
            value = {
                "SELECT a FROM table WHERE b = \"x y\";  | select A from TABLE where B = 'x  y'",
                "SELECT a FROM t WHERE b=3               | SELECT a FROM t WHERE b = 3 ; ",
                "SELECT COUNT(a), b FROM t               | SELECT COUNT ( a ) ,b FROM t;;",
                "SELECT a FROM t WHERE b = O'Brien       | SELECT a FROM t WHERE b = \"o'brien\"",
            })
    void formIsNoDifference(String one, String other) {
        assertTrue(SqlQuery.same(one, other), () -> SqlQuery.normalised(one) + " / " + SqlQuery.normalised(other));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "SELECT a FROM t            | SELECT b FROM t",
                "SELECT a FROM t            | SELECT a FROM t WHERE c = 1",
                "SELECT ab FROM t           | SELECT a b FROM t",
                "SELECT a FROM t WHERE b=12 | SELECT a FROM t WHERE b=1 2",
                "SELECT a FROM t            | SELECT a FROM t; SELECT a FROM t",
            })
    void contentIs(String one, String other) {
        assertFalse(SqlQuery.same(one, other));
    }

    @Test
    void queriesAreToldFromOtherCompletions() {
        assertTrue(SqlQuery.isQuery(" SELECT a FROM t"));
        assertFalse(SqlQuery.isQuery(" selection is hard"));
        assertFalse(SqlQuery.isQuery(""));
        assertEquals("", SqlQuery.normalised(" ; "));
    }
}
