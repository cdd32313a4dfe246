// SPDX-License-Identifier: Apache-2.0
/** A GPU as a device: memory, streams, graphs. */
package dev.tributary.cuda;
