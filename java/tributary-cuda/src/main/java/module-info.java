// SPDX-License-Identifier: Apache-2.0
import dev.tributary.cuda.CudaProvider;
import dev.tributary.engine.device.DeviceProvider;
import org.jspecify.annotations.NullMarked;

/** NVIDIA GPUs as devices of the engine. Nothing is exported: the engine finds it as a service. */
@NullMarked
module dev.tributary.cuda {
    requires dev.tributary.engine;
    requires dev.tributary.kernels;
    // Of these two the natives are modules of their own; on the module path they are asked for with --add-modules.
    requires org.bytedeco.cuda;
    requires org.bytedeco.javacpp;
    requires static transitive org.jspecify;

    provides DeviceProvider with
            CudaProvider;
}
