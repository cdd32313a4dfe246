// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.trib_sampling;
import java.lang.foreign.MemorySegment;

/**
 * Writes entries of a sampling table, which {@link VerifyTreeParams#sampling} names: how the target of one sequence is
 * chosen. The table is [S].
 */
public final class SamplingEntry {
    /** Size of an entry in bytes. */
    public static final long BYTES = trib_sampling.layout().byteSize();

    private SamplingEntry() {}

    /**
     * Writes what stays the same for a whole request, and makes the entry active with nothing generated.
     *
     * @param table the table, in memory that Java can write
     * @param sequence index of the sequence in the step
     * @param seed seed of the noise
     * @param temperature 0 for greedy: the argmax, ties to the lowest id; the rest is then ignored
     * @param topP in (0, 1]; 1 for off
     * @param minP in [0, 1); 0 for off
     * @param topK at least 0; 0 for off
     * @param choice index of the choice within its request
     * @throws IndexOutOfBoundsException if the table has no such entry
     */
    public static void write(
            MemorySegment table,
            long sequence,
            long seed,
            float temperature,
            float topP,
            float minP,
            int topK,
            int choice) {
        MemorySegment entry = entry(table, sequence);
        trib_sampling.seed(entry, seed);
        trib_sampling.temperature(entry, temperature);
        trib_sampling.top_p(entry, topP);
        trib_sampling.min_p(entry, minP);
        trib_sampling.top_k(entry, topK);
        trib_sampling.choice(entry, choice);
        trib_sampling.adjustments(entry, 0);
        trib_sampling.adjustment(entry, 0);
        trib_sampling.allowed(entry, 0);
        trib_sampling.repetition_penalty(entry, 1);
        trib_sampling.presence_penalty(entry, 0);
        trib_sampling.frequency_penalty(entry, 0);
        trib_sampling.typical_epsilon(entry, 0);
        trib_sampling.typical_delta(entry, 0);
        trib_sampling.reserved(entry, 0);
        progress(table, sequence, 0);
    }

    /**
     * Adds penalties and biases to an entry that was written.
     *
     * @param table the table, in memory that Java can write
     * @param sequence index of the sequence in the step
     * @param repetition penalty of tokens of the prompt and of the text, more than 0; 1 for off
     * @param presence penalty of tokens of the text; 0 for off
     * @param frequency penalty of each occurrence in the text; 0 for off
     * @param adjustment address of {@link TokenAdjustment} [adjustments]
     * @param adjustments entries
     * @throws IndexOutOfBoundsException if the table has no such entry
     */
    public static void adjust(
            MemorySegment table,
            long sequence,
            float repetition,
            float presence,
            float frequency,
            long adjustment,
            int adjustments) {
        MemorySegment entry = entry(table, sequence);
        trib_sampling.repetition_penalty(entry, repetition);
        trib_sampling.presence_penalty(entry, presence);
        trib_sampling.frequency_penalty(entry, frequency);
        trib_sampling.adjustment(entry, adjustment);
        trib_sampling.adjustments(entry, adjustments);
    }

    /**
     * Says in an entry that was written which tokens may follow.
     *
     * @param table the table, in memory that Java can write
     * @param sequence index of the sequence in the step
     * @param allowed address of int32 [nodes, ⌈vocabulary / 32⌉], one bit for a token; of a causal sequence one row
     * @throws IndexOutOfBoundsException if the table has no such entry
     */
    public static void allow(MemorySegment table, long sequence, long allowed) {
        trib_sampling.allowed(entry(table, sequence), allowed);
    }

    /**
     * Makes acceptance typical in an entry that was written: the text may differ from plain decoding's.
     *
     * @param table the table, in memory that Java can write
     * @param sequence index of the sequence in the step
     * @param epsilon in (0, 1)
     * @param delta more than 0
     * @throws IndexOutOfBoundsException if the table has no such entry
     */
    public static void acceptTypical(MemorySegment table, long sequence, float epsilon, float delta) {
        MemorySegment entry = entry(table, sequence);
        trib_sampling.typical_epsilon(entry, epsilon);
        trib_sampling.typical_delta(entry, delta);
    }

    /**
     * Writes what changes from pass to pass, and makes the entry active.
     *
     * @param table the table, in memory that Java can write
     * @param sequence index of the sequence in the step
     * @param generated tokens generated before the one that the root, or the chunk's last row, predicts
     * @throws IndexOutOfBoundsException if the table has no such entry
     */
    public static void progress(MemorySegment table, long sequence, int generated) {
        MemorySegment entry = entry(table, sequence);
        trib_sampling.generated(entry, generated);
        trib_sampling.active(entry, 1);
    }

    /**
     * Marks that no choice is wanted for a sequence in this step, as between two chunks of a prefill.
     *
     * @param table the table, in memory that Java can write
     * @param sequence index of the sequence in the step
     * @throws IndexOutOfBoundsException if the table has no such entry
     */
    public static void deactivate(MemorySegment table, long sequence) {
        trib_sampling.active(entry(table, sequence), 0);
    }

    private static MemorySegment entry(MemorySegment table, long sequence) {
        return table.asSlice(sequence * BYTES, BYTES);
    }
}
