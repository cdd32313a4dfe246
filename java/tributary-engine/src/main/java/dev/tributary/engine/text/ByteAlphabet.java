// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * The characters by which byte-level vocabularies spell bytes: printable Latin-1 characters stand for themselves, the
 * other 68 byte values, in order, for U+0100, U+0101, ….
 */
final class ByteAlphabet {
    private static final int FIRST_SUBSTITUTE = 0x100;
    /** The byte of each character, −1 for characters outside the alphabet. */
    private static final short[] BYTE_OF = new short[FIRST_SUBSTITUTE + 68];

    static {
        Arrays.fill(BYTE_OF, (short) -1);
        int substitute = FIRST_SUBSTITUTE;
        for (short b = 0; b < 256; b++) {
            boolean printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
            BYTE_OF[printable ? b : substitute++] = b;
        }
    }

    private ByteAlphabet() {}

    /** The bytes that a piece spells; a piece with a character outside the alphabet is plain text. */
    static byte[] bytes(String piece) {
        byte[] bytes = new byte[piece.length()];
        for (int i = 0; i < bytes.length; i++) {
            char c = piece.charAt(i);
            if (c >= BYTE_OF.length || BYTE_OF[c] < 0) {
                return piece.getBytes(StandardCharsets.UTF_8);
            }
            bytes[i] = (byte) BYTE_OF[c];
        }
        return bytes;
    }

    /** Whether a piece stands for one byte, in the way of byte fallback: {@code <0x4A>}. */
    static boolean isFallback(String piece) {
        return piece.length() == 6
                && piece.startsWith("<0x")
                && piece.endsWith(">")
                && Character.digit(piece.charAt(3), 16) >= 0
                && Character.digit(piece.charAt(4), 16) >= 0;
    }

    /** The byte of such a piece. */
    static byte fallback(String piece) {
        return (byte) Integer.parseInt(piece, 3, 5, 16);
    }
}
