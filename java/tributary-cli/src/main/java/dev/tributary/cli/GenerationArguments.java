// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import dev.tributary.Acceptance;
import dev.tributary.GenerationOptions;
import dev.tributary.Speculation;
import dev.tributary.Speculation.Budget;
import dev.tributary.Speculation.Placement;
import dev.tributary.Speculation.Shape;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** The options of one generation: how long, how sampled, how speculated. What is left out keeps the engine's default. */
final class GenerationArguments {
    private static final int DEFAULT_WIDTH = 3;

    /** Shapes by the names of the command line. */
    enum ShapeName {
        BEST_FIRST("best-first"),
        CHAIN("chain"),
        CARTESIAN("cartesian");

        private final String name;

        ShapeName(String name) {
            this.name = name;
        }

        @Override
        public String toString() {
            return name;
        }
    }

    /** Placements by the names of the command line. */
    enum PlacementName {
        ALL("all", Placement.ALL_NODES),
        CHOSEN("chosen", Placement.CHOSEN_NODES),
        DEFERRED("deferred", Placement.DEFERRED),
        AUTO("auto", Placement.AUTOMATIC);

        private final String name;
        private final Placement placement;

        PlacementName(String name, Placement placement) {
            this.name = name;
            this.placement = placement;
        }

        @Override
        public String toString() {
            return name;
        }
    }

    @Option(
            names = {"-n", "--max-tokens"},
            paramLabel = "N",
            order = 20,
            description = "Most tokens to generate (default: 256).")
    private Optional<Integer> maxTokens = Optional.empty();

    @Option(
            names = {"-t", "--temperature"},
            paramLabel = "T",
            order = 21,
            description = "Sampling temperature; 0, the default, is greedy.")
    private Optional<Float> temperature = Optional.empty();

    @Option(names = "--top-k", paramLabel = "K", order = 22, description = "Sample from the K likeliest tokens.")
    private Optional<Integer> topK = Optional.empty();

    @Option(
            names = "--top-p",
            paramLabel = "P",
            order = 23,
            description = "Sample from the likeliest tokens that hold probability P together.")
    private Optional<Float> topP = Optional.empty();

    @Option(
            names = "--min-p",
            paramLabel = "P",
            order = 24,
            description = "Sample from tokens at least P times as likely as the likeliest.")
    private Optional<Float> minP = Optional.empty();

    @Option(
            names = "--repetition-penalty",
            paramLabel = "R",
            order = 24,
            description =
                    "Divide positive logits of tokens that prompt or text have by R, multiply negative ones (0.1 to 10; 1 does nothing).")
    private Optional<Float> repetitionPenalty = Optional.empty();

    @Option(
            names = "--presence-penalty",
            paramLabel = "X",
            order = 24,
            description = "Take X from logits of tokens that the text has (−2 to 2).")
    private Optional<Float> presencePenalty = Optional.empty();

    @Option(
            names = "--frequency-penalty",
            paramLabel = "X",
            order = 24,
            description = "Take X from a token's logit for each time that the text has it (−2 to 2).")
    private Optional<Float> frequencyPenalty = Optional.empty();

    @Option(
            names = "--logit-bias",
            paramLabel = "ID=X",
            order = 24,
            description = "Add X (−100 to 100) to the logit of token ID; may be given several times.")
    private Map<Integer, Float> logitBias = Map.of();

    @Option(
            names = "--seed",
            paramLabel = "N",
            order = 25,
            description = "Seed of the sampling (default: 0); a seed gives one text, with speculation and without.")
    private Optional<Long> seed = Optional.empty();

    @Option(
            names = "--stop",
            paramLabel = "TEXT",
            order = 26,
            description = "End before this string; may be given several times.")
    private List<String> stop = List.of();

    @Option(names = "--ignore-end", order = 27, description = "Do not end at the model's end token.")
    private boolean ignoreEnd;

    @Option(
            names = "--tree-budget",
            paramLabel = "N",
            order = 30,
            description =
                    "Nodes of a pass's token tree, root included; 0 or 1: no speculation; left out: as many as pay.")
    private Optional<Integer> treeBudget = Optional.empty();

    @Option(
            names = "--shape",
            paramLabel = "SHAPE",
            order = 31,
            converter = ShapeConverter.class,
            description = "Shape of the token tree: best-first (default), chain or cartesian.")
    private Optional<ShapeName> shape = Optional.empty();

    @Option(
            names = "--width",
            paramLabel = "K",
            order = 32,
            description = "Candidates per stream of a cartesian tree (default: " + DEFAULT_WIDTH + ").")
    private Optional<Integer> width = Optional.empty();

    @Option(
            names = "--placement",
            paramLabel = "WHERE",
            order = 33,
            converter = PlacementConverter.class,
            description = "Nodes that carry streams: all, chosen, deferred or auto (default).")
    private Optional<PlacementName> placement = Optional.empty();

    @Option(
            names = "--typical-acceptance",
            paramLabel = "E",
            order = 34,
            description =
                    "Also accept drafted tokens whose probability exceeds min(E, √E·exp(−entropy)): fewer passes, but"
                            + " the text may differ from plain decoding's.")
    private Optional<Float> typicalAcceptance = Optional.empty();

    @Spec(Spec.Target.MIXEE)
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private CommandSpec command;

    static final class ShapeConverter extends Choice<ShapeName> {
        ShapeConverter() {
            super(ShapeName.values());
        }
    }

    static final class PlacementConverter extends Choice<PlacementName> {
        PlacementConverter() {
            super(PlacementName.values());
        }
    }

    /** {@return the options of the command line over the engine's defaults} */
    GenerationOptions options() {
        GenerationOptions.Builder options = GenerationOptions.builder();
        maxTokens.ifPresent(value -> Usage.check(command, "--max-tokens", () -> options.maxTokens(value)));
        temperature.ifPresent(value -> Usage.check(command, "--temperature", () -> options.temperature(value)));
        topK.ifPresent(value -> Usage.check(command, "--top-k", () -> options.topK(value)));
        topP.ifPresent(value -> Usage.check(command, "--top-p", () -> options.topP(value)));
        minP.ifPresent(value -> Usage.check(command, "--min-p", () -> options.minP(value)));
        repetitionPenalty.ifPresent(
                value -> Usage.check(command, "--repetition-penalty", () -> options.repetitionPenalty(value)));
        presencePenalty.ifPresent(
                value -> Usage.check(command, "--presence-penalty", () -> options.presencePenalty(value)));
        frequencyPenalty.ifPresent(
                value -> Usage.check(command, "--frequency-penalty", () -> options.frequencyPenalty(value)));
        Usage.check(command, "--logit-bias", () -> options.logitBias(logitBias));
        typicalAcceptance.ifPresent(epsilon -> Usage.check(
                command, "--typical-acceptance", () -> options.acceptance(new Acceptance.Typical(epsilon))));
        seed.ifPresent(options::seed);
        Usage.check(command, "--stop", () -> options.stopStrings(stop));
        options.ignoreEndTokens(ignoreEnd).speculation(speculation());
        return Usage.check(command, "--typical-acceptance", options::build);
    }

    private Speculation speculation() {
        if (width.isPresent() && !shape.equals(Optional.of(ShapeName.CARTESIAN))) {
            throw Usage.error(command, "--width belongs to --shape cartesian");
        }
        Speculation usual = Speculation.adaptive();
        if (treeBudget.isPresent() && (treeBudget.get() == 0 || treeBudget.get() == 1)) {
            if (shape.isPresent() || placement.isPresent()) {
                throw Usage.error(
                        command,
                        "--tree-budget " + treeBudget.get() + " means no speculation, so "
                                + (shape.isPresent() ? "--shape" : "--placement") + " has no meaning beside it");
            }
            return Speculation.off();
        }
        Budget budget = treeBudget
                .<Budget>map(nodes -> Usage.check(command, "--tree-budget", () -> new Budget.Fixed(nodes)))
                .orElse(usual.budget());
        Shape form = shape.<Shape>map(name -> switch (name) {
                    case BEST_FIRST -> new Shape.BestFirst();
                    case CHAIN -> new Shape.Chain();
                    case CARTESIAN ->
                        Usage.check(command, "--width", () -> new Shape.Cartesian(width.orElse(DEFAULT_WIDTH)));
                })
                .orElse(usual.shape());
        return new Speculation(
                budget, form, placement.map(name -> name.placement).orElse(usual.placement()));
    }
}
