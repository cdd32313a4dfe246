// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import dev.tributary.ModelFormatException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * Speculative streams as {@code streams.json} describes them.
 *
 * @param mode what became of the base
 * @param gamma γ, streams per anchor
 * @param streamLayers N_s: streams live in so many top layers
 * @param position the RoPE position of a stream
 * @param lora the update of the linear layers on stream rows
 * @param pruning the adapter that estimates edge confidences
 */
public record StreamsConfig(
        Mode mode, int gamma, int streamLayers, Position position, Optional<Lora> lora, Optional<Pruning> pruning) {
    private static final int MAX_GAMMA = 8;

    /** What became of the base when the streams were trained (paper §5). */
    public enum Mode {
        /** The base is untouched. */
        LOSSLESS("lossless"),
        /** The base was fine-tuned with the streams, the update merged into its weights. */
        SHARED("shared");

        private final String word;

        Mode(String word) {
            this.word = word;
        }

        /** As in {@code streams.json}. */
        @Override
        public String toString() {
            return word;
        }
    }

    /** The RoPE position of stream j of the anchor at t. */
    public enum Position {
        /** t + j. */
        OFFSET("offset"),
        /** t. */
        ANCHOR("anchor");

        private final String word;

        Position(String word) {
            this.word = word;
        }

        /** As in {@code streams.json}. */
        @Override
        public String toString() {
            return word;
        }
    }

    /**
     * A low-rank update.
     *
     * @param rank inner width
     * @param alpha the update is scaled by alpha / rank
     * @param targets which linear layers have one
     */
    public record Lora(int rank, double alpha, Set<Projection> targets) {
        /** Copies the targets. */
        public Lora {
            targets = Collections.unmodifiableSet(EnumSet.copyOf(targets));
        }

        /** {@return what the update is multiplied by} */
        public float scale() {
            return (float) (alpha / rank);
        }
    }

    /**
     * Tree pruning (paper §3).
     *
     * @param rank inner width of the adapter
     * @param threshold edges of lower confidence go
     */
    public record Pruning(int rank, double threshold) {}

    /**
     * {@return the streams}
     *
     * @param file {@code streams.json}
     * @param base the model's architecture
     * @throws ModelFormatException when the file is missing or malformed, or was made for another base
     */
    static StreamsConfig read(Path file, ModelConfig base) {
        JsonFields fields = StrictJson.readObject(file);
        fields.requiredInt("format_version", 1, 1);
        Mode mode = fields.requiredOneOf("mode", Mode.values());
        int gamma = fields.requiredInt("gamma", 1, MAX_GAMMA);
        int streamLayers = fields.requiredInt("stream_layers", 1, base.layers());
        Position position = fields.requiredOneOf("position", Position.values());
        fields.requireWritten("lora");
        Optional<Lora> lora = fields.optionalObject("lora").map(l -> lora(l, base));
        if (mode == Mode.SHARED && lora.isPresent()) {
            throw fields.refuse("mode \"shared\" has its update merged into the base, expected \"lora\": null");
        }
        fields.requireWritten("pruning");
        Optional<Pruning> pruning = fields.optionalObject("pruning").map(p -> pruning(p, base));
        requireBase(fields.requiredObject("base"), base);
        fields.refuseOthers(Set.of());
        return new StreamsConfig(mode, gamma, streamLayers, position, lora, pruning);
    }

    private static Lora lora(JsonFields fields, ModelConfig base) {
        int rank = fields.requiredInt("rank", 1, base.hiddenSize());
        double alpha = fields.requiredPositive("alpha");
        List<String> names = fields.requiredStrings("targets");
        Set<Projection> targets = EnumSet.noneOf(Projection.class);
        for (String name : names) {
            Projection target = EnumSet.allOf(Projection.class).stream()
                    .filter(p -> p.toString().equals(name))
                    .findFirst()
                    .orElseThrow(() -> fields.refuse(
                            "targets: " + StrictJson.quote(name) + " is none of " + EnumSet.allOf(Projection.class)));
            if (!targets.add(target)) {
                throw fields.refuse("targets: " + StrictJson.quote(name) + " is named twice");
            }
        }
        if (targets.isEmpty()) {
            throw fields.refuse("targets must name at least one linear layer; \"lora\": null means none");
        }
        fields.refuseOthers(Set.of());
        return new Lora(rank, alpha, targets);
    }

    private static Pruning pruning(JsonFields fields, ModelConfig base) {
        Pruning pruning =
                new Pruning(fields.requiredInt("rank", 1, base.hiddenSize()), fields.requiredFraction("threshold"));
        fields.refuseOthers(Set.of());
        return pruning;
    }

    private static void requireBase(JsonFields fields, ModelConfig base) {
        requireEqual(fields, "hidden_size", base.hiddenSize());
        requireEqual(fields, "num_hidden_layers", base.layers());
        requireEqual(fields, "vocab_size", base.vocabularySize());
        fields.refuseOthers(Set.of());
    }

    private static void requireEqual(JsonFields fields, String name, int expected) {
        int got = fields.requiredInt(name, 0, Integer.MAX_VALUE);
        if (got != expected) {
            throw fields.refuse("the streams were made for " + name + " " + got + ", the model has " + expected);
        }
    }
}
