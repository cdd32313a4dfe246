// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.engine.text.ChatTemplates;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.random.RandomGenerator;
import org.jspecify.annotations.Nullable;

/** Chat templates, where models keep them, and the conversations that they render. */
final class TemplateTarget implements FuzzTarget {
    private static final String VARIABLES = "variables.json";
    private static final String FILE = "chat_template.jinja";
    private static final Clock CLOCK = Clock.fixed(Instant.parse("2026-11-25T09:00:00Z"), ZoneOffset.UTC);
    private static final JsonMapper MAPPER = new JsonMapper();
    private static final List<String> WORDS = List.of(
            "\"role\"",
            "\"content\"",
            "\"user\"",
            "\"assistant\"",
            "\"tool_calls\"",
            "\"messages\"",
            "\"tools\"",
            "\"bos_token\"",
            "\"eos_token\"",
            "\"chat_template\"",
            "\"tokenizer_class\"",
            "{\"content\":\"<s>\"}",
            "[{\"name\":\"default\",\"template\":\"{{ messages }}\"}]");
    private static final List<String> PIECES = List.of(
            "{{",
            "}}",
            "{%",
            "%}",
            "{#",
            "#}",
            "-",
            "+",
            "~",
            "|",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            ".",
            ",",
            ":",
            "=",
            "==",
            "**",
            "//",
            "%",
            "*",
            "<",
            "'",
            "\"",
            "\\",
            " if ",
            " else ",
            " for ",
            " in ",
            " is ",
            " not ",
            " and ",
            "{% endif %}",
            "{% endfor %}",
            "{% set ",
            "{% macro m(a) %}",
            "{% endmacro %}",
            "{{ m(1) }}",
            "loop",
            "loop.last",
            "loop.cycle(",
            "namespace(",
            "messages",
            "tools",
            "none",
            "true",
            "0",
            "1",
            "-1",
            "99999999999999999999",
            "1e400",
            "|tojson",
            "|tojson(indent=4)",
            "|list",
            "|sort",
            "|map(",
            "|selectattr(",
            "[::-1]",
            "[-1:0:-3]",
            "['x']",
            ".split(",
            ".format(",
            ".replace(",
            ".join(",
            "strftime_now(",
            "range(",
            "raise_exception(",
            " * 99999",
            "\u0000",
            "\uD83D",
            "é",
            "\n");

    private final List<String> sources = new ArrayList<>();
    private final List<JsonNode> conversations = new ArrayList<>();
    private final ObjectNode variables;
    private final JsonNode tools;

    TemplateTarget() {
        ObjectNode reference = Seeds.chatReference();
        reference
                .get("templates")
                .forEach(template -> sources.add(template.get("source").textValue()));
        reference.get("snippets").forEach(snippet -> sources.add(snippet.get(0).textValue()));
        reference.get("conversations").forEach(conversations::add);
        variables = (ObjectNode) reference.get("variables");
        tools = reference.get("tools").get("two");
    }

    @Override
    public Input draw(RandomGenerator random) {
        ObjectNode seen = variables.deepCopy();
        seen.set("messages", conversations.get(random.nextInt(conversations.size())));
        seen.set("tools", random.nextBoolean() ? tools : null);
        seen.put("add_generation_prompt", random.nextBoolean());
        byte[] json = Seeds.bytes(seen.toString());
        if (random.nextInt(4) == 0) {
            json = JsonDamage.to(json, WORDS, random);
        }
        String source = sources.get(random.nextInt(sources.size()));
        if (random.nextInt(4) > 0) {
            return new Input(Map.of(VARIABLES, json, FILE, Seeds.bytes(mutated(source, random))));
        }
        ObjectNode config = MAPPER.createObjectNode()
                .put("chat_template", source)
                .put("tokenizer_class", "LlamaTokenizer")
                .put("bos_token", "<s>");
        config.putObject("eos_token").put("content", "</s>").put("lstrip", false);
        return new Input(Map.of(
                VARIABLES, json, Seeds.TOKENIZER_CONFIG, JsonDamage.to(Seeds.bytes(config.toString()), WORDS, random)));
    }

    private static String mutated(String source, RandomGenerator random) {
        StringBuilder text = new StringBuilder(source);
        for (int i = 1 + random.nextInt(5); i > 0; i--) {
            int at = random.nextInt(text.length() + 1);
            int end = Math.min(text.length(), at + random.nextInt(12));
            String piece = PIECES.get(random.nextInt(PIECES.size()));
            switch (random.nextInt(6)) {
                case 0 -> text.delete(at, end);
                case 1 -> text.insert(at, piece);
                case 2 -> text.replace(at, end, piece);
                case 3 -> text.insert(at, piece.repeat(random.nextInt(1, random.nextInt(20) == 0 ? 20_000 : 6)));
                case 4 -> text.insert(at, Texts.some(random));
                default -> text.insert(at, text.substring(at, end).repeat(1 + random.nextInt(3)));
            }
        }
        return text.toString();
    }

    @Override
    public void feed(Input input, Path scratch) throws Exception {
        input.without(VARIABLES).write(scratch);
        ChatTemplates templates = ChatTemplates.read(scratch);
        templates.problems();
        templates.render(Optional.empty(), variables(input), CLOCK);
    }

    /** What the template sees; damaged JSON is no template's business. */
    private static Map<String, @Nullable Object> variables(Input input) {
        return dev.tributary.engine.model.StrictJson.plainObject(
                "the variables", new String(input.file(VARIABLES), StandardCharsets.UTF_8));
    }
}
