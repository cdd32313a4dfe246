# SPDX-License-Identifier: Apache-2.0
"""Greedy decoding of many prompts at once."""

from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from tributary_train.causal_lm import CausalLM


@torch.inference_mode()
def greedy(
    base: CausalLM,
    prompts: Sequence[Sequence[int]],
    end: int,
    max_tokens: int,
    slots: int = 400_000,
    show: str | None = None,
) -> list[list[int]]:
    """
    The greedy continuation of every prompt, `end` included where it was reached.

    Prompts are sorted by length and decoded in batches that need about `slots` cache slots each.
    """
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    out: list[list[int]] = [[] for _ in prompts]
    bar = tqdm(total=len(prompts), desc=show, disable=show is None, mininterval=2)
    begin = 0
    while begin < len(order):
        size = begin + 1
        while size < len(order) and (size - begin + 1) * (len(prompts[order[size]]) + max_tokens) <= slots:
            size += 1
        chosen = order[begin:size]
        for i, tokens in zip(chosen, _batch(base, [prompts[i] for i in chosen], end, max_tokens)):
            out[i] = tokens
        bar.update(len(chosen))
        begin = size
    bar.close()
    return out


def _batch(base: CausalLM, prompts: Sequence[Sequence[int]], end: int, max_tokens: int) -> list[list[int]]:
    device = base.model.norm.weight.device
    lengths = torch.tensor([len(p) for p in prompts], device=device)
    longest = max(len(p) for p in prompts)
    tokens = torch.full((len(prompts), longest), end)
    for row, prompt in zip(tokens, prompts):
        row[: len(prompt)] = torch.tensor(prompt)
    # Prompts are padded behind; causal attention keeps the padding out of sight.
    states, _, key_values = base(tokens.to(device), top=len(base.layers))
    caches = [tuple(torch.nn.functional.pad(t, (0, 0, 0, max_tokens)) for t in kv) for kv in key_values]
    rows = torch.arange(len(prompts), device=device)
    state = states[rows, lengths - 1]
    index = torch.arange(longest + max_tokens, device=device)
    emitted: list[Tensor] = []
    done = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    for step in range(max_tokens):
        token = base.logits(state).argmax(-1)
        emitted.append(token.masked_fill(done, -1))
        done = done | (token == end)
        if step + 1 == max_tokens or (step % 8 == 7 and bool(done.all())):
            break
        at = lengths + step
        mask = (index <= at[:, None])[:, None, None]
        x = base.embed(token[:, None])
        rope = base.rope(at[:, None], x.dtype)
        for layer, cache in zip(base.layers, caches):
            x = layer.decode(x, rope, cache, at, mask)
        state = base.model.norm(x)[:, 0]
    return [[t for t in row if t >= 0] for row in torch.stack(emitted, 1).tolist()]
