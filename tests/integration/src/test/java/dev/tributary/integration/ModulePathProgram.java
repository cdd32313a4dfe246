// SPDX-License-Identifier: Apache-2.0
package dev.tributary.integration;

import dev.tributary.DeviceException;
import dev.tributary.LanguageModel;
import dev.tributary.LoadOptions;
import java.nio.file.Path;

/**
 * Run by {@link ModulePathTest} in a JVM of its own: first the module that the model came from, then the text, or why
 * the device cannot be used.
 */
final class ModulePathProgram {
    private ModulePathProgram() {}

    public static void main(String[] args) {
        System.out.println(LanguageModel.class.getModule());
        LoadOptions options = LoadOptions.builder().device(args[2]).build();
        try (LanguageModel model = LanguageModel.load(Path.of(args[0]), options)) {
            System.out.print(model.generate(args[1]).text());
        } catch (DeviceException e) {
            System.out.print(e.reason() + ": " + e.getMessage());
        }
    }
}
