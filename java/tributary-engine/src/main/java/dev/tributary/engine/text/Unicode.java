// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import dev.tributary.ConfigurationException;

/** Strings of Java may hold halves of characters; nothing beyond this package may. */
final class Unicode {
    private Unicode() {}

    static void requireValid(String what, String text) {
        int index = unpairedSurrogate(text);
        if (index >= 0) {
            throw new ConfigurationException(String.format(
                    "%s is not valid Unicode: unpaired surrogate \\u%04x at index %d",
                    what, (int) text.charAt(index), index));
        }
    }

    /** {@return where the first half of a character stands that lacks the other; −1: nowhere} */
    static int unpairedSurrogate(String text) {
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (Character.isHighSurrogate(c) && i + 1 < text.length() && Character.isLowSurrogate(text.charAt(i + 1))) {
                i++;
            } else if (Character.isSurrogate(c)) {
                return i;
            }
        }
        return -1;
    }
}
