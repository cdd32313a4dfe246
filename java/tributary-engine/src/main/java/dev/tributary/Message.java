// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * One message of a conversation, as a chat template sees it: a role, mostly a content, and whatever fields else the template
 * knows. Immutable.
 */
public final class Message {
    private static final String ROLE = "role";
    private static final String CONTENT = "content";

    private final Map<String, @Nullable Object> fields;

    private Message(Map<String, @Nullable Object> fields) {
        this.fields = fields;
    }

    /**
     * A message of any role.
     *
     * @param role such as {@code user}; the model's template says which it knows
     * @param content the text
     * @return the message
     */
    public static Message of(String role, String content) {
        return new Message(fields(role, content));
    }

    private static Map<String, @Nullable Object> fields(String role, String content) {
        Map<String, @Nullable Object> fields = new LinkedHashMap<>();
        fields.put(ROLE, Objects.requireNonNull(role, ROLE));
        fields.put(CONTENT, Objects.requireNonNull(content, CONTENT));
        return fields;
    }

    /**
     * What the model is told before the conversation. Not every model has such a turn.
     *
     * @param content the text
     * @return the message
     */
    public static Message system(String content) {
        return of("system", content);
    }

    /**
     * What the user says.
     *
     * @param content the text
     * @return the message
     */
    public static Message user(String content) {
        return of("user", content);
    }

    /**
     * What the model said.
     *
     * @param content the text
     * @return the message
     */
    public static Message assistant(String content) {
        return of("assistant", content);
    }

    /**
     * What the model said when it called tools.
     *
     * @param content the text beside the calls, often empty
     * @param calls the calls, in order
     * @return the message, with the calls in {@code tool_calls}
     */
    public static Message assistant(String content, List<ToolCall> calls) {
        Map<String, @Nullable Object> fields = fields("assistant", content);
        List<Object> described = new ArrayList<>();
        for (ToolCall call : calls) {
            described.add(call.fields());
        }
        fields.put("tool_calls", List.copyOf(described));
        return new Message(fields);
    }

    /**
     * What a tool answered.
     *
     * @param call the call that it answers
     * @param content the result as text
     * @return the message, of the role {@code tool}
     */
    public static Message toolResult(ToolCall call, String content) {
        Map<String, @Nullable Object> fields = new LinkedHashMap<>();
        fields.put(ROLE, "tool");
        fields.put("name", call.name());
        fields.put("tool_call_id", call.id());
        fields.put(CONTENT, Objects.requireNonNull(content, CONTENT));
        return new Message(fields);
    }

    /**
     * A message in the form that is usual on the wire.
     *
     * @param json an object with at least {@code role}
     * @return the message; numbers, order of fields and null are kept
     * @throws ConfigurationException when it is no such object
     */
    public static Message parse(String json) {
        Map<String, @Nullable Object> fields = Json.parse("the message", json);
        if (!(fields.get(ROLE) instanceof String)) {
            throw new ConfigurationException("the message has no role, expected a field role that is a string");
        }
        return new Message(fields);
    }

    /**
     * The same message with one field more, or another value of one.
     *
     * @param field its name
     * @param value what JSON can hold: Boolean, Number, String, List or Map
     * @return a new message
     * @throws ConfigurationException when the value is something else
     */
    public Message with(String field, Object value) {
        Map<String, @Nullable Object> more = new LinkedHashMap<>(fields);
        more.put(
                Objects.requireNonNull(field, "field"),
                Json.copyOf("the field " + field, Objects.requireNonNull(value, "value")));
        if (!(more.get(ROLE) instanceof String)) {
            throw new ConfigurationException("role is " + value + ", expected a string");
        }
        return new Message(more);
    }

    /** {@return who speaks} */
    public String role() {
        return String.valueOf(fields.get(ROLE));
    }

    /** {@return the text, unless the message has none or it is in parts} */
    public Optional<String> content() {
        return fields.get(CONTENT) instanceof String text ? Optional.of(text) : Optional.empty();
    }

    /** {@return what the template sees} */
    Map<String, @Nullable Object> fields() {
        return fields;
    }

    @Override
    public String toString() {
        return fields.toString();
    }
}
