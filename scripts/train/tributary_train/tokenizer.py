# SPDX-License-Identifier: Apache-2.0
"""A byte-level BPE whose pieces of a word do not depend on the space before it."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|endoftext|>"
# A word with the space or underscore before it, one digit, a run of signs, white space.
_WORDS = r"[ _]?\p{L}+|\p{N}| ?(?:[^\s\p{L}\p{N}_]|_(?!\p{L}))+|\s+(?!\S)|\s+"
_PREFIXES = {" ": "Ġ", "_": "_"}


def _split(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def train_tokenizer(texts: Iterable[str], vocab_size: int, prefixed: int) -> Tokenizer:
    """
    Trains in two stages. First, words without what stands before them. Then the `prefixed` commonest pairs of a space
    (or underscore) and the first piece of a word are appended as the last merges. So `Leung`, ` Leung` and `_Leung`
    fall into the same pieces but for the first, and a model copies a name from a question into quotes piece by piece.
    """
    texts = list(texts)
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [_split(r"[ _](?=\p{L})"), _split(_WORDS), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - prefixed,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    words.train_from_iterator(texts, trainer)
    model = json.loads(words.to_str())["model"]
    vocab, merges = model["vocab"], [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]

    counts: Counter[tuple[str, str]] = Counter()
    for encoding in words.encode_batch(texts, add_special_tokens=False):
        pieces = encoding.tokens
        for before, piece in zip(pieces, pieces[1:]):
            if before in _PREFIXES.values() and (piece[0].isalpha() and piece[0] != "Ġ"):
                counts[before, piece] += 1
    for pair, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if len(vocab) == vocab_size:
            break
        if "".join(pair) not in vocab:
            vocab["".join(pair)] = len(vocab)
            merges.append(pair)

    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [_split(_WORDS), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END])
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, out: Path, max_length: int) -> None:
    """Writes tokenizer.json, its config and generation_config.json. Prompts begin without a special token."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_length,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    generation = {"eos_token_id": tokenizer.token_to_id(END), "do_sample": False}
    (out / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
