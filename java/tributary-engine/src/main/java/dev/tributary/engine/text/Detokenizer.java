// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Turns tokens into text one by one: each call returns what has become certain. A character that is spread over several
 * tokens comes whole with the last of them, U+FFFD only where no later token can help, and all parts joined equal {@link
 * Tokenizer#decode} of all tokens. The work per token does not grow with the text.
 *
 * <p>Tokenizers with byte fallback decide about a run of byte tokens at its end only (one wrong byte spoils the run), so
 * its text waits for the first token that is no byte. Special tokens have no text.
 *
 * <p>For one text and one thread at a time.
 */
public final class Detokenizer {
    private final TokenizerFile file;
    private final boolean withSpecial;
    private final Stage first;
    private final StringBuilder certain = new StringBuilder();

    Detokenizer(TokenizerFile file) {
        this(file, false);
    }

    /**
     * A detokenizer for a text of its own.
     *
     * @param withSpecial whether special tokens have text all the same
     */
    Detokenizer(TokenizerFile file, boolean withSpecial) {
        this.file = file;
        this.withSpecial = withSpecial;
        Stage stage = new Collect(certain);
        List<DecodeStep> steps = file.decoder();
        for (int i = steps.size() - 1; i >= 0; i--) {
            stage = Stage.of(steps.get(i), stage);
        }
        this.first = stage;
    }

    /**
     * {@return the text that is certain now, often empty}
     *
     * @param token the next token
     */
    public String append(int token) {
        if (token < 0) {
            throw new IllegalArgumentException("a token id is not negative, got " + token);
        }
        // Rows of the model's vocabulary beyond the tokenizer's have no text either.
        if (token < file.pieces().size()
                && (withSpecial || !file.special().get(token))
                && !file.unused().get(token)) {
            first.accept(file.pieces().get(token), true);
        }
        return take();
    }

    /**
     * Takes tokens whose text is known already, such as a prompt's, so that what follows continues them: a word at the
     * start of the generated text keeps its space.
     *
     * @param tokens the tokens before the text
     */
    void skip(int[] tokens) {
        for (int token : tokens) {
            append(token);
        }
        first.settle();
        take();
    }

    /**
     * Ends the text.
     *
     * @return what had been waiting, an unfinished character as U+FFFD
     */
    public String flush() {
        first.settle();
        return take();
    }

    private String take() {
        String text = certain.toString();
        certain.setLength(0);
        return text;
    }

    /** A decode step at work. Pieces come whole, or, once they are joined, as parts of one that never ends. */
    private abstract static class Stage {
        final Stage next;

        Stage(@Nullable Stage next) {
            this.next = next == null ? this : next;
        }

        /**
         * Takes the next text.
         *
         * @param text a piece or a part of one
         * @param begins whether a piece begins here
         */
        abstract void accept(String text, boolean begins);

        /** Passes on what waits. */
        void settle() {
            next.settle();
        }

        static Stage of(DecodeStep step, Stage next) {
            return switch (step) {
                case DecodeStep.Spaced() -> new Spaced(next);
                case DecodeStep.ByteLevel() -> new ByteLevel(next);
                case DecodeStep.Replace replace -> new Replace(replace, next);
                case DecodeStep.ByteFallback() -> new ByteFallback(next);
                case DecodeStep.Fuse() -> new Fuse(next);
                case DecodeStep.Strip strip -> new Strip(strip, next);
                case DecodeStep.Metaspace metaspace -> new Metaspace(metaspace, next);
            };
        }
    }

    private static final class Collect extends Stage {
        private final StringBuilder text;

        Collect(StringBuilder text) {
            super(null);
            this.text = text;
        }

        @Override
        void accept(String part, boolean begins) {
            text.append(part);
        }

        @Override
        void settle() {}
    }

    private static final class Spaced extends Stage {
        private boolean started;

        Spaced(Stage next) {
            super(next);
        }

        @Override
        void accept(String text, boolean begins) {
            next.accept(begins && started ? " " + text : text, begins);
            started = true;
        }
    }

    private static final class ByteLevel extends Stage {
        private final Utf8Stream utf8 = new Utf8Stream();
        private boolean started;

        ByteLevel(Stage next) {
            super(next);
        }

        @Override
        void accept(String piece, boolean begins) {
            StringBuilder text = new StringBuilder();
            for (byte b : ByteAlphabet.bytes(piece)) {
                utf8.accept(b, text);
            }
            pass(text);
        }

        private void pass(StringBuilder text) {
            if (!text.isEmpty()) {
                next.accept(text.toString(), !started);
                started = true;
            }
        }

        @Override
        void settle() {
            StringBuilder text = new StringBuilder();
            utf8.finish(text);
            pass(text);
            super.settle();
        }
    }

    private static final class Replace extends Stage {
        private final DecodeStep.Replace step;

        Replace(DecodeStep.Replace step, Stage next) {
            super(next);
            this.step = step;
        }

        @Override
        void accept(String text, boolean begins) {
            next.accept(text.replace(step.pattern(), step.content()), begins);
        }
    }

    private static final class ByteFallback extends Stage {
        private final List<Byte> run = new ArrayList<>();

        ByteFallback(Stage next) {
            super(next);
        }

        @Override
        void accept(String piece, boolean begins) {
            if (ByteAlphabet.isFallback(piece)) {
                run.add(ByteAlphabet.fallback(piece));
            } else {
                endRun();
                next.accept(piece, true);
            }
        }

        private void endRun() {
            if (run.isEmpty()) {
                return;
            }
            ByteBuffer bytes = ByteBuffer.allocate(run.size());
            run.forEach(bytes::put);
            try {
                next.accept(
                        StandardCharsets.UTF_8.newDecoder().decode(bytes.flip()).toString(), true);
            } catch (CharacterCodingException e) {
                for (int i = 0; i < run.size(); i++) {
                    next.accept("\uFFFD", true);
                }
            }
            run.clear();
        }

        @Override
        void settle() {
            endRun();
            super.settle();
        }
    }

    private static final class Fuse extends Stage {
        private boolean started;

        Fuse(Stage next) {
            super(next);
        }

        @Override
        void accept(String text, boolean begins) {
            next.accept(text, !started);
            started = true;
        }
    }

    private static final class Strip extends Stage {
        private final DecodeStep.Strip step;
        private int left;

        Strip(DecodeStep.Strip step, Stage next) {
            super(next);
            this.step = step;
        }

        @Override
        void accept(String text, boolean begins) {
            if (begins) {
                left = step.start();
            }
            int from = 0;
            while (left > 0 && from < text.length()) {
                if (text.codePointAt(from) == step.content()) {
                    from += Character.charCount(step.content());
                    left--;
                } else {
                    left = 0;
                }
            }
            next.accept(text.substring(from), begins);
        }
    }

    private static final class Metaspace extends Stage {
        private final String replacement;
        private String space;

        Metaspace(DecodeStep.Metaspace step, Stage next) {
            super(next);
            replacement = Character.toString(step.replacement());
            space = step.dropInFirst() ? "" : " ";
        }

        @Override
        void accept(String piece, boolean begins) {
            next.accept(piece.replace(replacement, space), true);
            space = " ";
        }
    }
}
