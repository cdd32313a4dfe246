// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import dev.tributary.GenerationOptions;
import dev.tributary.Speculation;
import dev.tributary.engine.device.Device;
import dev.tributary.engine.device.DeviceMemory;
import dev.tributary.engine.device.DeviceWork;
import dev.tributary.engine.device.MeasuringDevice;
import dev.tributary.engine.device.TransferBlock;
import dev.tributary.engine.policy.BudgetPolicy;
import dev.tributary.engine.policy.PassCosts;
import dev.tributary.kernels.KernelContext;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;

/**
 * Passes in which nothing is computed, so that Java has compiled what a pass runs when the first real one comes: on a
 * device that takes a few milliseconds for a pass, interpreting the host's part of it costs a twentieth of the time.
 * Results are drawn at random; each sequence ends as a real one does.
 */
final class Rehearsal {
    private static final long LONGEST_NANOS = 250_000_000L;
    /** By then everything is compiled. */
    private static final int PASSES = 3_000;

    private static final int PROMPT_TOKENS = 40;
    /** Few, so that every kind of pass has its share of a short time. */
    private static final int NEW_TOKENS = 48;

    private static final int MOST_ACCEPTED = 4;
    private static final int NODES = 32;

    private final LoadedModel model;
    private final RandomGenerator random =
            RandomGeneratorFactory.of("L64X128MixRandom").create(1);
    private int passes;

    private Rehearsal(LoadedModel model) {
        this.model = model;
    }

    /** Rehearses passes of a model; nothing of it changes. */
    static void of(LoadedModel model) {
        new Rehearsal(model).run();
    }

    private void run() {
        int room = model.contextTokens() - PROMPT_TOKENS;
        if (room < NODES) {
            return;
        }
        Nothing nothing = new Nothing(model.device());
        try (LoadedModel stage = model.on(nothing)) {
            long end = System.nanoTime() + LONGEST_NANOS;
            PassCosts costs = new PassCosts(0.2, 0.2, 0, new PassCosts.Context(0, 0));
            costs.observeVerify(1, 0, 0, 1_000_000);
            costs.observeVerify(NODES, 0, 0, 1_200_000);
            costs.observeDraft(Math.max(1, model.gamma()), 0, 300_000);
            BudgetPolicy policy =
                    new BudgetPolicy(costs, model.gamma(), model.capacity().adapters());
            List<Speculation> kinds = model.gamma() == 0
                    ? List.of(Speculation.off())
                    : List.of(
                            Speculation.off(),
                            new Speculation(
                                    new Speculation.Budget.Fixed(NODES),
                                    new Speculation.Shape.BestFirst(),
                                    Speculation.Placement.ALL_NODES),
                            GenerationOptions.defaults().speculation());
            for (int i = 0; passes < PASSES && System.nanoTime() < end; i++) {
                Speculation speculation = kinds.get(i % kinds.size());
                int most = speculation.equals(Speculation.off()) ? 1 : MOST_ACCEPTED;
                nothing.onPull = () -> {
                    passes++;
                    // The one sequence's rows are the nodes of its tree: no more can be accepted.
                    int nodes = Math.max(1, stage.decoder().plan().mainRows());
                    int accepted = random.nextInt(1, Math.min(most, nodes) + 1);
                    stage.decoder()
                            .results()
                            .pretend(random, accepted, model.config().vocabularySize());
                };
                int[] prompt = new int[PROMPT_TOKENS];
                Arrays.setAll(prompt, _ -> random.nextInt(model.config().vocabularySize()));
                GenerationOptions options = GenerationOptions.builder()
                        .maxTokens(Math.min(room, NEW_TOKENS))
                        .ignoreEndTokens(true)
                        .speculation(speculation)
                        .build();
                Engine.rehearse(stage, policy, costs, new Request(prompt, options, Optional.empty()));
            }
        }
    }

    /** A device whose work is none. */
    private static final class Nothing implements Device {
        private final MeasuringDevice memory;
        private Runnable onPull = () -> {};

        Nothing(Device device) {
            memory = new MeasuringDevice(device);
        }

        @Override
        public String description() {
            return memory.description();
        }

        @Override
        public long availableBytes() {
            return memory.availableBytes();
        }

        @Override
        public KernelContext kernels() {
            return memory.kernels();
        }

        @Override
        public boolean isSynchronous() {
            return memory.isSynchronous();
        }

        @Override
        public DeviceMemory allocate(long bytes) {
            return memory.allocate(bytes);
        }

        @Override
        public TransferBlock allocateBlock(long bytes) {
            TransferBlock block = memory.allocateBlock(bytes);
            return new TransferBlock() {
                @Override
                public MemorySegment host() {
                    return block.host();
                }

                @Override
                public long address() {
                    return block.address();
                }

                @Override
                public void push(long bytes) {}

                @Override
                public void pull(long offset, long size) {
                    onPull.run();
                }
            };
        }

        @Override
        public DeviceWork record(Runnable launches) {
            return new DeviceWork() {
                @Override
                public void run() {}

                @Override
                public boolean isPrepared() {
                    return true;
                }

                @Override
                public OptionalLong deviceNanos() {
                    return OptionalLong.of(0);
                }

                @Override
                public void close() {}
            };
        }

        @Override
        public void close() {
            memory.close();
        }
    }
}
