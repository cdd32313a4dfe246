// SPDX-License-Identifier: Apache-2.0
package dev.tributary.integration;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.DeviceException;
import dev.tributary.LanguageModel;
import dev.tributary.LoadOptions;
import java.io.IOException;
import java.lang.module.Configuration;
import java.lang.module.ModuleDescriptor;
import java.lang.module.ModuleFinder;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** The libraries as named modules; every other test of this folder runs them on the class path. */
final class ModulePathTest {
    /** The command's libraries, as its build laid them out: all that a user would put on a module path. */
    private static final Path LIBRARIES =
            Path.of(System.getProperty("tributary.root"), "java", "tributary-cli", "target", "lib");

    private static final String KERNELS_OF_CUDA = "dev.tributary.cuda.linux.x86_64";

    private static final Path MODEL = Path.of(System.getProperty("tributary.root"), "models", "demo");
    private static final String PROMPT = "Columns: Name, Age, City\nQuestion: How old is Ann?\nSQL:";

    private static ModuleLayer.Controller layer() {
        Configuration modules = ModuleLayer.boot()
                .configuration()
                .resolveAndBind(ModuleFinder.of(LIBRARIES), ModuleFinder.of(), Set.of("dev.tributary.engine"));
        // The platform's loader as parent: nothing may come from this test's class path.
        return ModuleLayer.defineModulesWithOneLoader(
                modules, List.of(ModuleLayer.boot()), ClassLoader.getPlatformClassLoader());
    }

    @Test
    void resolvesWithoutTheClassPath() throws ClassNotFoundException {
        ModuleLayer modules = layer().layer();
        Module engine = modules.findModule("dev.tributary.engine").orElseThrow();
        Module kernels = modules.findModule("dev.tributary.kernels").orElseThrow();

        assertTrue(engine.canRead(kernels));
        assertTrue(engine.isExported("dev.tributary"));
        assertEquals(
                Set.of("dev.tributary"),
                engine.getDescriptor().exports().stream()
                        .filter(export -> !export.isQualified())
                        .map(export -> export.source())
                        .collect(Collectors.toSet()));
        Class<?> type = engine.getClassLoader().loadClass("dev.tributary.TributaryException");
        assertEquals(engine, type.getModule());
    }

    @Test
    void onlyTheEngineSeesKernelsAndNobodyItsBindings() {
        ModuleLayer modules = layer().layer();
        Module engine = modules.findModule("dev.tributary.engine").orElseThrow();
        Module kernels = modules.findModule("dev.tributary.kernels").orElseThrow();

        assertTrue(kernels.isExported("dev.tributary.kernels", engine));
        assertFalse(kernels.isExported("dev.tributary.kernels"));
        assertTrue(kernels.getPackages().contains("dev.tributary.kernels.ffi"));
        assertFalse(kernels.isExported("dev.tributary.kernels.ffi", engine));
    }

    @Test
    void gpusAreBoundAsAService() {
        ModuleLayer modules = layer().layer();
        Module engine = modules.findModule("dev.tributary.engine").orElseThrow();
        Module cuda = modules.findModule("dev.tributary.cuda").orElseThrow();

        assertTrue(engine.isExported("dev.tributary.engine.device", cuda));
        assertFalse(engine.isExported("dev.tributary.engine.device"));
        assertEquals(Set.of(), cuda.getDescriptor().exports());
        assertEquals(
                List.of("dev.tributary.engine.device.DeviceProvider"),
                cuda.getDescriptor().provides().stream()
                        .map(ModuleDescriptor.Provides::service)
                        .toList());
    }

    @Test
    void generatesTheSameTextAsOnTheClassPath() throws IOException, InterruptedException, URISyntaxException {
        String expected;
        try (LanguageModel model =
                LanguageModel.load(MODEL, LoadOptions.builder().device("host").build())) {
            expected = model.generate(PROMPT).text();
        }
        assertFalse(expected.isBlank());
        assertEquals("module dev.tributary.engine\n" + expected, outputOnTheModulePath("host"));
    }

    @Test
    void aGpuIsUsedOrRefusedAsOnTheClassPath() throws IOException, InterruptedException, URISyntaxException {
        String expected;
        try (LanguageModel model =
                LanguageModel.load(MODEL, LoadOptions.builder().device("cuda").build())) {
            expected = model.generate(PROMPT).text();
        } catch (DeviceException e) {
            expected = e.reason() + ": " + e.getMessage();
        }
        assertEquals("module dev.tributary.engine\n" + expected, outputOnTheModulePath("cuda"));
    }

    private static String outputOnTheModulePath(String device)
            throws IOException, InterruptedException, URISyntaxException {
        Path program = Path.of(ModulePathProgram.class
                .getProtectionDomain()
                .getCodeSource()
                .getLocation()
                .toURI());
        String natives = "org.bytedeco.cuda.linux.x86_64,org.bytedeco.javacpp.linux.x86_64";
        // Where the kernels were built, their jar is a module too; what is in it lies in no package.
        boolean kernels = ModuleFinder.of(LIBRARIES).find(KERNELS_OF_CUDA).isPresent();
        // A JVM of its own, since one JVM loads a JNI library, the tokenizer's, for one class loader only.
        Process process = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "--module-path",
                        LIBRARIES.toString(),
                        "--add-modules",
                        "dev.tributary.engine," + natives + (kernels ? "," + KERNELS_OF_CUDA : ""),
                        "--enable-native-access=dev.tributary.kernels,dev.tributary.engine,ai.djl.tokenizers,"
                                + "org.bytedeco.javacpp,org.bytedeco.cuda",
                        "--illegal-native-access=deny",
                        "--class-path",
                        program.toString(),
                        ModulePathProgram.class.getName(),
                        MODEL.toString(),
                        PROMPT,
                        device)
                .redirectErrorStream(true)
                .start();
        String output = new String(process.getInputStream().readAllBytes(), UTF_8);
        assertEquals(0, process.waitFor(), output);
        return output;
    }
}
