# SPDX-License-Identifier: Apache-2.0
"""Writes rope_reference.json: what transformers' Llama rotary embedding computes, for RopeTableTest.

Usage: python rope_reference.py OUTPUT.json
"""

import json
import sys

import torch
import transformers
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

SHORT = [1.0 + 0.05 * i for i in range(16)]
LONG = [1.0 + 0.75 * i for i in range(16)]

# name, maximum positions of the config, positions that the context reaches, rope parameters
CASES = [
    ("default", 4096, 4096, {"rope_type": "default", "rope_theta": 10000.0}),
    ("default_theta", 8192, 8192, {"rope_type": "default", "rope_theta": 500000.0}),
    ("linear", 8192, 8192, {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
    (
        "llama3",
        131072,
        131072,
        {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    ),
    (
        "yarn",
        16384,
        16384,
        {
            "rope_type": "yarn",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "original_max_position_embeddings": 4096,
        },
    ),
    (
        "yarn_tuned",
        16384,
        16384,
        {
            "rope_type": "yarn",
            "rope_theta": 50000.0,
            "factor": 8.0,
            "original_max_position_embeddings": 2048,
            "beta_fast": 24.0,
            "beta_slow": 2.0,
            "mscale": 1.0,
            "mscale_all_dim": 0.8,
            "truncate": False,
        },
    ),
    (
        "longrope_short",
        32768,
        4096,
        {
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": SHORT,
            "long_factor": LONG,
            "original_max_position_embeddings": 4096,
        },
    ),
    (
        "longrope_long",
        32768,
        32768,
        {
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": SHORT,
            "long_factor": LONG,
            "original_max_position_embeddings": 4096,
        },
    ),
]


def main(path):
    cases = []
    for name, max_positions, context, rope in CASES:
        config = LlamaConfig(
            vocab_size=64,
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=max_positions,
            rope_parameters=dict(rope),
        )
        rotary = LlamaRotaryEmbedding(config)
        # The last position decides which factors LongRoPE takes, so all are asked for at once.
        sample = [0, 1, 2, 7, 63, 64, 1000, 2047, context - 1]
        cos, sin = rotary(torch.zeros(1, 1, dtype=torch.float32), torch.arange(context)[None])
        rows = torch.cat((cos[0, sample, :16], sin[0, sample, :16]), dim=-1)
        cases.append(
            {
                "name": name,
                "max_position_embeddings": max_positions,
                "context": context,
                "rope_parameters": rope,
                "positions": sample,
                "rows": [[float(x) for x in row] for row in rows],
            }
        )
    with open(path, "w") as file:
        json.dump({"transformers": transformers.__version__, "torch": torch.__version__, "cases": cases}, file)
        file.write("\n")


main(sys.argv[1])
