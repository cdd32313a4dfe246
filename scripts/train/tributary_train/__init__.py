# SPDX-License-Identifier: Apache-2.0
"""Trains speculative streams for decoders of the families that the engine runs, and the bundled demo model."""
