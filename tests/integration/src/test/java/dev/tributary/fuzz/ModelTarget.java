// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.random.RandomGenerator;

/** Whole model directories: files that are damaged, missing, or another model's. */
final class ModelTarget implements FuzzTarget {
    private static final String INDEX = "model.safetensors.index.json";
    private static final List<String> WORDS = List.of(
            "\"weight_map\"",
            "\"metadata\"",
            "\"../config.json\"",
            "\"/dev/zero\"",
            "\"model-00001-of-00002.safetensors\"",
            "\"model-00001-of-00003.safetensors\"",
            "\"model.safetensors\"",
            "\"streams.safetensors\"",
            "\"lm_head.weight\"",
            "\"model.norm.weight\"");

    private final List<Input> models = Seeds.models();

    @Override
    public Input draw(RandomGenerator random) {
        Input model = models.get(random.nextInt(models.size()));
        for (int i = random.nextInt(2); i >= 0; i--) {
            List<String> names = new ArrayList<>(model.files().keySet());
            if (names.isEmpty()) {
                return model;
            }
            String name = names.get(random.nextInt(names.size()));
            byte[] content = model.file(name);
            Input other = models.get(random.nextInt(models.size()));
            model = switch (random.nextInt(8)) {
                case 0 -> model.without(name);
                case 1 -> other.files().containsKey(name) ? model.with(name, other.file(name)) : model;
                case 2 -> model.with(names.get(random.nextInt(names.size())), content);
                case 3 -> model.with(name, new byte[0]);
                default ->
                    model.with(
                            name,
                            name.equals(INDEX) ? JsonDamage.to(content, WORDS, random) : Damage.to(content, random));
            };
        }
        return Reading.sometimesWhole(model, 3, random);
    }

    @Override
    public void feed(Input input, Path scratch) throws Exception {
        input.write(scratch);
        Reading.base(scratch);
        Reading.whole(scratch);
    }
}
