// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.ConfigurationException;
import dev.tributary.DeviceException;
import dev.tributary.DeviceException.Reason;
import dev.tributary.InsufficientMemoryException;
import dev.tributary.LoadOptions;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class DeviceSelectionTest {
    /** A provider whose devices are the host in disguise. */
    private static final class Played implements DeviceProvider {
        private final Optional<DeviceException> obstacle;
        private final boolean opens;
        private final List<String> opened = new ArrayList<>();

        Played(Optional<DeviceException> obstacle, boolean opens) {
            this.obstacle = obstacle;
            this.opens = opens;
        }

        @Override
        public String name() {
            return "cuda";
        }

        @Override
        public Optional<DeviceException> obstacle() {
            return obstacle;
        }

        @Override
        public int firstUsable() {
            return 1;
        }

        @Override
        public Device open(int ordinal, long memoryLimit) {
            opened.add(ordinal + " " + memoryLimit);
            if (!opens) {
                throw new InsufficientMemoryException("it does not open");
            }
            return new MeasuringDevice(new HostDevice(1));
        }
    }

    private final DeviceException missing = new DeviceException("no driver here", Reason.DRIVER_MISSING);

    private static LoadOptions.Builder device(String name) {
        return LoadOptions.builder().device(name);
    }

    private static DeviceSelection among(DeviceProvider... providers) {
        return new DeviceSelection(List.of(providers));
    }

    @Test
    void theBestIsAGpuWhereOneCanBeUsed() {
        Played cuda = new Played(Optional.empty(), true);
        DeviceSelection.Choice choice =
                among(cuda).open(device("auto").memoryLimit(5).build());
        assertInstanceOf(MeasuringDevice.class, choice.device());
        assertEquals(Optional.empty(), choice.note());
        assertEquals(List.of("1 5"), cuda.opened);
        choice.device().close();
    }

    @Test
    void theHostIsTheBestElseAndSaysWhy() {
        for (Played cuda : List.of(new Played(Optional.of(missing), true), new Played(Optional.empty(), false))) {
            DeviceSelection.Choice choice = among(cuda).open(device("auto").build());
            assertInstanceOf(HostDevice.class, choice.device());
            String note = choice.note().orElseThrow();
            assertTrue(note.equals("cuda: no driver here") || note.equals("cuda: it does not open"), note);
            choice.device().close();
        }
        DeviceSelection.Choice alone = among().open(device("auto").build());
        assertTrue(alone.note().orElseThrow().contains("tributary-cuda"));
        alone.device().close();
    }

    @Test
    void whoGivesThreadsMeansTheHost() {
        Played cuda = new Played(Optional.empty(), true);
        DeviceSelection.Choice choice =
                among(cuda).open(device("auto").threads(1).build());
        assertInstanceOf(HostDevice.class, choice.device());
        assertTrue(choice.note().orElseThrow().contains("threads"));
        assertEquals(List.of(), cuda.opened);
        choice.device().close();
        assertThrows(
                ConfigurationException.class, () -> device("cuda:1").threads(1).build());
    }

    @Test
    void theHostIsTakenWithoutAskingForGpus() {
        Played cuda = new Played(Optional.empty(), true);
        DeviceSelection.Choice choice = among(cuda).open(device("host").build());
        assertInstanceOf(HostDevice.class, choice.device());
        assertEquals(Optional.empty(), choice.note());
        choice.device().close();
    }

    @Test
    void aNamedGpuIsOpenedOrItsObstacleThrown() {
        Played cuda = new Played(Optional.empty(), true);
        among(cuda).open(device("cuda").build()).device().close();
        among(cuda).open(device("cuda:12").memoryLimit(9).build()).device().close();
        assertEquals(List.of("0 0", "12 9"), cuda.opened);
        DeviceSelection selection = among(new Played(Optional.of(missing), true));
        assertSame(
                missing,
                assertThrows(
                        DeviceException.class,
                        () -> selection.open(device("cuda").build())));
        DeviceException absent = assertThrows(
                DeviceException.class, () -> among().open(device("cuda:1").build()));
        assertEquals(Reason.NATIVE_LIBRARY, absent.reason());
        assertTrue(String.valueOf(absent.getMessage()).contains("dev.tributary.cuda"), absent::getMessage);
    }

    @Test
    void namesOfDevices() {
        for (String good : List.of("auto", "host", "cuda", "cuda:0", "cuda:17")) {
            assertEquals(good, device(good).build().device());
        }
        for (String bad : List.of("", "gpu", "cuda:", "cuda:-1", "cuda:01", "cuda:x", "host:0", "Cuda")) {
            assertThrows(ConfigurationException.class, () -> device(bad), bad);
        }
    }
}
