// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import dev.tributary.ChatOptions;
import dev.tributary.DeviceException;
import dev.tributary.Generation;
import dev.tributary.InsufficientMemoryException;
import dev.tributary.LanguageModel;
import dev.tributary.Message;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;

/** Prompts and conversations for one model that stays loaded, with options drawn beside them. */
final class PromptTarget implements FuzzTarget {
    /** UTF-16: a prompt may hold halves of characters. */
    private static final String PROMPT = "prompt.utf16";

    private static final String OPTIONS = "options.seed";

    private Optional<LanguageModel> model = Optional.empty();

    @Override
    public Input draw(RandomGenerator random) {
        String prompt = Texts.any(random);
        ByteBuffer units = ByteBuffer.allocate(2 * prompt.length());
        prompt.chars().forEach(unit -> units.putChar((char) unit));
        return new Input(Map.of(PROMPT, units.array(), OPTIONS, Seeds.bytes(Long.toString(random.nextLong()))));
    }

    @Override
    public void feed(Input input, Path scratch) throws Exception {
        StringBuilder prompt = new StringBuilder();
        ByteBuffer units = ByteBuffer.wrap(input.file(PROMPT));
        while (units.hasRemaining()) {
            prompt.append(units.getChar());
        }
        RandomGenerator random =
                new SplittableRandom(Long.parseLong(new String(input.file(OPTIONS), StandardCharsets.UTF_8)));
        LanguageModel loaded = model(scratch);
        try (Generation generation = begin(loaded, prompt.toString(), random)) {
            int parts = 0;
            int enough = random.nextInt(12);
            for (String part : generation) {
                if (!StandardCharsets.UTF_8.newEncoder().canEncode(part)) {
                    throw new AssertionError("half a character was streamed");
                }
                if (++parts == enough) {
                    return; // closing cancels
                }
            }
            generation.stats();
        } catch (DeviceException | InsufficientMemoryException e) {
            throw new AssertionError("a request failed inside the engine: " + loaded.stats(), e);
        }
    }

    private static Generation begin(LanguageModel model, String prompt, RandomGenerator random) {
        if (random.nextInt(3) > 0) {
            return model.generate(prompt, OptionsTarget.generation(random, 16));
        }
        return model.chat(
                List.of(Message.system(Texts.some(random)), Message.user(prompt)),
                ChatOptions.of(OptionsTarget.generation(random, 16)));
    }

    private LanguageModel model(Path scratch) throws Exception {
        if (model.isEmpty()) {
            Input files = Seeds.models().stream()
                    .filter(m -> m.files().containsKey(Seeds.STREAMS))
                    .findFirst()
                    .orElseThrow();
            files.write(scratch);
            model = Optional.of(LanguageModel.load(scratch, Reading.SMALL));
        }
        return model.get();
    }

    @Override
    public void close() {
        model.ifPresent(LanguageModel::close);
    }
}
