// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

/**
 * A token of a template.
 *
 * @param kind what it is
 * @param line where it begins, from 1
 * @param text its characters: of data the text to print, of a string what it stands for, else as written
 */
record Token(Kind kind, int line, String text) {
    enum Kind {
        DATA("text"),
        VARIABLE_BEGIN("'{{'"),
        VARIABLE_END("'}}'"),
        BLOCK_BEGIN("'{%'"),
        BLOCK_END("'%}'"),
        NAME("a name"),
        STRING("a string"),
        INTEGER("an integer"),
        FLOAT("a number"),
        OPERATOR("an operator"),
        END("the end of the template");

        private final String description;

        Kind(String description) {
            this.description = description;
        }

        @Override
        public String toString() {
            return description;
        }
    }

    boolean is(Kind wanted) {
        return kind == wanted;
    }

    boolean isName(String name) {
        return kind == Kind.NAME && text.equals(name);
    }

    boolean isOperator(String operator) {
        return kind == Kind.OPERATOR && text.equals(operator);
    }

    /** {@return how a message calls it} */
    String shown() {
        return switch (kind) {
            case NAME, INTEGER, FLOAT, OPERATOR -> "'" + text + "'";
            case STRING -> "the string " + PythonText.quoted(text);
            default -> kind.toString();
        };
    }
}
