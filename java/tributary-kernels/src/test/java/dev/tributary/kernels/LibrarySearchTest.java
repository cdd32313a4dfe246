// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.kernels.KernelException.Status;
import dev.tributary.kernels.LibrarySearch.Library;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LibrarySearchTest {
    private static final String RESOURCE = "META-INF/native/linux-x86_64/libtributary.so";
    private static final byte[] LIBRARY = "the library".getBytes(StandardCharsets.UTF_8);

    @TempDir
    private Path folder;

    private Path cache;
    private Path temporary;

    @BeforeEach
    void folders() throws IOException {
        cache = folder.resolve("cache");
        temporary = Files.createDirectory(folder.resolve("temporary"));
    }

    @Test
    void propertyComesBeforeTheResource() throws IOException {
        Path file = Files.write(folder.resolve("mine.so"), LIBRARY);
        assertEquals(file, search(Optional.of(file.toString()), LIBRARY).find());
        assertTrue(Files.notExists(cache), "nothing is extracted");
    }

    @Test
    void propertyThatNamesNoFileIsAnErrorAndNotPassedOver() {
        Path absent = folder.resolve("absent.so");
        assertMissing(
                search(Optional.of(absent.toString()), LIBRARY), "tributary.library.path", absent + ": no such file");
        assertMissing(search(Optional.of(folder.toString()), LIBRARY), folder + ": not a file");
        assertMissing(search(Optional.of("nul\0in it"), LIBRARY), "tributary.library.path");
    }

    @Test
    void withoutPropertyAndResourceTheErrorListsBoth() {
        LibrarySearch search =
                new LibrarySearch(Library.HOST, Optional.empty(), _ -> null, RESOURCE, Optional.of(cache), temporary);
        assertMissing(search, "tributary.library.path (not set)", RESOURCE + " (not in this jar)");
    }

    @Test
    void theCudaBackendIsLookedForByNamesOfItsOwn() {
        LibrarySearch search = new LibrarySearch(
                Library.CUDA,
                Optional.empty(),
                _ -> null,
                "META-INF/native/linux-x86_64/libtributary_cuda.so",
                Optional.of(cache),
                temporary);
        assertMissing(
                search,
                "libtributary_cuda was not found",
                "tributary.cuda.library.path (not set)",
                "tributary-cuda with classifier linux-x86_64-cuda13 holds it");
        LibrarySearch ofThisProcess = LibrarySearch.ofThisProcess(Library.CUDA);
        assertTrue(ofThisProcess.resource().endsWith("/libtributary_cuda.so"), ofThisProcess::resource);
    }

    @Test
    void resourceThatCannotBeReadIsAnError() {
        LibrarySearch search = new LibrarySearch(
                Library.HOST,
                Optional.empty(),
                _ -> {
                    throw new IOException("the jar is damaged");
                },
                RESOURCE,
                Optional.of(cache),
                temporary);
        assertMissing(search, RESOURCE, "the jar is damaged");
    }

    @Test
    void resourceIsExtractedWholeAndForTheOwnerOnly() throws IOException {
        Path file = search(Optional.empty(), LIBRARY).find();
        assertTrue(file.startsWith(cache), file::toString);
        assertArrayEquals(LIBRARY, Files.readAllBytes(file));
        assertEquals("r-x------", PosixFilePermissions.toString(Files.getPosixFilePermissions(file)));
        assertEquals("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(folderOf(file))));
        assertEquals(List.of(file), list(folderOf(file)), "nothing unfinished is left");
    }

    @Test
    void secondSearchTakesWhatTheFirstExtracted() throws IOException {
        Path file = search(Optional.empty(), LIBRARY).find();
        FileTime old = FileTime.fromMillis(1_000_000);
        Files.setLastModifiedTime(file, old);
        assertEquals(file, search(Optional.empty(), LIBRARY).find());
        assertEquals(old, Files.getLastModifiedTime(file));
    }

    @Test
    void otherContentHasAnotherName() {
        byte[] newer = "a newer library".getBytes(StandardCharsets.UTF_8);
        assertNotEquals(
                search(Optional.empty(), LIBRARY).find(),
                search(Optional.empty(), newer).find());
    }

    @Test
    void damagedFileInTheCacheIsReplaced() throws IOException {
        Path file = search(Optional.empty(), LIBRARY).find();
        Files.delete(file);
        Files.writeString(file, "the libr");
        assertEquals(file, search(Optional.empty(), LIBRARY).find());
        assertArrayEquals(LIBRARY, Files.readAllBytes(file));
    }

    @Test
    void unwritableCacheGivesAPrivateCopy() throws IOException {
        // A file where the folder should be: not even root can write there.
        Files.writeString(cache, "in the way");
        Path file = search(Optional.empty(), LIBRARY).find();
        assertTrue(file.startsWith(temporary), file::toString);
        assertArrayEquals(LIBRARY, Files.readAllBytes(file));
        assertEquals("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(folderOf(file))));
    }

    @Test
    void unknownHomeGivesAPrivateCopy() {
        LibrarySearch search = new LibrarySearch(
                Library.HOST,
                Optional.empty(),
                _ -> new ByteArrayInputStream(LIBRARY),
                RESOURCE,
                Optional.empty(),
                temporary);
        assertTrue(search.find().startsWith(temporary));
    }

    @Test
    void nowhereToExtractToIsAnErrorThatListsEverything() throws IOException {
        Files.writeString(cache, "in the way");
        Files.delete(temporary);
        assertMissing(
                search(Optional.empty(), LIBRARY),
                "tributary.library.path (not set)",
                RESOURCE + " (found",
                cache.toString(),
                temporary.toString());
    }

    @Test
    void searchesAtTheSameTimeFindTheSameWholeFile() throws Exception {
        byte[] large = new byte[1 << 20];
        try (ExecutorService threads = Executors.newFixedThreadPool(8)) {
            Callable<byte[]> find =
                    () -> Files.readAllBytes(search(Optional.empty(), large).find());
            for (Future<byte[]> found :
                    threads.invokeAll(IntStream.range(0, 32).mapToObj(_ -> find).toList())) {
                assertArrayEquals(large, found.get());
            }
        }
    }

    @Test
    void cacheFollowsTheXdgSpecification() {
        assertEquals(Optional.of(Path.of("/x/tributary")), LibrarySearch.cacheDirectory("/x", "/home/u"));
        assertEquals(
                Optional.of(Path.of("/home/u/.cache/tributary")), LibrarySearch.cacheDirectory("relative", "/home/u"));
        assertEquals(Optional.of(Path.of("/home/u/.cache/tributary")), LibrarySearch.cacheDirectory(null, "/home/u"));
        assertEquals(Optional.of(Path.of("/home/u/.cache/tributary")), LibrarySearch.cacheDirectory("", "/home/u"));
        assertEquals(Optional.empty(), LibrarySearch.cacheDirectory(null, "?"));
    }

    @Test
    void platformsHaveOneNameEach() {
        assertEquals("linux-x86_64", LibrarySearch.platform("Linux", "amd64"));
        assertEquals("linux-aarch64", LibrarySearch.platform("Linux", "aarch64"));
    }

    private LibrarySearch search(Optional<String> property, byte[] library) {
        return new LibrarySearch(
                Library.HOST,
                property,
                name -> name.equals(RESOURCE) ? new ByteArrayInputStream(library) : null,
                RESOURCE,
                Optional.of(cache),
                temporary);
    }

    private static Path folderOf(Path file) {
        return Objects.requireNonNull(file.getParent());
    }

    private static List<Path> list(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.toList();
        }
    }

    private static void assertMissing(LibrarySearch search, String... said) {
        KernelException error = assertThrows(KernelException.class, search::find);
        assertEquals(Status.LIBRARY_MISSING, error.status());
        for (String part : said) {
            assertTrue(String.valueOf(error.getMessage()).contains(part), error::getMessage);
        }
    }
}
