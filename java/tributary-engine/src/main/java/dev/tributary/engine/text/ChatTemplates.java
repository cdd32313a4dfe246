// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import com.fasterxml.jackson.databind.JsonNode;
import dev.tributary.ChatTemplateException;
import dev.tributary.ModelFormatException;
import dev.tributary.engine.model.JsonFields;
import dev.tributary.engine.model.StrictJson;
import dev.tributary.engine.template.Template;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * The chat templates of a model, found where transformers finds them: {@code chat_template.jinja} with {@code
 * additional_chat_templates/}, else the field {@code chat_template} of {@code tokenizer_config.json}. A template that
 * cannot be used refuses to render; everything else works without it.
 */
public final class ChatTemplates {
    private static final String CONFIG = "tokenizer_config.json";
    private static final String DEFAULT = "default";
    private static final String WITH_TOOLS = "tool_use";
    private static final long MAX_TEMPLATE_BYTES = 4L << 20;
    private static final List<String> SPECIAL_TOKENS =
            List.of("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token");

    /** What a class of tokenizers gives its special tokens when no file names them. */
    private static final Map<String, Map<String, String>> CLASS_TOKENS = Map.of(
            "LlamaTokenizer",
            Map.of("bos_token", "<s>", "eos_token", "</s>", "unk_token", "<unk>"),
            "Qwen2Tokenizer",
            Map.of("eos_token", "<|endoftext|>", "unk_token", "<|endoftext|>", "pad_token", "<|endoftext|>"),
            "GPT2Tokenizer",
            Map.of("bos_token", "<|endoftext|>", "eos_token", "<|endoftext|>", "unk_token", "<|endoftext|>"));

    /** A template, or why there is none. */
    private record Entry(Optional<Template> template, Optional<ChatTemplateException> problem) {}

    private final Path directory;
    private final Map<String, Entry> entries;
    private final Map<String, String> specialTokens;

    private ChatTemplates(Path directory, Map<String, Entry> entries, Map<String, String> specialTokens) {
        this.directory = directory;
        this.entries = entries;
        this.specialTokens = specialTokens;
    }

    /**
     * Reads the templates of a model; there may be none.
     *
     * @param directory the model
     * @return its templates
     * @throws ModelFormatException when a file cannot be read or is malformed; not when a template is
     */
    public static ChatTemplates read(Path directory) {
        Map<String, String> sources = new LinkedHashMap<>();
        Map<String, String> origins = new LinkedHashMap<>();
        Map<String, String> tokens = new LinkedHashMap<>();
        Path config = directory.resolve(CONFIG);
        if (Files.exists(config)) {
            JsonFields fields = StrictJson.readObject(config);
            readTokens(fields, tokens);
            Path legacy = directory.resolve("special_tokens_map.json");
            if (fields.value("added_tokens_decoder").isEmpty() && Files.exists(legacy)) {
                readTokens(StrictJson.readObject(legacy), tokens);
            }
            fields.value("tokenizer_class")
                    .map(name -> CLASS_TOKENS.get(name.asText("").replaceFirst("Fast$", "")))
                    .ifPresent(defaults -> defaults.forEach(tokens::putIfAbsent));
            fields.value("chat_template").ifPresent(value -> readField(fields, value, sources));
            sources.keySet().forEach(name -> origins.put(name, CONFIG + ": chat_template" + named(name)));
        }
        Map<String, String> files = files(directory);
        if (!files.isEmpty()) {
            sources.clear();
            files.forEach((name, file) -> {
                sources.put(name, StrictJson.readText(directory.resolve(file), MAX_TEMPLATE_BYTES));
                origins.put(name, file);
            });
        }
        Map<String, Entry> entries = new LinkedHashMap<>();
        sources.forEach((name, source) -> entries.put(name, parsed(origins.getOrDefault(name, name), source)));
        return new ChatTemplates(directory, entries, tokens);
    }

    private static String named(String name) {
        return name.equals(DEFAULT) ? "" : " " + StrictJson.quote(name);
    }

    private static Entry parsed(String origin, String source) {
        try {
            return new Entry(Optional.of(Template.parse(origin, source)), Optional.empty());
        } catch (ChatTemplateException e) {
            return new Entry(Optional.empty(), Optional.of(e));
        }
    }

    private static void readTokens(JsonFields fields, Map<String, String> tokens) {
        for (String name : SPECIAL_TOKENS) {
            fields.value(name).ifPresent(value -> {
                JsonNode text = value.isObject() ? value.path("content") : value;
                if (!text.isTextual()) {
                    throw fields.refuse(name, "a string or an object with its content", value);
                }
                tokens.put(name, text.textValue());
            });
        }
    }

    private static void readField(JsonFields fields, JsonNode value, Map<String, String> sources) {
        if (value.isTextual()) {
            sources.put(DEFAULT, value.textValue());
            return;
        }
        if (!value.isArray()) {
            throw fields.refuse("chat_template", "a string or a list of named templates", value);
        }
        for (JsonNode element : value) {
            if (!element.path("name").isTextual() || !element.path("template").isTextual()) {
                throw fields.refuse(
                        "each element of chat_template", "an object with the strings name and template", element);
            }
            sources.put(
                    element.path("name").textValue(), element.path("template").textValue());
        }
    }

    private static Map<String, String> files(Path directory) {
        Map<String, String> files = new TreeMap<>();
        if (Files.exists(directory.resolve("chat_template.jinja"))) {
            files.put(DEFAULT, "chat_template.jinja");
        }
        Path additional = directory.resolve("additional_chat_templates");
        if (Files.isDirectory(additional)) {
            try (DirectoryStream<Path> found = Files.newDirectoryStream(additional, "*.jinja")) {
                for (Path file : found) {
                    String name = String.valueOf(file.getFileName());
                    files.put(
                            name.substring(0, name.length() - ".jinja".length()), "additional_chat_templates/" + name);
                }
            } catch (IOException e) {
                throw StrictJson.unreadable(additional, e);
            }
        }
        return files;
    }

    /** {@return why templates cannot be used, one message each} */
    public List<String> problems() {
        List<String> problems = new ArrayList<>();
        entries.values()
                .forEach(entry ->
                        entry.problem().ifPresent(problem -> problems.add(String.valueOf(problem.getMessage()))));
        return problems;
    }

    /**
     * Renders a conversation as transformers does.
     *
     * @param name of a template; empty: the model's own choice, which goes by whether there are tools
     * @param variables what the template sees besides the special tokens, over which they win
     * @param clock what the template reads the date from
     * @return the text
     * @throws ChatTemplateException when there is no such template, or it cannot render these variables
     */
    public String render(Optional<String> name, Map<String, ? extends @Nullable Object> variables, Clock clock) {
        String wanted = name.orElseGet(
                () -> entries.containsKey(WITH_TOOLS) && variables.get("tools") != null ? WITH_TOOLS : DEFAULT);
        Entry entry = entries.get(wanted);
        if (entry == null) {
            throw new ChatTemplateException(
                    directory
                            + (entries.isEmpty()
                                    ? ": the model has no chat template"
                                    : ": there is no chat template " + StrictJson.quote(wanted) + ", only "
                                            + String.join(", ", entries.keySet())),
                    0);
        }
        if (entry.problem().isPresent()) {
            ChatTemplateException problem = entry.problem().get();
            throw new ChatTemplateException(String.valueOf(problem.getMessage()), problem.line());
        }
        Map<String, @Nullable Object> all = new LinkedHashMap<>(specialTokens);
        all.putAll(variables);
        return entry.template().orElseThrow().render(all, clock);
    }
}
