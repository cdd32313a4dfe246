# SPDX-License-Identifier: Apache-2.0
"""A decoder of any family that the engine runs, which also gives what streams need: inner state, keys and values."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

Rope = tuple[Tensor, Tensor]
KeyValue = tuple[Tensor, Tensor]

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "phi3")
_ROPES = {"default", "linear", "llama3", "yarn", "longrope"}
# The context that the engine loads a model for unless told otherwise: longrope's factors follow from it.
DEFAULT_CONTEXT = 4096


@dataclass(frozen=True)
class Architecture:
    """What a family makes of its configuration, where families differ."""

    head_dim: int
    rotary_dim: int
    qkv_bias: bool
    output_bias: bool
    mlp_bias: bool
    head_norms: bool
    windows: tuple[int | None, ...]  # tokens that a row of each layer sees, its own among them

    @staticmethod
    def of(config: PreTrainedConfig) -> "Architecture":
        family = config.model_type
        if family not in FAMILIES:
            raise ValueError(f"model_type is {family!r}, expected one of {', '.join(FAMILIES)}")
        if config.hidden_act != "silu":
            raise ValueError(f"hidden_act is {config.hidden_act!r}, expected 'silu'")
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        partial = config.rope_parameters.get("partial_rotary_factor", 1.0) if family == "phi3" else 1.0
        # Mistral, Qwen and Phi-3 configurations ignore these fields.
        bias = family in ("llama", "qwen3") and config.attention_bias
        window = getattr(config, "sliding_window", None) if family != "llama" else None
        if family in ("qwen2", "qwen3"):
            windows = tuple(window if kind == "sliding_attention" else None for kind in config.layer_types)
        else:
            windows = (window,) * config.num_hidden_layers
        return Architecture(
            head_dim=head_dim,
            rotary_dim=int(head_dim * partial),
            qkv_bias=bias or family == "qwen2",
            output_bias=bias,
            mlp_bias=family == "llama" and config.mlp_bias,
            head_norms=family == "qwen3",
            windows=windows,
        )


class RmsNorm(nn.Module):
    """x / rms(x) · weight, in fp32."""

    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * y.to(x.dtype)


class Attention(nn.Module):
    """The projections of grouped-query attention, and the norms of its heads where there are any."""

    def __init__(self, config: PreTrainedConfig, architecture: Architecture):
        super().__init__()
        self.head_dim = architecture.head_dim
        heads, kv_heads, bias = config.num_attention_heads, config.num_key_value_heads, architecture.qkv_bias
        self.groups = heads // kv_heads
        self.q_proj = nn.Linear(config.hidden_size, heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(config.hidden_size, kv_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(config.hidden_size, kv_heads * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(heads * self.head_dim, config.hidden_size, bias=architecture.output_bias)
        if architecture.head_norms:
            self.q_norm = RmsNorm(self.head_dim, config.rms_norm_eps)
            self.k_norm = RmsNorm(self.head_dim, config.rms_norm_eps)
        self.head_norms = architecture.head_norms

    def heads(self, x: Tensor) -> Tensor:
        """[B, R, heads · d] to [B, heads, R, d]."""
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def query(self, projected: Tensor, rope: Rope) -> Tensor:
        """Heads of projected queries, normed where the family does, rotated."""
        heads = self.heads(projected)
        return rotate(self.q_norm(heads) if self.head_norms else heads, rope)

    def key(self, projected: Tensor, rope: Rope) -> Tensor:
        """Heads of projected keys, likewise."""
        heads = self.heads(projected)
        return rotate(self.k_norm(heads) if self.head_norms else heads, rope)

    def repeat(self, x: Tensor) -> Tensor:
        """Gives each query head its key or value head: [B, kv_heads, L, d] to [B, heads, L, d]."""
        return x.repeat_interleave(self.groups, 1) if self.groups > 1 else x


class Mlp(nn.Module):
    """down(SiLU(gate(x)) · up(x))."""

    def __init__(self, config: PreTrainedConfig, bias: bool):
        super().__init__()
        sizes = (config.hidden_size, config.intermediate_size)
        self.gate_proj = nn.Linear(*sizes, bias=bias)
        self.up_proj = nn.Linear(*sizes, bias=bias)
        self.down_proj = nn.Linear(*reversed(sizes), bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """One decoder layer, pre-norm. With a window, a row sees that many rows up to itself."""

    def __init__(self, config: PreTrainedConfig, architecture: Architecture, window: int | None):
        super().__init__()
        self.window = window
        self.self_attn = Attention(config, architecture)
        self.mlp = Mlp(config, architecture.mlp_bias)
        self.input_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)

    def key_value(self, normed: Tensor, rope: Rope) -> KeyValue:
        """Rotated keys and values, [B, kv_heads, L, d]."""
        a = self.self_attn
        return a.key(a.k_proj(normed), rope), a.heads(a.v_proj(normed))

    def within_window(self, visible: Tensor, newest: Tensor) -> Tensor:
        """`visible` [..., keys] without what is before the window of rows whose newest key is `newest` [..., 1]."""
        if self.window is None:
            return visible
        index = torch.arange(visible.shape[-1], device=visible.device)
        return visible & (index > newest - self.window)

    def forward(self, x: Tensor, rope: Rope, mask: Tensor | None, dropout: float) -> tuple[Tensor, KeyValue]:
        a = self.self_attn
        normed = self.input_layernorm(x)
        key, value = self.key_value(normed, rope)
        query = a.query(a.q_proj(normed), rope)
        if self.window is not None and self.window < x.shape[1]:
            index = torch.arange(x.shape[1], device=x.device)[:, None]
            mask = self.within_window(index.T <= index if mask is None else mask, index)
        out = F.scaled_dot_product_attention(
            query, a.repeat(key), a.repeat(value), attn_mask=mask, is_causal=mask is None
        )
        x = x + F.dropout(a.o_proj(out.transpose(1, 2).flatten(2)), dropout, self.training)
        x = x + F.dropout(self.mlp(self.post_attention_layernorm(x)), dropout, self.training)
        return x, (key, value)

    def decode(self, x: Tensor, rope: Rope, cache: KeyValue, slots: Tensor, mask: Tensor) -> Tensor:
        """
        One new row a sequence, [B, 1, h]: writes its key and value into `slots` [B] of the cache, and attends to the
        slots of `mask` [B, 1, 1, slots] that the layer's window leaves.
        """
        a = self.self_attn
        normed = self.input_layernorm(x)
        key, value = self.key_value(normed, rope)
        rows = torch.arange(len(slots), device=slots.device)
        cache[0][rows, :, slots] = key[:, :, 0]
        cache[1][rows, :, slots] = value[:, :, 0]
        query = a.query(a.q_proj(normed), rope)
        mask = self.within_window(mask, slots[:, None, None, None])
        # All query heads of a group attend as rows of their key head: the cache is read once, not repeated.
        grouped = query.unflatten(1, (-1, a.groups)).squeeze(3)
        out = F.scaled_dot_product_attention(grouped, *cache, attn_mask=mask)
        x = x + a.o_proj(out.flatten(1)[:, None])
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """What the names in a checkpoint call `model`."""

    def __init__(self, config: PreTrainedConfig, architecture: Architecture):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, architecture, window) for window in architecture.windows)
        self.norm = RmsNorm(config.hidden_size, config.rms_norm_eps)


class CausalLM(nn.Module):
    """
    The whole model. Its parameters carry the names of a Hugging Face checkpoint; projections that one stores fused
    (Phi-3) are separate here, as streams adapters name them.
    """

    def __init__(self, config: PreTrainedConfig, context: int = DEFAULT_CONTEXT):
        """`context`: tokens that the model will be loaded for; longrope takes its long factors beyond the original."""
        super().__init__()
        self.config = config
        self.architecture = Architecture.of(config)
        self.model = Decoder(config, self.architecture)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        frequencies, self.rope_scale = _frequencies(config, self.architecture, context)
        self.register_buffer("frequencies", frequencies, persistent=False)

    @property
    def layers(self) -> nn.ModuleList:
        return self.model.layers

    def rope(self, positions: Tensor, dtype: torch.dtype) -> Rope:
        """Cosines and sines [B, 1, R, rotary dimension] of positions [B, R]; angles in fp32."""
        angles = positions[:, None, :, None].float() * self.frequencies
        angles = torch.cat((angles, angles), -1)
        return (angles.cos() * self.rope_scale).to(dtype), (angles.sin() * self.rope_scale).to(dtype)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.model.embed_tokens(tokens)

    def logits(self, state: Tensor) -> Tensor:
        """The LM head, without the norm."""
        weight = self.model.embed_tokens.weight if self.config.tie_word_embeddings else self.lm_head.weight
        return F.linear(state, weight)

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        top: int = 0,
        dropout: float = 0.0,
    ) -> tuple[Tensor, Tensor, list[KeyValue]]:
        """
        Runs all layers over tokens [B, L]. Without a mask every row sees all rows up to it.

        Returns the final normed state, the state that enters the layer N − top, and the rotated keys and values of the
        top layers (of all layers for top = N).
        """
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        x = F.dropout(self.embed(tokens), dropout, self.training)
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        rope = self.rope(positions, x.dtype)
        inserted, kept, begin = x, [], len(self.layers) - top
        for i, layer in enumerate(self.layers):
            if i == begin:
                inserted = x
            x, key_value = layer(x, rope, mask, dropout)
            if i >= begin:
                kept.append(key_value)
        return self.model.norm(x), inserted, kept


def rotate(x: Tensor, rope: Rope) -> Tensor:
    """Rotary embedding in the half-split form of Hugging Face checkpoints, of the leading elements of each head."""
    cosine, sine = rope
    rotated, kept = x[..., : cosine.shape[-1]], x[..., cosine.shape[-1] :]
    low, high = rotated.chunk(2, -1)
    return torch.cat((rotated * cosine + torch.cat((-high, low), -1) * sine, kept), -1)


def _frequencies(config: PreTrainedConfig, architecture: Architecture, context: int) -> tuple[Tensor, float]:
    """Inverse frequencies [rotary dimension / 2], and the factor on cosines and sines."""
    kind = config.rope_parameters["rope_type"]
    if kind not in _ROPES:
        raise ValueError(f"RoPE type is {kind!r}, expected one of {', '.join(sorted(_ROPES))}")
    # They are computed, not loaded, so they must be real while the model is built without its weights.
    with torch.device("cpu"):
        if kind == "default":
            exponents = torch.arange(0, architecture.rotary_dim, 2).float() / architecture.rotary_dim
            return 1.0 / config.rope_parameters["rope_theta"] ** exponents, 1.0
        context = min(context, config.max_position_embeddings)
        frequencies, scale = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), seq_len=context)
    return frequencies.float(), float(scale)


def load_model(path: Path, dtype: torch.dtype, context: int = DEFAULT_CONTEXT) -> CausalLM:
    """Loads a Hugging Face directory of a supported family."""
    config = AutoConfig.from_pretrained(path)
    try:
        with torch.device("meta"):
            model = CausalLM(config, context)
    except ValueError as e:
        raise ValueError(f"{path}: {e}") from e
    tensors: dict[str, Tensor] = {}
    for name, tensor in _read_tensors(path):
        tensors |= {n: t.to(dtype) for n, t in _split(model, name, tensor)}
    if config.tie_word_embeddings:
        tensors.pop("lm_head.weight", None)
    model.load_state_dict(tensors, strict=True, assign=True)
    return model.eval()


def _split(model: CausalLM, name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The projections of a tensor that a checkpoint stores fused; any other as it is."""
    for fused, parts in (("qkv_proj", ("q_proj", "k_proj", "v_proj")), ("gate_up_proj", ("gate_proj", "up_proj"))):
        if name.endswith(f".{fused}.weight"):
            layer = model.get_submodule(name.removesuffix(f".{fused}.weight"))
            sizes = [getattr(layer, part).out_features for part in parts]
            for part, rows in zip(parts, tensor.split(sizes)):
                yield name.replace(fused, part), rows.contiguous()
            return
    yield name, tensor


def half_type(path: Path) -> torch.dtype:
    """The 16-bit type that the engine runs this model in: its own, and bf16 for an fp32 checkpoint."""
    _, tensor = next(_read_tensors(path))
    return torch.float16 if tensor.dtype == torch.float16 else torch.bfloat16


def _read_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"{path}: no *.safetensors file")
    for file in files:
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():
                yield name, tensors.get_tensor(name)


def save_llama(model: CausalLM, out: Path, dtype: torch.dtype) -> None:
    """Writes config.json and model.safetensors of a Llama in `dtype`."""
    out.mkdir(parents=True, exist_ok=True)
    model.config.architectures = ["LlamaForCausalLM"]
    model.config.dtype = dtype
    model.config.save_pretrained(out)
    tensors = {name: p.detach().to("cpu", dtype).contiguous() for name, p in model.state_dict().items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
