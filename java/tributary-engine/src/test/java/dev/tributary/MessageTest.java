// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class MessageTest {
    @Test
    void parsedMessagesKeepOrderNumbersAndNull() {
        Message message = Message.parse(
                "{\"z\": 1.50, \"role\": \"assistant\", \"content\": null, \"a\": [12345678901234567890, true]}");
        assertEquals(
                List.of("z", "role", "content", "a"),
                List.copyOf(message.fields().keySet()));
        assertEquals("assistant", message.role());
        assertEquals(Optional.empty(), message.content());
        assertNull(message.fields().get("content"));
        assertEquals(
                "[12345678901234567890, true]", String.valueOf(message.fields().get("a")));
    }

    @Test
    void messagesDoNotChange() {
        Map<String, Object> arguments = new LinkedHashMap<>(Map.of("city", new ArrayList<>(List.of("Rome"))));
        ToolCall call = new ToolCall("1", "weather", arguments);
        Message message = Message.assistant("", List.of(call));
        String before = message.toString();
        arguments.put("day", 1);
        Message more = message.with("extra", Map.of("k", List.of(1)));
        assertEquals(before, message.toString());
        assertTrue(more.toString().contains("extra"));
        assertEquals(
                "{role=tool, name=weather, tool_call_id=1, content=sun}",
                Message.toolResult(call, "sun").toString());
    }

    @Test
    void whatJsonCannotHoldIsRefused() {
        List<Object> nested = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            nested = new ArrayList<>(List.of(nested));
        }
        List<Object> deep = nested;
        for (Runnable misuse : List.<Runnable>of(
                () -> Message.parse("{}"),
                () -> Message.parse("{\"role\": 1}"),
                () -> Message.parse("[]"),
                () -> Message.parse("{\"role\": \"user\"} x"),
                () -> Message.user("a").with("b", new Object()),
                () -> Message.user("a").with("b", Map.of(1, 2)),
                () -> Message.user("a").with("b", deep),
                () -> Message.user("a").with("role", 1),
                () -> Tool.parse("no"),
                () -> Tool.function("f", "d", Map.of("a", Thread.currentThread())),
                () -> ChatOptions.builder().variable("messages", "x"),
                () -> ChatOptions.builder().variable("x", new int[0]))) {
            ConfigurationException e = assertThrows(ConfigurationException.class, misuse::run);
            assertTrue(!String.valueOf(e.getMessage()).contains("\n"), e.getMessage());
        }
    }
}
