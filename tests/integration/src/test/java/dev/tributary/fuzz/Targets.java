// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;

/** The targets by name. */
final class Targets {
    private Targets() {}

    static Map<String, Supplier<FuzzTarget>> all() {
        Map<String, Supplier<FuzzTarget>> targets = new LinkedHashMap<>();
        targets.put("safetensors", SafetensorsTarget::new);
        targets.put("config", ConfigTarget::new);
        targets.put("tokenizer", TokenizerTarget::new);
        targets.put("streams", StreamsTarget::new);
        targets.put("template", TemplateTarget::new);
        targets.put("model", ModelTarget::new);
        targets.put("prompt", PromptTarget::new);
        targets.put("options", OptionsTarget::new);
        targets.put("command", CommandLineTarget::new);
        return targets;
    }
}
