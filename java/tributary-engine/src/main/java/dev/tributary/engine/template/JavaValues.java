// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import dev.tributary.engine.template.Value.Bool;
import dev.tributary.engine.template.Value.Dict;
import dev.tributary.engine.template.Value.Int;
import dev.tributary.engine.template.Value.Items;
import dev.tributary.engine.template.Value.None;
import dev.tributary.engine.template.Value.Real;
import dev.tributary.engine.template.Value.Text;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Values of a template for what a program hands in. */
final class JavaValues {
    private static final int MAX_NESTING = 100;

    private JavaValues() {}

    static Value value(String where, @Nullable Object object) {
        return value(where, object, 0);
    }

    private static Value value(String where, @Nullable Object object, int depth) {
        if (depth > MAX_NESTING) {
            throw new TemplateFailure(where + " is nested deeper than " + MAX_NESTING + " levels");
        }
        return switch (object) {
            case null -> None.NONE;
            case Boolean bool -> Bool.of(bool);
            case CharSequence text -> new Text(text.toString());
            case BigInteger number -> new Int(number);
            case Byte _, Short _, Integer _, Long _ -> Int.of(((Number) object).longValue());
            case Number number -> new Real(number.doubleValue());
            case List<?> list -> {
                List<Value> items = new ArrayList<>(list.size());
                for (Object item : list) {
                    items.add(value(where, item, depth + 1));
                }
                yield Items.list(items);
            }
            case Map<?, ?> map -> {
                Dict dict = new Dict();
                for (Map.Entry<?, ?> entry : map.entrySet()) {
                    dict.put(String.valueOf(entry.getKey()), value(where, entry.getValue(), depth + 1));
                }
                yield dict;
            }
            default ->
                throw new TemplateFailure(
                        where + " holds a " + object.getClass().getName()
                                + ", expected what JSON can hold: null, Boolean, Number, String, List or Map");
        };
    }
}
