// SPDX-License-Identifier: Apache-2.0
/** Token trees and how they grow. */
package dev.tributary.engine.tree;
