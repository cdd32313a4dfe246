// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import dev.tributary.cli.evaluation.JsonFile;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * A Llama of a given shape with random bf16 weights whose text is known beforehand: it repeats the last token of its
 * prompt, and of its four streams the first three draft that token, the fourth another. So every pass over a tree of eight
 * nodes or more accepts exactly three drafted tokens, with everything that a pass does done in earnest: what passes cost
 * depends on shapes, types and the accepted depth, not on what the weights have learnt.
 *
 * <p>How: the embedding is large beside what the layers add, so the last state points where the token's embedding points,
 * and the LM head is the embedding, made small. The first stream's embedding is that of a token that never comes, a little
 * more than once: it is drafted before the right one, so that the accepted nodes are not the first ones and
 * {@code commit_path} has something to move.
 *
 * <p>Weights of one size fill files quickly because they repeat: every tensor is read from one random block, each from a
 * place of its own.
 *
 * @param shape the shape; embeddings are not tied
 * @param streamLayers N_s
 * @param positions greatest length of a sequence
 */
record ScriptedLlama(RandomLlama shape, int streamLayers, int positions) {
    /** Drafted tokens that every pass accepts. */
    static final int ACCEPTED = 3;

    private static final String EMBEDDING = "model.embed_tokens.weight";
    private static final String HEAD = "lm_head.weight";
    /** A prime of 8-byte words, so that rows which repeat never stand in the same place of a row. */
    private static final int BLOCK_WORDS = 8_388_593;

    private static final long SIGN_AND_MANTISSA = 0x807F_807F_807F_807FL;
    /** ±[2⁻⁶, 2⁻⁵): states of ordinary width stay finite. */
    private static final long SMALL = 0x3C80_3C80_3C80_3C80L;
    /** The same numbers times 2¹³. */
    private static final long LARGE = SMALL + 13 * 0x0080_0080_0080_0080L;

    private static final long ONES = 0x3F80_3F80_3F80_3F80L;
    private static final double MEAN_SIZE = 0.02387; // quadratic mean over ±[2⁻⁶, 2⁻⁵)
    /** Logit of the repeated token: far above the others, and those still have probabilities that can be compared. */
    private static final double LOGIT = 12;

    /** {@return the shape of Llama-2-7B} */
    static ScriptedLlama llama2of7B(int positions) {
        return new ScriptedLlama(new RandomLlama(32, 4096, 11008, 32, 32, 32_000), 4, positions);
    }

    /** {@return the shape of Llama-3-8B} */
    static ScriptedLlama llama3of8B(int positions) {
        return new ScriptedLlama(new RandomLlama(32, 4096, 14336, 32, 8, 128_256), 4, positions);
    }

    /** {@return bytes of weights that a plain pass reads} */
    long passBytes() {
        return shape.passBytes();
    }

    /** {@return bytes of the KV cache that one token of context takes, all layers} */
    long keyValueBytes() {
        return 2L * shape.layers() * shape.keyValueHeads() * (shape.hidden() / shape.heads()) * RandomLlama.BYTES;
    }

    /** {@return bytes that {@link #write} writes, about} */
    long fileBytes() {
        long bytes = 0;
        for (int[] tensor : shape.baseTensors(false).values()) {
            bytes += RandomLlama.elements(tensor) * RandomLlama.BYTES;
        }
        return bytes;
    }

    /**
     * Writes the model, a file for each layer, several at a time.
     *
     * @param directory an empty directory, best in memory
     * @param tokenizerOf a model whose tokenizer to take; its vocabulary is at most V − 2
     */
    void write(Path directory, Path tokenizerOf) throws IOException {
        Files.copy(tokenizerOf.resolve("tokenizer.json"), directory.resolve("tokenizer.json"));
        JsonFile.write(directory.resolve("config.json"), shape.configuration(tokenizerOf, false, positions));
        ByteBuffer small = block(SMALL);
        ByteBuffer large = block(LARGE);
        ByteBuffer ones = constant(ONES);
        long finalScale = Math.round(Math.log(LOGIT / (MEAN_SIZE * shape.hidden())) / Math.log(2));
        ByteBuffer finalNorm = constant(ONES + finalScale * 0x0080_0080_0080_0080L);

        Map<String, Map<String, int[]>> shards = new LinkedHashMap<>();
        Map<String, String> shardOf = new LinkedHashMap<>();
        shape.baseTensors(false).forEach((name, size) -> {
            String shard = shardOf(name);
            shards.computeIfAbsent(shard, _ -> new LinkedHashMap<>()).put(name, size);
            shardOf.put(name, shard);
        });
        try (ExecutorService threads =
                Executors.newFixedThreadPool(Math.min(16, Runtime.getRuntime().availableProcessors()))) {
            List<Future<?>> files = new ArrayList<>();
            shards.forEach((shard, tensors) -> files.add(threads.submit(() -> {
                write(directory.resolve(shard), tensors, name -> switch (name) {
                    case EMBEDDING -> large;
                    case "model.norm.weight" -> finalNorm;
                    default -> name.endsWith("norm.weight") ? ones : small;
                });
                return null;
            })));
            for (Future<?> file : files) {
                file.get();
            }
        } catch (ExecutionException e) {
            throw new IOException("cannot write the model: " + e.getCause(), e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted while the model was written", e);
        }
        JsonFile.write(directory.resolve("model.safetensors.index.json"), Map.of("weight_map", shardOf));

        Path streams = Files.createDirectory(directory.resolve("streams"));
        JsonFile.write(streams.resolve("streams.json"), shape.adapter(streamLayers));
        ByteBuffer embeddings = streamEmbeddings(large);
        write(
                streams.resolve("streams.safetensors"),
                shape.streamTensors(streamLayers),
                name -> name.equals("stream_embeddings") ? embeddings : small);
    }

    private static String shardOf(String tensor) {
        String[] parts = tensor.split("\\.", -1);
        String part = parts[1].equals("layers") ? "layer-" + parts[2] : parts[parts.length - 2];
        return "model-" + part.toLowerCase(Locale.ROOT) + ".safetensors";
    }

    private static ByteBuffer block(long exponents) {
        ByteBuffer block = ByteBuffer.allocateDirect(BLOCK_WORDS * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        SplittableRandom random = new SplittableRandom(1);
        for (int word = 0; word < BLOCK_WORDS; word++) {
            block.putLong((random.nextLong() & SIGN_AND_MANTISSA) | exponents);
        }
        return block.flip();
    }

    private ByteBuffer constant(long word) {
        int words = shape.hidden() / (Long.BYTES / RandomLlama.BYTES);
        ByteBuffer constant = ByteBuffer.allocateDirect(words * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < words; i++) {
            constant.putLong(word);
        }
        return constant.flip();
    }

    /**
     * Where in a block a tensor begins, in words; what is no larger than a block's hidden size begins at its start. The LM
     * head must be the embedding.
     */
    private static int begin(String name, ByteBuffer from) {
        int words = from.limit() / Long.BYTES;
        return words < BLOCK_WORDS ? 0 : Math.floorMod((name.equals(HEAD) ? EMBEDDING : name).hashCode(), words);
    }

    /** P_1 … P_γ: a token that never comes, nothing, nothing, another such token. */
    private ByteBuffer streamEmbeddings(ByteBuffer large) {
        int hidden = shape.hidden();
        ByteBuffer rows = ByteBuffer.allocateDirect(RandomLlama.GAMMA * hidden * RandomLlama.BYTES)
                .order(ByteOrder.LITTLE_ENDIAN);
        for (int stream = 0; stream < RandomLlama.GAMMA; stream++) {
            float scale = stream == 0 ? 1.125f : stream == ACCEPTED ? 4 : 0;
            int row = shape.vocabulary() - (stream == 0 ? 2 : 1);
            for (int i = 0; i < hidden; i++) {
                rows.putShort(bf16(scale * embedding(large, (long) row * hidden + i)));
            }
        }
        return rows.flip();
    }

    private static float embedding(ByteBuffer large, long element) {
        long first = (long) begin(EMBEDDING, large) * Long.BYTES;
        int at = (int) ((first + element * RandomLlama.BYTES) % large.limit());
        return Float.intBitsToFloat(large.getShort(at) << 16);
    }

    private static short bf16(float value) {
        return (short) (Float.floatToRawIntBits(value) >>> 16);
    }

    /** Where the numbers of a tensor come from. */
    private interface Source {
        ByteBuffer of(String tensor);
    }

    private static void write(Path file, Map<String, int[]> tensors, Source source) throws IOException {
        try (FileChannel out = FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            write(out, ByteBuffer.wrap(RandomLlama.header(tensors)));
            for (Map.Entry<String, int[]> tensor : tensors.entrySet()) {
                ByteBuffer from = source.of(tensor.getKey());
                int at = begin(tensor.getKey(), from) * Long.BYTES;
                long left = RandomLlama.elements(tensor.getValue()) * RandomLlama.BYTES;
                while (left > 0) {
                    int length = (int) Math.min(left, from.limit() - at);
                    write(out, from.slice(at, length));
                    left -= length;
                    at = (at + length) % from.limit();
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": " + e.getMessage(), e);
        }
    }

    private static void write(FileChannel out, ByteBuffer bytes) throws IOException {
        while (bytes.hasRemaining()) {
            out.write(bytes);
        }
    }
}
