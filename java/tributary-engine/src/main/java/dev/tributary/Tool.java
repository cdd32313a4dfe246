// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** A tool that a model may call, described by a JSON schema. Immutable. */
public final class Tool {
    private final Map<String, @Nullable Object> definition;

    private Tool(Map<String, @Nullable Object> definition) {
        this.definition = definition;
    }

    /**
     * A function.
     *
     * @param name its name
     * @param description what it does
     * @param parameters the JSON schema of its arguments, an object with {@code type} and {@code properties}, in order
     * @return the tool
     * @throws ConfigurationException when the schema holds what JSON cannot
     */
    public static Tool function(String name, String description, Map<String, ?> parameters) {
        Map<String, @Nullable Object> function = new LinkedHashMap<>();
        function.put("name", Objects.requireNonNull(name, "name"));
        function.put("description", Objects.requireNonNull(description, "description"));
        function.put("parameters", Json.copyOf("the schema of " + name, parameters));
        Map<String, @Nullable Object> definition = new LinkedHashMap<>();
        definition.put("type", "function");
        definition.put("function", function);
        return new Tool(definition);
    }

    /**
     * A tool in the form that is usual on the wire.
     *
     * @param json {@code {"type": "function", "function": {"name": …, "description": …, "parameters": {…}}}}
     * @return the tool, which templates see as it is written
     * @throws ConfigurationException when it is no JSON object
     */
    public static Tool parse(String json) {
        return new Tool(Json.parse("the tool", json));
    }

    /** {@return what the template sees} */
    Map<String, @Nullable Object> definition() {
        return definition;
    }

    @Override
    public String toString() {
        return definition.toString();
    }
}
