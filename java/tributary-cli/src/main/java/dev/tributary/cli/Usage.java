// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import dev.tributary.ConfigurationException;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.function.Supplier;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;

/** Wrong use of the command: told apart from failures by its exit status. */
final class Usage {
    private Usage() {}

    static ParameterException error(CommandSpec command, String message) {
        return new ParameterException(command.commandLine(), message);
    }

    /**
     * Sets an option whose range the engine checks.
     *
     * @param option the name that the user typed
     * @param setting refuses a value outside its range
     */
    static <T> T check(CommandSpec command, String option, Supplier<T> setting) {
        try {
            return setting.get();
        } catch (ConfigurationException e) {
            throw new ParameterException(command.commandLine(), option + ": " + e.getMessage(), e);
        }
    }

    /** {@return the path that was given; some texts are none, such as those that the locale cannot pass on} */
    static Path path(CommandSpec command, String option, String given) {
        try {
            return Path.of(given);
        } catch (InvalidPathException e) {
            throw new ParameterException(command.commandLine(), option + ": " + e.getMessage(), e);
        }
    }
}
