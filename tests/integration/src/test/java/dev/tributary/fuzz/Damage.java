// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.random.RandomGenerator;

/** Damage to bytes that knows nothing of what they mean. */
final class Damage {
    private static final byte[] TELLING = "{}[]\",:0123456789-.eE\\ntu ".getBytes(StandardCharsets.US_ASCII);
    private static final byte[][] INSERTED = {
        {(byte) 0xEF, (byte) 0xBB, (byte) 0xBF}, // a byte order mark
        {(byte) 0xC0, (byte) 0x80}, // an overlong zero
        {(byte) 0xED, (byte) 0xA0, (byte) 0x80}, // half a character
        {0},
        "\\ud800".getBytes(StandardCharsets.US_ASCII),
        "null".getBytes(StandardCharsets.US_ASCII),
        "1e999".getBytes(StandardCharsets.US_ASCII),
        "NaN".getBytes(StandardCharsets.US_ASCII),
        "[".repeat(5000).getBytes(StandardCharsets.US_ASCII),
        "{\"a\":".repeat(5000).getBytes(StandardCharsets.US_ASCII),
        "9".repeat(5000).getBytes(StandardCharsets.US_ASCII),
    };

    private Damage() {}

    /** One to three changes anywhere. */
    static byte[] to(byte[] sound, RandomGenerator random) {
        byte[] bytes = sound.clone();
        for (int i = random.nextInt(3); i >= 0; i--) {
            bytes = once(bytes, random);
        }
        return bytes;
    }

    private static byte[] once(byte[] bytes, RandomGenerator random) {
        int at = random.nextInt(bytes.length + 1);
        int end = Math.min(bytes.length, at + random.nextInt(1, 1 << random.nextInt(1, 10)));
        byte[] slice = Arrays.copyOfRange(bytes, at, end);
        return switch (random.nextInt(8)) {
            case 0 -> Arrays.copyOf(bytes, at);
            case 1 -> spliced(bytes, at, end, new byte[0]);
            case 2 -> spliced(bytes, at, at, slice);
            case 3 -> spliced(bytes, at, at, INSERTED[random.nextInt(INSERTED.length)]);
            case 4, 5 -> {
                if (slice.length > 0) {
                    slice[0] ^= (byte) (1 << random.nextInt(8));
                }
                yield spliced(bytes, at, end, slice);
            }
            case 6 -> {
                if (slice.length > 0) {
                    slice[0] = TELLING[random.nextInt(TELLING.length)];
                }
                yield spliced(bytes, at, end, slice);
            }
            default -> {
                random.nextBytes(slice);
                yield spliced(bytes, at, end, slice);
            }
        };
    }

    /** The bytes with those from begin to end exchanged. */
    static byte[] spliced(byte[] bytes, int begin, int end, byte[] inserted) {
        byte[] result = new byte[bytes.length - (end - begin) + inserted.length];
        System.arraycopy(bytes, 0, result, 0, begin);
        System.arraycopy(inserted, 0, result, begin, inserted.length);
        System.arraycopy(bytes, end, result, begin + inserted.length, bytes.length - end);
        return result;
    }
}
