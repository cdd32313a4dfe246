// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli.evaluation;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Stream;

/**
 * The machine that figures were measured on.
 *
 * @param processor its processor as the system names it
 * @param cores processors that the command may use
 * @param memoryBytes its memory; 0 when the system does not tell
 * @param system operating system and architecture
 * @param java the Java runtime
 */
public record Machine(String processor, int cores, long memoryBytes, String system, String java) {
    /** {@return this machine} */
    public static Machine current() {
        return new Machine(
                field("/proc/cpuinfo", "model name"),
                Runtime.getRuntime().availableProcessors(),
                kilobytes(field("/proc/meminfo", "MemTotal")) * 1024,
                System.getProperty("os.name") + " " + System.getProperty("os.version") + " "
                        + System.getProperty("os.arch"),
                Runtime.version().toString());
    }

    private static String field(String file, String name) {
        try (Stream<String> lines = Files.lines(Path.of(file))) {
            return lines.filter(line -> line.startsWith(name))
                    .map(line -> line.substring(line.indexOf(':') + 1).strip())
                    .findFirst()
                    .orElse("unknown");
        } catch (IOException e) {
            return "unknown";
        }
    }

    private static long kilobytes(String value) {
        String digits = value.replace(" kB", "");
        return digits.chars().allMatch(Character::isDigit) && !digits.isEmpty() ? Long.parseLong(digits) : 0;
    }

    /** {@return one line about it} */
    public String line() {
        return processor + ", " + cores + (cores == 1 ? " core" : " cores") + ", " + system + ", Java " + java;
    }

    /** {@return its description by the names of a JSON report} */
    public Map<String, Object> figures() {
        Map<String, Object> figures = new LinkedHashMap<>();
        figures.put("processor", processor);
        figures.put("cores", cores);
        figures.put("memory_bytes", memoryBytes);
        figures.put("system", system);
        figures.put("java", java);
        return figures;
    }
}
