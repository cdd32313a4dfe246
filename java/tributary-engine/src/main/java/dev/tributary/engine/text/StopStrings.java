// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import dev.tributary.ConfigurationException;
import java.util.List;

/**
 * Ends a text before the first stop string. The stop string that is complete first, reading character by character,
 * counts; of several that are complete with the same character, the longest. The text ends before its first character.
 * Text that may be the beginning of a stop string waits until it is known not to be.
 *
 * <p>For one text and one thread at a time.
 */
public final class StopStrings {
    private final List<Matcher> matchers;
    private final StringBuilder waiting = new StringBuilder();
    private boolean stopped;

    /**
     * Prepares for a text.
     *
     * @param stops the stop strings, none empty; may be none
     * @throws ConfigurationException when one is empty or not valid Unicode
     */
    public StopStrings(List<String> stops) {
        for (String stop : stops) {
            if (stop.isEmpty()) {
                throw new ConfigurationException("a stop string is empty");
            }
            Unicode.requireValid("a stop string", stop);
        }
        matchers = stops.stream().map(Matcher::new).toList();
    }

    /**
     * {@return the part of the text that is certain to stay, following what was returned before; what comes after a stop
     *     string is dropped}
     *
     * @param text the next part of the text
     */
    public String append(String text) {
        for (int i = 0; i < text.length() && !stopped; i++) {
            char c = text.charAt(i);
            waiting.append(c);
            int longest = 0;
            for (Matcher matcher : matchers) {
                if (matcher.accept(c)) {
                    longest = Math.max(longest, matcher.length());
                }
            }
            if (longest > 0) {
                stopped = true;
                waiting.setLength(waiting.length() - longest);
            }
        }
        return stopped ? take(waiting.length()) : take(waiting.length() - held());
    }

    private int held() {
        int held = 0;
        for (Matcher matcher : matchers) {
            held = Math.max(held, matcher.matched);
        }
        return held;
    }

    private String take(int length) {
        String text = waiting.substring(0, length);
        waiting.delete(0, length);
        return text;
    }

    /** {@return whether a stop string was found} */
    public boolean stopped() {
        return stopped;
    }

    /**
     * Ends the text.
     *
     * @return what was waiting
     */
    public String flush() {
        return take(waiting.length());
    }

    /** Knuth, Morris and Pratt: how much of one stop string the text ends with. */
    private static final class Matcher {
        private final String stop;
        /** For each length of a matched beginning, the length of the next shorter one that also ends there. */
        private final int[] shorter;

        private int matched;

        Matcher(String stop) {
            this.stop = stop;
            shorter = new int[stop.length() + 1];
            for (int i = 1, k = 0; i < stop.length(); i++) {
                while (k > 0 && stop.charAt(i) != stop.charAt(k)) {
                    k = shorter[k];
                }
                if (stop.charAt(i) == stop.charAt(k)) {
                    k++;
                }
                shorter[i + 1] = k;
            }
        }

        int length() {
            return stop.length();
        }

        boolean accept(char c) {
            while (matched > 0 && c != stop.charAt(matched)) {
                matched = shorter[matched];
            }
            if (c == stop.charAt(matched)) {
                matched++;
            }
            return matched == stop.length();
        }
    }
}
