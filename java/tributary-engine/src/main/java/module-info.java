// SPDX-License-Identifier: Apache-2.0
import org.jspecify.annotations.NullMarked;

/** Text generation with decoder-only language models that draft for themselves. */
@NullMarked
// The tokenizer's library is not modular; the module that devices are exported to is compiled later.
@SuppressWarnings({"requires-automatic", "module"})
module dev.tributary.engine {
    requires dev.tributary.kernels;
    requires ai.djl.tokenizers;
    requires com.fasterxml.jackson.databind;
    requires jdk.jfr;
    requires jdk.management;
    requires static transitive org.jspecify;

    exports dev.tributary;
    exports dev.tributary.engine.device to
            dev.tributary.cuda;

    uses dev.tributary.engine.device.DeviceProvider;
}
