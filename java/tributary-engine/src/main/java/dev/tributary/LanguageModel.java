// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import dev.tributary.engine.run.Engine;
import dev.tributary.engine.run.LoadedModel;
import dev.tributary.engine.run.Request;
import dev.tributary.engine.text.Tokenizer;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * A decoder-only language model that drafts for itself with speculative streams (arXiv 2402.11131): it generates the
 * text that plain decoding would, in fewer passes.
 *
 * {@snippet :
 * try (LanguageModel model = LanguageModel.load(Path.of("models/demo"))) {
 *     model.generate("Columns: NAME, AGE\nQuestion: How old is Ann?\nSQL:").forEach(System.out::print);
 * }
 * }
 *
 * <p>Any number of threads may use one model; their generations are stepped together on one thread that owns the device.
 */
public final class LanguageModel implements AutoCloseable {
    private static final int MOST_CHOICES = 1024;

    private final Engine engine;
    private final LoadedModel model;
    private final Tokenizer tokenizer;
    private final Observation observation;

    private LanguageModel(Engine engine, Observation observation) {
        this.engine = engine;
        this.observation = observation;
        model = engine.model();
        tokenizer = model.tokenizer();
    }

    /**
     * Loads a model with the defaults.
     *
     * @param directory a model directory (Hugging Face layout), with its speculative streams in {@code streams/}
     * @return the model; the caller closes it
     * @throws ModelFormatException when its files are missing, malformed or not supported
     * @throws InsufficientMemoryException when it does not fit
     * @throws DeviceException when the device or its native library fails
     */
    public static LanguageModel load(Path directory) {
        return load(directory, LoadOptions.defaults());
    }

    /**
     * Loads a model.
     *
     * @param directory a model directory (Hugging Face layout)
     * @param options how
     * @return the model; the caller closes it
     * @throws ModelFormatException when its files are missing, malformed or not supported
     * @throws ConfigurationException when the options do not suit the model
     * @throws InsufficientMemoryException when it does not fit
     * @throws DeviceException when the device or its native library fails
     */
    public static LanguageModel load(Path directory, LoadOptions options) {
        Objects.requireNonNull(directory, "directory");
        Objects.requireNonNull(options, "options");
        Path last = directory.getFileName();
        String name = last == null ? "model" : last.toString();
        Observation observation = new Observation(name);
        return new LanguageModel(
                Engine.start(name, () -> LoadedModel.load(directory, options), observation), observation);
    }

    /**
     * Begins to generate with the default options.
     *
     * @param prompt the text to continue
     * @return the generation; closing it early cancels it
     * @throws ConfigurationException when the prompt is empty, too long or not valid Unicode
     * @throws ModelClosedException when the model is closed
     * @throws QueueFullException when too many requests wait
     * @throws DeviceException when the device failed earlier
     */
    public Generation generate(String prompt) {
        return generate(prompt, GenerationOptions.defaults());
    }

    /**
     * Begins to generate.
     *
     * @param prompt the text to continue
     * @param options how
     * @return the generation; closing it early cancels it
     * @throws ConfigurationException when the prompt is empty, too long or not valid Unicode
     * @throws ModelClosedException when the model is closed
     * @throws QueueFullException when too many requests wait
     * @throws DeviceException when the device failed earlier
     */
    public Generation generate(String prompt, GenerationOptions options) {
        return generate(prompt, options, Optional.empty());
    }

    /** Likewise, and lets a test see the logits behind each token. */
    Generation generate(String prompt, GenerationOptions options, Optional<Request.LogitObserver> observer) {
        Objects.requireNonNull(options, "options");
        engine.requireOpen();
        return submit(new Request(tokenize(prompt), options, observer));
    }

    /**
     * Begins to generate several texts for one prompt: they differ in the sampling noise alone, of which the choice's
     * index is a part. The first is what {@link #generate(String, GenerationOptions)} gives.
     *
     * @param prompt the text to continue
     * @param options how; the temperature is above 0, else the texts were all the same
     * @param choices how many texts, 1 to 1,024
     * @return the generations, each to be closed; {@link Generation#choice()} is their index
     * @throws ConfigurationException when the prompt is empty, too long or not valid Unicode, or the options allow one
     *     text only
     * @throws ModelClosedException when the model is closed
     * @throws QueueFullException when too many requests wait for all choices to join them; then none begins
     * @throws DeviceException when the device failed earlier
     */
    public List<Generation> generateChoices(String prompt, GenerationOptions options, int choices) {
        Objects.requireNonNull(options, "options");
        engine.requireOpen();
        return submit(tokenize(prompt), options, choices);
    }

    private List<Generation> submit(int[] prompt, GenerationOptions options, int choices) {
        if (choices < 1 || choices > MOST_CHOICES) {
            throw new ConfigurationException("choices is " + choices + ", expected 1 to " + MOST_CHOICES);
        }
        if (choices > 1 && options.temperature() == 0f) {
            throw new ConfigurationException(
                    "choices is " + choices + " at temperature 0, where all texts are the same");
        }
        List<Request> requests = IntStream.range(0, choices)
                .mapToObj(choice -> new Request(prompt, options, choice, Optional.empty()))
                .toList();
        engine.submit(requests);
        return requests.stream()
                .map(request -> new Generation(engine, request, tokenizer))
                .toList();
    }

    private Generation submit(Request request) {
        engine.submit(List.of(request));
        return new Generation(engine, request, tokenizer);
    }

    /**
     * Begins to answer a conversation with the default options.
     *
     * @param messages the conversation, mostly ending with what the user said
     * @return the model's turn as it is generated; closing it early cancels it
     * @throws ChatTemplateException when the model has no usable chat template, or it refuses the conversation
     * @throws ConfigurationException when the conversation is empty, too long or not valid Unicode
     * @throws ModelClosedException when the model is closed
     * @throws QueueFullException when too many requests wait
     * @throws DeviceException when the device failed earlier
     */
    public Generation chat(List<Message> messages) {
        return chat(messages, ChatOptions.defaults());
    }

    /**
     * Begins to answer a conversation.
     *
     * @param messages the conversation, mostly ending with what the user said
     * @param options how
     * @return the model's turn as it is generated; closing it early cancels it
     * @throws ChatTemplateException when the model has no usable chat template, or it refuses the conversation
     * @throws ConfigurationException when the conversation is empty, too long or not valid Unicode
     * @throws ModelClosedException when the model is closed
     * @throws QueueFullException when too many requests wait
     * @throws DeviceException when the device failed earlier
     */
    public Generation chat(List<Message> messages, ChatOptions options) {
        int[] prompt = tokenizer.encodeRendered(renderChat(messages, options));
        return submit(new Request(prompt, options.generation(), Optional.empty()));
    }

    /**
     * Begins several answers to a conversation, as {@link #generateChoices} does for a prompt.
     *
     * @param messages the conversation
     * @param options how; the temperature is above 0
     * @param choices how many answers, 1 to 1,024
     * @return the generations, each to be closed; {@link Generation#choice()} is their index
     * @throws ChatTemplateException when the model has no usable chat template, or it refuses the conversation
     * @throws ConfigurationException when the conversation is empty, too long or not valid Unicode, or the options allow
     *     one text only
     * @throws ModelClosedException when the model is closed
     * @throws QueueFullException when too many requests wait for all choices to join them; then none begins
     * @throws DeviceException when the device failed earlier
     */
    public List<Generation> chatChoices(List<Message> messages, ChatOptions options, int choices) {
        int[] prompt = tokenizer.encodeRendered(renderChat(messages, options));
        return submit(prompt, options.generation(), choices);
    }

    /**
     * The prompt that {@link #chat(List, ChatOptions)} reads: the conversation through the model's own chat template, byte
     * for byte what transformers' {@code apply_chat_template} gives.
     *
     * @param messages the conversation
     * @param options its tools, variables, template and clock; generation options have no effect
     * @return the prompt, special tokens included
     * @throws ChatTemplateException when the model has no usable chat template, or it refuses the conversation
     * @throws ConfigurationException when the conversation is empty
     */
    public String renderChat(List<Message> messages, ChatOptions options) {
        Objects.requireNonNull(options, "options");
        if (messages.isEmpty()) {
            throw new ConfigurationException("the conversation is empty, expected at least one message");
        }
        Map<String, @Nullable Object> variables = new LinkedHashMap<>();
        variables.put("documents", null);
        variables.putAll(options.variables());
        variables.put("messages", messages.stream().map(Message::fields).toList());
        variables.put(
                "tools",
                options.tools()
                        .map(tools -> tools.stream().map(Tool::definition).toList())
                        .orElse(null));
        variables.put("add_generation_prompt", options.generationPrompt());
        return tokenizer.chat().render(options.template(), variables, options.clock());
    }

    /**
     * The tokens of a text, with the special tokens that the model's tokenizer adds.
     *
     * @param text any valid Unicode text
     * @return token ids
     * @throws ConfigurationException when the text is not valid Unicode
     * @throws ModelClosedException when the model is closed
     */
    public int[] tokenize(String text) {
        return tokenizer.encode(Objects.requireNonNull(text, "text"));
    }

    /**
     * The bytes that a token adds to a text: what a {@link TokenConstraint} needs to know of its vocabulary. A token may hold
     * a part of a character.
     *
     * @param token its id, from 0; at most {@link ModelInfo#vocabularySize} − 1 are of use
     * @return UTF-8; none for tokens without text, such as special ones
     */
    public byte[] tokenBytes(int token) {
        return tokenizer.bytes(token);
    }

    /** {@return the tokens that end a text; a constraint allows one of them where the text may end} */
    public Set<Integer> endTokens() {
        return model.endTokens();
    }

    /** {@return what is loaded} */
    public ModelInfo info() {
        return model.info();
    }

    /** {@return the figures of all generations since the model was loaded; does not wait, and works after close} */
    public ModelStats stats() {
        // The queue first: a request that moves on meanwhile counts as running, never as both or as ended twice.
        int queued = engine.queued();
        Totals totals = observation.totals();
        int pages = model.pages().capacity();
        return new ModelStats(
                engine.submitted(),
                engine.refused(),
                queued,
                engine.parked(),
                engine.savedBytes(),
                pages,
                pages - model.pages().available(),
                model.pages().cached(),
                totals);
    }

    /**
     * Adds a listener; it hears of what comes from now on.
     *
     * @param listener called on the device thread
     */
    public void addListener(ModelListener listener) {
        observation.add(Objects.requireNonNull(listener, "listener"));
    }

    /**
     * Removes a listener; it may still hear of the step that is under way. One that was not added is no mistake.
     *
     * @param listener as it was added
     */
    public void removeListener(ModelListener listener) {
        observation.remove(Objects.requireNonNull(listener, "listener"));
    }

    /** {@return pages of the KV cache that no generation holds; all of them when none runs} */
    int freePages() {
        return model.pages().available();
    }

    /** {@return pages of the KV cache} */
    int pages() {
        return model.pages().capacity();
    }

    /**
     * Refuses new requests, cancels the running ones, waits for the device thread to end and frees everything.
     * Idempotent.
     *
     * @throws IllegalStateException when a listener or a constraint of this model calls it, which it would wait for
     */
    @Override
    public void close() {
        engine.close();
    }
}
