// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import dev.tributary.ConfigurationException;
import dev.tributary.cli.evaluation.Dataset;
import dev.tributary.cli.evaluation.Example;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/** The prompts that a benchmark runs, by task. */
final class TaskExamples {
    private static final String ENDING = ".dev.jsonl";

    private TaskExamples() {}

    /**
     * Reads the dev prompts of every task, and adds all of them in turns.
     *
     * @param data a folder with {@code <task>.dev.jsonl[.xz]}, or one such file; none: a few built-in prompts
     * @param limit prompts of a task
     * @return prompts by the task's name
     */
    static Map<String, List<Example>> read(Optional<Path> data, int limit) throws IOException {
        if (data.isEmpty()) {
            return Map.of("built-in", BuiltInPrompts.examples());
        }
        Map<String, List<Example>> examples = new LinkedHashMap<>();
        for (Path file : files(data.get())) {
            String name = file.getFileName().toString();
            int end = name.indexOf(ENDING);
            examples.put(end < 0 ? name : name.substring(0, end), Dataset.read(file, limit));
        }
        if (examples.size() > 1) {
            examples.put("mixed", inTurns(examples.values(), limit));
        }
        return examples;
    }

    private static List<Path> files(Path data) throws IOException {
        if (Files.isRegularFile(data)) {
            return List.of(data);
        }
        if (!Files.isDirectory(data)) {
            throw new ConfigurationException("--data " + data + " is neither a directory nor a file");
        }
        List<Path> files;
        try (Stream<Path> all = Files.list(data)) {
            files = all.filter(file -> file.getFileName().toString().matches(".*\\.dev\\.jsonl(\\.xz)?"))
                    .sorted()
                    .toList();
        }
        if (files.isEmpty()) {
            throw new ConfigurationException("--data " + data + " holds no *.dev.jsonl or *.dev.jsonl.xz");
        }
        return files;
    }

    // As a server sees them: what one task taught adaptive speculation must not spoil the next.
    private static List<Example> inTurns(Collection<List<Example>> tasks, int limit) {
        List<Example> mixed = new ArrayList<>();
        for (int i = 0; i < limit; i++) {
            for (List<Example> task : tasks) {
                if (i < task.size() && mixed.size() < limit) {
                    mixed.add(task.get(i));
                }
            }
        }
        return mixed;
    }
}
