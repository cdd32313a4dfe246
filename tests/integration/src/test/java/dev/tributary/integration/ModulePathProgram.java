// SPDX-License-Identifier: Apache-2.0
package dev.tributary.integration;

import dev.tributary.LanguageModel;
import java.nio.file.Path;

/** Run by {@link ModulePathTest} in a JVM of its own: first the module that the model came from, then the text. */
final class ModulePathProgram {
    private ModulePathProgram() {}

    public static void main(String[] args) {
        System.out.println(LanguageModel.class.getModule());
        try (LanguageModel model = LanguageModel.load(Path.of(args[0]))) {
            System.out.print(model.generate(args[1]).text());
        }
    }
}
