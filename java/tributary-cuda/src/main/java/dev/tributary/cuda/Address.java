// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cuda;

import java.lang.foreign.MemorySegment;
import org.bytedeco.javacpp.Pointer;

/** An address as bytedeco wants it. It owns nothing, so nothing is registered with its garbage collection. */
final class Address extends Pointer {
    Address(long value) {
        address = value;
    }

    static Address of(MemorySegment segment) {
        return new Address(segment.address());
    }
}
