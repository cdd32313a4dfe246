# SPDX-License-Identifier: Apache-2.0
"""Task files, documents of tokens, and windows packed from them."""

import json
import lzma
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor


def read_jsonl(path: Path) -> list[dict[str, str]]:
    """The lines of a .jsonl or .jsonl.xz file: objects with `prompt` and `completion`."""
    with lzma.open(path, "rt") if path.suffix == ".xz" else open(path) as file:
        return [json.loads(line) for line in file]


def task_file(data: Path, task: str, split: str) -> Path:
    """The file of a task's split, compressed or not."""
    for name in (f"{task}.{split}.jsonl.xz", f"{task}.{split}.jsonl"):
        if (data / name).exists():
            return data / name
    raise FileNotFoundError(f"{data}: neither {task}.{split}.jsonl.xz nor {task}.{split}.jsonl exists")


@dataclass(frozen=True)
class Document:
    """Tokens of one text; the first `prompt` of them are given, the rest is to be predicted."""

    tokens: Sequence[int]
    prompt: int


def encode_pairs(tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]], end: int | None) -> list[Document]:
    """
    Encodes prompts and completions apart, as generation does: it sees the prompt's tokens and then its own.
    `end` is appended where given.
    """
    texts = [text for pair in pairs for text in pair]
    encoded = [e.ids for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    tail = [] if end is None else [end]
    return [Document(p + c + tail, len(p)) for p, c in zip(encoded[::2], encoded[1::2])]


# Columns of a packed window: token, position in its document, index in the window of its document's first token,
# index in the window of its document's last token (-1 for padding), whether the token was given (prompt).
TOKEN, POSITION, FIRST, LAST, GIVEN = range(5)


def pack(documents: Sequence[Document], window: int, rng: random.Random) -> np.ndarray:
    """Packs documents, shuffled, into windows [W, 5, window] (int32). What is longer than a window loses its end."""
    order = list(documents)
    rng.shuffle(order)
    # Best fit over a few open windows wastes little and keeps the order nearly random.
    open_windows: list[tuple[list[Document], int]] = []
    closed: list[list[Document]] = []
    for document in order:
        size = min(len(document.tokens), window)
        fits = [(room - size, i) for i, (_, room) in enumerate(open_windows) if room >= size]
        if fits:
            _, i = min(fits)
            held, room = open_windows[i]
            held.append(document)
            open_windows[i] = (held, room - size)
        else:
            open_windows.append(([document], window - size))
            if len(open_windows) > 24:
                fullest = min(range(len(open_windows)), key=lambda i: open_windows[i][1])
                closed.append(open_windows.pop(fullest)[0])
    closed += [held for held, _ in open_windows]
    rng.shuffle(closed)
    out = np.zeros((len(closed), 5, window), dtype=np.int32)
    out[:, LAST] = -1
    for row, held in zip(out, closed):
        start = 0
        for document in held:
            tokens = document.tokens[:window]
            end = start + len(tokens)
            row[TOKEN, start:end] = tokens
            row[POSITION, start:end] = np.arange(len(tokens))
            row[FIRST, start:end] = start
            row[LAST, start:end] = end - 1
            row[GIVEN, start : min(end, start + document.prompt)] = 1
            start = end
        # Padding sees itself alone, so that no softmax is over nothing.
        row[FIRST, start:] = np.arange(start, window)
    return out


@dataclass
class Batch:
    """Packed windows on the device, all [B, L]."""

    tokens: Tensor
    positions: Tensor
    first: Tensor
    last: Tensor
    given: Tensor

    @staticmethod
    def of(windows: Tensor) -> "Batch":
        columns = windows.long().unbind(1)
        return Batch(columns[TOKEN], columns[POSITION], columns[FIRST], columns[LAST], columns[GIVEN].bool())

    def mask(self) -> Tensor:
        """[B, 1, L, L], true where a query may see a key: the same document, not later."""
        index = torch.arange(self.tokens.shape[1], device=self.tokens.device)
        causal = index[None, :] <= index[:, None]
        return (causal & (index >= self.first[:, :, None]))[:, None]

    def next_tokens(self) -> tuple[Tensor, Tensor]:
        """The token after each position, and whether there is one in the same document."""
        index = torch.arange(self.tokens.shape[1], device=self.tokens.device)
        return self.tokens.roll(-1, 1), index < self.last

    def draw_anchors(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """
        Draws up to `count` anchors a window, [B, count] indices and whether each is one: positions from the last prompt
        token on with at least two more tokens in the document (t + 2 is the first that a stream predicts).
        """
        index = torch.arange(self.tokens.shape[1], device=self.tokens.device)
        follows_given = self.given.roll(-1, 1) & (index + 1 <= self.last)
        possible = ~follows_given & (index + 2 <= self.last)
        noise = torch.rand(self.tokens.shape, device=self.tokens.device, generator=generator)
        value, anchors = torch.where(possible, noise, -1.0).topk(count, dim=1)
        return anchors, value >= 0


def windows_of(texts: Iterable[str], characters: int, count: int, rng: random.Random) -> Iterator[str]:
    """Random pieces of long texts, beginning at a word."""
    texts = list(texts)
    lengths = [len(text) for text in texts]
    for text in rng.choices(texts, weights=lengths, k=count):
        start = rng.randrange(max(1, len(text) - characters))
        start = 0 if start == 0 else text.find(" ", start)
        yield text[max(0, start) : start + characters]
