// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Names and their values; what is not here is looked for outside. */
final class Scope {
    private final Map<String, Value> names = new HashMap<>();
    private final @Nullable Scope outside;

    private Scope(@Nullable Scope outside) {
        this.outside = outside;
    }

    static Scope outermost() {
        return new Scope(null);
    }

    Scope inside() {
        return new Scope(this);
    }

    void set(String name, Value value) {
        names.put(name, value);
    }

    Optional<Value> find(String name) {
        for (Scope scope = this; scope != null; scope = scope.outside) {
            Value value = scope.names.get(name);
            if (value != null) {
                return Optional.of(value);
            }
        }
        return Optional.empty();
    }
}
