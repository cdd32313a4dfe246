// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

/**
 * What one rendering may take, so that a hostile template ends as an error: work (nodes evaluated, items and characters
 * touched), the size of a single value and of the output, and how deep calls nest.
 */
final class Budget {
    /** Below a second of work; a conversation of a megabyte takes a hundredth of it. */
    static final long WORK = 20_000_000;

    /** Characters of one string, and of the output. */
    static final int TEXT = 16 << 20;

    /** Items of one list. */
    static final int ITEMS = 1 << 20;

    static final int DEPTH = 600;

    private static final int CHARACTERS_PER_WORK = 16;

    private long work = WORK;
    private int depth;

    void work(long amount) {
        work -= amount;
        if (work < 0) {
            throw new TemplateFailure("the template takes more than the " + WORK + " steps that it may");
        }
    }

    /** A text of that many characters is made or read. */
    void text(long length) {
        grow(length);
        work(length / CHARACTERS_PER_WORK);
    }

    /** A piece is added to a text that has that many characters. */
    void grow(long length) {
        if (length > TEXT) {
            throw new TemplateFailure(
                    "the template makes a text of " + length + " characters, at most " + TEXT + " are supported");
        }
        work(1);
    }

    void items(long count) {
        if (count > ITEMS) {
            throw new TemplateFailure(
                    "the template makes a list of " + count + " items, at most " + ITEMS + " are supported");
        }
        work(1 + count);
    }

    /** A text is searched for another; the worst case counts. */
    void search(String text, String part) {
        text(text.length());
        work((long) text.length() * part.length() / (64L * CHARACTERS_PER_WORK));
    }

    void enter() {
        if (++depth > DEPTH) {
            throw new TemplateFailure("the template nests deeper than the " + DEPTH + " levels that it may");
        }
    }

    void leave() {
        depth--;
    }
}
