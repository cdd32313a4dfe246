# SPDX-License-Identifier: Apache-2.0
"""A Llama-architecture decoder that also gives what streams need: the inner state and the keys and values of layers."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

Rope = tuple[Tensor, Tensor]
KeyValue = tuple[Tensor, Tensor]

_FIXED_ROPE = {"default", "linear", "llama3", "yarn"}


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
    """The projections of grouped-query attention, and attention over keys that are already rotated."""

    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.head_dim = config.head_dim or config.hidden_size // config.num_attention_heads
        heads, kv_heads, bias = config.num_attention_heads, config.num_key_value_heads, config.attention_bias
        self.groups = heads // kv_heads
        self.q_proj = nn.Linear(config.hidden_size, heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(config.hidden_size, kv_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(config.hidden_size, kv_heads * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(heads * self.head_dim, config.hidden_size, bias=bias)

    def heads(self, x: Tensor) -> Tensor:
        """[B, R, heads · d] to [B, heads, R, d]."""
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def repeat(self, x: Tensor) -> Tensor:
        """Gives each query head its key or value head: [B, kv_heads, L, d] to [B, heads, L, d]."""
        return x.repeat_interleave(self.groups, 1) if self.groups > 1 else x


class Mlp(nn.Module):
    """down(SiLU(gate(x)) · up(x))."""

    def __init__(self, config: LlamaConfig):
        super().__init__()
        sizes, bias = (config.hidden_size, config.intermediate_size), config.mlp_bias
        self.gate_proj = nn.Linear(*sizes, bias=bias)
        self.up_proj = nn.Linear(*sizes, bias=bias)
        self.down_proj = nn.Linear(*reversed(sizes), bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """One decoder layer, pre-norm."""

    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = Mlp(config)
        self.input_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)

    def key_value(self, normed: Tensor, rope: Rope) -> KeyValue:
        """Rotated keys and values, [B, kv_heads, L, d]."""
        a = self.self_attn
        return rotate(a.heads(a.k_proj(normed)), rope), a.heads(a.v_proj(normed))

    def forward(self, x: Tensor, rope: Rope, mask: Tensor | None, dropout: float) -> tuple[Tensor, KeyValue]:
        a = self.self_attn
        normed = self.input_layernorm(x)
        key, value = self.key_value(normed, rope)
        query = rotate(a.heads(a.q_proj(normed)), rope)
        out = F.scaled_dot_product_attention(
            query, a.repeat(key), a.repeat(value), attn_mask=mask, is_causal=mask is None
        )
        x = x + F.dropout(a.o_proj(out.transpose(1, 2).flatten(2)), dropout, self.training)
        x = x + F.dropout(self.mlp(self.post_attention_layernorm(x)), dropout, self.training)
        return x, (key, value)

    def decode(self, x: Tensor, rope: Rope, cache: KeyValue, slots: Tensor, mask: Tensor) -> Tensor:
        """One new row a sequence, [B, 1, h]: writes its key and value into `slots` [B] of the cache, and attends."""
        a = self.self_attn
        normed = self.input_layernorm(x)
        key, value = self.key_value(normed, rope)
        rows = torch.arange(len(slots), device=slots.device)
        cache[0][rows, :, slots] = key[:, :, 0]
        cache[1][rows, :, slots] = value[:, :, 0]
        query = rotate(a.heads(a.q_proj(normed)), rope)
        # All query heads of a group attend as rows of their key head: the cache is read once, not repeated.
        grouped = query.unflatten(1, (-1, a.groups)).squeeze(3)
        out = F.scaled_dot_product_attention(grouped, *cache, attn_mask=mask)
        x = x + a.o_proj(out.flatten(1)[:, None])
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """What the names in a checkpoint call `model`."""

    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = RmsNorm(config.hidden_size, config.rms_norm_eps)


class Llama(nn.Module):
    """The whole model. Its parameters carry the names of a Hugging Face checkpoint."""

    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        rotary = LlamaRotaryEmbedding(config)
        if rotary.rope_type not in _FIXED_ROPE:
            raise ValueError(
                f"RoPE type {rotary.rope_type!r} changes with the length; supported are {sorted(_FIXED_ROPE)}"
            )
        self.register_buffer("frequencies", rotary.inv_freq.float(), persistent=False)
        self.rope_scale = float(rotary.attention_scaling)

    @property
    def layers(self) -> nn.ModuleList:
        return self.model.layers

    def rope(self, positions: Tensor, dtype: torch.dtype) -> Rope:
        """Cosines and sines [B, 1, R, d] of positions [B, R]; angles in fp32."""
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
    """Rotary embedding in the half-split form of Hugging Face checkpoints."""
    cosine, sine = rope
    low, high = x.chunk(2, -1)
    return x * cosine + torch.cat((-high, low), -1) * sine


def load_llama(path: Path, dtype: torch.dtype) -> Llama:
    """Loads a Hugging Face directory of the Llama architecture."""
    config = LlamaConfig.from_pretrained(path)
    kind = json.loads((path / "config.json").read_text()).get("model_type")
    if kind != "llama":
        raise ValueError(f"{path}: model_type is {kind!r}, expected 'llama'")
    if config.hidden_act != "silu":
        raise ValueError(f"{path}: hidden_act is {config.hidden_act!r}, expected 'silu'")
    with torch.device("meta"):
        model = Llama(config)
    # Buffers of the rotary embedding are computed, not loaded.
    real = LlamaRotaryEmbedding(config)
    model.frequencies = real.inv_freq.float()
    tensors = {name: tensor.to(dtype) for name, tensor in _read_tensors(path)}
    if config.tie_word_embeddings:
        tensors.pop("lm_head.weight", None)
    model.load_state_dict(tensors, strict=True, assign=True)
    return model.eval()


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


def save_llama(model: Llama, out: Path, dtype: torch.dtype) -> None:
    """Writes config.json and model.safetensors in `dtype`."""
    out.mkdir(parents=True, exist_ok=True)
    model.config.architectures = ["LlamaForCausalLM"]
    model.config.dtype = dtype
    model.config.save_pretrained(out)
    tensors = {name: p.detach().to("cpu", dtype).contiguous() for name, p in model.state_dict().items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
