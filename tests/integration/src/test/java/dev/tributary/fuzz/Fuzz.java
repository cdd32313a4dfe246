// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import java.util.stream.Stream;

/**
 * The long form of fuzzing, behind {@code scripts/fuzz}. Each target runs in a process of its own with a small heap, since
 * a native library can end the process that it is called in; the process that watches it draws the same input again from
 * the seed, keeps it, and goes on behind it.
 */
final class Fuzz {
    private static final String USAGE = "usage: scripts/fuzz [--minutes N] [--seed S] [--out FOLDER] [TARGET…], or"
            + " scripts/fuzz --replay FOLDER TARGET; targets: "
            + String.join(", ", Targets.all().keySet());
    /** Of the processor's time, since the machine may be busy, and of the clock's, in case nothing is computed. */
    private static final Duration ROUND_LIMIT = Duration.ofSeconds(30);

    private static final Duration WAITING_LIMIT = Duration.ofMinutes(5);
    /** Of the heap, and of everything: tiny models need far less. */
    private static final String HEAP = "-Xmx512m";

    private static final long MEMORY_LIMIT_KB = 1536 << 10;
    /** One defect is mostly found again and again. */
    private static final int ENOUGH_FAILURES = 20;

    private static final int FOUND = 3;
    private static final int HUNG = 4;
    private static final String WATCHED = "--watched";

    // What a watched process leaves behind, whatever ends it: 64-bit words of a mapped file.
    private static final long SEED = 0;
    private static final long BEGUN = 8; // the nanoTime at which the round began, 0 between rounds
    private static final long WORKED = 16;
    private static final long REFUSED = 24;
    private static final long STATE_BYTES = 32;

    private Fuzz() {}

    /** Runs what the arguments say; ends with status 1 when a failure was found. */
    public static void main(String[] arguments) throws Exception {
        if (arguments.length > 0 && arguments[0].equals(WATCHED)) {
            watched(arguments[1], Long.parseLong(arguments[2]), Long.parseLong(arguments[3]), Path.of(arguments[4]));
            return;
        }
        long minutes = 10;
        long seed = System.currentTimeMillis() << 20;
        Path out = Seeds.root().resolve("build/fuzz");
        Optional<Path> replay = Optional.empty();
        List<String> names = new ArrayList<>();
        for (int i = 0; i < arguments.length; i++) {
            String argument = arguments[i];
            if (!argument.startsWith("--")) {
                names.add(argument);
                continue;
            }
            if (i + 1 == arguments.length) {
                fail(argument + " needs a value; " + USAGE);
            }
            String value = arguments[++i];
            switch (argument) {
                case "--minutes" -> minutes = number(argument, value, 1);
                case "--seed" -> seed = number(argument, value, Long.MIN_VALUE);
                case "--out" -> out = Path.of(value);
                case "--replay" -> replay = Optional.of(Path.of(value));
                default -> fail("unknown option " + argument + "; " + USAGE);
            }
        }
        for (String name : names) {
            if (!Targets.all().containsKey(name)) {
                fail("unknown target " + name + "; " + USAGE);
            }
        }
        if (replay.isPresent()) {
            if (names.size() != 1) {
                fail("--replay takes one target; " + USAGE);
            }
            replay(replay.get(), names.getFirst());
            return;
        }
        boolean failed = false;
        for (String name : names.isEmpty() ? Targets.all().keySet() : names) {
            failed |= fuzz(name, seed, Duration.ofMinutes(minutes), out);
        }
        System.exit(failed ? 1 : 0);
    }

    private static long number(String option, String value, long least) {
        try {
            long number = Long.parseLong(value);
            if (number >= least) {
                return number;
            }
        } catch (NumberFormatException e) {
            // Told below.
        }
        fail(option + ": " + value + " is not a whole number" + (least == 1 ? " of at least 1" : ""));
        return 0;
    }

    private static void fail(String message) {
        System.err.println("tributary: " + message);
        System.exit(2);
    }

    private static FuzzTarget target(String name) {
        Supplier<FuzzTarget> made = Targets.all().get(name);
        if (made == null) {
            throw new IllegalArgumentException(name);
        }
        return made.get();
    }

    /** Feeds a kept input once, in this process. */
    private static void replay(Path folder, String name) throws IOException {
        Path scratch = Files.createTempDirectory("tributary-fuzz-");
        try (FuzzTarget target = target(name)) {
            Rounds rounds = new Rounds(target, scratch);
            Optional<String> failure = rounds.run(Input.read(folder));
            System.out.println(failure.orElseGet(
                    () -> rounds.worked() == 1 ? "it works" : "it is refused: " + String.join("", rounds.refusals())));
            System.exit(failure.isPresent() ? 1 : 0);
        }
    }

    /** Runs one target and reports; true when it failed. */
    private static boolean fuzz(String name, long firstSeed, Duration time, Path out) throws Exception {
        long deadline = System.nanoTime() + time.toNanos();
        long begin = System.nanoTime();
        Path folder = Files.createTempDirectory("tributary-fuzz-");
        long worked = 0;
        long refused = 0;
        long failures = 0;
        long peak = 0;
        Set<String> kinds = new HashSet<>();
        Set<String> refusals = new TreeSet<>();
        long seed = firstSeed;
        System.out.println(name + ": seed " + firstSeed + ", " + time.toMinutes() + " min");
        while (System.nanoTime() < deadline && failures < ENOUGH_FAILURES) {
            Path state = folder.resolve("state");
            Files.write(state, new byte[(int) STATE_BYTES]);
            long millis = Math.max(1, (deadline - System.nanoTime()) / 1_000_000);
            Process process = new ProcessBuilder(Stream.of(
                                    Path.of(System.getProperty("java.home"), "bin", "java")
                                            .toString(),
                                    HEAP,
                                    "-XX:+UseSerialGC",
                                    "-XX:-CreateCoredumpOnCrash",
                                    "-XX:ErrorFile=" + folder.resolve("hs_err.log"),
                                    "--enable-native-access=ALL-UNNAMED",
                                    "-Dtributary.root=" + System.getProperty("tributary.root"),
                                    "-cp",
                                    System.getProperty("java.class.path"),
                                    Fuzz.class.getName(),
                                    WATCHED,
                                    name,
                                    Long.toString(seed),
                                    Long.toString(millis),
                                    folder.toString())
                            .toList())
                    .redirectErrorStream(true)
                    .redirectOutput(folder.resolve("log").toFile())
                    .start();
            if (!process.waitFor(millis + 2 * WAITING_LIMIT.toMillis(), TimeUnit.MILLISECONDS)) {
                process.destroyForcibly().waitFor();
            }
            int status = process.exitValue();
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment words = map(state, arena);
                seed = words.get(ValueLayout.JAVA_LONG, SEED);
                worked += words.get(ValueLayout.JAVA_LONG, WORKED);
                refused += words.get(ValueLayout.JAVA_LONG, REFUSED);
            }
            peak = Math.max(peak, peakOf(folder));
            Path told = folder.resolve("refusals");
            if (Files.exists(told)) {
                refusals.addAll(Files.readAllLines(told));
            }
            if (status == 0) {
                break;
            }
            failures++;
            String log = Files.readString(folder.resolve("log"), StandardCharsets.UTF_8)
                    .strip();
            String what =
                    status == FOUND || status == HUNG ? log : "the process ended with status " + status + "\n" + log;
            if (kinds.add(place(what))) {
                Path kept = out.resolve(name + "-" + seed);
                try (FuzzTarget target = target(name)) {
                    Rounds.input(target, seed).write(kept);
                }
                System.out.println("FAILED " + name + ", seed " + seed + ", input kept in " + kept + "\n"
                        + what.lines().limit(25).reduce("", (a, b) -> a + "    " + b + "\n"));
            }
            seed++;
        }
        delete(folder);
        System.out.printf(
                "%s: %d s, %d inputs, %d worked, %d refused in %d ways, %d failures of %d kinds, peak memory %d MB%n",
                name,
                (System.nanoTime() - begin) / 1_000_000_000,
                worked + refused + failures,
                worked,
                refused,
                refusals.size(),
                failures,
                kinds.size(),
                peak >> 10);
        Files.createDirectories(out);
        Files.write(out.resolve(name + "-refusals.txt"), refusals);
        return failures > 0;
    }

    /** What tells defects apart: the exception and the first of our own lines below it. */
    private static String place(String failure) {
        return failure.lines()
                .filter(line -> !line.isBlank())
                .filter(line -> !line.startsWith("\tat ") || line.contains("dev.tributary"))
                .limit(2)
                .map(line -> line.replaceAll("\\d+", "N").replaceAll("[\"'].*", ""))
                .reduce("", String::concat);
    }

    private static long peakOf(Path folder) throws IOException {
        Path peak = folder.resolve("peak");
        return Files.exists(peak) ? Long.parseLong(Files.readString(peak)) : 0;
    }

    private static void delete(Path folder) throws IOException {
        try (Stream<Path> all = Files.walk(folder)) {
            for (Path path : all.sorted((a, b) -> b.compareTo(a)).toList()) {
                Files.delete(path);
            }
        }
    }

    private static MemorySegment map(Path file, Arena arena) throws IOException {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            return channel.map(FileChannel.MapMode.READ_WRITE, 0, STATE_BYTES, arena);
        }
    }

    /** The watched process: rounds until the time is over, or the first failure. */
    private static void watched(String name, long firstSeed, long millis, Path folder) throws IOException {
        long deadline = System.nanoTime() + millis * 1_000_000;
        MemorySegment words = map(folder.resolve("state"), Arena.global());
        Thread worker = Thread.currentThread();
        Thread.ofPlatform().daemon().start(() -> endWhenHung(words, worker));
        int status = 0;
        try (FuzzTarget target = target(name)) {
            Rounds rounds = new Rounds(target, Files.createDirectories(folder.resolve("scratch")));
            for (long seed = firstSeed; status == 0 && System.nanoTime() < deadline; seed++) {
                words.set(ValueLayout.JAVA_LONG, SEED, seed);
                words.set(ValueLayout.JAVA_LONG, BEGUN, System.nanoTime());
                Optional<String> failure = rounds.run(Rounds.input(target, seed));
                words.set(ValueLayout.JAVA_LONG, BEGUN, 0);
                words.set(ValueLayout.JAVA_LONG, WORKED, rounds.worked());
                words.set(ValueLayout.JAVA_LONG, REFUSED, rounds.refused());
                if (failure.isEmpty() && peakKilobytes() > MEMORY_LIMIT_KB) {
                    failure = Optional.of("the process took " + (peakKilobytes() >> 10) + " MB");
                }
                if (failure.isPresent()) {
                    System.out.println(failure.get());
                    status = FOUND;
                }
            }
            Files.writeString(folder.resolve("peak"), Long.toString(peakKilobytes()));
            Files.write(folder.resolve("refusals"), rounds.refusals());
        }
        System.exit(status);
    }

    private static void endWhenHung(MemorySegment words, Thread worker) {
        long round = 0;
        Duration computedBefore = Duration.ZERO;
        while (true) {
            try {
                Thread.sleep(200);
            } catch (InterruptedException e) {
                return;
            }
            long begun = words.get(ValueLayout.JAVA_LONG, BEGUN);
            Duration computed =
                    ProcessHandle.current().info().totalCpuDuration().orElse(Duration.ZERO);
            if (begun != round) {
                round = begun;
                computedBefore = computed;
            }
            Duration waited = Duration.ofNanos(begun == 0 ? 0 : System.nanoTime() - begun);
            if (begun != 0
                    && (computed.minus(computedBefore).compareTo(ROUND_LIMIT) > 0
                            || waited.compareTo(WAITING_LIMIT) > 0)) {
                System.out.println("no end after " + waited.toSeconds() + " s\n"
                        + Arrays.stream(worker.getStackTrace())
                                .map(frame -> "\tat " + frame + "\n")
                                .reduce("", String::concat));
                System.out.flush();
                Runtime.getRuntime().halt(HUNG);
            }
        }
    }

    /** The most memory that this process had at any time; 0 where the system does not tell. */
    private static long peakKilobytes() throws IOException {
        Path status = Path.of("/proc/self/status");
        if (!Files.exists(status)) {
            return 0;
        }
        for (String line : Files.readAllLines(status)) {
            if (line.startsWith("VmHWM:")) {
                return Long.parseLong(line.replaceAll("\\D", ""));
            }
        }
        return 0;
    }
}
