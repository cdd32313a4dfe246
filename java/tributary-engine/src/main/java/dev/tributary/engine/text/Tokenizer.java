// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import dev.tributary.ConfigurationException;
import dev.tributary.DeviceException;
import dev.tributary.ModelClosedException;
import dev.tributary.ModelFormatException;
import dev.tributary.engine.model.StrictJson;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/**
 * The tokenizer of a model, {@code tokenizer.json}, run by the Hugging Face tokenizers library. Any number of threads may
 * use it; closing waits for them.
 *
 * <p>The binding of that library is used below its own façade, which by default truncates at 512 tokens, pads, and
 * contacts a metadata service at every load. Here nothing is truncated or padded and no socket is opened.
 */
public final class Tokenizer implements AutoCloseable {
    private static final TokenizersLibrary LIBRARY = TokenizersLibrary.LIB;

    private final Path path;
    private final TokenizerFile file;
    private final ChatTemplates chat;
    private final ReadWriteLock lock = new ReentrantReadWriteLock();
    private long handle;

    private Tokenizer(Path path, TokenizerFile file, ChatTemplates chat, long handle) {
        this.path = path;
        this.file = file;
        this.chat = chat;
        this.handle = handle;
    }

    /**
     * Opens a model's tokenizer.
     *
     * @param directory the model
     * @param vocabularySize of the model: every token must have an id below
     * @return the tokenizer; the caller closes it
     * @throws ModelFormatException when {@code tokenizer.json} is missing, malformed, not supported or larger than the
     *     model's vocabulary, or {@code tokenizer_config.json} is malformed
     * @throws dev.tributary.DeviceException when the native library cannot be loaded
     */
    public static Tokenizer open(Path directory, int vocabularySize) {
        Path path = directory.resolve("tokenizer.json");
        TokenizerFile file = TokenizerFile.read(path, vocabularySize);
        ChatTemplates chat = ChatTemplates.read(directory);
        TokenizersNative.require();
        long handle;
        try {
            handle = LIBRARY.createTokenizerFromString(file.json());
        } catch (IllegalCallerException e) {
            throw new DeviceException(
                    "the tokenizer's library may not be called: " + e.getMessage()
                            + "; on the module path it needs --enable-native-access=dev.tributary.engine,ai.djl.tokenizers",
                    e);
        } catch (RuntimeException e) {
            throw new ModelFormatException(path + ": " + e.getMessage(), e);
        }
        // A file may ask for both; a prompt must reach the model as it is.
        LIBRARY.disableTruncation(handle);
        LIBRARY.disablePadding(handle);
        Tokenizer tokenizer = new Tokenizer(path, file.withoutJson(), chat, handle);
        boolean done = false;
        try {
            tokenizer.requireAddedTokens();
            done = true;
            return tokenizer;
        } finally {
            if (!done) {
                tokenizer.close();
            }
        }
    }

    /** The library numbers added tokens by its own rule and overlooks a file that says otherwise. */
    private void requireAddedTokens() {
        file.added().stream().forEach(id -> {
            Detokenizer detokenizer = new Detokenizer(file, true);
            String expected = detokenizer.append(id) + detokenizer.flush();
            if (!LIBRARY.decode(handle, new long[] {id}, false).equals(expected)) {
                throw new ModelFormatException(path + ": added token "
                        + StrictJson.quote(file.pieces().get(id)) + " cannot have id " + id
                        + ": added tokens follow the vocabulary without a gap");
            }
        });
    }

    /**
     * {@return its tokens, with the special tokens that the tokenizer's own post-processor adds}
     *
     * @param text any valid Unicode text; special tokens are recognised in it
     * @throws ConfigurationException when the text is not valid Unicode or cannot be tokenized
     * @throws ModelClosedException after {@link #close}
     */
    public int[] encode(String text) {
        return encode(text, true);
    }

    /**
     * {@return its tokens and no others: for text that holds its special tokens already, as a rendered conversation does}
     *
     * @param text any valid Unicode text; special tokens are recognised in it
     * @throws ConfigurationException when the text is not valid Unicode or cannot be tokenized
     * @throws ModelClosedException after {@link #close}
     */
    public int[] encodeRendered(String text) {
        return encode(text, false);
    }

    private int[] encode(String text, boolean withSpecial) {
        // The library ends the process when it meets half a character, or has to retry a pattern too often.
        Unicode.requireValid("the text", text);
        if (text.length() > SplitPattern.MAX_TEXT) {
            throw new ConfigurationException(
                    "the text has " + text.length() + " characters, expected at most " + SplitPattern.MAX_TEXT);
        }
        long[] ids = locked(() -> {
            long encoding = LIBRARY.encode(handle, text, withSpecial);
            try {
                return LIBRARY.getTokenIds(encoding);
            } finally {
                LIBRARY.deleteEncoding(encoding);
            }
        });
        int[] tokens = new int[ids.length];
        for (int i = 0; i < ids.length; i++) {
            tokens[i] = Math.toIntExact(ids[i]);
        }
        return tokens;
    }

    /**
     * The bytes that a token adds to a text which it does not begin; of UTF-8, but not always whole characters.
     *
     * @param token its id
     * @return empty for tokens without text: special ones, and rows of the model's vocabulary that the tokenizer does not use
     */
    public byte[] bytes(int token) {
        if (token < 0) {
            throw new IllegalArgumentException("a token id is not negative, got " + token);
        }
        if (token >= file.pieces().size()
                || file.special().get(token)
                || file.unused().get(token)) {
            return new byte[0];
        }
        String text = file.pieces().get(token);
        for (DecodeStep step : file.decoder()) {
            switch (step) {
                case DecodeStep.ByteLevel() -> {
                    return ByteAlphabet.bytes(text);
                }
                case DecodeStep.ByteFallback() -> {
                    if (ByteAlphabet.isFallback(text)) {
                        return new byte[] {ByteAlphabet.fallback(text)};
                    }
                }
                case DecodeStep.Replace(String pattern, String content) -> text = text.replace(pattern, content);
                case DecodeStep.Metaspace metaspace ->
                    text = text.replace(Character.toString(metaspace.replacement()), " ");
                case DecodeStep.Spaced() -> text = " " + text;
                // What they do, they do at the beginning of a text.
                case DecodeStep.Fuse(), DecodeStep.Strip _ -> {}
            }
        }
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /**
     * {@return their text}
     *
     * @param tokens ids; those without text are left out, as special tokens are
     * @throws ModelClosedException after {@link #close}
     */
    public String decode(int... tokens) {
        long[] ids = new long[tokens.length];
        for (int i = 0; i < tokens.length; i++) {
            if (tokens[i] < 0) {
                throw new IllegalArgumentException("a token id is not negative, got " + tokens[i]);
            }
            ids[i] = tokens[i];
        }
        return locked(() -> LIBRARY.decode(handle, ids, true));
    }

    private interface Call<T> {
        T run();
    }

    private <T> T locked(Call<T> call) {
        Lock shared = lock.readLock();
        shared.lock();
        try {
            if (handle == 0) {
                throw new ModelClosedException("the tokenizer is closed");
            }
            return call.run();
        } catch (ModelClosedException e) {
            throw e;
        } catch (RuntimeException e) {
            throw new ConfigurationException(path + " cannot tokenize the text: " + e.getMessage(), e);
        } finally {
            shared.unlock();
        }
    }

    /** {@return the model's chat templates; any thread may use them, also after {@link #close}} */
    public ChatTemplates chat() {
        return chat;
    }

    /** {@return a detokenizer for a text of its own} */
    public Detokenizer detokenizer() {
        return new Detokenizer(file);
    }

    /**
     * {@return a detokenizer for the text that continues them}
     *
     * @param context the tokens before the text, such as the prompt's
     */
    public Detokenizer detokenizer(int[] context) {
        Detokenizer detokenizer = detokenizer();
        detokenizer.skip(context);
        return detokenizer;
    }

    /** {@return one more than the greatest id that has a token} */
    public int vocabularySize() {
        return file.pieces().size();
    }

    /**
     * {@return whether it is a special token, which has no text}
     *
     * @param token an id
     */
    boolean isSpecial(int token) {
        return file.special().get(token);
    }

    /**
     * {@return how the vocabulary writes it, empty for an unused id; for displays, not for text}
     *
     * @param token an id
     */
    String piece(int token) {
        return token < file.pieces().size() ? file.pieces().get(token) : "";
    }

    /** Waits for calls of other threads, then frees the tokenizer. */
    @Override
    public void close() {
        Lock exclusive = lock.writeLock();
        exclusive.lock();
        try {
            if (handle != 0) {
                LIBRARY.deleteTokenizer(handle);
                handle = 0;
            }
        } finally {
            exclusive.unlock();
        }
    }
}
