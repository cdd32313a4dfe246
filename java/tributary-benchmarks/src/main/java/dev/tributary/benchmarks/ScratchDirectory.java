// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.stream.Stream;

/** A directory that goes when this is closed, or with the process: an interrupted benchmark must not leave gigabytes behind. */
record ScratchDirectory(Path path, Thread hook) implements AutoCloseable {
    /**
     * Creates a directory.
     *
     * @param parent where
     */
    static ScratchDirectory below(Path parent) throws IOException {
        Path path = Files.createTempDirectory(parent, "tributary-bench");
        Thread hook = new Thread(() -> delete(path), "tributary-bench-clean-up");
        Runtime.getRuntime().addShutdownHook(hook);
        return new ScratchDirectory(path, hook);
    }

    @Override
    public void close() {
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
            delete(path);
        } catch (IllegalStateException e) {
            // The process ends, and the hook runs.
        }
    }

    private static void delete(Path directory) {
        try (Stream<Path> all = Files.walk(directory)) {
            for (Path path : all.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        } catch (IOException e) {
            System.err.println("tributary: cannot remove " + directory + ": " + e.getMessage());
        }
    }
}
