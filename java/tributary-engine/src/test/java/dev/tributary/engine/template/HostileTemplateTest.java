// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import dev.tributary.ChatTemplateException;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Whatever a template holds, it ends soon: as text, or as an error of one line that says where. */
class HostileTemplateTest {
    private static final int MUTATIONS = 4000;
    private static final String[] PIECES = {
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
        "|list",
        "|sort",
        "|map(",
        "[::-1]",
        "['x']",
        ".split(",
        ".format(",
        ".replace(",
        "\u0000",
        "\uD83D",
        "é",
        "\n"
    };

    private static String failure(String source) {
        ChatTemplateException e = assertThrows(
                ChatTemplateException.class,
                () -> Template.parse("t", source)
                        .render(Map.of("s", "ab", "l", List.of(1, 2)), ChatReferenceTest.CLOCK),
                source);
        String message = String.valueOf(e.getMessage());
        assertFalse(message.contains("\n"), message);
        return message;
    }

    @ParameterizedTest
    @Timeout(value = 20, unit = TimeUnit.SECONDS)
    @ValueSource(
            strings = {
                "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
                "{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
                "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
                "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
                "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l == [ns.l] }}",
                "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}",
                "{% set ns = namespace(d={}) %}{% for i in range(9999) %}{% set ns.d = {'a': ns.d} %}{% endfor %}{{ ns.d | tojson }}",
                "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
                "{% macro m(x) %}{{ m([x]) }}{{ m([x]) }}{% endmacro %}{{ m(1) }}",
                "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
                "{{ 'a' * 999999999999 }}",
                "{{ [1] * 999999999 }}",
                "{{ 9 ** 9999 }}",
                "{{ 2 ** 99999999999 }}",
                "{{ '%99999999d' % 1 }}",
                "{{ 'a'.center(999999999) }}",
                "{{ 'a'.ljust(2147483647) }}",
                "{{ '1'.zfill(2147483647) }}",
                "{{ range(100001) }}",
                "{{ 'a' | replace('', 'b' * 9999999) | replace('', 'b' * 9999999) }}",
                "{% set s = 'a' * 9999999 %}{% for i in range(99999) %}{{ s }}{% endfor %}",
                "{% set s = 'a' * 9999999 %}{% for i in range(99999) %}{% set t = s.strip() %}{% endfor %}",
                "{% set s = 'a' * 9999999 %}{% for i in range(99999) %}{% set t = ('a' * 99999 ~ 'b') in s %}{% endfor %}",
                "{{ ('a\\n' * 400000) | indent('b' * 100) }}",
                "{{ ('a' * 200000 ~ '{}' * 100).format(*range(100)) * 1000 }}"
            })
    void endsAsAnErrorInBoundedTime(String source) {
        assertTrue(failure(source).startsWith("t: "), source);
    }

    @Test
    void nestingIsBoundedWhenParsed() {
        for (String[] pair : new String[][] {
            {"(", ")"},
            {"[", "]"},
            {"{1:", "}"},
            {"not ", ""},
            {"- ", ""},
            {"1 if 1 else ", ""},
            {"f(", ")"},
            {"a[", "]"}
        }) {
            String source = "{{ " + pair[0].repeat(20_000) + "1" + pair[1].repeat(20_000) + " }}";
            assertTrue(failure(source).contains("nested deeper"), pair[0]);
        }
        String blocks = "{% if true %}".repeat(20_000) + "{% endif %}".repeat(20_000);
        assertTrue(failure(blocks).contains("nested deeper"));
        // A chain is no nesting for the parser, but is for what evaluates it.
        assertTrue(failure("{{ 1" + " + 1".repeat(20_000) + " }}").contains("deeper"));
        assertTrue(failure("{{ s" + ".x".repeat(20_000) + " }}").contains("deeper"));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "`a\n\n{% include 'x' %}`            | t: line 3: the tag 'include' is not supported",
                "`{% block b %}{% endblock %}`       | t: line 1: the tag 'block' is not supported",
                "`\n{% flush %}`                     | t: line 2: the tag 'flush' is unknown",
                "`{% if true %}`                     | t: line 1: got the end of the template, expected the tag 'elif' or 'else' or 'endif'",
                "`\n{{ s`                            | t: line 2: the tag that begins here has no end, expected '}}'",
                "`{{ s!upper }}`                     | t: line 1: the character '!' has no meaning in a tag",
                "`{{ s | rot13 }}`                   | t: line 1: the filter 'rot13' is unknown",
                "`{{ s is prime }}`                  | t: line 1: the test 'prime' is unknown",
                "`{{\n\ns.zz.y }}`                   | t: line 3: a string has no attribute 'zz'",
                "`{{ 'a' +\n 1 }}`                   | t: line 1: '+' does not go with a string and an int",
                "`{{ s.encode() }}`                  | t: line 1: the method 'encode' of a string is not supported",
                "`{{ l.append(1) }}`                 | t: line 1: the method 'append' would change a list, which the sandbox of chat templates forbids",
                "`{{ s | batch(2) }}`                | t: line 1: the filter 'batch' is not supported",
                "`{{ raise_exception('no') }}`       | t: line 1: the template refuses the conversation: no",
                "`{{ strftime_now('%Q') }}`          | t: line 1: the directive '%Q' of a date is not supported",
            })
    void aMessageSaysWhereAndWhat(String source, String message) {
        assertEquals(message, failure(source));
    }

    /** Mutations of the reference templates and snippets: text or a typed error, in bounded time. */
    @Test
    @Timeout(value = 240, unit = TimeUnit.SECONDS)
    void mutationsNeverFailInAnotherWay() throws IOException {
        JsonNode reference;
        try (InputStream in = Objects.requireNonNull(getClass().getResourceAsStream("chat_reference.json"))) {
            reference = new JsonMapper().readTree(in);
        }
        List<String> sources = new ArrayList<>();
        reference
                .get("templates")
                .forEach(template -> sources.add(template.get("source").textValue()));
        reference.get("snippets").forEach(snippet -> sources.add(snippet.get(0).textValue()));
        List<JsonNode> conversations = new ArrayList<>();
        reference.get("conversations").forEach(conversations::add);
        int rendered = 0;
        for (int seed = 0; seed < MUTATIONS; seed++) {
            Random random = new Random(seed);
            String source = mutated(sources.get(random.nextInt(sources.size())), random);
            Map<String, @Nullable Object> variables =
                    new HashMap<>(ChatReferenceTest.plainMap(reference.get("variables")));
            variables.put("messages", ChatReferenceTest.plain(conversations.get(random.nextInt(conversations.size()))));
            variables.put(
                    "tools", ChatReferenceTest.plain(reference.get("tools").get("two")));
            long begin = System.nanoTime();
            try {
                Objects.requireNonNull(Template.parse("t", source).render(variables, ChatReferenceTest.CLOCK));
                rendered++;
            } catch (ChatTemplateException e) {
                assertFalse(String.valueOf(e.getMessage()).isBlank());
            } catch (RuntimeException | Error e) {
                throw new AssertionError("seed " + seed + ": " + source, e);
            }
            long seconds = (System.nanoTime() - begin) / 1_000_000_000;
            assertTrue(seconds < 10, "seed " + seed + " took " + seconds + " s: " + source);
        }
        assertTrue(rendered > MUTATIONS / 50 && rendered < MUTATIONS, rendered + " of " + MUTATIONS + " rendered");
    }

    private static String mutated(String source, Random random) {
        StringBuilder text = new StringBuilder(source);
        for (int i = 1 + random.nextInt(4); i > 0; i--) {
            int at = random.nextInt(text.length() + 1);
            int end = Math.min(text.length(), at + random.nextInt(12));
            switch (random.nextInt(4)) {
                case 0 -> text.delete(at, end);
                case 1 -> text.insert(at, PIECES[random.nextInt(PIECES.length)]);
                case 2 -> text.replace(at, end, PIECES[random.nextInt(PIECES.length)]);
                default -> text.insert(at, text.substring(at, end).repeat(1 + random.nextInt(3)));
            }
        }
        return text.toString();
    }
}
