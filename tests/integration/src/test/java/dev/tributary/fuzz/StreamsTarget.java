// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import dev.tributary.engine.model.ModelConfig;
import dev.tributary.engine.model.StreamsAdapter;
import java.nio.file.Path;
import java.util.List;
import java.util.random.RandomGenerator;

/** The streams adapter: {@code streams.json} and its tensors; one that still fits its model is run with it. */
final class StreamsTarget implements FuzzTarget {
    private static final List<String> WORDS = List.of(
            "\"lossless\"",
            "\"shared\"",
            "\"offset\"",
            "\"anchor\"",
            "\"lora\"",
            "\"pruning\"",
            "\"base\"",
            "\"q_proj\"",
            "\"gate_proj\"",
            "\"lm_head\"",
            "\"targets\"",
            "{\"rank\":1,\"threshold\":0.5}",
            "{\"rank\":1,\"alpha\":1,\"targets\":[\"q_proj\"]}");

    private final List<Input> models = Seeds.models().stream()
            .filter(model -> model.files().containsKey(Seeds.STREAMS))
            .toList();

    @Override
    public Input draw(RandomGenerator random) {
        Input model = Reading.sometimesWhole(models.get(random.nextInt(models.size())), 3, random);
        if (random.nextInt(3) > 0) {
            return model.with(Seeds.STREAMS, JsonDamage.to(model.file(Seeds.STREAMS), WORDS, random));
        }
        byte[] weights = model.file(Seeds.STREAM_WEIGHTS);
        return model.with(
                Seeds.STREAM_WEIGHTS,
                random.nextBoolean() ? Damage.to(weights, random) : SafetensorsTarget.damaged(weights, random));
    }

    @Override
    public void feed(Input input, Path scratch) throws Exception {
        input.write(scratch);
        StreamsAdapter.open(scratch.resolve("streams"), ModelConfig.read(scratch))
                .close();
        Reading.whole(scratch);
    }
}
