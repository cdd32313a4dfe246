// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.tributary.engine.run.Request;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** A hash over all bits of the logits that chose each token of a text. */
final class LogitBits {
    private LogitBits() {}

    /** Writes them down as a text is generated. */
    static Optional<Request.LogitObserver> into(List<Integer> hashes) {
        return Optional.of((index, logits) -> {
            assertEquals(hashes.size(), index);
            int hash = 1;
            for (long at = 0; at < logits.byteSize(); at += Integer.BYTES) {
                hash = 31 * hash + logits.get(JAVA_INT, at);
            }
            hashes.add(hash);
        });
    }

    /** Of a whole text. */
    static List<Integer> of(LanguageModel model, String prompt, GenerationOptions options) {
        List<Integer> hashes = new ArrayList<>();
        try (Generation generation = model.generate(prompt, options, into(hashes))) {
            assertEquals(generation.tokens().length, hashes.size());
        }
        return hashes;
    }
}
