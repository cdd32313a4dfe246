// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;

/** The C header in the source tree that these tests run in. */
final class Header {
    private static final String NAME = "cuda/include/tributary/tributary.h";

    private Header() {}

    static Path path() {
        String given = System.getProperty("tributary.root");
        if (given != null) {
            return Path.of(given, NAME);
        }
        for (Path folder = Path.of("").toAbsolutePath(); folder != null; folder = folder.getParent()) {
            if (Files.isRegularFile(folder.resolve(NAME))) {
                return folder.resolve(NAME);
            }
        }
        throw new IllegalStateException(NAME + " is in no folder above "
                + Path.of("").toAbsolutePath() + ", and system property tributary.root is not set");
    }

    /** Structs with members, by name; the opaque context is none. */
    static List<String> structs() throws IOException {
        return Pattern.compile("typedef struct (trib_\\w+) \\{")
                .matcher(Files.readString(path()))
                .results()
                .map((MatchResult struct) -> struct.group(1))
                .toList();
    }
}
