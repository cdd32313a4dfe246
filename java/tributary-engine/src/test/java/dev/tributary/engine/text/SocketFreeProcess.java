// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * A process that the kernel kills (SIGSYS) as soon as it asks for a socket, from Java or from native code, on any thread.
 * Arguments: the model directory, and what to do: {@code tokenize}, or {@code connect} to prove that the trap works.
 */
final class SocketFreeProcess {
    static final int TRAP_NOT_AVAILABLE = 3;

    private SocketFreeProcess() {}

    public static void main(String[] arguments) throws IOException {
        Path directory = Path.of(arguments[0]);
        // When the JDK initialises its channels, it asks the kernel once whether there is IPv6, by a socket that it
        // never
        // uses. That is not what this looks for.
        FileChannel.open(directory.resolve("tokenizer.json")).close();
        boolean trapped;
        try {
            trapped = trap();
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
        if (!trapped) {
            System.exit(TRAP_NOT_AVAILABLE);
        }
        switch (arguments[1]) {
            case "tokenize" -> {
                try (Tokenizer tokenizer = Tokenizer.open(directory, 320)) {
                    int[] tokens = tokenizer.encode("some text");
                    System.out.println(tokenizer.decode(tokens) + " = " + Arrays.toString(tokens));
                }
            }
            case "connect" -> new Socket(InetAddress.getLoopbackAddress(), 9).close();
            default -> throw new IllegalArgumentException(arguments[1]);
        }
    }

    /** A seccomp filter for all threads: socket(2) kills the process, everything else is allowed. */
    @SuppressWarnings("restricted") // system calls are what this is about
    private static boolean trap() throws Throwable {
        boolean x86 = System.getProperty("os.arch").equals("amd64");
        int socket = x86 ? 41 : 198;
        long seccomp = x86 ? 317 : 277;
        Linker linker = Linker.nativeLinker();
        MethodHandle syscall = linker.downcallHandle(
                linker.defaultLookup().findOrThrow("syscall"),
                FunctionDescriptor.of(
                        ValueLayout.JAVA_LONG,
                        ValueLayout.JAVA_LONG,
                        ValueLayout.JAVA_LONG,
                        ValueLayout.JAVA_LONG,
                        ValueLayout.ADDRESS),
                Linker.Option.firstVariadicArg(1));
        MethodHandle prctl = linker.downcallHandle(
                linker.defaultLookup().findOrThrow("prctl"),
                FunctionDescriptor.of(
                        ValueLayout.JAVA_INT,
                        ValueLayout.JAVA_INT,
                        ValueLayout.JAVA_LONG,
                        ValueLayout.JAVA_LONG,
                        ValueLayout.JAVA_LONG,
                        ValueLayout.JAVA_LONG),
                Linker.Option.firstVariadicArg(1));
        try (Arena arena = Arena.ofConfined()) {
            // struct sock_filter { u16 code; u8 jump if true, u8 if false; u32 k; }
            MemorySegment program = arena.allocate(4 * 8, 8);
            instruction(program, 0, 0x20, 0, 0, 0); // load the system call's number
            instruction(program, 1, 0x15, 0, 1, socket); // equal: next, else skip one
            instruction(program, 2, 0x06, 0, 0, 0x8000_0000); // kill the process
            instruction(program, 3, 0x06, 0, 0, 0x7fff_0000); // allow
            MemorySegment header = arena.allocate(16, 8);
            header.set(ValueLayout.JAVA_SHORT, 0, (short) 4);
            header.set(ValueLayout.ADDRESS, 8, program);
            int noNewPrivileges = (int) prctl.invokeExact(38, 1L, 0L, 0L, 0L);
            return noNewPrivileges == 0 && (long) syscall.invokeExact(seccomp, 1L, 1L, header) == 0;
        }
    }

    private static void instruction(MemorySegment program, long index, int code, int ifTrue, int ifFalse, int k) {
        program.set(ValueLayout.JAVA_SHORT, 8 * index, (short) code);
        program.set(ValueLayout.JAVA_BYTE, 8 * index + 2, (byte) ifTrue);
        program.set(ValueLayout.JAVA_BYTE, 8 * index + 3, (byte) ifFalse);
        program.set(ValueLayout.JAVA_INT, 8 * index + 4, k);
    }
}
