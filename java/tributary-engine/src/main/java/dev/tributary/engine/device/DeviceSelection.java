// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import dev.tributary.DeviceException;
import dev.tributary.DeviceException.Reason;
import dev.tributary.LoadOptions;
import dev.tributary.TributaryException;
import dev.tributary.kernels.KernelException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;

/** Chooses where a model computes: the device that was named, or the best that this machine has. */
public final class DeviceSelection {
    private static final System.Logger LOG = System.getLogger(DeviceSelection.class.getName());
    private static final String HOST = "host";
    private static final String AUTO = "auto";

    private final List<DeviceProvider> providers;

    DeviceSelection(List<DeviceProvider> providers) {
        this.providers = List.copyOf(providers);
    }

    /**
     * A device, and why it is not a better one.
     *
     * @param device open
     * @param note why the host was taken where nobody asked for it
     */
    public record Choice(Device device, Optional<String> note) {}

    /** {@return a choice among the host and what is on the module path and the class path} */
    public static DeviceSelection ofThisProcess() {
        Module module = DeviceSelection.class.getModule();
        ServiceLoader<DeviceProvider> services = module.getLayer() != null
                ? ServiceLoader.load(module.getLayer(), DeviceProvider.class)
                : ServiceLoader.load(DeviceProvider.class, DeviceSelection.class.getClassLoader());
        try {
            return new DeviceSelection(
                    services.stream().map(ServiceLoader.Provider::get).toList());
        } catch (ServiceConfigurationError | LinkageError broken) {
            throw new DeviceException(
                    "a device provider on the class path cannot be used: " + broken.getMessage(),
                    Reason.NATIVE_LIBRARY,
                    broken);
        }
    }

    /**
     * Opens the device that the options ask for.
     *
     * @param options device, threads and memory limit
     * @return the device
     * @throws DeviceException when it cannot be opened
     */
    public Choice open(LoadOptions options) {
        String wanted = options.device();
        if (wanted.equals(HOST)) {
            return new Choice(host(options), Optional.empty());
        }
        if (wanted.equals(AUTO)) {
            return best(options);
        }
        int colon = wanted.indexOf(':');
        String kind = colon < 0 ? wanted : wanted.substring(0, colon);
        int ordinal = colon < 0 ? 0 : Integer.parseInt(wanted.substring(colon + 1));
        DeviceProvider provider = providers.stream()
                .filter(candidate -> candidate.name().equals(kind))
                .findFirst()
                .orElseThrow(() -> new DeviceException(
                        "device " + wanted + " needs the library tributary-" + kind + " (module dev.tributary." + kind
                                + "), which is neither on the class path nor on the module path",
                        Reason.NATIVE_LIBRARY));
        provider.obstacle().ifPresent(obstacle -> {
            throw obstacle;
        });
        return new Choice(provider.open(ordinal, options.memoryLimit()), Optional.empty());
    }

    /**
     * The host in place of a device that was chosen and turned out to be too small.
     *
     * @param options as they were given to {@link #open}
     * @param choice what it returned; closed by the caller
     * @param shortage the device and what it lacks, with figures
     * @return the host with a note of why; empty where the device was asked for by name, or is the host already
     */
    public Optional<Choice> insteadOf(LoadOptions options, Choice choice, String shortage) {
        if (!options.device().equals(AUTO) || choice.note().isPresent()) {
            return Optional.empty();
        }
        LOG.log(System.Logger.Level.DEBUG, "the host computes; {0}", shortage);
        return Optional.of(new Choice(host(options), Optional.of(shortage)));
    }

    private Choice best(LoadOptions options) {
        List<String> reasons = new ArrayList<>();
        if (options.threads() > 0) {
            reasons.add("threads were asked for, which only the host has");
        }
        for (DeviceProvider provider : providers) {
            if (options.threads() > 0) {
                break;
            }
            Optional<? extends TributaryException> obstacle = provider.obstacle();
            if (obstacle.isEmpty()) {
                try {
                    return new Choice(provider.open(provider.firstUsable(), options.memoryLimit()), Optional.empty());
                } catch (TributaryException e) { // a GPU whose memory others have taken included
                    obstacle = Optional.of(e);
                }
            }
            reasons.add(provider.name() + ": " + obstacle.get().getMessage());
        }
        if (reasons.isEmpty()) {
            reasons.add("cuda: the library tributary-cuda is not there");
        }
        String note = String.join("; ", reasons);
        LOG.log(System.Logger.Level.DEBUG, "the host computes; {0}", note);
        return new Choice(host(options), Optional.of(note));
    }

    private static Device host(LoadOptions options) {
        try {
            return new HostDevice(options.threads());
        } catch (KernelException e) {
            throw new DeviceException(String.valueOf(e.getMessage()), Reason.NATIVE_LIBRARY, e);
        }
    }
}
