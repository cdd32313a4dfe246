// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.djl.engine.EngineException;
import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import com.fasterxml.jackson.annotation.JsonAutoDetect;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.ConfigurationException;
import dev.tributary.DeviceException;
import dev.tributary.ModelClosedException;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TokenizerTest {
    private static final int VOCABULARY = 320;
    private static final String PLATFORM = System.getProperty("os.name").equals("Linux")
            ? "linux-" + System.getProperty("os.arch").replace("amd64", "x86_64")
            : "osx-aarch64";
    private static final int KILLED_BY_SIGSYS = 128 + 31;

    @TempDir
    Path directory;

    private final ObjectNode file = TinyTokenizer.byteLevel(1, VOCABULARY);

    @BeforeEach
    void write() throws IOException {
        Files.writeString(directory.resolve("tokenizer.json"), file.toString());
    }

    private Tokenizer open() throws IOException {
        write();
        return Tokenizer.open(directory, VOCABULARY);
    }

    @Test
    void textSurvives() throws IOException {
        try (Tokenizer tokenizer = open()) {
            for (String text : List.of("", "a", " leading", "日本 😀 \u0000 naïve\r\n", "\uFFFD", "e\u0301")) {
                assertEquals(text, tokenizer.decode(tokenizer.encode(text)));
            }
            assertEquals(VOCABULARY, tokenizer.vocabularySize());
        }
    }

    @Test
    void specialTokensAreRecognisedAndHaveNoText() throws IOException {
        try (Tokenizer tokenizer = open()) {
            int[] tokens = tokenizer.encode("<s>a</s>");
            assertEquals(0, tokens[0]);
            assertEquals(1, tokens[2]);
            assertEquals("a", tokenizer.decode(tokens));
            assertTrue(tokenizer.isSpecial(1));
            assertFalse(tokenizer.isSpecial(2));
        }
    }

    @Test
    void thePostProcessorAddsItsTokens() throws IOException {
        ObjectNode processor = file.putObject("post_processor").put("type", "TemplateProcessing");
        processor
                .putArray("single")
                .addObject()
                .putObject("SpecialToken")
                .put("id", "<s>")
                .put("type_id", 0);
        processor
                .withArray("single")
                .addObject()
                .putObject("Sequence")
                .put("id", "A")
                .put("type_id", 0);
        processor
                .putArray("pair")
                .addObject()
                .putObject("Sequence")
                .put("id", "A")
                .put("type_id", 0);
        processor
                .withArray("pair")
                .addObject()
                .putObject("Sequence")
                .put("id", "B")
                .put("type_id", 1);
        ObjectNode special =
                processor.putObject("special_tokens").putObject("<s>").put("id", "<s>");
        special.putArray("ids").add(0);
        special.putArray("tokens").add("<s>");
        try (Tokenizer tokenizer = open()) {
            assertEquals(0, tokenizer.encode("a")[0]);
            assertEquals(2, tokenizer.encode("a").length);
        }
    }

    /** The file asks for truncation and padding; a prompt stays whole all the same. */
    @Test
    void aLongPromptKeepsEveryToken() throws IOException {
        file.putObject("truncation")
                .put("direction", "Right")
                .put("max_length", 16)
                .put("strategy", "LongestFirst")
                .put("stride", 0);
        ObjectNode padding = file.putObject("padding");
        padding.putObject("strategy").put("Fixed", 64);
        padding.put("direction", "Right")
                .putNull("pad_to_multiple_of")
                .put("pad_id", 0)
                .put("pad_type_id", 0)
                .put("pad_token", "<s>");
        StringBuilder prompt = new StringBuilder();
        for (int i = 0; i < 20_000; i++) {
            prompt.append(i == 0 ? "" : " ").append("word").append(i);
        }
        try (Tokenizer tokenizer = open()) {
            int[] tokens = tokenizer.encode(prompt.toString());
            assertTrue(tokens.length >= 20_000, "only " + tokens.length);
            assertEquals(prompt.toString(), tokenizer.decode(tokens));
            assertEquals(1, tokenizer.encode("a").length);
        }
    }

    @Test
    void halfCharactersAreRefused() throws IOException {
        try (Tokenizer tokenizer = open()) {
            for (String text : List.of("a\uD83D", "\uDE00", "\uDE00\uD83D", "\uD83D\uD83D\uDE00")) {
                ConfigurationException e = assertThrows(ConfigurationException.class, () -> tokenizer.encode(text));
                assertTrue(String.valueOf(e.getMessage()).contains("unpaired surrogate"), e.getMessage());
            }
        }
    }

    @Test
    void closingEndsUse() throws IOException {
        Tokenizer tokenizer = open();
        tokenizer.close();
        tokenizer.close();
        assertThrows(ModelClosedException.class, () -> tokenizer.encode("a"));
        assertThrows(ModelClosedException.class, () -> tokenizer.decode(2));
    }

    @Test
    void sixteenThreadsAgreeAndClosingWaitsForThem() throws Exception {
        Tokenizer tokenizer = open();
        String text = "the same text for all ".repeat(50);
        int[] expected = tokenizer.encode(text);
        try (ExecutorService threads = Executors.newFixedThreadPool(16)) {
            List<Future<Integer>> results = new ArrayList<>();
            for (int t = 0; t < 16; t++) {
                results.add(threads.submit(() -> {
                    int calls = 0;
                    try {
                        while (true) {
                            assertArrayEquals(expected, tokenizer.encode(text));
                            calls++;
                        }
                    } catch (ModelClosedException closed) {
                        return calls;
                    }
                }));
            }
            Thread.sleep(200);
            tokenizer.close();
            int calls = 0;
            for (Future<Integer> result : results) {
                calls += result.get();
            }
            assertTrue(calls > 0);
        }
    }

    @Test
    void loadingAndTokenizingOpenNoSocket() throws Exception {
        assumeTrue(System.getProperty("os.name").equals("Linux"), "the trap for sockets is Linux's seccomp");
        Result control = inTrap("connect");
        assumeTrue(control.status() != SocketFreeProcess.TRAP_NOT_AVAILABLE, "the kernel refuses a seccomp filter");
        assertEquals(KILLED_BY_SIGSYS, control.status(), "the trap must catch a socket: " + control.output());
        Result result = inTrap("tokenize");
        assertEquals(0, result.status(), result.output());
        assertTrue(result.output().startsWith("some text = ["), result.output());
    }

    private record Result(int status, String output) {}

    private Result inTrap(String what) throws Exception {
        Path cache = directory.resolve("cache");
        Process process = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "--enable-native-access=ALL-UNNAMED",
                        "-XX:+UseSerialGC",
                        "-XX:-CreateCoredumpOnCrash",
                        "-D" + TokenizersNative.CACHE_PROPERTY + "=" + cache,
                        "-cp",
                        classPath(),
                        SocketFreeProcess.class.getName(),
                        directory.toString(),
                        what)
                .redirectErrorStream(true)
                .start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Result(process.waitFor(), output);
    }

    /** Where the classes that the process needs are from; test launchers do not all say so in java.class.path. */
    private static String classPath() throws Exception {
        List<String> entries = new ArrayList<>();
        for (Class<?> type : List.of(
                SocketFreeProcess.class,
                Tokenizer.class,
                TokenizersLibrary.class,
                EngineException.class,
                JsonMapper.class,
                JsonFactory.class,
                JsonAutoDetect.class)) {
            entries.add(Path.of(type.getProtectionDomain()
                            .getCodeSource()
                            .getLocation()
                            .toURI())
                    .toString());
        }
        return String.join(File.pathSeparator, entries);
    }

    @Test
    void theNativeLibraryIsExtractedOnceAndReplacedWhenCutOff() throws Exception {
        Path cache = directory.resolve("cache");
        List<Future<Path>> all = new ArrayList<>();
        try (ExecutorService threads = Executors.newFixedThreadPool(4)) {
            for (int t = 0; t < 4; t++) {
                all.add(threads.submit(() -> TokenizersNative.extract(cache, PLATFORM)));
            }
        }
        Path library = all.getFirst().get();
        for (Future<Path> each : all) {
            assertEquals(library, each.get());
        }
        long size = Files.size(library);
        assertEquals(List.of(library), filesBelow(cache), "parts were left behind");
        Object key = Files.readAttributes(library, BasicFileAttributes.class).fileKey();
        TokenizersNative.extract(cache, PLATFORM);
        assertEquals(
                key, Files.readAttributes(library, BasicFileAttributes.class).fileKey());
        Files.write(library, new byte[100]);
        TokenizersNative.extract(cache, PLATFORM);
        assertEquals(size, Files.size(library));
    }

    @Test
    void aCacheThatCannotBeWrittenIsAnErrorOnlyWhenAskedFor() throws IOException {
        Path file = Files.writeString(directory.resolve("file"), "no directory");
        DeviceException e = assertThrows(
                DeviceException.class,
                () -> TokenizersNative.find(Optional.of(file), Optional.empty(), directory, PLATFORM));
        assertTrue(String.valueOf(e.getMessage()).contains(file.toString()), e.getMessage());
        Path library = TokenizersNative.find(Optional.empty(), Optional.of(file), directory, PLATFORM);
        assertTrue(Files.isRegularFile(library) && library.startsWith(directory), library.toString());
        DeviceException other = assertThrows(
                DeviceException.class,
                () -> TokenizersNative.find(Optional.of(directory), Optional.empty(), directory, "plan9-mips"));
        assertTrue(String.valueOf(other.getMessage()).contains("plan9-mips"), other.getMessage());
    }

    private static List<Path> filesBelow(Path directory) throws IOException {
        try (Stream<Path> files = Files.walk(directory)) {
            return files.filter(Files::isRegularFile).toList();
        }
    }
}
