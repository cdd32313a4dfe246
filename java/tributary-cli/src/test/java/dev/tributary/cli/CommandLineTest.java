// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.tributary.DeviceException;
import dev.tributary.engine.device.DeviceProvider;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.ServiceLoader;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class CommandLineTest {
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "``                                                  | a command is missing",
                "generat                                             | 'generat'",
                "generate                                            | no prompt",
                "generate a b                                        | 'b'",
                "generate a -f b                                     | not both",
                "generate a --bogus                                  | '--bogus'",
                "generate a --max-tokens 0                           | --max-tokens: maxTokens is 0, expected at least 1",
                "generate @a --max-tokens 0                          | --max-tokens: maxTokens is 0, expected at least 1",
                "generate a --max-tokens many                        | 'many'",
                "generate a --temperature -1                         | --temperature",
                "generate a --temperature NaN                        | --temperature",
                "generate a --top-k -1                               | --top-k",
                "generate a --top-p 0                                | --top-p",
                "generate a --min-p 1                                | --min-p",
                "generate a --repetition-penalty 0                   | --repetition-penalty",
                "generate a --presence-penalty 3                     | --presence-penalty",
                "generate a --frequency-penalty -3                   | --frequency-penalty",
                "generate a --logit-bias 7                           | --logit-bias",
                "generate a --logit-bias 7=101                       | --logit-bias",
                "generate a -t 1 --typical-acceptance 1              | --typical-acceptance",
                "generate a --typical-acceptance 0.09                | --typical-acceptance",
                "generate a --choices 0 -t 1                         | --choices",
                "generate a --choices 2                              | --choices needs a --temperature",
                "generate a --choices 2 -t 1 --compare               | --choices and --compare",
                "generate a -t 1 --typical-acceptance 0.1 --compare  | --compare expects equal texts",
                "generate a --stop=                                  | --stop",
                "generate a --tree-budget 129                        | --tree-budget",
                "generate a --tree-budget -1                         | --tree-budget",
                "generate a --tree-budget 0 --shape chain            | --shape has no meaning",
                "generate a --tree-budget 1 --placement all          | --placement has no meaning",
                "generate a --shape round                            | best-first, chain, cartesian",
                "generate a --shape cartesian --width 17             | --width",
                "generate a --width 2                                | --width belongs to --shape cartesian",
                "generate a --shape chain --width 2                  | --width belongs to --shape cartesian",
                "generate a --placement here                         | all, chosen, deferred, auto",
                "generate a --streams s --no-streams                 | mutually exclusive",
                "generate a --threads -1                             | --threads",
                "generate a --device tpu                             | --device",
                "generate a --device cuda:                           | auto, host, cuda or cuda:N",
                "generate a --device cuda:-1                         | --device",
                "generate a --device cuda:0 --threads 2              | only the host has threads",
                "generate a --context 3                              | --context",
                "generate a --rounds 2                               | --rounds belongs to --compare",
                "generate a --compare --rounds 0                     | --rounds",
                "generate a --compare --tree-budget 0                | --compare needs speculation",
                "generate -f a --escape                              | --escape",
                "generate -e a\\q                                    | '\\q' at character 2",
                "chat a                                              | 'a'",
                "chat --max-tokens 0                                 | --max-tokens",
                "tree a --passes 0                                   | --passes",
                "tree a --html                                       | --html",
                "top                                                 | '--data=FILE'",
                "top --data d --limit 0                              | --limit",
                "top --data d --batch 257                            | --batch",
                "info a                                              | 'a'",
                "evaluate                                            | '--data=FILE'",
                "evaluate --data d -t 1 --typical-acceptance 0.1     | evaluate expects equal texts",
                "evaluate --data d --limit 0                         | --limit",
                "evaluate --data d --batch 0                         | --batch",
                "evaluate --data d --warm-up -1                      | --warm-up",
            })
    void wrongUseIsOneLineAndStatus2(String line, String part) {
        Capture capture = new Capture();
        String[] arguments = line.isBlank() ? new String[0] : line.strip().split(" +", -1);
        assertEquals(2, capture.run(arguments));
        assertEquals("", capture.output());
        assertEquals(1, capture.diagnostics().size(), capture.diagnostics()::toString);
        String message = capture.diagnostics().getFirst();
        assertTrue(message.startsWith("tributary: "), message);
        assertTrue(message.contains(part), message);
        assertTrue(message.endsWith(" --help)"), message);
    }

    /** Whatever is typed, the terminal is not made to do something. */
    @Test
    void whatIsNotSeenIsShownAsEscapes() {
        for (String[] line : new String[][] {
            {"generate", "-f", "a\u0000b"},
            {"evaluate", "--data", "d", "--json", "a\u0000b"},
            {"info", "--model", "a\u0000b"},
            {"generate", "a", "--seed", "\u001b[2J"},
            {"generate", "a", "--\u202e"}
        }) {
            Capture capture = new Capture();
            assertEquals(2, capture.run(line), capture.diagnostics()::toString);
            assertEquals(1, capture.diagnostics().size(), capture.diagnostics()::toString);
            String message = capture.diagnostics().getFirst();
            assertTrue(message.contains("\\u00") || message.contains("\\u202e"), message);
            assertTrue(message.chars().noneMatch(Character::isISOControl), message);
        }
    }

    @Test
    void failuresAreOneLineAndStatus1(@TempDir Path directory) throws Exception {
        Path model = directory.resolve("none");
        Path malformed = Files.writeString(directory.resolve("malformed.jsonl"), "{\"prompt\": \"a\"}\n");
        Path binary = Files.write(directory.resolve("binary.txt"), new byte[] {(byte) 0xC3, '('});
        String data = malformed.toString();
        List<List<String>> lines = List.of(
                List.of("generate", "a", "--model", model.toString()),
                List.of("generate", "-f", model.toString()),
                List.of("generate", "-f", binary.toString()),
                List.of("info", "--model", model.toString()),
                List.of("evaluate", "--data", model.toString()),
                List.of("top", "--data", model.toString()),
                List.of("tree", "a", "--html", directory.toString()),
                List.of("tree", "a", "--html", model + "/page.html"),
                List.of("evaluate", "--data", data),
                List.of("evaluate", "--data", data, "--json", directory.toString()),
                List.of("evaluate", "--data", data, "--json", model + "/report.json"));
        for (List<String> line : lines) {
            Capture capture = new Capture();
            assertEquals(1, capture.run(line.toArray(String[]::new)), line::toString);
            assertEquals(1, capture.diagnostics().size(), capture.diagnostics()::toString);
            String message = capture.diagnostics().getFirst();
            assertTrue(message.startsWith("tributary: "), message);
            assertTrue(message.contains(directory.toString()), message);
        }
    }

    @Test
    void aGpuThatCannotBeUsedIsOneLineAndStatus1() {
        Optional<DeviceException> obstacle = ServiceLoader.load(DeviceProvider.class)
                .findFirst()
                .orElseThrow(() -> new AssertionError("tributary-cuda is not on the class path"))
                .obstacle();
        assumeTrue(obstacle.isPresent(), "a GPU can be used here");
        String reason = String.valueOf(obstacle.get().getMessage());
        for (String command : List.of("info", "generate a")) {
            Capture capture = new Capture();
            List<String> line = new ArrayList<>(List.of(command.split(" ", -1)));
            line.addAll(List.of("--device", "cuda"));
            assertEquals(1, capture.run(line.toArray(String[]::new)));
            assertEquals("", capture.output());
            assertEquals(1, capture.diagnostics().size(), capture.diagnostics()::toString);
            String message = capture.diagnostics().getFirst();
            assertTrue(message.startsWith("tributary: "), message);
            assertTrue(message.contains(reason), message);
        }
    }

    @Test
    void verboseShowsTheStackTrace(@TempDir Path directory) {
        Capture capture = new Capture();
        String file = directory.resolve("none").toString();
        assertEquals(1, capture.run("--verbose", "generate", "-f", file));
        assertTrue(capture.diagnostics().stream().anyMatch(line -> line.startsWith("\tat dev.tributary.")));
        Capture after = new Capture();
        assertEquals(1, after.run("generate", "-f", file, "--verbose"));
        assertTrue(after.diagnostics().stream().anyMatch(line -> line.startsWith("Caused by: java.nio.file.")));
    }

    @ParameterizedTest
    @CsvSource({
        "--help, generate",
        "generate --help, --tree-budget=N",
        "chat --help, --system=TEXT",
        "tree --help, --html=FILE",
        "top --help, --batch=B",
        "info --help, --model=DIR",
        "evaluate --help, --data=FILE",
        "--version, tributary"
    })
    void helpIsOutput(String line, String part) {
        Capture capture = new Capture();
        assertEquals(0, capture.run(line.split(" ", -1)));
        assertTrue(capture.output().contains(part), capture::output);
        assertEquals(List.of(), capture.diagnostics());
    }
}
