// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import dev.tributary.ConfigurationException;
import dev.tributary.cli.CommandDoor;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.random.RandomGenerator;
import org.tukaani.xz.LZMA2Options;
import org.tukaani.xz.XZOutputStream;

/** Command lines, with the data sets, prompt files and standard input that they read. */
final class CommandLineTarget implements FuzzTarget {
    /** The arguments, each behind a zero byte, where this stands for the folder of the files. */
    private static final String FOLDER = "@@";

    private static final String ARGUMENTS = "arguments";
    private static final String STANDARD_INPUT = "stdin";
    private static final List<String> COMMANDS = List.of("generate", "chat", "tree", "info", "evaluate", "top");
    /** Options and what may stand behind them; none: they take nothing. */
    private static final Map<String, List<String>> OPTIONS = new TreeMap<>(Map.ofEntries(
            Map.entry("--max-tokens", List.of("1", "3", "0", "-1", "many", "99999999999", "")),
            Map.entry("--temperature", List.of("0", "0.5", "NaN", "-1", "1e99", "Infinity", "0x1p3", "")),
            Map.entry("--top-k", List.of("0", "5", "-3", "2147483648")),
            Map.entry("--top-p", List.of("0.5", "1", "0", "2")),
            Map.entry("--min-p", List.of("0.5", "0", "1")),
            Map.entry("--seed", List.of("0", "-9223372036854775808", "9223372036854775808", "x")),
            Map.entry("--stop", List.of("a", "", "\n")),
            Map.entry("--ignore-end", List.of()),
            Map.entry("--tree-budget", List.of("0", "1", "2", "64", "129", "-1")),
            Map.entry("--shape", List.of("chain", "cartesian", "best-first", "round")),
            Map.entry("--width", List.of("1", "3", "17")),
            Map.entry("--placement", List.of("all", "chosen", "deferred", "auto", "here")),
            Map.entry("--device", List.of("host", "auto", "cuda:99", "tpu")),
            Map.entry("--threads", List.of("0", "1", "257", "-1")),
            Map.entry("--context", List.of("0", "16", "64", "15", "1000000000")),
            Map.entry("--streams", List.of("@@/model/streams", "@@/none", "")),
            Map.entry("--no-streams", List.of()),
            Map.entry("--prompt-file", List.of("@@/prompt.txt", "-", "@@", "@@/none", "")),
            Map.entry("--escape", List.of()),
            Map.entry("--compare", List.of()),
            Map.entry("--rounds", List.of("1", "0")),
            Map.entry("--system", List.of("Be brief.", "")),
            Map.entry("--passes", List.of("1", "0")),
            Map.entry("--html", List.of("@@/page.html", "@@", "@@/none/page.html")),
            Map.entry("--data", List.of("@@/data.jsonl", "@@/data.jsonl.xz", "@@", "@@/none")),
            Map.entry("--limit", List.of("1", "2", "0")),
            Map.entry("--batch", List.of("1", "2", "0", "257")),
            Map.entry("--warm-up", List.of("0", "-1")),
            Map.entry("--json", List.of("-", "@@/report.json", "@@")),
            Map.entry("--help", List.of()),
            Map.entry("--version", List.of()),
            Map.entry("--", List.of())));

    /** Those that write: never outside the folder. */
    private static final Set<String> WRITING = Set.of("--html", "--json", "-j");

    private static final Map<String, List<String>> OWN = Map.of(
            "generate", List.of("--prompt-file", "--escape", "--compare", "--rounds"),
            "chat", List.of("--system"),
            "tree", List.of("--prompt-file", "--passes", "--html"),
            "info", List.of("--streams"),
            "evaluate", List.of("--data", "--limit", "--batch", "--json"),
            "top", List.of("--data", "--limit", "--batch"));

    private final List<Input> models = Seeds.models();

    @Override
    public Input draw(RandomGenerator random) {
        Map<String, byte[]> files = new TreeMap<>();
        models.get(random.nextInt(models.size()))
                .files()
                .forEach((name, content) -> files.put("model/" + name, content));
        byte[] data = Seeds.bytes("""
                {"prompt": "abc", "completion": " d"}
                {"prompt": "SELECT", "completion": " a FROM b;"}
                """);
        byte[] damaged = random.nextBoolean() ? data : Damage.to(data, random);
        files.put("data.jsonl", damaged);
        files.put("data.jsonl.xz", random.nextBoolean() ? compressed(damaged) : Damage.to(compressed(damaged), random));
        files.put(
                "prompt.txt",
                random.nextBoolean() ? Seeds.bytes("abc\n") : Damage.to(Seeds.bytes(Texts.some(random)), random));
        files.put(STANDARD_INPUT, Seeds.bytes(Texts.some(random)));
        files.put(ARGUMENTS, Seeds.bytes(String.join("\0", arguments(random))));
        return new Input(files);
    }

    private static byte[] compressed(byte[] data) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (XZOutputStream out = new XZOutputStream(bytes, new LZMA2Options(0))) {
            out.write(data);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return bytes.toByteArray();
    }

    private static List<String> arguments(RandomGenerator random) {
        List<String> arguments = new ArrayList<>();
        String command = COMMANDS.get(random.nextInt(COMMANDS.size()));
        arguments.add(random.nextInt(20) == 0 ? junk(random) : command);
        List<String> own = OWN.getOrDefault(command, List.of());
        List<String> all = List.copyOf(OPTIONS.keySet());
        if (random.nextInt(10) > 0) {
            arguments.addAll(List.of("--model", random.nextInt(20) == 0 ? "@@/none" : "@@/model"));
        }
        if (random.nextBoolean()) {
            arguments.addAll(List.of("--max-tokens", "3"));
        }
        if (own.contains("--data")) {
            List<String> files = OPTIONS.getOrDefault("--data", List.of());
            arguments.addAll(List.of("--data", files.get(random.nextInt(files.size()))));
        } else if (own.contains("--prompt-file") && random.nextInt(4) > 0) {
            arguments.add(random.nextInt(3) == 0 ? junk(random) : "abc");
        }
        for (int i = random.nextInt(4); i > 0; i--) {
            boolean any = random.nextInt(4) == 0;
            String option = any ? all.get(random.nextInt(all.size())) : own.get(random.nextInt(own.size()));
            List<String> values = OPTIONS.getOrDefault(option, List.of());
            String value = values.isEmpty()
                    ? ""
                    : random.nextInt(6) == 0 ? junk(random) : values.get(random.nextInt(values.size()));
            if (random.nextInt(5) == 0) {
                arguments.add(option + "=" + (WRITING.contains(option) ? inside(value) : value));
            } else {
                arguments.add(option);
                if (!values.isEmpty() && random.nextInt(20) > 0) {
                    arguments.add(value);
                }
            }
        }
        if (random.nextInt(8) == 0) {
            arguments.add(random.nextInt(arguments.size() + 1), junk(random));
        }
        for (int i = 1; i < arguments.size(); i++) {
            if (WRITING.contains(arguments.get(i - 1))) {
                arguments.set(i, inside(arguments.get(i)));
            }
        }
        return arguments;
    }

    private static String inside(String path) {
        return path.equals("-") || path.startsWith(FOLDER) && !path.contains("..")
                ? path
                : FOLDER + "/" + path.replace('/', '_');
    }

    private static String junk(RandomGenerator random) {
        return switch (random.nextInt(8)) {
            case 0 -> "";
            case 1 -> "@none";
            case 2 -> "@@/prompt.txt";
            case 3 -> "${sys:user.home}";
            case 4 -> "-" + Texts.some(random);
            case 5 -> "--" + Texts.some(random);
            default -> Texts.some(random);
        };
    }

    @Override
    public void feed(Input input, Path scratch) throws Exception {
        Input files = input.without(ARGUMENTS).without(STANDARD_INPUT);
        files.write(scratch);
        String[] arguments = new String(input.file(ARGUMENTS), StandardCharsets.UTF_8)
                .replace(FOLDER, scratch.toString())
                .split("\0", -1);
        CommandDoor.Result result = CommandDoor.run(input.file(STANDARD_INPUT), arguments);
        List<String> errors = result.diagnostics().stream()
                .filter(line -> !line.startsWith("tributary: note: "))
                .toList();
        if (result.status() == 0) {
            return;
        }
        String line = String.join("\n", errors);
        if (!(result.status() == 1 || result.status() == 2)
                || errors.size() != 1
                || !line.startsWith("tributary: ")
                || line.startsWith("tributary: unexpected ")
                || line.contains(" differ ")
                || Rounds.objection(line).isPresent()) {
            throw new AssertionError("status " + result.status() + " of " + List.of(arguments) + ": " + line);
        }
        throw new ConfigurationException(line);
    }
}
