// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

/**
 * The one unchecked exception of this library; its subclasses say which kind of thing went wrong. The message is one
 * line that names what was given and what is expected. What was given may be anything: characters that are not seen or
 * break lines stand in it as escapes, and it is cut when it is very long.
 */
public class TributaryException extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private static final int LONGEST_MESSAGE = 1000;

    /**
     * An exception without a cause.
     *
     * @param message one line: what was given, what is expected
     */
    public TributaryException(String message) {
        super(oneLine(message));
    }

    /**
     * An exception with a cause.
     *
     * @param message one line: what was given, what is expected
     * @param cause what was caught
     */
    public TributaryException(String message, Throwable cause) {
        super(oneLine(message), cause);
    }

    private static String oneLine(String message) {
        StringBuilder line = new StringBuilder(Math.min(message.length(), LONGEST_MESSAGE) + 16);
        int end = Math.min(message.length(), LONGEST_MESSAGE);
        int index = 0;
        while (index < end) {
            int c = message.codePointAt(index);
            switch (Character.getType(c)) {
                case Character.CONTROL,
                        Character.FORMAT,
                        Character.LINE_SEPARATOR,
                        Character.PARAGRAPH_SEPARATOR,
                        Character.SURROGATE -> {
                    for (int i = 0; i < Character.charCount(c); i++) {
                        line.append(String.format("\\u%04x", (int) message.charAt(index + i)));
                    }
                }
                default -> line.appendCodePoint(c);
            }
            index += Character.charCount(c);
        }
        return index < message.length() ? line.append('…').toString() : line.toString();
    }
}
