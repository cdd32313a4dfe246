# SPDX-License-Identifier: Apache-2.0
"""Properties of the training package. Run: python -m pytest scripts/train/tests"""

import itertools
import random
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

sys.path.insert(0, str(Path(__file__).parents[1]))

from tributary_train.data import Batch, Document, pack  # noqa: E402
from tributary_train.decoding import greedy  # noqa: E402
from tributary_train.evaluate import accepted, stream_candidates, walk  # noqa: E402
from tributary_train.llama import Llama, load_llama  # noqa: E402
from tributary_train.sql import Augmenter, normalise, parse  # noqa: E402
from tributary_train.streams import StreamConfig, Streams, load_streams, save_streams, two_piece_attention  # noqa: E402

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


def random_streams(base: Llama, **changes: object) -> Streams:
    streams = Streams(base, StreamConfig(gamma=3, stream_layers=2, rank=4, alpha=8.0, **changes))
    for parameter in streams.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return streams.requires_grad_(False)


@pytest.fixture
def base(tmp_path: Path) -> Llama:
    torch.manual_seed(5)
    LlamaForCausalLM(tiny(initializer_range=0.3)).save_pretrained(tmp_path)
    return load_llama(tmp_path, torch.float32)


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
    ours = load_llama(tmp_path, torch.float32)
    tokens = torch.randint(96, (2, 100))
    with torch.no_grad():
        expected = theirs(tokens).logits
        got = ours.logits(ours(tokens)[0])
    assert torch.allclose(got, expected, atol=1e-4, rtol=1e-4)


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


def test_packing_changes_no_stream(base: Llama) -> None:
    """Streams of documents packed side by side equal those of each document alone."""
    rng = random.Random(3)
    documents = [Document([rng.randrange(96) for _ in range(n)], 2) for n in (9, 14, 5, 20)]
    streams = random_streams(base)
    batch = Batch.of(torch.from_numpy(pack(documents, 50, rng)))
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
def test_adapter_survives_saving(tmp_path: Path, base: Llama, position: str) -> None:
    streams = random_streams(base, position=position, pruning_rank=2)
    save_streams(streams, base, tmp_path, torch.float32)
    again = load_streams(tmp_path, base)
    assert again.config == streams.config
    assert all(torch.equal(a, b) for a, b in zip(streams.parameters(), again.parameters(), strict=True))


def test_batched_decoding_equals_one_by_one(base: Llama) -> None:
    rng = random.Random(4)
    prompts = [[rng.randrange(1, 96) for _ in range(rng.randint(1, 12))] for _ in range(7)]
    for prompt, text in zip(prompts, greedy(base, prompts, 0, 20, slots=100)):
        tokens = list(prompt)
        for token in text:
            assert int(base.logits(base(torch.tensor([tokens]))[0][0, -1]).argmax()) == token
            tokens.append(token)
        assert len(text) == 20 or text[-1] == 0


def test_walk_equals_explicit_trees(base: Llama) -> None:
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
