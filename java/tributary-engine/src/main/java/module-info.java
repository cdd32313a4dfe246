// SPDX-License-Identifier: Apache-2.0
import org.jspecify.annotations.NullMarked;

/** Text generation with decoder-only language models that draft for themselves. */
@NullMarked
@SuppressWarnings("requires-automatic") // the tokenizer's library is not modular
module dev.tributary.engine {
    requires dev.tributary.kernels;
    requires ai.djl.tokenizers;
    requires com.fasterxml.jackson.databind;
    requires jdk.management;
    requires static transitive org.jspecify;

    exports dev.tributary;
}
