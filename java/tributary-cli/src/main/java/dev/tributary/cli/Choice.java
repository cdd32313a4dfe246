// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import java.util.Arrays;
import java.util.stream.Collectors;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** Reads one of a few names; a name is what the constant's {@code toString} says. */
abstract class Choice<T extends Enum<T>> implements ITypeConverter<T> {
    private final T[] constants;

    Choice(T[] constants) {
        this.constants = constants.clone();
    }

    @Override
    public T convert(String given) {
        return Arrays.stream(constants)
                .filter(constant -> constant.toString().equals(given))
                .findFirst()
                .orElseThrow(() -> new TypeConversionException("'" + given + "' is not one of "
                        + Arrays.stream(constants).map(Enum::toString).collect(Collectors.joining(", "))));
    }
}
