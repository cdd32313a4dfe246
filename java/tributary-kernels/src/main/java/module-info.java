// SPDX-License-Identifier: Apache-2.0
import org.jspecify.annotations.NullMarked;

/** The C ABI in Java: generated bindings, library loading, and status codes as typed exceptions. */
@NullMarked
@SuppressWarnings("module") // the modules that it is exported to are compiled later
module dev.tributary.kernels {
    requires static transitive org.jspecify;

    exports dev.tributary.kernels to
            dev.tributary.engine,
            dev.tributary.cuda;
}
