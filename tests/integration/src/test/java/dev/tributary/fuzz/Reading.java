// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import dev.tributary.Generation;
import dev.tributary.GenerationOptions;
import dev.tributary.LanguageModel;
import dev.tributary.LoadOptions;
import dev.tributary.engine.model.ModelConfig;
import dev.tributary.engine.model.ModelWeights;
import dev.tributary.engine.model.WeightFiles;
import dev.tributary.engine.text.Tokenizer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.random.RandomGenerator;

/** Whole models are loaded as a user would, small. */
final class Reading {
    /** Loading takes a second or so, reading a millisecond: only inputs that hold this file are loaded whole. */
    private static final String WHOLE = "whole";

    static final LoadOptions SMALL = LoadOptions.builder()
            .device("host")
            .threads(1)
            .maxSequences(2)
            .contextTokens(64)
            .memoryLimit(256L << 20)
            .build();

    private Reading() {}

    /** The input, to be loaded whole in one of so many. */
    static Input sometimesWhole(Input input, int inSoMany, RandomGenerator random) {
        return random.nextInt(inSoMany) == 0 ? input.with(WHOLE, new byte[0]) : input;
    }

    /** Everything that loading reads of the base, without the streams: much cheaper than to load it. */
    static void base(Path model) {
        ModelConfig config = ModelConfig.read(model);
        try (WeightFiles files = WeightFiles.open(model);
                Tokenizer _ = Tokenizer.open(model, config.vocabularySize())) {
            ModelWeights.of(config, files);
        }
    }

    /** Loads the model and lets it speak, where the input asks for that. */
    static void whole(Path model) {
        if (!Files.exists(model.resolve(WHOLE))) {
            return;
        }
        try (LanguageModel loaded = LanguageModel.load(model, SMALL);
                Generation text = loaded.generate(
                        "abc", GenerationOptions.builder().maxTokens(8).build())) {
            if (text.tokens().length > 8) {
                throw new AssertionError("more tokens than asked for");
            }
        }
    }
}
