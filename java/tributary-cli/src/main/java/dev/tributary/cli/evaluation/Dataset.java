// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli.evaluation;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.BufferedInputStream;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.tukaani.xz.XZInputStream;

/** A file of JSON lines, each an object with {@code prompt} and {@code completion}; compressed when named {@code .xz}. */
public final class Dataset {
    private static final ObjectReader LINE = JsonMapper.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .build()
            .readerFor(JsonNode.class);

    private Dataset() {}

    /**
     * Reads the first examples of a file; what follows them is not looked at.
     *
     * @param file JSON lines
     * @param limit most examples to read
     * @return the examples, at least one
     * @throws DataException when the file or one of these lines is malformed
     */
    public static List<Example> read(Path file, int limit) {
        List<Example> examples = new ArrayList<>();
        int number = 0;
        try (BufferedReader lines = open(file)) {
            while (examples.size() < limit) {
                number++;
                String line = lines.readLine();
                if (line == null) {
                    break;
                }
                examples.add(example(file, number, line));
            }
        } catch (CharacterCodingException e) {
            throw new DataException(file + ": not valid UTF-8, at line " + number + " or soon after it", e);
        } catch (NoSuchFileException e) {
            throw new DataException(file + ": no such file", e);
        } catch (IOException e) {
            String reason = e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
            throw new DataException(
                    number == 0
                            ? file + ": cannot be read: " + reason
                            : file + ": cannot be read beyond line " + (number - 1) + ": " + reason,
                    e);
        }
        if (examples.isEmpty()) {
            throw new DataException(file + ": holds no lines, expected at least one");
        }
        return List.copyOf(examples);
    }

    private static BufferedReader open(Path file) throws IOException {
        InputStream bytes = new BufferedInputStream(Files.newInputStream(file));
        try {
            if (file.getFileName().toString().endsWith(".xz")) {
                bytes = new XZInputStream(bytes);
            }
            // A decoder instead of a character set: it reports malformed bytes, which the other would replace.
            return new BufferedReader(new InputStreamReader(bytes, StandardCharsets.UTF_8.newDecoder()));
        } catch (IOException e) {
            bytes.close();
            throw e;
        }
    }

    private static Example example(Path file, int number, String line) {
        String where = file + ": line " + number + ": ";
        JsonNode object;
        try {
            object = LINE.readTree(line);
        } catch (JsonProcessingException e) {
            throw new DataException(where + "not a JSON object: " + e.getOriginalMessage(), e);
        }
        if (!object.isObject()) {
            throw new DataException(where + "not a JSON object: " + shortened(line));
        }
        return new Example(number, string(where, object, "prompt"), string(where, object, "completion"));
    }

    private static String string(String where, JsonNode object, String field) {
        JsonNode value = object.get(field);
        if (value == null || !value.isTextual()) {
            throw new DataException(where + "\"" + field + "\" is "
                    + (value == null ? "missing" : shortened(value.toString())) + ", expected a string");
        }
        return value.textValue();
    }

    private static String shortened(String text) {
        int most = 40;
        if (text.isEmpty()) {
            return "an empty line";
        }
        return text.length() <= most ? text : text.substring(0, most) + "…";
    }
}
