// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.step;

import dev.tributary.engine.device.Limits;
import dev.tributary.engine.tree.TokenTree;
import dev.tributary.kernels.TokenAdjustment;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Map;

/**
 * How often each token occurs in a prompt and in what was generated behind it, and its bias: what penalties are made of.
 * Only tokens that occur, or have a bias, take room.
 */
public final class TokenCounts {
    private static final int NONE = -1;

    private final boolean counts;
    private int[] tokens = new int[64];
    private int[] inPrompt = new int[64];
    private int[] inText = new int[64];
    private float[] biases = new float[64];
    private int size;
    // Of the tree of the next pass: tokens that have no entry.
    private final int[] draft = new int[Limits.MAX_TREE];
    private int drafted;
    // Open addressing: entry of a token, or NONE; a power of two, at most half full.
    private int[] table = filled(256);

    /**
     * Counts a prompt.
     *
     * @param prompt its tokens
     * @param biases by token
     * @param counts whether occurrences matter; without, only biases are kept
     */
    public TokenCounts(int[] prompt, Map<Integer, Float> biases, boolean counts) {
        this.counts = counts;
        biases.forEach((token, bias) -> {
            int entry = entry(token); // may grow the arrays
            this.biases[entry] = bias;
        });
        if (counts) {
            for (int token : prompt) {
                int entry = entry(token);
                inPrompt[entry]++;
            }
        }
    }

    /**
     * Counts a generated token.
     *
     * @param token the token
     */
    public void add(int token) {
        if (counts) {
            int entry = entry(token);
            inText[entry]++;
        }
    }

    /** Entries of the next pass. */
    int size() {
        return size + drafted;
    }

    /** Makes entries for a tree's tokens too, for one pass: a path through it may hold any of them. */
    void prepare(TokenTree tree) {
        drafted = 0;
        for (int node = 0; counts && node < tree.size(); node++) {
            int token = tree.token(node);
            if (table[slot(token)] == NONE && !isDrafted(token)) {
                draft[drafted++] = token;
            }
        }
    }

    private boolean isDrafted(int token) {
        for (int i = 0; i < drafted; i++) {
            if (draft[i] == token) {
                return true;
            }
        }
        return false;
    }

    /** Writes all entries of the next pass, from the first of a table on. */
    void write(MemorySegment table) {
        for (int i = 0; i < size; i++) {
            TokenAdjustment.write(table, i, tokens[i], inPrompt[i], inText[i], biases[i]);
        }
        for (int i = 0; i < drafted; i++) {
            TokenAdjustment.write(table, (long) size + i, draft[i], 0, 0, 0f);
        }
    }

    private int entry(int token) {
        int slot = slot(token);
        if (table[slot] != NONE) {
            return table[slot];
        }
        if (size == tokens.length) {
            tokens = Arrays.copyOf(tokens, 2 * size);
            inPrompt = Arrays.copyOf(inPrompt, 2 * size);
            inText = Arrays.copyOf(inText, 2 * size);
            biases = Arrays.copyOf(biases, 2 * size);
        }
        tokens[size] = token;
        table[slot] = size++;
        if (2 * size > table.length) {
            table = filled(2 * table.length);
            for (int i = 0; i < size; i++) {
                table[slot(tokens[i])] = i;
            }
        }
        return size - 1;
    }

    private int slot(int token) {
        int mask = table.length - 1;
        int slot = token * 0x9e3779b9 >>> 8 & mask;
        while (table[slot] != NONE && tokens[table[slot]] != token) {
            slot = slot + 1 & mask;
        }
        return slot;
    }

    private static int[] filled(int length) {
        int[] result = new int[length];
        Arrays.fill(result, NONE);
        return result;
    }
}
