// SPDX-License-Identifier: Apache-2.0
/** The paged KV cache: pages, and which of them a sequence holds. */
package dev.tributary.engine.cache;
