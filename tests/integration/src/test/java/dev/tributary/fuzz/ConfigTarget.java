// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import dev.tributary.engine.model.ModelConfig;
import dev.tributary.engine.model.RopeTable;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.random.RandomGenerator;

/** {@code config.json} and {@code generation_config.json} of every family; a model that still fits is run. */
final class ConfigTarget implements FuzzTarget {
    private final List<Input> models = Seeds.models();
    private final List<String> words;

    ConfigTarget() {
        Set<String> found = new LinkedHashSet<>(List.of(
                "\"rope_type\"",
                "\"ntk\"",
                "\"dynamic\"",
                "\"low_freq_factor\"",
                "\"mscale\"",
                "\"truncate\"",
                "\"layer_types\"",
                "\"sliding_attention\"",
                "\"use_sliding_window\"",
                "\"max_window_layers\"",
                "\"head_dim\"",
                "\"rope_parameters\"",
                "\"quantization_config\"",
                "\"logit_softcap\"",
                "[\"LlamaForCausalLM\",\"MistralForCausalLM\"]"));
        for (Input model : models) {
            Seeds.object(model.file(Seeds.CONFIG)).properties().forEach(field -> {
                found.add('"' + field.getKey() + '"');
                found.add(field.getValue().toString());
            });
        }
        words = new ArrayList<>(found);
    }

    @Override
    public Input draw(RandomGenerator random) {
        Input model = models.get(random.nextInt(models.size()));
        String file = random.nextInt(8) == 0 ? Seeds.GENERATION : Seeds.CONFIG;
        return Reading.sometimesWhole(model, 8, random).with(file, JsonDamage.to(model.file(file), words, random));
    }

    @Override
    public void feed(Input input, Path scratch) throws Exception {
        input.write(scratch);
        ModelConfig config = ModelConfig.read(scratch);
        RopeTable rope = RopeTable.of(config.rope(), config.rotaryDimension(), Math.min(config.maxPositions(), 4096));
        try (Arena arena = Arena.ofConfined()) {
            rope.write(arena.allocate(rope.bytes(3)));
        }
        Reading.base(scratch);
        Reading.whole(scratch);
    }
}
