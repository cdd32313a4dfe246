// SPDX-License-Identifier: Apache-2.0
/** Where a model computes, behind an interface. */
package dev.tributary.engine.device;
