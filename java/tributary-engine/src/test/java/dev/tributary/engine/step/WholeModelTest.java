// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.step;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.LoadListener;
import dev.tributary.engine.cache.Pools;
import dev.tributary.engine.cache.SequenceCache;
import dev.tributary.engine.device.Device;
import dev.tributary.engine.device.HostDevice;
import dev.tributary.engine.device.Limits;
import dev.tributary.engine.model.DType;
import dev.tributary.engine.model.ModelConfig;
import dev.tributary.engine.model.ModelWeights;
import dev.tributary.engine.model.StreamsAdapter;
import dev.tributary.engine.model.WeightFiles;
import dev.tributary.engine.model.WeightTensor;
import dev.tributary.kernels.KvCache;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Whole models against transformers (main rows) and against the training code (stream rows): the error against the fp32
 * reference is at most twice that of the same formula run plainly in 16 bits, plus one unit in the last place.
 */
class WholeModelTest {
    private static final Path ROOT = Path.of(System.getProperty("tributary.root"));
    private static final Path FIXTURES = ROOT.resolve("tests/fixtures");
    private static final int CANDIDATES = 64;

    private static Path model(String name) {
        return name.equals("demo") ? ROOT.resolve("models/demo") : FIXTURES.resolve("models/" + name);
    }

    /** {@return where models compute; a subclass may have another device, or skip where there is none} */
    Device open() {
        return new HostDevice(2);
    }

    /** A decoder over a model's files, without tokenizer and scheduling. */
    final class Model implements AutoCloseable {
        final ModelConfig config;
        final Device device = open();
        final Arena arena = Arena.ofConfined();
        final Decoder decoder;
        final SequenceCache cache;

        Model(String name, boolean withStreams, int contextTokens, int rows, int anchors) {
            config = ModelConfig.read(model(name));
            try (WeightFiles files = WeightFiles.open(model(name));
                    StreamsHandle streams = new StreamsHandle(withStreams, name, config)) {
                ModelWeights weights = ModelWeights.of(config, files);
                DecoderWeights uploaded = DecoderWeights.load(
                        device, config, weights, streams.adapter.stream().toList(), LoadListener.SILENT);
                int gamma = streams.adapter.map(a -> a.config().gamma()).orElse(0);
                int pages = Limits.pages(rows);
                StepCapacity capacity = new StepCapacity(
                        1, rows, gamma * anchors, gamma, pages, gamma == 0 ? 0 : CANDIDATES, gamma == 0 ? 0 : 1);
                KvCache shape = new KvCache(
                        0, uploaded.dtype(), config.layers(), pages, config.keyValueHeads(), config.headDimension());
                KvCache kv = new KvCache(
                        device.allocate(shape.byteSize()).address(),
                        uploaded.dtype(),
                        config.layers(),
                        pages,
                        config.keyValueHeads(),
                        config.headDimension());
                decoder = new Decoder(device, arena, config, uploaded, capacity, kv, contextTokens);
                cache = new SequenceCache(Pools.alone(pages), pages);
            }
        }

        @Override
        public void close() {
            device.close();
            arena.close();
        }
    }

    private record StreamsHandle(Optional<StreamsAdapter> adapter) implements AutoCloseable {
        StreamsHandle(boolean wanted, String name, ModelConfig config) {
            this(wanted ? Optional.of(StreamsAdapter.open(model(name).resolve("streams"), config)) : Optional.empty());
        }

        @Override
        public void close() {
            adapter.ifPresent(StreamsAdapter::close);
        }
    }

    private static int[] ints(WeightTensor tensor) {
        int[] values = new int[(int) tensor.elements()];
        for (int i = 0; i < values.length; i++) {
            values[i] = tensor.data().get(JAVA_INT_UNALIGNED, (long) i * Integer.BYTES);
        }
        return values;
    }

    private static float value(WeightTensor tensor, long index) {
        return switch (tensor.dtype()) {
            case F32 -> Float.intBitsToFloat(tensor.data().get(JAVA_INT_UNALIGNED, index * Float.BYTES));
            case BF16 -> Float.intBitsToFloat(tensor.data().get(JAVA_SHORT_UNALIGNED, index * Short.BYTES) << 16);
            case F16 -> Float.float16ToFloat(tensor.data().get(JAVA_SHORT_UNALIGNED, index * Short.BYTES));
            default -> throw new IllegalArgumentException(tensor.name() + " is " + tensor.dtype());
        };
    }

    /** Greatest and root-mean-square errors, of ours and of plain 16-bit arithmetic. */
    private static final class Errors {
        private double ours;
        private double plain;
        private double oursSquared;
        private double plainSquared;
        private double unit;
        private int count;

        void add(double our, double sixteenBit, double reference) {
            ours = Math.max(ours, Math.abs(our - reference));
            plain = Math.max(plain, Math.abs(sixteenBit - reference));
            oursSquared += (our - reference) * (our - reference);
            plainSquared += (sixteenBit - reference) * (sixteenBit - reference);
            unit = Math.max(unit, Math.ulp((float) reference));
            count++;
        }

        void check(String what) {
            assertTrue(count > 0, what);
            assertTrue(plain > 0, what + ": the yardstick has no error");
            assertTrue(ours <= 2 * plain + unit, what + ": error " + ours + ", plain 16-bit " + plain);
            double rms = Math.sqrt(oursSquared / count);
            double plainRms = Math.sqrt(plainSquared / count);
            assertTrue(rms <= 2 * plainRms + unit, what + ": rms error " + rms + ", plain 16-bit " + plainRms);
        }
    }

    @ParameterizedTest
    @CsvSource({
        "tiny-gqa, '', 40, BF16",
        "tiny-linear, '', 40, F16",
        "tiny-llama3-sharded, '', 40, BF16",
        "tiny-llama3-classic, '', 40, F16",
        "tiny-yarn-bias, '', 40, BF16",
        "tiny-longrope, .0, 32, BF16",
        "tiny-longrope, .1, 44, BF16",
        "tiny-mqa-fp32, '', 40, BF16",
        "tiny-mistral, '', 100, BF16",
        "tiny-mistral-whole, '', 100, F16",
        "tiny-qwen2, '', 100, BF16",
        "tiny-qwen2-window, '', 100, F16",
        "tiny-qwen3, '', 100, BF16",
        "tiny-qwen3-fp32, '', 100, BF16",
        "tiny-phi3, .0, 32, BF16",
        "tiny-phi3, .1, 100, BF16",
        "tiny-phi3-classic, .0, 32, F16",
        "tiny-phi3-classic, .1, 100, F16",
        "demo, .0, 2048, BF16",
        "demo, .1, 2048, BF16",
        "demo, .2, 2048, BF16"
    })
    void logitsAreAsCloseToTransformersAsTheRuleAsks(String name, String suffix, int contextTokens, DType dtype) {
        try (WeightFiles fixture = WeightFiles.openFile(FIXTURES.resolve("logits/" + name + ".safetensors"));
                Model model = new Model(name, false, contextTokens, contextTokens, 0)) {
            assertTrue(model.decoder.weights().dtype().name().equals(dtype.name()), name);
            int[] ids = ints(fixture.tensorOfAnyShape("input_ids" + suffix));
            int[] rows = fixture.names().contains("rows" + suffix)
                    ? ints(fixture.tensorOfAnyShape("rows" + suffix))
                    : allRows(ids.length);
            int vocabulary = model.config.vocabularySize();
            WeightTensor reference = fixture.tensor("logits" + suffix, rows.length, vocabulary);
            WeightTensor sixteen = fixture.tensor("logits_16bit" + suffix, rows.length, vocabulary);

            StepPlan plan = model.decoder.plan();
            plan.begin();
            model.cache.reserve(ids.length);
            plan.openSequence(model.cache);
            int first = plan.addChunk(ids, 0, ids.length);
            for (int row : rows) {
                plan.wantLogits(first + row);
            }
            plan.keepLogits();
            plan.finish();
            model.decoder.verify(false);

            Errors errors = new Errors();
            for (int i = 0; i < rows.length; i++) {
                float[] logits = model.decoder.logits(first + rows[i]).toArray(JAVA_FLOAT);
                for (int id = 0; id < vocabulary; id++) {
                    long at = (long) i * vocabulary + id;
                    errors.add(logits[id], value(sixteen, at), value(reference, at));
                }
            }
            errors.check(name + suffix);
        }
    }

    private static int[] allRows(int count) {
        int[] rows = new int[count];
        for (int i = 0; i < count; i++) {
            rows[i] = i;
        }
        return rows;
    }

    @ParameterizedTest
    @CsvSource({
        "tiny-gqa, 40",
        "tiny-linear, 40",
        "tiny-yarn-bias, 40",
        "tiny-mistral, 100",
        "tiny-mistral-whole, 100",
        "tiny-qwen2, 100",
        "tiny-qwen2-window, 100",
        "tiny-qwen3, 100",
        "tiny-qwen3-fp32, 100",
        "tiny-phi3, 100",
        "tiny-phi3-classic, 100",
        "demo, 2048"
    })
    void streamsDraftWhatTheTrainingCodeDrafts(String name, int contextTokens) {
        try (WeightFiles fixture = WeightFiles.openFile(FIXTURES.resolve("streams/" + name + ".safetensors"))) {
            int[] ids = ints(fixture.tensorOfAnyShape("input_ids"));
            int[] anchors = ints(fixture.tensorOfAnyShape("anchors"));
            try (Model model = new Model(name, true, contextTokens, contextTokens, anchors.length)) {
                int gamma = model.decoder.plan().capacity().gamma();
                int vocabulary = model.config.vocabularySize();
                WeightTensor reference = fixture.tensor("logits", anchors.length, gamma, vocabulary);
                WeightTensor sixteen = fixture.tensor("logits_16bit", anchors.length, gamma, vocabulary);

                StepPlan plan = model.decoder.plan();
                plan.begin();
                model.cache.reserve(ids.length);
                int sequence = plan.openSequence(model.cache);
                int first = plan.addChunk(ids, 0, ids.length);
                plan.wantLogits(first + ids.length - 1);
                List<Integer> streamRows = new ArrayList<>();
                for (int anchor : anchors) {
                    streamRows.add(plan.addStreams(sequence, first + anchor, anchor, anchor, 0));
                }
                plan.finish();
                model.decoder.verify(true);
                checkStreams(name + " in the pass", plan, model.decoder, streamRows, reference, sixteen);

                // Deferred, from the same main states: what an anchor sees ends at its position.
                model.cache.commit(ids.length);
                StepPlan draft = model.decoder.draftPlan();
                draft.begin();
                int again = draft.openSequence(model.cache);
                streamRows.clear();
                for (int anchor : anchors) {
                    streamRows.add(draft.addStreams(again, first + anchor, -1, anchor, 0));
                }
                draft.finish();
                model.decoder.draft();
                checkStreams(name + " deferred", draft, model.decoder, streamRows, reference, sixteen);
            }
        }
    }

    /** Compares log-probabilities of the candidates, which are what drafting uses. */
    private static void checkStreams(
            String what,
            StepPlan plan,
            Decoder decoder,
            List<Integer> streamRows,
            WeightTensor reference,
            WeightTensor sixteen) {
        int gamma = plan.capacity().gamma();
        int vocabulary = Math.toIntExact(reference.shape().get(2));
        Errors errors = new Errors();
        for (int anchor = 0; anchor < streamRows.size(); anchor++) {
            for (int j = 0; j < gamma; j++) {
                long row = (long) (anchor * gamma + j) * vocabulary;
                double referenceSum = logSumExp(reference, row, vocabulary);
                double sixteenSum = logSumExp(sixteen, row, vocabulary);
                int result = plan.streamResult(streamRows.get(anchor) + j);
                for (int rank = 0; rank < CANDIDATES; rank++) {
                    int id = decoder.results().candidate(result, rank);
                    errors.add(
                            Math.log(decoder.results().probability(result, rank)),
                            value(sixteen, row + id) - sixteenSum,
                            value(reference, row + id) - referenceSum);
                }
            }
        }
        errors.check(what);
    }

    private static double logSumExp(WeightTensor logits, long row, int vocabulary) {
        double greatest = Double.NEGATIVE_INFINITY;
        for (int id = 0; id < vocabulary; id++) {
            greatest = Math.max(greatest, value(logits, row + id));
        }
        double sum = 0;
        for (int id = 0; id < vocabulary; id++) {
            sum += Math.exp(value(logits, row + id) - greatest);
        }
        return greatest + Math.log(sum);
    }
}
