# SPDX-License-Identifier: Apache-2.0
"""Trains speculative streams for Llama-architecture models, and the bundled demo model."""
