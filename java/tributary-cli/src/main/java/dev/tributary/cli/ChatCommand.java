// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import dev.tributary.ChatOptions;
import dev.tributary.Generation;
import dev.tributary.LanguageModel;
import dev.tributary.Message;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code tributary chat}: a conversation, one line of input a turn. */
@Command(
        name = "chat",
        mixinStandardHelpOptions = true,
        description =
                "Talks with a chat model: each line of standard input is a turn, answered on standard output. The"
                        + " model's own chat template makes the prompt. An empty line is left out; the end of the input ends it.")
final class ChatCommand implements Callable<Integer> {
    @Option(
            names = {"-s", "--system"},
            paramLabel = "TEXT",
            order = 1,
            description = "What the model is told before the conversation.")
    private Optional<String> system = Optional.empty();

    @Mixin
    private ModelArguments model = new ModelArguments();

    @Mixin
    private GenerationArguments generation = new GenerationArguments();

    private final Terminal terminal;
    private final Interruption interruption;

    ChatCommand(Terminal terminal, Interruption interruption) {
        this.terminal = terminal;
        this.interruption = interruption;
    }

    @Override
    public Integer call() {
        ChatOptions options = ChatOptions.of(generation.options());
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (LanguageModel loaded = model.load(terminal, 1)) {
            List<Message> messages = new ArrayList<>();
            system.ifPresent(text -> messages.add(Message.system(text)));
            for (Optional<String> line = line(input, loaded); line.isPresent(); line = line(input, loaded)) {
                if (!line.get().isBlank()) {
                    messages.add(Message.user(line.get()));
                    messages.add(Message.assistant(answer(loaded, messages, options)));
                }
            }
        }
        return 0;
    }

    private Optional<String> line(BufferedReader input, LanguageModel loaded) {
        if (terminal.diagnosticsAreWatched()) {
            terminal.diagnostics().print(terminal.diagnosticsStyle().bold("> "));
            terminal.diagnostics().flush();
        }
        // Nothing can wake a thread that waits for input, so an interruption does not wait for this one.
        return interruption.cancellable(
                () -> {
                    loaded.close();
                    interruption.finish();
                },
                () -> {
                    try {
                        return Optional.ofNullable(input.readLine());
                    } catch (IOException e) {
                        throw new UncheckedIOException("cannot read standard input: " + e.getMessage(), e);
                    }
                });
    }

    private String answer(LanguageModel loaded, List<Message> messages, ChatOptions options) {
        try (Generation running = loaded.chat(messages, options)) {
            return interruption.cancellable(running::cancel, () -> {
                for (String part : running) {
                    terminal.print(part);
                }
                terminal.print("\n");
                return running.text();
            });
        }
    }
}
