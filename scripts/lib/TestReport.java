// SPDX-License-Identifier: Apache-2.0
import java.io.IOException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import javax.xml.parsers.DocumentBuilderFactory;
import org.w3c.dom.Element;

/**
 * Counts the tests of the reports that ctest, GoogleTest and Surefire wrote, and says what was skipped and why. The last line is
 * {@code N passed, N failed, N skipped}; the exit status is 0 only when nothing failed and both sides passed a test.
 *
 * <p>Arguments: {@code [--failed WHAT | --skipped WHAT | --skipped-times N=WHAT]… ROOT}, for steps that write no report of their own.
 */
final class TestReport {
    private enum Outcome {
        PASSED,
        FAILED,
        SKIPPED
    }

    private record Test(String name, Outcome outcome, String reason) {}

    private static final PathMatcher SUREFIRE =
            FileSystems.getDefault().getPathMatcher("glob:**/target/surefire-reports/TEST-*.xml");

    public static void main(String[] args) throws Exception {
        List<Test> outside = new ArrayList<>();
        int i = 0;
        for (; i + 1 < args.length; i += 2) {
            String what = args[i + 1];
            switch (args[i]) {
                case "--failed" -> outside.add(new Test(what, Outcome.FAILED, what));
                case "--skipped" -> outside.add(new Test(what, Outcome.SKIPPED, what));
                case "--skipped-times" -> {
                    String reason = what.substring(what.indexOf('=') + 1);
                    int times = Integer.parseInt(what.substring(0, what.indexOf('=')));
                    outside.addAll(Collections.nCopies(times, new Test(reason, Outcome.SKIPPED, reason)));
                }
                default -> throw new IllegalArgumentException("unknown option " + args[i]);
            }
        }
        Path root = Path.of(args[i]);

        List<Test> nativeTests = new ArrayList<>();
        for (String report : List.of(
                "build/host/ctest.xml", "build/cuda/ctest.xml", "build/cuda/gpu-sm_80.xml", "build/cuda/gpu-sm_90a.xml")) {
            if (Files.exists(root.resolve(report))) {
                nativeTests.addAll(read(root.resolve(report)));
            }
        }
        List<Test> javaTests = new ArrayList<>();
        for (Path room : List.of(root.resolve("java"), root.resolve("tests"))) {
            for (Path report : surefireReports(room)) {
                javaTests.addAll(read(report));
            }
        }

        List<Test> all =
                Stream.of(nativeTests, javaTests, outside).flatMap(List::stream).toList();
        all.stream()
                .filter(test -> test.outcome == Outcome.FAILED)
                .forEach(test -> System.out.println("FAILED  " + test.name));
        printSkipped(all);
        System.out.println("native: " + totals(nativeTests));
        System.out.println("java: " + totals(javaTests));
        System.out.println(totals(all));
        boolean bothRan = count(nativeTests, Outcome.PASSED) > 0 && count(javaTests, Outcome.PASSED) > 0;
        System.exit(bothRan && count(all, Outcome.FAILED) == 0 ? 0 : 1);
    }

    private static List<Path> surefireReports(Path room) throws IOException {
        try (Stream<Path> files = Files.walk(room)) {
            return files.filter(SUREFIRE::matches).sorted().toList();
        }
    }

    private static List<Test> read(Path report) throws Exception {
        var factory = DocumentBuilderFactory.newInstance();
        factory.setFeature("http://apache.org/xml/features/disallow-doctype-decl", true);
        var cases = factory.newDocumentBuilder().parse(report.toFile()).getElementsByTagName("testcase");
        List<Test> tests = new ArrayList<>();
        for (int i = 0; i < cases.getLength(); i++) {
            tests.add(test((Element) cases.item(i)));
        }
        return tests;
    }

    private static Test test(Element element) {
        String name = element.getAttribute("classname") + " " + element.getAttribute("name");
        var skips = element.getElementsByTagName("skipped");
        if (element.getElementsByTagName("failure").getLength() > 0
                || element.getElementsByTagName("error").getLength() > 0
                || element.getAttribute("status").equals("fail")) {
            return new Test(name, Outcome.FAILED, "");
        }
        if (skips.getLength() == 0) {
            return new Test(name, Outcome.PASSED, "");
        }
        Element skip = (Element) skips.item(0);
        // Surefire puts an assumption's message into the text, above its stack trace, and leaves the attribute out.
        String message = skip.hasAttribute("message") ? skip.getAttribute("message") : skip.getTextContent();
        // ctest also reports as skipped what it could not start; only a test that skips itself, or is disabled, may be.
        boolean couldNotRun = element.getAttribute("status").equals("notrun") && !message.startsWith("SKIP_");
        return couldNotRun
                ? new Test(name + " (" + message + ")", Outcome.FAILED, "")
                : new Test(name, Outcome.SKIPPED, reason(element, message));
    }

    /** A GoogleTest's reason stands in its output, below the line that ends in "Skipped"; a JUnit test's is the message. */
    private static String reason(Element element, String message) {
        var outputs = element.getElementsByTagName("system-out");
        if (message.startsWith("SKIP_") && outputs.getLength() > 0) {
            List<String> lines = outputs.item(0).getTextContent().lines().toList();
            for (int i = 0; i + 1 < lines.size(); i++) {
                if (lines.get(i).endsWith(": Skipped")) {
                    return lines.get(i + 1).strip();
                }
            }
        }
        return message.lines()
                .map(line -> line.replaceFirst("^(\\S+Exception: )?(Assumption failed: )?", ""))
                .filter(line -> !line.isBlank() && !line.matches("\\S+\\.cpp:\\d+")) // GoogleTest begins with the place
                .findFirst()
                .orElse("no reason given");
    }

    private static void printSkipped(List<Test> tests) {
        Map<String, Integer> reasons = new TreeMap<>();
        tests.stream()
                .filter(test -> test.outcome == Outcome.SKIPPED)
                .forEach(test -> reasons.merge(test.reason, 1, Integer::sum));
        int gpuSkips = reasons.entrySet().stream()
                .filter(entry -> entry.getKey().contains("GPU"))
                .mapToInt(Map.Entry::getValue)
                .sum();
        reasons.forEach((reason, count) -> System.out.println("skipped " + count + " × " + reason));
        System.out.println("GPU tests skipped: " + gpuSkips);
    }

    private static long count(List<Test> tests, Outcome outcome) {
        return tests.stream().filter(test -> test.outcome == outcome).count();
    }

    private static String totals(List<Test> tests) {
        return "%d passed, %d failed, %d skipped"
                .formatted(count(tests, Outcome.PASSED), count(tests, Outcome.FAILED), count(tests, Outcome.SKIPPED));
    }
}
