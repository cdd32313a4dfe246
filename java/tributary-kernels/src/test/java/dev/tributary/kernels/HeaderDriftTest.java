// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.kernels.ffi.Tributary;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Objects;
import java.util.Properties;
import org.junit.jupiter.api.Test;

/** The committed bindings are those of the header as it stands. */
class HeaderDriftTest {
    @Test
    void bindingsAreGeneratedFromTheHeaderAsItStands() throws IOException, NoSuchAlgorithmException {
        byte[] header = Files.readAllBytes(Header.path());
        String hash =
                HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(header));
        assertEquals(
                hash,
                recorded().getProperty("header.sha256"),
                () -> Header.path() + " has changed since the bindings were generated: run scripts/jextract");
    }

    @Test
    void bindingsNameTheCommitOfJextract() throws IOException {
        String commit = recorded().getProperty("jextract.commit");
        assertTrue(commit.matches("[0-9a-f]{40}"), commit);
    }

    private static Properties recorded() throws IOException {
        Properties recorded = new Properties();
        try (InputStream stream = Tributary.class.getResourceAsStream("header.properties")) {
            recorded.load(Objects.requireNonNull(stream, "header.properties is not beside the bindings"));
        }
        return recorded;
    }
}
