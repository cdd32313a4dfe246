// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * One call of a tool by a model.
 *
 * @param id what the answer refers to; some models want it in a form of their own (Mistral: nine letters or digits)
 * @param name the tool
 * @param arguments what it is called with, in order: what JSON can hold
 */
public record ToolCall(String id, String name, Map<String, ?> arguments) {
    /**
     * A call.
     *
     * @throws ConfigurationException when the arguments hold what JSON cannot
     */
    public ToolCall {
        Objects.requireNonNull(id, "id");
        Objects.requireNonNull(name, "name");
        arguments = Json.copyOf("the arguments of " + name, arguments);
    }

    /** {@return the call as templates expect it} */
    Map<String, @Nullable Object> fields() {
        Map<String, @Nullable Object> function = new LinkedHashMap<>();
        function.put("name", name);
        function.put("arguments", arguments);
        Map<String, @Nullable Object> fields = new LinkedHashMap<>();
        fields.put("id", id);
        fields.put("type", "function");
        fields.put("function", function);
        return fields;
    }
}
