// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

/**
 * UTF-8 that arrives byte by byte. Every maximal invalid part becomes one U+FFFD, as the Unicode standard recommends
 * (chapter 3.9) and as the tokenizers library does; an unfinished character waits for its rest.
 */
final class Utf8Stream {
    private static final char REPLACEMENT = '\uFFFD';

    private int codePoint;
    private int missing;
    /** The bounds of the next continuation byte: narrower after some lead bytes, against overlong forms and surrogates. */
    private int low = 0x80;

    private int high = 0xBF;

    void accept(byte next, StringBuilder text) {
        int b = next & 0xFF;
        if (missing > 0) {
            if (b >= low && b <= high) {
                codePoint = (codePoint << 6) | (b & 0x3F);
                low = 0x80;
                high = 0xBF;
                if (--missing == 0) {
                    text.appendCodePoint(codePoint);
                }
                return;
            }
            finish(text);
        }
        if (b < 0x80) {
            text.append((char) b);
        } else if (b >= 0xC2 && b <= 0xDF) {
            begin(b & 0x1F, 1, 0x80, 0xBF);
        } else if (b >= 0xE0 && b <= 0xEF) {
            begin(b & 0x0F, 2, b == 0xE0 ? 0xA0 : 0x80, b == 0xED ? 0x9F : 0xBF);
        } else if (b >= 0xF0 && b <= 0xF4) {
            begin(b & 0x07, 3, b == 0xF0 ? 0x90 : 0x80, b == 0xF4 ? 0x8F : 0xBF);
        } else {
            text.append(REPLACEMENT);
        }
    }

    private void begin(int bits, int continuationBytes, int lowest, int highest) {
        codePoint = bits;
        missing = continuationBytes;
        low = lowest;
        high = highest;
    }

    /** No more bytes: an unfinished character will stay so. */
    void finish(StringBuilder text) {
        if (missing > 0) {
            text.append(REPLACEMENT);
        }
        missing = 0;
        low = 0x80;
        high = 0xBF;
    }
}
