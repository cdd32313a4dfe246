// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import dev.tributary.TributaryException;
import java.nio.file.Path;
import java.util.random.RandomGenerator;

/** One kind of input and what reads it. */
interface FuzzTarget extends AutoCloseable {
    /** An input that the generator alone decides. */
    Input draw(RandomGenerator random);

    /**
     * Reads the input and uses what came of it.
     *
     * @param scratch a folder that this target may fill
     * @throws TributaryException when the input is refused; any other exception, and any error, is a failure
     */
    void feed(Input input, Path scratch) throws Exception;

    @Override
    default void close() {}
}
