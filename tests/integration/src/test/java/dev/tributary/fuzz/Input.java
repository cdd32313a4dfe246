// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * What a target is fed: files by their path below one folder. What is no file, such as a prompt, stands in one too, so that
 * a failure can be kept and fed again.
 *
 * @param files contents by relative path
 */
record Input(Map<String, byte[]> files) {
    /** Copies the map. */
    Input {
        files = new TreeMap<>(files);
    }

    byte[] file(String name) {
        byte[] content = files.get(name);
        if (content == null) {
            throw new IllegalArgumentException("the input has no file " + name);
        }
        return content;
    }

    /** The same with another content of one file. */
    Input with(String name, byte[] content) {
        Map<String, byte[]> changed = new TreeMap<>(files);
        changed.put(name, content);
        return new Input(changed);
    }

    Input without(String name) {
        Map<String, byte[]> changed = new TreeMap<>(files);
        changed.remove(name);
        return new Input(changed);
    }

    /** Makes the folder hold these files; those that are there with the same content are left as they are. */
    void write(Path folder) throws IOException {
        Files.createDirectories(folder);
        try (Stream<Path> there = Files.walk(folder)) {
            for (Path file : there.filter(Files::isRegularFile).toList()) {
                if (!files.containsKey(folder.relativize(file).toString())) {
                    Files.delete(file);
                }
            }
        }
        for (Map.Entry<String, byte[]> file : files.entrySet()) {
            Path path = folder.resolve(file.getKey());
            if (!Files.isRegularFile(path)
                    || Files.size(path) != file.getValue().length
                    || !Arrays.equals(Files.readAllBytes(path), file.getValue())) {
                Files.createDirectories(path.resolveSibling(""));
                Files.write(path, file.getValue());
            }
        }
    }

    /** The files below a folder. */
    static Input read(Path folder) throws IOException {
        Map<String, byte[]> files = new TreeMap<>();
        try (Stream<Path> there = Files.walk(folder)) {
            for (Path file : there.filter(Files::isRegularFile).toList()) {
                files.put(folder.relativize(file).toString(), Files.readAllBytes(file));
            }
        }
        return new Input(files);
    }
}
