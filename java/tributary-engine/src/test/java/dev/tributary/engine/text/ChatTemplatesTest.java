// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.ChatTemplateException;
import dev.tributary.ModelFormatException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ChatTemplatesTest {
    @TempDir
    Path directory;

    private void config(String json) throws IOException {
        Files.writeString(directory.resolve("tokenizer_config.json"), json);
    }

    private String render(Optional<String> name, Map<String, ?> variables) {
        return ChatTemplates.read(directory).render(name, variables, Clock.systemUTC());
    }

    private String render() {
        return render(Optional.empty(), Map.of());
    }

    private String failure() {
        return String.valueOf(
                assertThrows(ChatTemplateException.class, this::render).getMessage());
    }

    @Test
    void theTemplateIsFoundWhereTransformersFindsIt() throws IOException {
        config("{\"chat_template\": \"a{{ bos_token }}\", \"bos_token\": {\"content\": \"<s>\"}}");
        assertEquals("a<s>", render());
        Files.writeString(directory.resolve("chat_template.jinja"), "b{{ bos_token }}\r\n");
        assertEquals("b<s>", render());
        Files.createDirectory(directory.resolve("additional_chat_templates"));
        Files.writeString(directory.resolve("additional_chat_templates/tool_use.jinja"), "c");
        assertEquals("c", render(Optional.empty(), Map.of("tools", List.of())));
        assertEquals("b<s>", render());
        assertEquals("c", render(Optional.of("tool_use"), Map.of()));
    }

    @Test
    void namedTemplatesAreChosenByToolsOrName() throws IOException {
        config("{\"chat_template\": [{\"name\": \"default\", \"template\": \"d\"},"
                + "{\"name\": \"tool_use\", \"template\": \"t\"}, {\"name\": \"rag\", \"template\": \"r\"}]}");
        assertEquals("d", render());
        assertEquals("t", render(Optional.empty(), Map.of("tools", List.of(1))));
        assertEquals("r", render(Optional.of("rag"), Map.of()));
        assertTrue(String.valueOf(assertThrows(ChatTemplateException.class, () -> render(Optional.of("none"), Map.of()))
                        .getMessage())
                .endsWith("there is no chat template \"none\", only default, tool_use, rag"));
    }

    @Test
    void specialTokensComeFromTheConfigTheLegacyFileAndTheClass() throws IOException {
        String template = "\"chat_template\": \"{{ bos_token }}|{{ eos_token }}|{{ unk_token }}|{{ pad_token }}\"";
        config("{" + template + ", \"bos_token\": \"<b>\", \"pad_token\": null}");
        assertEquals("<b>|||", render());
        config("{" + template + ", \"bos_token\": \"<b>\", \"tokenizer_class\": \"LlamaTokenizerFast\"}");
        assertEquals("<b>|</s>|<unk>|", render());
        Files.writeString(directory.resolve("special_tokens_map.json"), "{\"eos_token\": \"<e>\"}");
        assertEquals("<b>|<e>|<unk>|", render());
        config("{" + template + ", \"added_tokens_decoder\": {}}");
        assertEquals("|||", render());
        assertEquals("x|||", render(Optional.empty(), Map.of("bos_token", "x")));
    }

    @Test
    void whatCannotBeUsedRefusesToRenderAndNothingElse() throws IOException {
        assertTrue(failure().endsWith(": the model has no chat template"));
        config("{}");
        assertTrue(failure().endsWith(": the model has no chat template"));
        config("{\"chat_template\": \"a\\n{% include 'b' %}\"}");
        String problem = "tokenizer_config.json: chat_template: line 2: the tag 'include' is not supported";
        assertEquals(problem, failure());
        assertEquals(List.of(problem), ChatTemplates.read(directory).problems());
        Files.writeString(directory.resolve("chat_template.jinja"), "{{ x.y }}");
        assertEquals(List.of(), ChatTemplates.read(directory).problems());
        assertEquals("chat_template.jinja: line 1: 'x' is undefined", failure());
    }

    @Test
    void malformedFilesAreRefused() throws IOException {
        for (String json : List.of(
                "{",
                "[]",
                "{\"chat_template\": 1}",
                "{\"chat_template\": [{\"name\": \"a\"}]}",
                "{\"bos_token\": 1}",
                "{\"bos_token\": {}}",
                "{\"a\": 1, \"a\": 2}")) {
            config(json);
            assertThrows(ModelFormatException.class, () -> ChatTemplates.read(directory), json);
        }
    }
}
