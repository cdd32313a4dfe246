// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import dev.tributary.ConfigurationException;
import dev.tributary.LoadOptions;
import dev.tributary.ModelFormatException;
import dev.tributary.ModelInfo;
import dev.tributary.engine.model.ModelConfig;
import dev.tributary.engine.model.ModelWeights;
import dev.tributary.engine.model.StreamsAdapter;
import dev.tributary.engine.model.StreamsConfig;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/**
 * The streams adapters of a model, mapped until this is closed: its own, if it has one, and those that requests name. They
 * are alike in what one pass has in common.
 */
final class Adapters implements AutoCloseable {
    /** Name of the model's own adapter, which no request can give. */
    static final String OWN = "";

    private static final String DIRECTORY = "streams";

    private final SequencedMap<String, StreamsAdapter> adapters = new LinkedHashMap<>();

    private Adapters() {}

    /** Opens and checks what the options ask for; everything is closed again when one is refused. */
    static Adapters open(Path model, ModelConfig config, ModelWeights weights, LoadOptions options) {
        Adapters adapters = new Adapters();
        try {
            ownDirectory(model, options).ifPresent(own -> adapters.add(OWN, own, config, weights, options));
            options.namedStreams()
                    .forEach((name, directory) -> adapters.add(name, directory, config, weights, options));
            return adapters;
        } catch (Throwable e) {
            adapters.close();
            throw e;
        }
    }

    private static Optional<Path> ownDirectory(Path model, LoadOptions options) {
        if (options.streamsDisabled()) {
            return Optional.empty();
        }
        Path own = model.resolve(DIRECTORY);
        return options.streams().or(() -> Files.isDirectory(own) ? Optional.of(own) : Optional.empty());
    }

    private void add(String name, Path directory, ModelConfig config, ModelWeights weights, LoadOptions options) {
        StreamsAdapter adapter = StreamsAdapter.open(directory, config);
        adapters.put(name, adapter);
        if (adapter.dtype() != weights.dtype()) {
            throw new ModelFormatException(directory + "/streams.safetensors: the adapter is " + adapter.dtype()
                    + ", expected the type that the model runs in, " + weights.dtype());
        }
        StreamsConfig first = adapters.firstEntry().getValue().config();
        StreamsConfig next = adapter.config();
        if (next.gamma() != first.gamma()
                || next.streamLayers() != first.streamLayers()
                || next.position() != first.position()) {
            throw new ConfigurationException(directory + ": " + common(next) + ", expected " + common(first)
                    + " as the adapter before it has: adapters of one model share their passes");
        }
        if (next.pruning().isPresent()) {
            options.listener()
                    .notice("the streams adapter's tree pruning is not used: trees are cut by measured cost instead");
        }
    }

    private static String common(StreamsConfig config) {
        return "gamma " + config.gamma() + ", stream_layers " + config.streamLayers() + ", position "
                + config.position();
    }

    /** {@return the adapters, in the order of their indices} */
    List<StreamsAdapter> all() {
        return List.copyOf(adapters.values());
    }

    /** {@return their names, in the order of their indices} */
    List<String> names() {
        return List.copyOf(adapters.keySet());
    }

    /** {@return what they have in common, of the first} */
    Optional<StreamsConfig> config() {
        return adapters.values().stream().findFirst().map(StreamsAdapter::config);
    }

    /** {@return the model's own} */
    Optional<ModelInfo.Streams> own() {
        return Optional.ofNullable(adapters.get(OWN)).map(Adapters::describe);
    }

    /** {@return those that requests name} */
    Map<String, ModelInfo.Streams> named() {
        Map<String, ModelInfo.Streams> named = new LinkedHashMap<>();
        adapters.forEach((name, adapter) -> {
            if (!name.equals(OWN)) {
                named.put(name, describe(adapter));
            }
        });
        return named;
    }

    private static ModelInfo.Streams describe(StreamsAdapter adapter) {
        StreamsConfig config = adapter.config();
        long embeddings = adapter.embeddings().elements();
        long pruning = adapter.pruning()
                .map(p -> p.down().elements() + p.up().elements())
                .orElse(0L);
        return new ModelInfo.Streams(
                config.mode().toString(),
                config.gamma(),
                config.streamLayers(),
                embeddings,
                adapter.parameters() - embeddings - pruning,
                pruning);
    }

    @Override
    public void close() {
        List<StreamsAdapter> open = new ArrayList<>(adapters.values());
        adapters.clear();
        open.forEach(StreamsAdapter::close);
    }
}
