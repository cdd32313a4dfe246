// SPDX-License-Identifier: Apache-2.0
/** Text generation with models that draft for themselves: load a {@link dev.tributary.LanguageModel}, iterate. */
package dev.tributary;
