// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** The prompt: on the command line, or in a file. */
final class PromptArguments {
    private static final String STANDARD_INPUT = "-";
    private static final Pattern ESCAPE = Pattern.compile("\\\\(.?)", Pattern.DOTALL);

    @Parameters(
            arity = "0..1",
            paramLabel = "PROMPT",
            description =
                    "The text to go on from, taken as it is: a shell writes line breaks as $'Question: …\\nSQL:'.")
    private Optional<String> prompt = Optional.empty();

    @Option(
            names = {"-f", "--prompt-file"},
            paramLabel = "FILE",
            order = 1,
            description =
                    "Read the prompt from a UTF-8 file, - = standard input; one line break at its end is left out.")
    private Optional<String> file = Optional.empty();

    @Option(
            names = {"-e", "--escape"},
            order = 2,
            description = "Read \\n, \\t, \\\" and \\\\ in PROMPT as line break, tab, quote and backslash.")
    private boolean escape;

    @Spec(Spec.Target.MIXEE)
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private CommandSpec command;

    /** {@return the prompt} */
    String prompt(Terminal terminal) {
        if (prompt.isPresent() == file.isPresent()) {
            throw Usage.error(
                    command,
                    prompt.isPresent()
                            ? "give PROMPT or --prompt-file, not both"
                            : "no prompt: give PROMPT, or --prompt-file FILE (- = standard input)");
        }
        if (file.isPresent()) {
            if (escape) {
                throw Usage.error(
                        command, "--escape reads escapes of PROMPT; a prompt file holds the characters themselves");
            }
            return withoutLastLineBreak(read(file.get()));
        }
        String given = prompt.get();
        if (given.indexOf('\uFFFD') >= 0) {
            throw Usage.error(
                    command,
                    "PROMPT holds characters that this locale cannot pass on; set LC_ALL=C.UTF-8 or use --prompt-file");
        }
        if (escape) {
            return unescaped(given);
        }
        if (given.contains("\\n")) {
            terminal.note(
                    "the prompt holds a backslash and an n, taken as they are; --escape reads them as a line break");
        }
        return given;
    }

    private String read(String file) {
        String name = file.equals(STANDARD_INPUT) ? "standard input" : file;
        try {
            byte[] bytes = file.equals(STANDARD_INPUT)
                    ? System.in.readAllBytes()
                    : Files.readAllBytes(Usage.path(command, "--prompt-file", file));
            return StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(bytes))
                    .toString();
        } catch (CharacterCodingException e) {
            throw new UncheckedIOException(name + " is not valid UTF-8", e);
        } catch (NoSuchFileException e) {
            throw new UncheckedIOException(name + " does not exist", e);
        } catch (IOException e) {
            throw new UncheckedIOException("cannot read " + name + ": " + e.getMessage(), e);
        }
    }

    private static String withoutLastLineBreak(String text) {
        if (text.endsWith("\r\n")) {
            return text.substring(0, text.length() - 2);
        }
        return text.endsWith("\n") ? text.substring(0, text.length() - 1) : text;
    }

    private String unescaped(String text) {
        return ESCAPE.matcher(text).replaceAll(found -> {
            String character = switch (found.group(1)) {
                case "n" -> "\n";
                case "t" -> "\t";
                case "\"" -> "\"";
                case "\\" -> "\\";
                default ->
                    throw Usage.error(
                            command,
                            "--escape: '" + found.group() + "' at character " + (found.start() + 1)
                                    + " of PROMPT is not one of \\n, \\t, \\\" and \\\\");
            };
            return Matcher.quoteReplacement(character);
        });
    }
}
