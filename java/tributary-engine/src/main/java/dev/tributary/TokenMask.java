// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import java.util.Arrays;
import java.util.Objects;

/** A set of tokens of one vocabulary, for a {@link TokenConstraint} to fill. Not thread-safe. */
public final class TokenMask {
    private final int vocabulary;
    private final int[] words;

    /**
     * An empty set.
     *
     * @param vocabulary tokens that there are, at least 1
     */
    public TokenMask(int vocabulary) {
        if (vocabulary < 1) {
            throw new IllegalArgumentException("vocabulary is " + vocabulary + ", expected at least 1");
        }
        this.vocabulary = vocabulary;
        words = new int[(vocabulary + Integer.SIZE - 1) / Integer.SIZE];
    }

    /** {@return tokens of the vocabulary} */
    public int vocabulary() {
        return vocabulary;
    }

    /**
     * Allows a token.
     *
     * @param token its id
     * @return this
     * @throws IndexOutOfBoundsException when the vocabulary has no such token
     */
    public TokenMask allow(int token) {
        Objects.checkIndex(token, vocabulary);
        words[token / Integer.SIZE] |= 1 << (token % Integer.SIZE);
        return this;
    }

    /**
     * Forbids a token.
     *
     * @param token its id
     * @return this
     * @throws IndexOutOfBoundsException when the vocabulary has no such token
     */
    public TokenMask forbid(int token) {
        Objects.checkIndex(token, vocabulary);
        words[token / Integer.SIZE] &= ~(1 << (token % Integer.SIZE));
        return this;
    }

    /**
     * Allows every token.
     *
     * @return this
     */
    public TokenMask allowAll() {
        Arrays.fill(words, -1);
        int rest = vocabulary % Integer.SIZE;
        if (rest != 0) {
            words[words.length - 1] = (1 << rest) - 1;
        }
        return this;
    }

    /**
     * Forbids every token.
     *
     * @return this
     */
    public TokenMask clear() {
        Arrays.fill(words, 0);
        return this;
    }

    /**
     * Whether a token is allowed.
     *
     * @param token its id
     * @return whether
     * @throws IndexOutOfBoundsException when the vocabulary has no such token
     */
    public boolean isAllowed(int token) {
        Objects.checkIndex(token, vocabulary);
        return (words[token / Integer.SIZE] >>> (token % Integer.SIZE) & 1) != 0;
    }

    /** {@return whether no token is allowed} */
    public boolean isEmpty() {
        for (int word : words) {
            if (word != 0) {
                return false;
            }
        }
        return true;
    }

    /** {@return the mask, one bit for a token, token 0 the lowest of the first word; a copy} */
    public int[] toWords() {
        return words.clone();
    }

    /**
     * Copies the mask, one bit for a token, token 0 the lowest of the first word.
     *
     * @param target receives ⌈vocabulary / 32⌉ words
     * @param begin where the first goes
     */
    public void copyTo(int[] target, int begin) {
        System.arraycopy(words, 0, target, begin, words.length);
    }
}
