# SPDX-License-Identifier: Apache-2.0
"""Speculative streams: the adapter, and its forward pass beside a main stream that never sees it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tributary_train.causal_lm import CausalLM, KeyValue, Layer, Rope

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class StreamConfig:
    """What streams.json says."""

    gamma: int = 4
    stream_layers: int = 1
    position: str = "offset"
    rank: int = 16
    alpha: float = 32.0
    targets: tuple[str, ...] = TARGETS
    pruning_rank: int = 0
    pruning_threshold: float = 0.0

    def check(self, base: CausalLM) -> None:
        """Refuses what the format or the base does not allow."""
        layers = len(base.layers)
        if not 1 <= self.gamma <= 8:
            raise ValueError(f"gamma is {self.gamma}, expected 1 to 8")
        if not 1 <= self.stream_layers <= layers:
            raise ValueError(f"stream_layers is {self.stream_layers}, expected 1 to {layers}")
        if self.position not in ("offset", "anchor"):
            raise ValueError(f"position is {self.position!r}, expected 'offset' or 'anchor'")
        if unknown := set(self.targets) - set(TARGETS):
            raise ValueError(f"targets {sorted(unknown)} are not among {TARGETS}")
        if self.rank < 0 or self.pruning_rank < 0:
            raise ValueError(f"ranks are {self.rank} and {self.pruning_rank}, expected 0 or more")
        if not 0 <= self.pruning_threshold < 1:
            raise ValueError(f"pruning_threshold is {self.pruning_threshold}, expected a number in [0, 1)")


class Streams(nn.Module):
    """P_j, LoRA for stream rows, and optionally the pruning adapter."""

    def __init__(self, base: CausalLM, config: StreamConfig):
        super().__init__()
        config.check(base)
        self.config = config
        hidden, device = base.config.hidden_size, base.model.norm.weight.device
        self.stream_embeddings = nn.Parameter(torch.zeros(config.gamma, hidden, device=device))
        nn.init.normal_(self.stream_embeddings, std=0.02)
        self.first_layer = len(base.layers) - config.stream_layers
        self.lora = nn.ParameterDict()
        for i in range(self.first_layer, len(base.layers)) if config.rank else ():
            for target in config.targets:
                linear = getattr(_part(base.layers[i], target), target)
                a = torch.randn(config.rank, linear.in_features, device=device) * linear.in_features**-0.5
                b = torch.zeros(linear.out_features, config.rank, device=device)
                self.lora[f"{i}-{target}-A"] = nn.Parameter(a)
                self.lora[f"{i}-{target}-B"] = nn.Parameter(b)
        self.pruning: nn.ParameterList | None = None
        if config.pruning_rank:
            down = torch.randn(config.pruning_rank, hidden, device=device) * hidden**-0.5
            up = torch.randn(hidden, config.pruning_rank, device=device) * config.pruning_rank**-0.5
            self.pruning = nn.ParameterList([nn.Parameter(down), nn.Parameter(up)])

    def _linear(self, layer: int, target: str, linear: nn.Linear, x: Tensor) -> Tensor:
        y = linear(x)
        name = f"{layer}-{target}-A"
        if name in self.lora:
            scale = self.config.alpha / self.config.rank
            y = y + scale * F.linear(F.linear(x, self.lora[name]), self.lora[f"{layer}-{target}-B"])
        return y

    def forward(
        self,
        base: CausalLM,
        inserted: Tensor,
        positions: Tensor,
        key_values: list[KeyValue],
        anchors: Tensor,
        first: Tensor | None = None,
    ) -> Tensor:
        """
        The final normed states [B, A, γ, h] of the streams of anchors [B, A] (indices into the window).

        `inserted` and `positions` [B, L, …] are the main stream's state at insertion and its positions; `key_values`
        the rotated main keys and values of the top layers; `first` [B, L] the index of each row's first visible key.
        """
        gamma = self.config.gamma
        state = inserted.gather(1, anchors[:, :, None].expand(-1, -1, inserted.shape[2]))
        x = (state[:, :, None] + self.stream_embeddings.to(state.dtype)).flatten(1, 2)
        at = positions.gather(1, anchors)[:, :, None].expand(-1, -1, gamma)
        if self.config.position == "offset":
            at = at + torch.arange(1, gamma + 1, device=at.device)
        rope = base.rope(at.flatten(1), x.dtype)
        index = torch.arange(inserted.shape[1], device=anchors.device)
        visible = index <= anchors[:, :, None]
        if first is not None:
            visible = visible & (index >= first.gather(1, anchors)[:, :, None])
        visible = visible.repeat_interleave(gamma, 1)[:, None]
        newest = anchors.repeat_interleave(gamma, 1)[:, None, :, None]
        for i, key_value in zip(range(self.first_layer, len(base.layers)), key_values, strict=True):
            layer = base.layers[i]
            # A stream sees what its anchor sees.
            x = self._layer(i, layer, x, rope, key_value, layer.within_window(visible, newest))
        return base.model.norm(x).unflatten(1, (-1, gamma))

    def _layer(self, i: int, layer: Layer, x: Tensor, rope: Rope, key_value: KeyValue, visible: Tensor) -> Tensor:
        a, mlp = layer.self_attn, layer.mlp
        normed = layer.input_layernorm(x)
        query = a.query(self._linear(i, "q_proj", a.q_proj, normed), rope)
        key = a.key(self._linear(i, "k_proj", a.k_proj, normed), rope)
        value = a.heads(self._linear(i, "v_proj", a.v_proj, normed))
        main_key, main_value = key_value
        out = two_piece_attention(
            query, a.repeat(main_key), a.repeat(main_value), a.repeat(key), a.repeat(value), visible, self.config.gamma
        )
        x = x + self._linear(i, "o_proj", a.o_proj, out.transpose(1, 2).flatten(2))
        normed = layer.post_attention_layernorm(x)
        gate = self._linear(i, "gate_proj", mlp.gate_proj, normed)
        up = self._linear(i, "up_proj", mlp.up_proj, normed)
        return x + self._linear(i, "down_proj", mlp.down_proj, F.silu(gate) * up)

    def confidence_logits(self, base: CausalLM, inserted: Tensor) -> Tensor:
        """LMHead(up · (down · M)): what pruning believes comes next."""
        if self.pruning is None:
            raise ValueError("this adapter has no pruning part")
        down, up = self.pruning
        return base.logits(F.linear(F.linear(inserted, down), up).to(inserted.dtype))


def two_piece_attention(
    query: Tensor, main_key: Tensor, main_value: Tensor, key: Tensor, value: Tensor, visible: Tensor, gamma: int
) -> Tensor:
    """
    Attention of stream rows [B, H, A·γ, d] over main keys [B, H, L, d] where `visible` [B, 1, A·γ, L], merged by
    log-sum-exp with the lower-triangular γ × γ block of each anchor's own keys. Statistics are fp32.
    """
    scale = query.shape[-1] ** -0.5
    main = (query @ main_key.transpose(-1, -2)).float() * scale
    main = main.masked_fill(~visible, float("-inf"))
    own_query, own_key, own_value = (t.unflatten(2, (-1, gamma)) for t in (query, key, value))
    own = (own_query @ own_key.transpose(-1, -2)).float() * scale
    later = torch.ones(gamma, gamma, dtype=torch.bool, device=own.device).triu(1)
    own = own.masked_fill(later, float("-inf"))
    main_lse, own_lse = main.logsumexp(-1, keepdim=True), own.logsumexp(-1, keepdim=True)
    lse = torch.logaddexp(main_lse, own_lse.flatten(2, 3))
    from_main = (main - lse).exp().to(query.dtype) @ main_value
    from_own = (own - lse.unflatten(2, (-1, gamma))).exp().to(query.dtype) @ own_value
    return from_main + from_own.flatten(2, 3)


def _part(layer: Layer, target: str) -> nn.Module:
    return layer.self_attn if target in TARGETS[:4] else layer.mlp


def save_streams(streams: Streams, base: CausalLM, out: Path, dtype: torch.dtype) -> None:
    """Writes streams.json and streams.safetensors (docs/model-format.md)."""
    config = streams.config
    out.mkdir(parents=True, exist_ok=True)
    description = {
        "format_version": 1,
        "mode": "lossless",
        "gamma": config.gamma,
        "stream_layers": config.stream_layers,
        "position": config.position,
        "lora": {"rank": config.rank, "alpha": config.alpha, "targets": list(config.targets)} if config.rank else None,
        "pruning": (
            {"rank": config.pruning_rank, "threshold": config.pruning_threshold} if config.pruning_rank else None
        ),
        "base": {name: getattr(base.config, name) for name in ("hidden_size", "num_hidden_layers", "vocab_size")},
    }
    tensors = {"stream_embeddings": streams.stream_embeddings}
    for name, parameter in streams.lora.items():
        layer, target, side = name.split("-")
        part = "self_attn" if target in TARGETS[:4] else "mlp"
        tensors[f"layers.{layer}.{part}.{target}.lora_{side}"] = parameter
    if streams.pruning is not None:
        tensors["pruning.down"], tensors["pruning.up"] = streams.pruning
    tensors = {name: t.detach().to("cpu", dtype).contiguous() for name, t in tensors.items()}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} is not finite; nothing was written")
    save_file(tensors, out / "streams.safetensors", metadata={"format": "pt"})
    (out / "streams.json").write_text(json.dumps(description, indent=2) + "\n")


def load_streams(path: Path, base: CausalLM) -> Streams:
    """Reads an adapter directory."""
    description = json.loads((path / "streams.json").read_text())
    lora, pruning = description["lora"], description["pruning"]
    config = StreamConfig(
        gamma=description["gamma"],
        stream_layers=description["stream_layers"],
        position=description["position"],
        rank=lora["rank"] if lora else 0,
        alpha=lora["alpha"] if lora else 0.0,
        targets=tuple(lora["targets"]) if lora else (),
        pruning_rank=pruning["rank"] if pruning else 0,
        pruning_threshold=pruning["threshold"] if pruning else 0.0,
    )
    for name, expected in description["base"].items():
        if getattr(base.config, name) != expected:
            raise ValueError(f"{path}: made for {name} {expected}, the base has {getattr(base.config, name)}")
    streams = Streams(base, config)
    tensors = load_file(path / "streams.safetensors")
    with torch.no_grad():
        streams.stream_embeddings.copy_(tensors.pop("stream_embeddings"))
        for name, parameter in streams.lora.items():
            layer, target, side = name.split("-")
            part = "self_attn" if target in TARGETS[:4] else "mlp"
            parameter.copy_(tensors.pop(f"layers.{layer}.{part}.{target}.lora_{side}"))
        if streams.pruning is not None:
            for name, parameter in zip(("pruning.down", "pruning.up"), streams.pruning, strict=True):
                parameter.copy_(tensors.pop(name))
    if tensors:
        raise ValueError(f"{path}: unexpected tensors {sorted(tensors)}")
    return streams


def describe(config: StreamConfig) -> str:
    """One line for logs."""
    return ", ".join(f"{name} {value}" for name, value in asdict(config).items())
