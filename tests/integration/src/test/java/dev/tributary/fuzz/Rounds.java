// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import dev.tributary.TributaryException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.TreeSet;

/** Rounds of one target: each draws an input from a seed of its own and judges what became of it. */
final class Rounds {
    /** A message is one line that a person reads. */
    private static final int LONGEST_MESSAGE = 2000;

    private final FuzzTarget target;
    private final Path scratch;
    private final Set<String> refusals = new TreeSet<>();
    private long worked;
    private long refused;

    Rounds(FuzzTarget target, Path scratch) {
        this.target = target;
        this.scratch = scratch;
    }

    /** The input of a seed, always the same one. */
    static Input input(FuzzTarget target, long seed) {
        return target.draw(new SplittableRandom(seed));
    }

    /** One round; empty, unless it failed. */
    Optional<String> run(Input input) {
        try {
            target.feed(input, scratch);
            worked++;
            return Optional.empty();
        } catch (TributaryException e) {
            refused++;
            String message = String.valueOf(e.getMessage());
            refusals.add(e.getClass().getSimpleName() + ": " + kind(message));
            return objection(message).map(objection -> objection + "\n" + stackTrace(e));
        } catch (Exception | Error e) {
            return Optional.of(stackTrace(e));
        }
    }

    /** What is wrong with a message. */
    static Optional<String> objection(String message) {
        if (message.isBlank()) {
            return Optional.of("the refusal says nothing");
        }
        if (message.length() > LONGEST_MESSAGE) {
            return Optional.of("the refusal has " + message.length() + " characters");
        }
        boolean oneLine = message.codePoints()
                .noneMatch(c -> Character.isISOControl(c)
                        || c == 0x2028
                        || c == 0x2029
                        || (c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE));
        return oneLine ? Optional.empty() : Optional.of("the refusal is not one line of characters");
    }

    /** The message without what differs from input to input: names, numbers, places. */
    private String kind(String message) {
        return message.replace(scratch.toString(), "…")
                .replaceAll("\"[^\"]*\"?", "\"…\"")
                .replaceAll("'[^']*'?", "'…'")
                .replaceAll("got .*", "got …")
                .replaceAll("[-+.\\w]*\\d[-+.\\w]*", "N")
                .replaceAll("[^\\x20-\\x7e…]+", "…")
                .replaceAll("\\[[^\\]]*\\]?", "[…]");
    }

    private static String stackTrace(Throwable e) {
        StringWriter text = new StringWriter();
        e.printStackTrace(new PrintWriter(text));
        return text.toString();
    }

    long worked() {
        return worked;
    }

    long refused() {
        return refused;
    }

    Set<String> refusals() {
        return refusals;
    }
}
