// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import dev.tributary.DeviceException;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.net.URLConnection;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.Properties;
import org.jspecify.annotations.Nullable;

/**
 * The native library of the tokenizers: taken from its jar, extracted once into a cache directory of its version, and
 * loaded from there. The binding's own loader is not used: it looks for GPUs and may download another build.
 */
final class TokenizersNative {
    /** The system property that names the cache directory. */
    static final String CACHE_PROPERTY = "tributary.cache";

    private static final Optional<DeviceException> FAILURE = load();

    private TokenizersNative() {}

    /** Returns when the library is loaded. */
    static void require() {
        FAILURE.ifPresent(failure -> {
            throw new DeviceException(String.valueOf(failure.getMessage()), failure);
        });
    }

    @SuppressWarnings("restricted") // JNI is how this library is made; native access is granted by the application
    private static Optional<DeviceException> load() {
        try {
            if (!Objects.equals(TokenizersLibrary.class.getClassLoader(), TokenizersNative.class.getClassLoader())) {
                // Native methods are looked up among the libraries that the same class loader has loaded.
                throw new DeviceException(
                        "the tokenizers jar must be loaded by the class loader that loads Tributary",
                        DeviceException.Reason.NATIVE_LIBRARY);
            }
            Path library = find(
                    Optional.ofNullable(System.getProperty(CACHE_PROPERTY)).map(Path::of),
                    userCache(),
                    Path.of(System.getProperty("java.io.tmpdir")),
                    platform());
            System.load(library.toAbsolutePath().toString());
            return Optional.empty();
        } catch (DeviceException e) {
            return Optional.of(e);
        } catch (IOException | UnsatisfiedLinkError e) {
            return Optional.of(new DeviceException(
                    "the tokenizers library cannot be loaded: " + e.getMessage(),
                    DeviceException.Reason.NATIVE_LIBRARY,
                    e));
        }
    }

    private static String platform() {
        String os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
        String name = os.startsWith("linux") ? "linux" : os.startsWith("mac") ? "osx" : os;
        String arch = System.getProperty("os.arch");
        return name + "-" + (arch.equals("amd64") ? "x86_64" : arch);
    }

    /** A relative XDG_CACHE_HOME is to be ignored, says its specification. */
    private static Optional<Path> userCache() {
        return absolute(System.getenv("XDG_CACHE_HOME"))
                .or(() -> absolute(System.getProperty("user.home")).map(home -> home.resolve(".cache")))
                .map(cache -> cache.resolve("tributary"));
    }

    private static Optional<Path> absolute(@Nullable String path) {
        return Optional.ofNullable(path).map(Path::of).filter(Path::isAbsolute);
    }

    /**
     * The extracted library.
     *
     * @param named the cache directory that was asked for: if it cannot be written, that is an error
     * @param usual the user's, where none was asked for
     * @param temporary where a private copy goes when the usual one cannot be written, as in a container without a home
     * @param platform as the jar names it
     */
    static Path find(Optional<Path> named, Optional<Path> usual, Path temporary, String platform) throws IOException {
        if (named.isPresent()) {
            try {
                return extract(named.get(), platform);
            } catch (IOException e) {
                throw new DeviceException(
                        "-D" + CACHE_PROPERTY + "=" + named.get() + " cannot be written: "
                                + e.getClass().getSimpleName() + ": " + e.getMessage(),
                        e);
            }
        }
        if (usual.isPresent()) {
            try {
                return extract(usual.get(), platform);
            } catch (IOException e) {
                System.getLogger(TokenizersNative.class.getName())
                        .log(System.Logger.Level.DEBUG, "the cache cannot be written, a private copy is made", e);
            }
        }
        // A directory of its own, that only this user can write: whatever lies in a shared one is not to be trusted.
        Path directory = Files.createTempDirectory(temporary, "tributary-");
        Path library = extract(directory, platform);
        // Deleted in the reverse order.
        directory.toFile().deleteOnExit();
        library.resolveSibling("").toFile().deleteOnExit();
        library.toFile().deleteOnExit();
        return library;
    }

    /** Several processes may do this at once: each writes a file of its own and renames it into place. */
    static Path extract(Path cache, String platform) throws IOException {
        String fileName = System.mapLibraryName("tokenizers");
        String resource = "/native/lib/" + platform + "/cpu/" + fileName;
        URL url = TokenizersLibrary.class.getResource(resource);
        if (url == null) {
            throw new DeviceException(
                    "the tokenizers jar has no library for " + platform + ": " + resource,
                    DeviceException.Reason.NATIVE_LIBRARY);
        }
        URLConnection connection = url.openConnection();
        Path directory = cache.resolve("tokenizers-" + version() + "-" + platform);
        Path library = directory.resolve(fileName);
        if (Files.isRegularFile(library) && Files.size(library) == connection.getContentLengthLong()) {
            return library;
        }
        Files.createDirectories(directory);
        Path part = Files.createTempFile(directory, fileName, ".part");
        try (InputStream in = connection.getInputStream()) {
            Files.copy(in, part, StandardCopyOption.REPLACE_EXISTING);
            Files.move(part, library, StandardCopyOption.ATOMIC_MOVE);
        } finally {
            Files.deleteIfExists(part);
        }
        return library;
    }

    private static String version() throws IOException {
        try (InputStream in = TokenizersLibrary.class.getResourceAsStream("/native/lib/tokenizers.properties")) {
            if (in == null) {
                throw new IOException("the tokenizers jar has no tokenizers.properties");
            }
            Properties properties = new Properties();
            properties.load(in);
            return properties.getProperty("version", "unknown");
        }
    }
}
