# SPDX-License-Identifier: Apache-2.0
"""What both trainings share: targets, the schedule, steps that skip what is not finite, checkpoints, progress."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from tributary_train.data import Batch


def learning_rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


class Optimizer:
    """AdamW with clipping. A step whose gradients are not finite changes nothing, and is counted."""

    def __init__(self, groups: list[dict[str, Any]], peak: float, betas: tuple[float, float], clip: float = 1.0):
        self._adamw = torch.optim.AdamW(groups, lr=peak, betas=betas, eps=1e-8, fused=True)
        self._parameters = [p for group in groups for p in group["params"]]
        self._clip = clip
        self.skipped = torch.zeros((), device=self._parameters[0].device)

    def step(self, rate: float) -> None:
        """One step at this learning rate; the gradients are cleared."""
        norm = nn.utils.clip_grad_norm_(self._parameters, self._clip)
        # The fused kernel reads this flag on the device, so that no step waits for the host.
        bad = (~norm.isfinite()).float()
        self.skipped += bad
        self._adamw.found_inf = bad
        self._adamw.grad_scale = None
        for group in self._adamw.param_groups:
            group["lr"] = rate
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        return {"adamw": self._adamw.state_dict(), "skipped": self.skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._adamw.load_state_dict(state["adamw"])
        self.skipped.copy_(state["skipped"])


def save_checkpoint(path: Path, step: int, module: nn.Module, optimizer: Optimizer) -> None:
    """Writes what `load_checkpoint` resumes from; a half-written file never takes the place of a whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    trainable = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    torch.save({"step": step, "parameters": trainable, "optimizer": optimizer.state_dict()}, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def load_checkpoint(path: Path, module: nn.Module, optimizer: Optimizer) -> int:
    """Restores parameters and optimizer; gives the step to go on with."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for name, tensor in state["parameters"].items():
            parameters[name].copy_(tensor)
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over the rows whose weight is not zero."""
    losses = nn.functional.cross_entropy(logits.flatten(0, -2).float(), targets.flatten(), reduction="none")
    return (losses * weights.flatten()).sum() / weights.sum().clamp_min(1)


def stream_targets(batch: Batch, anchors: Tensor, used: Tensor, gamma: int) -> tuple[Tensor, Tensor]:
    """Token t + 1 + j for stream j of the anchor at t, and 1 where there is one; both [B, A, γ]."""
    at = anchors[:, :, None] + 1 + torch.arange(1, gamma + 1, device=anchors.device)
    last = batch.last.gather(1, anchors)[:, :, None]
    weights = (used[:, :, None] & (at <= last)).float()
    at = at.clamp_max(batch.tokens.shape[1] - 1).flatten(1)
    return batch.tokens.gather(1, at).unflatten(1, (-1, gamma)), weights


def steps_bar(begin: int, steps: int, shown: bool) -> tqdm:
    """Counts the steps from `begin` on, with a progress bar if shown."""
    return tqdm(range(begin, steps), initial=begin, total=steps, mininterval=5, disable=not shown)
