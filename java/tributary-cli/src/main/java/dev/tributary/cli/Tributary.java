// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import dev.tributary.GenerationCancelledException;
import dev.tributary.TributaryException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.util.List;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Help;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;

/** The {@code tributary} command. */
@Command(
        name = "tributary",
        description = "Generates text with a language model that drafts for itself.",
        synopsisSubcommandLabel = "COMMAND",
        mixinStandardHelpOptions = true,
        versionProvider = Tributary.Version.class,
        exitCodeListHeading = "%nExit status:%n",
        exitCodeList = {
            "0:success",
            "1:the command failed, or texts that must be equal differ",
            "2:it was called wrongly",
            "130:it was interrupted"
        })
public final class Tributary implements Runnable {
    private static final int FAILURE = 1;
    private static final int USAGE = 2;
    private static final int INTERRUPTED = 130; // 128 + SIGINT, as a shell reports it
    private static final int OUTPUT_CLOSED = 141; // 128 + SIGPIPE

    @Option(names = "--verbose", scope = ScopeType.INHERIT, description = "Show the stack trace of an error's cause.")
    private boolean verbose;

    @Spec
    @SuppressWarnings("NullAway.Init") // picocli sets it
    private CommandSpec command;

    private final Terminal terminal;
    private final Interruption interruption;

    private Tributary(Terminal terminal, Interruption interruption) {
        this.terminal = terminal;
        this.interruption = interruption;
    }

    /**
     * Runs the command and ends the process with its exit status.
     *
     * @param arguments the command line
     */
    public static void main(String[] arguments) {
        Interruption interruption = new Interruption();
        interruption.install();
        int status = run(Terminal.ofProcess(), interruption, arguments);
        interruption.finish();
        System.exit(status);
    }

    /** {@return the exit status of the command line} */
    static int run(Terminal terminal, Interruption interruption, String... arguments) {
        Tributary root = new Tributary(terminal, interruption);
        CommandLine line = new CommandLine(root)
                .addSubcommand(new GenerateCommand(terminal, interruption))
                .addSubcommand(new ChatCommand(terminal, interruption))
                .addSubcommand(new TreeCommand(terminal, interruption))
                .addSubcommand(new InfoCommand(terminal))
                .addSubcommand(new EvaluateCommand(terminal, interruption))
                .addSubcommand(new TopCommand(terminal, interruption))
                .setCaseInsensitiveEnumValuesAllowed(true)
                .setExpandAtFiles(false) // a prompt may begin with @
                .setOut(new PrintWriter(terminal.outputWriter()))
                .setColorScheme(Help.defaultColorScheme(terminal.outputStyle().ansi() ? Help.Ansi.ON : Help.Ansi.OFF))
                .setUsageHelpWidth(100)
                .setUsageHelpLongOptionsMaxWidth(28)
                .setParameterExceptionHandler((e, given) -> root.misused(e))
                .setExecutionExceptionHandler((e, command, result) -> root.failed(e));
        line.getSubcommands().values().forEach(command -> {
            command.getCommandSpec().usageMessage().sortOptions(false).sortSynopsis(false);
        });
        try {
            return line.execute(arguments);
        } catch (LinkageError | OutOfMemoryError e) {
            return root.failed(new IllegalStateException(e));
        }
    }

    @Override
    public void run() {
        throw new ParameterException(command.commandLine(), "a command is missing");
    }

    private int misused(ParameterException e) {
        terminal.error(message(e).replaceFirst("^Error: ", "") + " (see "
                + e.getCommandLine().getCommandSpec().qualifiedName() + " --help)");
        if (verbose) {
            terminal.stackTrace(e);
        }
        return USAGE;
    }

    private int failed(Exception e) {
        switch (e) {
            case Terminal.OutputClosedException _ -> {
                return OUTPUT_CLOSED;
            }
            case GenerationCancelledException _
            when interruption.interrupted() -> {
                return INTERRUPTED;
            }
            case FailedCheckException _ -> terminal.error(message(e));
            case TributaryException _, UncheckedIOException _ -> {
                terminal.error(message(e) + hint(e));
                trace(e);
            }
            default -> {
                Throwable unexpected =
                        e instanceof IllegalStateException && e.getCause() instanceof Error error ? error : e;
                terminal.error("unexpected " + oneLine(unexpected.toString()) + hint(e));
                trace(e);
            }
        }
        return FAILURE;
    }

    private String hint(Exception e) {
        return verbose || e.getCause() == null ? "" : " (--verbose shows the cause)";
    }

    private void trace(Exception e) {
        if (verbose) {
            terminal.stackTrace(e);
        }
    }

    private static String message(Exception e) {
        String message = e.getMessage();
        return oneLine(message == null ? e.toString() : message);
    }

    /** {@return the message without line breaks, since an error is one line; what is not seen stands in it as escapes} */
    private static String oneLine(String message) {
        String joined =
                String.join(" ", message.strip().lines().map(String::strip).toList());
        return String.valueOf(new TributaryException(joined).getMessage());
    }

    /** The version that the jar's manifest states. */
    static final class Version implements CommandLine.IVersionProvider {
        @Override
        public String[] getVersion() {
            String version = Tributary.class.getPackage().getImplementationVersion();
            return List.of("tributary " + (version == null ? "(built without a version)" : version))
                    .toArray(String[]::new);
        }
    }
}
