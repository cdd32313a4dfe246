// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import dev.tributary.LanguageModel;
import dev.tributary.ModelInfo;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** {@code tributary info}: what is loaded, what the streams add to it, and what memory it takes. */
@Command(
        name = "info",
        mixinStandardHelpOptions = true,
        description = "Loads a model and shows what it is, what its streams add and what memory it takes.")
final class InfoCommand implements Callable<Integer> {
    @Mixin
    private ModelArguments model = new ModelArguments();

    private final Terminal terminal;

    InfoCommand(Terminal terminal) {
        this.terminal = terminal;
    }

    @Override
    public Integer call() {
        try (LanguageModel loaded = model.load(terminal, 1)) {
            show(loaded.info());
        }
        return 0;
    }

    private void show(ModelInfo info) {
        heading("Model");
        row("directory", model.directory().toString());
        row("architecture", info.architecture());
        row(
                "shape",
                info.layers() + " layers, hidden size " + Figures.count(info.hiddenSize()) + ", "
                        + info.attentionHeads() + " query and " + info.keyValueHeads() + " key/value heads of "
                        + info.headDimension());
        row("vocabulary", Figures.count(info.vocabularySize()) + " tokens");
        row("context", Figures.count(info.contextTokens()) + " tokens");
        row("parameters", Figures.count(info.parameters()) + " in " + info.weightType());
        info.streams().ifPresentOrElse(streams -> show(streams, info.parameters()), this::showNoStreams);
        heading("Memory");
        row("weights", Figures.bytes(info.weightBytes()));
        row("KV cache", Figures.bytes(info.cacheBytes()));
        row("workspace", Figures.bytes(info.workspaceBytes()));
        row("together", Figures.bytes(info.weightBytes() + info.cacheBytes() + info.workspaceBytes()));
        heading("Device");
        row("computes on", info.device());
        info.deviceNote().ifPresent(note -> row("not on a GPU", note));
    }

    private void show(ModelInfo.Streams streams, long base) {
        heading("Streams");
        row("mode", streams.mode());
        row("streams (γ)", streams.gamma() + " per anchor, in the top " + streams.streamLayers() + " layers");
        parameters("embeddings P", streams.embeddingParameters(), base);
        parameters("LoRA", streams.loraParameters(), base);
        parameters("pruning", streams.pruningParameters(), base);
        parameters(
                "together",
                streams.embeddingParameters() + streams.loraParameters() + streams.pruningParameters(),
                base);
    }

    private void showNoStreams() {
        heading("Streams");
        row("mode", "none loaded: plain decoding only");
    }

    private void parameters(String name, long count, long base) {
        row(
                name,
                count == 0
                        ? "none"
                        : Figures.count(count) + " parameters, " + Figures.percent(count / (double) base)
                                + " of the base");
    }

    private void heading(String text) {
        terminal.println(terminal.outputStyle().bold(text));
    }

    private void row(String name, String value) {
        terminal.println("  " + name + " ".repeat(Math.max(1, 16 - TokenText.columns(name))) + value);
    }
}
