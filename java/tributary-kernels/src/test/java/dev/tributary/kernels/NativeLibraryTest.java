// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.tributary.kernels.KernelException.Status;
import dev.tributary.kernels.ffi.Tributary;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is refused is refused before it can stand in front of the right library. */
class NativeLibraryTest {
    @TempDir
    private Path folder;

    @Test
    void libraryOfTheRightAbiIsLoaded() {
        assertTrue(NativeLibrary.require().matches("\\d+\\.\\d+\\.\\d+.*"), NativeLibrary::require);
        assertEquals(Tributary.TRIB_ABI_VERSION(), Tributary.trib_abi_version());
        assertEquals(NativeLibrary.require(), KernelContext.libraryVersion());
    }

    @Test
    void missingFile() {
        assertRefused(Status.LIBRARY_MISSING, folder.resolve("absent.so"), "there is no file");
    }

    @Test
    void fileThatIsNoLibrary() throws IOException {
        Path text = folder.resolve("text.so");
        Files.writeString(text, "This is no library.");
        assertRefused(Status.LIBRARY_UNLOADABLE, text, "cannot be loaded");
    }

    @Test
    void truncatedLibraryIsRefusedAndDoesNotKillTheProcess() throws IOException {
        byte[] whole = Files.readAllBytes(libraryOfTheJdk());
        for (int length : new int[] {0, 3, 63, 64, 200, 4095, 4096, whole.length / 4, whole.length / 2}) {
            Path part = Files.write(folder.resolve("first" + length + ".so"), Arrays.copyOf(whole, length));
            assertRefused(Status.LIBRARY_UNLOADABLE, part, "cannot be loaded");
        }
    }

    @Test
    void libraryThatIsNotOurs() {
        assertRefused(Status.LIBRARY_MISMATCH, libraryOfTheJdk(), "has no trib_abi_version");
    }

    @Test
    void libraryOfAnotherAbi() throws IOException, InterruptedException {
        int other = Tributary.TRIB_ABI_VERSION() + 1;
        Path library = compile("int trib_abi_version(void) { return " + other + "; }");
        assertRefused(
                Status.LIBRARY_MISMATCH,
                library,
                "has ABI version " + other + ", these classes need " + Tributary.TRIB_ABI_VERSION());
        // Its symbols were not left behind.
        NativeLibrary.require();
        assertEquals(Tributary.TRIB_ABI_VERSION(), Tributary.trib_abi_version());
    }

    @Test
    void libraryWhoseOwnDependencyIsMissingSaysWhich() throws IOException, InterruptedException {
        Path dependency = compile("int dependency(void) { return 0; }");
        Path library = compile("int dependency(void); int trib_abi_version(void) { return dependency(); }", dependency);
        Files.delete(dependency);
        assertRefused(
                Status.LIBRARY_UNLOADABLE, library, dependency.getFileName().toString());
    }

    @Test
    void failureIsSavedAndSaidAlikeEveryTime() throws IOException, InterruptedException {
        Path absent = folder.resolve("absent.so");
        ProcessBuilder builder = new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-D" + LibrarySearch.Library.HOST.property + "=" + absent,
                "-cp",
                location(KernelContext.class) + File.pathSeparator + location(Twice.class),
                Twice.class.getName());
        List<String> lines = output(builder);
        assertEquals(2, lines.size(), lines::toString);
        assertEquals(lines.get(0), lines.get(1));
        assertTrue(lines.get(0).startsWith("LIBRARY_MISSING libtributary was not found"), lines::toString);
        assertTrue(lines.get(0).contains(absent.toString()), lines::toString);
    }

    /** Runs in a JVM of its own, since an outcome is saved for the life of one. */
    static final class Twice {
        private Twice() {}

        static void main() {
            for (int attempt = 0; attempt < 2; attempt++) {
                try (KernelContext context = KernelContext.host(1)) {
                    System.out.println("loaded: " + context.description());
                } catch (KernelException error) {
                    System.out.println(error.status() + " " + error.getMessage());
                }
            }
        }
    }

    private static void assertRefused(Status status, Path file, String said) {
        KernelException error = assertThrows(KernelException.class, () -> NativeLibrary.load(file));
        assertEquals(status, error.status(), error::getMessage);
        String message = String.valueOf(error.getMessage());
        assertTrue(message.contains(file.toString()) && message.contains(said), message);
    }

    private Path compile(String source, Path... libraries) throws IOException, InterruptedException {
        assumeTrue(
                List.of(System.getenv("PATH").split(File.pathSeparator)).stream()
                        .anyMatch(path -> Files.isExecutable(Path.of(path, "cc"))),
                "no C compiler (cc) on the PATH");
        Path file = Files.createTempFile(folder, "", ".c");
        Files.writeString(file, source + "\n");
        Path library = Path.of(file.toString().replaceAll("\\.c$", ".so"));
        ProcessBuilder builder =
                new ProcessBuilder("cc", "-shared", "-fPIC", "-o", library.toString(), file.toString());
        for (Path other : libraries) {
            builder.command().add(other.toString());
        }
        assertEquals(List.of(), output(builder));
        return library;
    }

    private static List<String> output(ProcessBuilder builder) throws IOException, InterruptedException {
        Process process = builder.redirectErrorStream(true).start();
        List<String> lines = process.inputReader().lines().toList();
        assertTrue(process.waitFor(60, SECONDS));
        assertEquals(0, process.exitValue(), lines::toString);
        return lines;
    }

    private static Path libraryOfTheJdk() {
        return Path.of(System.getProperty("java.home"), "lib", "libnet.so");
    }

    private static String location(Class<?> type) {
        return type.getProtectionDomain().getCodeSource().getLocation().getPath();
    }
}
