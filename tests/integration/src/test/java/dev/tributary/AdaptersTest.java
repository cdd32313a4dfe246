// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Many streams adapters on one base: each drafts in a mixed batch what it drafts alone, and none changes a text. */
class AdaptersTest {
    private static final int PROMPTS = 12;
    private static final List<String> NAMES = List.of("embeddings", "pruning", "copy");

    /** Adapters of the bundled model: without LoRA, with LoRA and a pruning part, and its own once more. */
    private static final Map<String, String> DIRECTORIES =
            Map.of("embeddings", "streams-embeddings", "pruning", "streams-pruning", "copy", "streams");

    private final List<String> prompts = DemoModel.prompts(PROMPTS, 23);

    /** {@return where the model computes; a subclass may have another device, or skip where there is none} */
    String device() {
        return "host";
    }

    private static Path adapter(String name) {
        return DemoModel.directory().resolve(DIRECTORIES.getOrDefault(name, "streams"));
    }

    private LoadOptions.Builder options() {
        return LoadOptions.builder().device(device());
    }

    private LoadOptions everything() {
        LoadOptions.Builder builder = options();
        NAMES.forEach(name -> builder.streams(name, adapter(name)));
        return builder.build();
    }

    private static GenerationOptions traced(Optional<String> name, Speculation.Placement placement) {
        GenerationOptions.Builder builder = GenerationOptions.builder()
                .maxTokens(48)
                .trace(true)
                .speculation(Speculation.tree(12).withPlacement(placement));
        name.ifPresent(builder::streams);
        return builder.build();
    }

    /** Adapter of prompt i; the model's own is among them. */
    private static Optional<String> nameOf(int i) {
        return i % 4 == 3 ? Optional.empty() : Optional.of(NAMES.get(i % 4));
    }

    @Test
    void eachDraftsInAMixedBatchWhatItDraftsAlone() {
        // Not CHOSEN_NODES: which nodes are chosen follows from what was learnt before.
        for (Speculation.Placement placement :
                List.of(Speculation.Placement.ALL_NODES, Speculation.Placement.DEFERRED)) {
            Map<Integer, List<PassTrace>> alone = new HashMap<>();
            for (int adapter = 0; adapter < 4; adapter++) {
                LoadOptions one = nameOf(adapter)
                        .map(name -> options().streams(adapter(name)).build())
                        .orElse(options().build());
                try (LanguageModel model = DemoModel.load(one)) {
                    for (int i = adapter; i < PROMPTS; i += 4) {
                        alone.put(
                                i,
                                model.generate(prompts.get(i), traced(Optional.empty(), placement))
                                        .trace());
                    }
                }
            }
            try (LanguageModel model = DemoModel.load(everything())) {
                List<Generation> together = new ArrayList<>();
                for (int i = 0; i < PROMPTS; i++) {
                    together.add(model.generate(prompts.get(i), traced(nameOf(i), placement)));
                }
                for (int i = 0; i < PROMPTS; i++) {
                    assertEquals(alone.get(i), together.get(i).trace(), placement + " " + nameOf(i));
                }
            }
        }
    }

    @Test
    void adaptersDraftDifferentlyAndGiveTheSameText() {
        try (LanguageModel model = DemoModel.load(everything())) {
            boolean differs = false;
            for (String prompt : prompts) {
                Generation own = model.generate(prompt, traced(Optional.empty(), Speculation.Placement.DEFERRED));
                Generation other =
                        model.generate(prompt, traced(Optional.of("embeddings"), Speculation.Placement.DEFERRED));
                Generation copy = model.generate(prompt, traced(Optional.of("copy"), Speculation.Placement.DEFERRED));
                assertEquals(own.text(), other.text());
                assertEquals(own.trace(), copy.trace());
                differs |= !own.trace().equals(other.trace());
            }
            assertTrue(differs);
        }
    }

    @Test
    void aModelWithoutStreamsOfItsOwnSpeculatesOnlyWhereANameIsGiven() {
        LoadOptions options =
                options().withoutStreams().streams("lora", adapter("streams")).build();
        try (LanguageModel model = DemoModel.load(options)) {
            assertFalse(model.info().streams().isPresent());
            assertEquals(4, model.info().namedStreams().get("lora").gamma());
            for (Speculation speculation : List.of(Speculation.adaptive(), Speculation.tree(8))) {
                GenerationOptions plain = GenerationOptions.builder()
                        .maxTokens(32)
                        .speculation(speculation)
                        .build();
                try (Generation without = model.generate(prompts.getFirst(), plain);
                        Generation with = model.generate(
                                prompts.getFirst(),
                                plain.toBuilder().streams("lora").build())) {
                    assertEquals(without.text(), with.text());
                    assertEquals(0, without.stats().draftedTokens());
                    assertNotEquals(0, with.stats().draftedTokens());
                }
            }
        }
    }

    @Test
    void anUnknownNameIsRefusedWithTheKnownOnes() {
        try (LanguageModel model = DemoModel.load(everything())) {
            ConfigurationException refused = assertThrows(
                    ConfigurationException.class,
                    () -> model.generate("x", traced(Optional.of("nothing"), Speculation.Placement.DEFERRED)));
            assertEquals("streams is \"nothing\", expected one of embeddings, pruning, copy", refused.getMessage());
        }
        try (LanguageModel model = DemoModel.load(options().build())) {
            ConfigurationException refused = assertThrows(
                    ConfigurationException.class,
                    () -> model.generate("x", traced(Optional.of("copy"), Speculation.Placement.DEFERRED)));
            assertEquals(
                    "streams is \"copy\", expected none: no adapter was loaded by name (LoadOptions.streams)",
                    refused.getMessage());
        }
    }

    @Test
    void adaptersThatCannotShareAPassAreRefused(@TempDir Path folder) throws IOException {
        Path source = adapter("embeddings");
        Path other = Files.createDirectory(folder.resolve("other"));
        Files.copy(source.resolve("streams.safetensors"), other.resolve("streams.safetensors"));
        Files.writeString(
                other.resolve("streams.json"),
                Files.readString(source.resolve("streams.json")).replace("\"offset\"", "\"anchor\""));
        LoadOptions options = options().streams("other", other).build();
        ConfigurationException refused = assertThrows(ConfigurationException.class, () -> DemoModel.load(options));
        assertEquals(
                other + ": gamma 4, stream_layers 2, position anchor, expected gamma 4, stream_layers 2, position"
                        + " offset as the adapter before it has: adapters of one model share their passes",
                refused.getMessage());
    }

    @Test
    void namesAreChecked() {
        for (String name : List.of("", "a b", "x".repeat(65), "a/b")) {
            LoadOptions.Builder builder = LoadOptions.builder();
            assertThrows(ConfigurationException.class, () -> builder.streams(name, adapter("copy")));
        }
    }
}
