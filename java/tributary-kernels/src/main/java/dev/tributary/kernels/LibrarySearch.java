// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.KernelException.Status;
import dev.tributary.kernels.ffi.Tributary;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Where a native library is looked for: the file that a system property names, else the resource of a jar, extracted to
 * a cache directory. A property that names no file is an error; the resource is not used in its stead.
 *
 * @param library what is looked for
 * @param property value of the library's property
 * @param resources where resources are read from
 * @param resource name of the resource
 * @param cache directory to extract to
 * @param temporary directory for a private copy when the cache cannot be written
 */
record LibrarySearch(
        Library library,
        Optional<String> property,
        Resources resources,
        String resource,
        Optional<Path> cache,
        Path temporary) {
    /** The libraries of this project. */
    enum Library {
        /** The front door and the host backend. */
        HOST("libtributary", "tributary.library.path", "not in this jar"),
        /** The CUDA backend, whose jar is beside those of classes: many need no GPU, and it is large. */
        CUDA(
                "libtributary_cuda",
                "tributary.cuda.library.path",
                "in no jar here; tributary-cuda with classifier linux-x86_64-cuda13 holds it");

        final String file;
        final String property;
        private final String absence;

        Library(String file, String property, String absence) {
            this.file = file;
            this.property = property;
            this.absence = absence;
        }
    }

    /** Opens a resource by its absolute name, or returns null when there is none. */
    @FunctionalInterface
    interface Resources {
        @Nullable
        InputStream open(String name) throws IOException;
    }

    static LibrarySearch ofThisProcess(Library library) {
        ClassLoader loader = LibrarySearch.class.getClassLoader();
        return new LibrarySearch(
                library,
                Optional.ofNullable(System.getProperty(library.property)),
                // This jar's own comes first; what lies in no package may also come from any other jar of the loader.
                name -> {
                    InputStream own = LibrarySearch.class.getResourceAsStream("/" + name);
                    return own != null || loader == null ? own : loader.getResourceAsStream(name);
                },
                "META-INF/native/" + platform(System.getProperty("os.name"), System.getProperty("os.arch")) + "/"
                        + library.file + ".so",
                cacheDirectory(System.getenv("XDG_CACHE_HOME"), System.getProperty("user.home")),
                Path.of(System.getProperty("java.io.tmpdir")));
    }

    static String platform(String system, String architecture) {
        String arch = architecture.toLowerCase(Locale.ROOT);
        return system.toLowerCase(Locale.ROOT).replace(" ", "") + "-" + (arch.equals("amd64") ? "x86_64" : arch);
    }

    /** A relative XDG_CACHE_HOME is to be ignored, says the specification; so is a home that the system does not know. */
    static Optional<Path> cacheDirectory(@Nullable String xdgCacheHome, @Nullable String home) {
        return absolute(xdgCacheHome)
                .or(() -> absolute(home).map(path -> path.resolve(".cache")))
                .map(path -> path.resolve("tributary"));
    }

    private static Optional<Path> absolute(@Nullable String path) {
        try {
            return path == null ? Optional.empty() : Optional.of(Path.of(path)).filter(Path::isAbsolute);
        } catch (InvalidPathException _) {
            return Optional.empty();
        }
    }

    /**
     * Finds the library, extracting it if need be.
     *
     * @return its absolute path
     * @throws KernelException LIBRARY_MISSING, with everywhere that was looked
     */
    Path find() {
        if (property.isPresent()) {
            return named(property.get());
        }
        byte[] content;
        try (InputStream stream = resources.open(resource)) {
            if (stream == null) {
                throw missing(notSet() + ", resource " + resource + " (" + library.absence + ")");
            }
            content = stream.readAllBytes();
        } catch (IOException error) {
            throw missing(notSet() + ", resource " + resource + " (" + error + ")");
        }
        return extract(content);
    }

    private String notSet() {
        return "system property " + library.property + " (not set)";
    }

    private Path named(String path) {
        try {
            Path file = Path.of(path).toAbsolutePath();
            if (Files.isRegularFile(file)) {
                return file;
            }
            throw missing("system property " + library.property + " (" + path + ": "
                    + (Files.exists(file) ? "not a file" : "no such file") + ")");
        } catch (InvalidPathException error) {
            throw missing("system property " + library.property + " (" + error.getMessage() + ")");
        }
    }

    private Path extract(byte[] content) {
        String hash = sha256(content);
        // The hash in the name keeps builds of one ABI apart, so that none is ever overwritten while in use.
        String name = library.file + "-" + hash.substring(0, 16) + ".so";
        List<String> tried = new ArrayList<>();
        if (cache.isPresent()) {
            Path folder = cache.get().resolve("abi-" + Tributary.TRIB_ABI_VERSION());
            try {
                return cached(content, folder, name);
            } catch (IOException error) {
                tried.add("cache " + folder + " (" + error + ")");
            }
        } else {
            tried.add("cache (neither XDG_CACHE_HOME nor a home directory is known)");
        }
        try {
            // Of our own and unguessable, since others can write beside it; so it serves this process only.
            Path folder = Files.createTempDirectory(temporary, "tributary-");
            folder.toFile().deleteOnExit();
            Path file = folder.resolve(name);
            file.toFile().deleteOnExit();
            write(content, file);
            return file;
        } catch (IOException error) {
            tried.add("temporary directory " + temporary + " (" + error + ")");
        }
        throw missing(notSet() + ", resource " + resource + " (found, but could not be extracted: "
                + String.join(", ", tried) + ")");
    }

    private static Path cached(byte[] library, Path folder, String name) throws IOException {
        Path file = folder.resolve(name);
        // Compared whole: a damaged file in the cache is replaced, not loaded.
        if (Files.isRegularFile(file) && Arrays.equals(Files.readAllBytes(file), library)) {
            return file;
        }
        Files.createDirectories(
                folder, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        Path unfinished = Files.createTempFile(folder, ".libtributary-", ".tmp");
        try {
            write(library, unfinished);
            Files.move(unfinished, file, StandardCopyOption.ATOMIC_MOVE);
        } finally {
            Files.deleteIfExists(unfinished);
        }
        return file;
    }

    private static void write(byte[] library, Path file) throws IOException {
        Files.write(file, library);
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("r-x------"));
    }

    private static String sha256(byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (NoSuchAlgorithmException impossible) {
            throw new AssertionError("every Java platform has SHA-256", impossible);
        }
    }

    private KernelException missing(String places) {
        return new KernelException(Status.LIBRARY_MISSING, library.file + " was not found; looked at: " + places);
    }
}
