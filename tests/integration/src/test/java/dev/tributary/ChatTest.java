// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Conversations from messages to text, with the bundled model and templates that suit it. */
@Timeout(120)
class ChatTest {
    private static final String TEMPLATE =
            "{% for m in messages %}{% if m.role == 'system' %}Columns: {{ m.content }}\n"
                    + "{% elif m.role == 'user' %}Question: {{ m.content }}\n{% else %}SQL: {{ m.content | trim }}{{ eos_token }}"
                    + "{% endif %}{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}"
                    + "{% if add_generation_prompt %}SQL:{% endif %}";
    private static final List<Message> CONVERSATION =
            List.of(Message.system("NAME, AGE, TEAM"), Message.user("How old is Ann?"));

    private static final List<String> FILES = List.of(
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "streams/streams.json",
            "streams/streams.safetensors");

    private static LanguageModel load(Path directory, String template, List<String> notices) throws IOException {
        for (String file : FILES) {
            Path copy = directory.resolve(file);
            Files.createDirectories(copy.getParent());
            Files.copy(DemoModel.directory().resolve(file), copy);
        }
        if (!template.isEmpty()) {
            Files.writeString(directory.resolve("chat_template.jinja"), template);
        }
        return LanguageModel.load(
                directory,
                LoadOptions.builder()
                        .device("host")
                        .listener(new LoadListener() {
                            @Override
                            public void notice(String message) {
                                notices.add(message);
                            }
                        })
                        .build());
    }

    @Test
    void theAnswerContinuesTheRenderedConversation(@TempDir Path directory) throws IOException {
        try (LanguageModel model = load(directory, TEMPLATE, new ArrayList<>())) {
            String prompt = model.renderChat(CONVERSATION, ChatOptions.defaults());
            assertEquals("Columns: NAME, AGE, TEAM\nQuestion: How old is Ann?\nSQL:", prompt);
            Generation answer = model.chat(CONVERSATION);
            assertEquals(model.generate(prompt).text(), answer.text());
            assertTrue(answer.text().contains("SELECT"), answer.text());
            assertEquals(FinishReason.END_TOKEN, answer.finishReason());

            List<Message> longer = new ArrayList<>(CONVERSATION);
            longer.add(Message.assistant(answer.text()));
            longer.add(Message.user("Which team has Ann?"));
            StringBuilder parts = new StringBuilder();
            ChatOptions sampled = ChatOptions.of(
                    GenerationOptions.builder().temperature(0.7f).seed(3).build());
            model.chat(longer, sampled).forEach(parts::append);
            assertEquals(model.chat(longer, sampled).text(), parts.toString());
        }
    }

    /** What the template prints of special tokens are special tokens, and no others are added. */
    @Test
    void specialTokensOfTheTemplateAreTokens(@TempDir Path directory) throws IOException {
        try (LanguageModel model = load(directory, TEMPLATE, new ArrayList<>())) {
            List<Message> turns = new ArrayList<>(CONVERSATION);
            turns.add(Message.assistant(" a "));
            String prompt = model.renderChat(
                    turns, ChatOptions.builder().generationPrompt(false).build());
            assertTrue(prompt.endsWith("SQL: a<|endoftext|>"), prompt);
            int[] tokens = model.tokenize(prompt);
            assertEquals(0, tokens[tokens.length - 1]);
        }
    }

    @Test
    void toolsVariablesAndTheClockReachTheTemplate(@TempDir Path directory) throws IOException {
        String template =
                "{{ strftime_now('%d %b %Y') }} {{ mood }} {{ tools | tojson if tools else '-' }} {{ documents }}";
        try (LanguageModel model = load(directory, template, new ArrayList<>())) {
            ChatOptions options = ChatOptions.builder()
                    .tools(List.of(Tool.function("f", "does", Map.of("type", "object"))))
                    .variable("mood", List.of("calm"))
                    .clock(Clock.fixed(Instant.parse("2025-02-03T04:05:06Z"), ZoneOffset.UTC))
                    .build();
            assertEquals(
                    "03 Feb 2025 ['calm'] [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"description\": \"does\", "
                            + "\"parameters\": {\"type\": \"object\"}}}] None",
                    model.renderChat(CONVERSATION, options));
        }
    }

    @Test
    void refusalsAreTypedAndTheModelStaysUsable(@TempDir Path directory) throws IOException {
        List<String> notices = new ArrayList<>();
        try (LanguageModel model = load(directory, "{% set x = 1 %}\n{% extends 'y' %}", notices)) {
            ChatTemplateException e = assertThrows(ChatTemplateException.class, () -> model.chat(CONVERSATION));
            assertEquals(2, e.line());
            assertEquals(List.of("no chat: " + e.getMessage()), notices);
            assertThrows(ConfigurationException.class, () -> model.chat(List.of()));
            assertTrue(model.generate("Question: a\nSQL:").text().length() > 0);
        }
    }

    @Test
    void aModelWithoutATemplateSaysSo() {
        try (LanguageModel model =
                DemoModel.load(LoadOptions.builder().device("host").build())) {
            ChatTemplateException e = assertThrows(ChatTemplateException.class, () -> model.chat(CONVERSATION));
            assertTrue(String.valueOf(e.getMessage()).endsWith("the model has no chat template"), e.getMessage());
            assertArrayEquals(new int[] {0}, model.tokenize("<|endoftext|>"));
        }
    }
}
