// SPDX-License-Identifier: Apache-2.0
import org.jspecify.annotations.NullMarked;

/** A model's figures as Micrometer meters. */
@NullMarked
@SuppressWarnings({"requires-automatic", "requires-transitive-automatic"}) // Micrometer's jar is not modular
module dev.tributary.micrometer {
    requires transitive dev.tributary.engine;
    requires transitive micrometer.core;
    requires static transitive org.jspecify;

    exports dev.tributary.micrometer;
}
