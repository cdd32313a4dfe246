# SPDX-License-Identifier: Apache-2.0
"""Properties of the training package. Run: python -m pytest scripts/train/tests"""

import itertools
import json
import random
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

sys.path.insert(0, str(Path(__file__).parents[1]))

from tributary_train import train_streams  # noqa: E402
from tributary_train.causal_lm import CausalLM, half_type, load_model  # noqa: E402
from tributary_train.data import Batch, Document, pack  # noqa: E402
from tributary_train.decoding import greedy  # noqa: E402
from tributary_train.evaluate import accepted, stream_candidates, walk  # noqa: E402
from tributary_train.sql import Augmenter, normalise, parse  # noqa: E402
from tributary_train.streams import (  # noqa: E402
    TARGETS,
    StreamConfig,
    Streams,
    load_streams,
    save_streams,
    two_piece_attention,
)

MODELS = Path(__file__).parents[3] / "tests" / "fixtures" / "models"
ROPES = [
    {"rope_type": "default", "rope_theta": 10000.0},
    {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
    {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
    {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64},
]


def tiny(rope: dict[str, object] = ROPES[0], **changes: object) -> LlamaConfig:
    values = dict(
        vocab_size=96,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=256,
        rope_parameters=rope,
    )
    return LlamaConfig(**{**values, **changes})


LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "partial_rotary_factor": 0.75,
    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8],
    "long_factor": [1.0, 1.3, 1.7, 2.2, 2.9, 3.7, 4.7, 6.0, 7.5],
}
FAMILIES: dict[str, tuple[type[PreTrainedConfig], dict[str, object]]] = {
    "mistral": (MistralConfig, {"sliding_window": 7, "head_dim": 32}),
    "mistral without window": (MistralConfig, {"sliding_window": None, "head_dim": 16}),
    "qwen2": (Qwen2Config, {"use_sliding_window": False}),
    "qwen2 with windows": (
        Qwen2Config,
        {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 2, "tie_word_embeddings": True},
    ),
    "qwen3": (Qwen3Config, {"head_dim": 32}),
    "qwen3 with windows": (
        Qwen3Config,
        {
            "head_dim": 16,
            "attention_bias": True,
            "use_sliding_window": True,
            "sliding_window": 20,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        },
    ),
    "phi3": (
        Phi3Config,
        {
            "hidden_size": 96,
            "original_max_position_embeddings": 32,
            "max_position_embeddings": 128,
            "rope_parameters": LONG,
            "sliding_window": 30,
        },
    ),
}


def of_family(name: str) -> PreTrainedModel:
    """A random model of a family, every parameter of which matters."""
    family, changes = FAMILIES[name]
    values = tiny().to_dict()
    kept = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    sizes = {k: values[k] for k in (*kept, "num_key_value_heads", "max_position_embeddings", "rope_parameters")}
    config = family(**{**sizes, "pad_token_id": None, "initializer_range": 0.2, **changes})
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=1.0 if parameter.mean() > 0.5 else 0.0, std=0.2)
    return model


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path: Path) -> CausalLM:
    torch.manual_seed(7)
    of_family(request.param).save_pretrained(tmp_path)
    return load_model(tmp_path, torch.float32, context=100)


def random_streams(base: CausalLM, **changes: object) -> Streams:
    streams = Streams(base, StreamConfig(gamma=3, stream_layers=2, rank=4, alpha=8.0, **changes))
    for parameter in streams.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return streams.requires_grad_(False)


@pytest.fixture
def base(tmp_path: Path) -> CausalLM:
    torch.manual_seed(5)
    LlamaForCausalLM(tiny(initializer_range=0.3)).save_pretrained(tmp_path)
    return load_model(tmp_path, torch.float32)


@pytest.mark.parametrize("rope", ROPES, ids=lambda rope: rope["rope_type"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_equals_transformers(tmp_path: Path, rope: dict[str, object], tied: bool, bias: bool) -> None:
    torch.manual_seed(1)
    theirs = LlamaForCausalLM(tiny(rope, tie_word_embeddings=tied, attention_bias=bias, initializer_range=0.2)).eval()
    for name, parameter in theirs.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    ours = load_model(tmp_path, torch.float32)
    tokens = torch.randint(96, (2, 100))
    with torch.no_grad():
        expected = theirs(tokens).logits
        got = ours.logits(ours(tokens)[0])
    assert torch.allclose(got, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("length", [25, 100])
def test_every_family_equals_transformers(tmp_path: Path, name: str, length: int) -> None:
    torch.manual_seed(8)
    theirs = of_family(name)
    theirs.save_pretrained(tmp_path, max_shard_size="30KB")
    ours = load_model(tmp_path, torch.float32, context=length)
    tokens = torch.randint(96, (2, length))
    with torch.no_grad():
        expected = theirs(tokens).logits
        got = ours.logits(ours(tokens)[0])
    assert torch.allclose(got, expected, atol=2e-4, rtol=2e-4)


def test_other_models_are_refused(tmp_path: Path) -> None:
    GPT2Config(n_layer=1, n_head=1, n_embd=8).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="model_type is 'gpt2', expected one of llama, mistral, qwen2, qwen3, phi3"):
        load_model(tmp_path, torch.float32)


@torch.no_grad()
def test_a_stream_sees_what_its_anchor_sees(family: CausalLM) -> None:
    """Tokens before every window that reaches the anchor change nothing; the oldest one inside changes something."""
    streams = random_streams(family)
    windows = family.architecture.windows[1:]
    tokens = torch.randint(96, (1, 60))
    anchor = torch.tensor([[50]])

    def states(changed: int) -> torch.Tensor:
        other = tokens.clone()
        other[0, changed] = (other[0, changed] + 1) % 96
        _, inserted, key_values = family(tokens, top=2)
        _, _, changed_key_values = family(other, top=2)
        # The anchor's own state stays; of the keys and values one position changes.
        swapped = [
            tuple(torch.where(torch.arange(60)[:, None] == changed, c, k) for k, c in zip(kv, ckv))
            for kv, ckv in zip(key_values, changed_key_values)
        ]
        return streams(family, inserted, torch.arange(60)[None], swapped, anchor)

    undisturbed = states(59)
    assert not torch.equal(states(50), undisturbed)
    for position in (10, 35, 45):
        sees = any(window is None or position > 50 - window for window in windows)
        assert torch.equal(states(position), undisturbed) != sees


@pytest.mark.parametrize("model", sorted(p.parent.name for p in MODELS.glob("*/tokenizer.json")))
def test_streams_train_for_every_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    data = tmp_path / "prompts.jsonl"
    rows = [{"prompt": f"What is {i} + {i * i}?", "completion": ""} for i in range(12)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = (
        f"--model {MODELS / model} --data {data} --out {tmp_path / 'streams'} --gamma 3 --stream-layers 2 --rank 2"
        " --context 128 --max-prompt 40 --max-tokens 16 --window 48 --batch 2 --anchors 8 --steps 2 --warmup 1"
        " --no-compile"
    )
    monkeypatch.setattr(sys, "argv", ["train_streams", *options.split()])
    train_streams.main()
    base = load_model(MODELS / model, torch.float32, context=128)
    trained = load_streams(tmp_path / "streams", base)
    assert len(trained.lora) == 2 * 2 * len(TARGETS)
    changed = [p for n, p in trained.lora.items() if n.endswith("-B") and p.abs().sum() > 0]
    assert len(changed) == 2 * len(TARGETS)
    stored = load_file(tmp_path / "streams" / "streams.safetensors")
    assert {t.dtype for t in stored.values()} == {half_type(MODELS / model)}


def test_two_pieces_are_one_softmax() -> None:
    torch.manual_seed(2)
    gamma, anchors, length = 3, 4, 11
    rows = gamma * anchors
    query, key, value = (torch.randn(2, 5, rows, 8, dtype=torch.float64) for _ in range(3))
    main_key, main_value = (torch.randn(2, 5, length, 8, dtype=torch.float64) for _ in range(2))
    visible = torch.rand(2, 1, rows, length) < 0.5
    visible[..., 0] = True
    own = torch.block_diag(*[torch.ones(gamma, gamma).tril()] * anchors).bool().expand(2, 1, -1, -1)
    mask = torch.cat((visible, own), -1)
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, torch.cat((main_key, key), 2), torch.cat((main_value, value), 2), attn_mask=mask
    )
    got = two_piece_attention(query, main_key, main_value, key, value, visible, gamma)
    assert torch.allclose(got, expected, atol=1e-6)  # statistics are fp32


def test_packing_changes_no_stream(family: CausalLM) -> None:
    """Streams of documents packed side by side equal those of each document alone."""
    base = family
    rng = random.Random(3)
    documents = [Document([rng.randrange(96) for _ in range(n)], 2) for n in (5, 12, 3, 16)]
    streams = random_streams(base)
    batch = Batch.of(torch.from_numpy(pack(documents, 24, rng)))
    _, inserted, key_values = base(batch.tokens, batch.positions, batch.mask(), 2)
    found = 0
    for row, column in itertools.product(*map(range, batch.tokens.shape)):
        first, last = int(batch.first[row, column]), int(batch.last[row, column])
        if last < 0:
            continue
        found += 1
        alone = batch.tokens[row : row + 1, first : last + 1]
        at = torch.arange(alone.shape[1])[None]
        _, alone_inserted, alone_kv = base(alone, top=2)
        expected = streams(base, alone_inserted, at, alone_kv, torch.tensor([[column - first]]))
        slices = [(k[row : row + 1], v[row : row + 1]) for k, v in key_values]
        got = streams(
            base,
            inserted[row : row + 1],
            batch.positions[row : row + 1],
            slices,
            torch.tensor([[column]]),
            batch.first[row : row + 1],
        )
        assert torch.allclose(got, expected, atol=1e-4)
    assert found == sum(len(d.tokens) for d in documents)


def test_anchors_begin_at_the_last_prompt_token() -> None:
    batch = Batch.of(torch.from_numpy(pack([Document(list(range(10)), 4)], 16, random.Random(1))))
    anchors, used = batch.draw_anchors(16, torch.Generator().manual_seed(1))
    assert sorted(batch.positions[0, anchors[0][used[0]]].tolist()) == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("position", ["offset", "anchor"])
def test_adapter_survives_saving(tmp_path: Path, base: CausalLM, position: str) -> None:
    streams = random_streams(base, position=position, pruning_rank=2)
    save_streams(streams, base, tmp_path, torch.float32)
    again = load_streams(tmp_path, base)
    assert again.config == streams.config
    assert all(torch.equal(a, b) for a, b in zip(streams.parameters(), again.parameters(), strict=True))


def test_batched_decoding_equals_one_by_one(family: CausalLM) -> None:
    base = family
    rng = random.Random(4)
    prompts = [[rng.randrange(1, 96) for _ in range(rng.randint(1, 12))] for _ in range(7)]
    for prompt, text in zip(prompts, greedy(base, prompts, 0, 20, slots=100)):
        tokens = list(prompt)
        for token in text:
            assert int(base.logits(base(torch.tensor([tokens]))[0][0, -1]).argmax()) == token
            tokens.append(token)
        assert len(text) == 20 or text[-1] == 0


def test_walk_equals_explicit_trees(base: CausalLM) -> None:
    """Counting on the finished text equals drafting explicit trees and walking them."""
    streams = random_streams(base)
    prompt = [5, 17, 3, 60]
    (text,) = greedy(base, [prompt], 0, 30)
    scores, tokens, _ = stream_candidates(base, streams, prompt, text)
    for rows in (None, 2, 4, 9, 16):
        passes, emitted = 0, 1
        while emitted < len(text):
            anchor = emitted - 1
            tree = explicit_tree(scores[anchor], tokens[anchor], 5 if rows is None else rows, rows is None)
            path = 0
            while path < 3 and tuple(text[emitted : emitted + path + 1]) in tree and emitted + path < len(text):
                path += 1
            emitted += path + 1
            passes += 1
        count = walk(scores, tokens, text, -1, rows)
        assert (count.tokens, count.passes) == (len(text) - 1, passes)


def explicit_tree(scores: list[list[float]], tokens: list[list[int]], rows: int, chain: bool) -> set[tuple[int, ...]]:
    if chain:
        return {tuple(t[0] for t in tokens[:depth]) for depth in range(1, len(tokens) + 1)}
    every = []
    for depth in range(1, len(tokens) + 1):
        for path in itertools.product(range(16), repeat=depth):
            score = sum(scores[i][rank] for i, rank in enumerate(path))
            every.append((score, tuple(tokens[i][rank] for i, rank in enumerate(path))))
    every.sort(reverse=True)
    return {path for _, path in every[: rows - 1]}


def test_nothing_is_drafted_below_the_end() -> None:
    scores, tokens = [[-0.1, -3.0]] * 3, [[7, 1], [2, 3], [4, 5]]
    assert accepted(scores, tokens, [7, 2, 4], 9, 0, 16) == 3
    assert accepted(scores, tokens, [7, 2, 4], 9, 7, 16) == 1
    assert accepted(scores, tokens, [7, 2, 4], 7, 7, 16) == 0


def test_sql_is_canonical_and_augmentation_consistent() -> None:
    prompt = "Columns: LAPS, HOME_TEAM, CROWD\nQuestion: Which home team had Jim Bo and 12 laps?\nSQL:"
    example = parse(prompt, ' SELECT HOME_TEAM FROM table WHERE CROWD = "jim bo" AND LAPS = 12;')
    assert example is not None
    assert example.prompt() == prompt
    assert example.completion() == ' SELECT HOME_TEAM FROM table WHERE CROWD = "Jim Bo" AND LAPS = 12;'
    augment, rng = Augmenter([example]), random.Random(6)
    for _ in range(200):
        drawn = augment(example, rng)
        again = parse(drawn.prompt(), drawn.completion())
        assert again is not None and normalise(again.completion()) == normalise(drawn.completion())
        assert {drawn.selected, *(c.column for c in drawn.conditions)} <= set(drawn.columns)
        assert all(drawn.question[slice(*c.span)] in drawn.completion() for c in drawn.conditions if c.span)
