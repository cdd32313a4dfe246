# SPDX-License-Identifier: Apache-2.0
"""
Trains the bundled demo base: a tokenizer and a small Llama on text-to-SQL, word problems and books.

The base also learns to predict a few tokens ahead (streams without LoRA, at a small weight), so that its inner states
know what comes next. Those stream embeddings are written as an adapter, from which `train_streams` starts.
"""

import argparse
import json
import multiprocessing
import random
import time
from collections import deque
from collections.abc import Iterator
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import LlamaConfig

from tributary_train.causal_lm import CausalLM, load_model, save_llama
from tributary_train.data import Batch, Document, encode_pairs, pack, read_jsonl, task_file, windows_of
from tributary_train.decoding import greedy
from tributary_train.sql import Augmenter, Example, normalise, parse
from tributary_train.streams import StreamConfig, Streams, save_streams
from tributary_train.tokenizer import END, save_tokenizer, train_tokenizer
from tributary_train.training import (
    Optimizer,
    cross_entropy,
    learning_rate,
    load_checkpoint,
    save_checkpoint,
    steps_bar,
    stream_targets,
)

# The last examples of the SQL training file are kept apart to watch the training (tables follow each other there).
HELD_OUT = 500


class Mixture:
    """Draws shards of packed windows: every SQL example augmented once, every word problem, pieces of books."""

    def __init__(self, data: Path, tokenizer: Path, window: int, books: int):
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._end = self._tokenizer.token_to_id(END)
        self._window, self._books = window, books
        parsed = [parse(r["prompt"], r["completion"]) for r in read_jsonl(task_file(data, "sql", "train"))]
        self._sql = [e for e in parsed[:-HELD_OUT] if e]
        self._augment = Augmenter(self._sql)
        math = [(r["prompt"], r["completion"]) for r in read_jsonl(task_file(data, "math", "train"))]
        self._math = encode_pairs(self._tokenizer, math, self._end)
        self._texts = [r["completion"] for r in read_jsonl(task_file(data, "books", "train"))]

    def shard(self, seed: int) -> np.ndarray:
        rng = random.Random(seed)
        sql = [self._augment(e, rng) for e in self._sql]
        documents = encode_pairs(self._tokenizer, [(e.prompt(), e.completion()) for e in sql], self._end)
        pieces = windows_of(self._texts, self._window * 5, self._books, rng)
        encoded = self._tokenizer.encode_batch_fast(list(pieces), add_special_tokens=False)
        documents += [Document(e.ids[: self._window], 0) for e in encoded]
        return pack(documents + self._math, self._window, rng)


_mixture: Mixture


def _start(*arguments: object) -> None:
    global _mixture
    _mixture = Mixture(*arguments)


def _shard(seed: int) -> np.ndarray:
    return _mixture.shard(seed)


class Objective(nn.Module):
    """Next-token loss of the base, plus the loss of streams that share all its weights."""

    def __init__(self, base: CausalLM, streams: Streams, stream_weight: float, prompt_weight: float, dropout: float):
        super().__init__()
        self.base, self.streams = base, streams
        self.stream_weight, self.prompt_weight, self.dropout = stream_weight, prompt_weight, dropout

    def forward(self, windows: Tensor, anchors: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
        batch = Batch.of(windows)
        final, inserted, key_values = self.base(
            batch.tokens, batch.positions, batch.mask(), self.streams.config.stream_layers, self.dropout
        )
        targets, present = batch.next_tokens()
        # A prompt is given at inference; learning it too is regularisation.
        given = batch.given.roll(-1, 1)
        weights = torch.where(given, self.prompt_weight, 1.0) * present
        main = cross_entropy(self.base.logits(final), targets, weights)
        if not self.stream_weight:
            return main, main.detach()
        states = self.streams(self.base, inserted, batch.positions, key_values, anchors, batch.first)
        ahead, weights = stream_targets(batch, anchors, used, self.streams.config.gamma)
        loss = cross_entropy(self.base.logits(states), ahead, weights)
        return main + self.stream_weight * loss, torch.stack((main, loss)).detach()


def shards(pool: Pool, seeds: Iterator[int], ahead: int) -> Iterator[np.ndarray]:
    """Shards in the order of their seeds, some prepared ahead."""
    pending = deque(pool.apply_async(_shard, (next(seeds),)) for _ in range(ahead))
    while True:
        done = pending.popleft().get()
        pending.append(pool.apply_async(_shard, (next(seeds),)))
        yield done


def seeds_of(seed: int, rank: int, ranks: int) -> Iterator[int]:
    number = rank
    while True:
        yield seed * 1_000_003 + number
        number += ranks


def held_out(data: Path) -> list[Example]:
    rows = read_jsonl(task_file(data, "sql", "train"))[-HELD_OUT:]
    return [e for e in (parse(r["prompt"], r["completion"]) for r in rows) if e]


def exact_match(base: CausalLM, tokenizer: Tokenizer, examples: list[Example], end: int) -> float:
    prompts = [tokenizer.encode(e.prompt(), add_special_tokens=False).ids for e in examples]
    base.eval()
    answers = [tokenizer.decode(t) for t in greedy(base, prompts, end, 64)]
    base.train()
    return sum(normalise(a) == normalise(e.completion()) for a, e in zip(answers, examples)) / len(examples)


def make_tokenizer(args: argparse.Namespace) -> None:
    """From all SQL and word problems and a part of the books."""
    texts = []
    for task in ("sql", "math"):
        rows = read_jsonl(task_file(args.data, task, "train"))
        for r in rows:
            example = parse(r["prompt"], r["completion"]) if task == "sql" else None
            texts += [r["prompt"], example.completion() if example else r["completion"]]
    books = [r["completion"] for r in read_jsonl(task_file(args.data, "books", "train"))]
    texts += windows_of(books, 2000, 3000, random.Random(args.seed))
    save_tokenizer(train_tokenizer(texts, args.vocab, args.prefixed), args.out, args.max_length)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with {sql,math,books}.train.jsonl[.xz]")
    parser.add_argument("--out", type=Path, required=True, help="model directory to write")
    parser.add_argument("--work", type=Path, help="folder of the checkpoint (default: OUT.work)")
    parser.add_argument("--init", type=Path, help="start from the weights and tokenizer of this model directory")
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--prefixed", type=int, default=900, help="pieces that also exist with a space before them")
    parser.add_argument("--hidden", type=int, default=320)
    parser.add_argument("--intermediate", type=int, default=768)
    parser.add_argument("--layers", type=int, default=7)
    parser.add_argument("--heads", type=int, default=10)
    parser.add_argument("--kv-heads", type=int, default=2)
    parser.add_argument("--head-dim", type=int, default=32)
    parser.add_argument("--max-length", type=int, default=2048, help="max_position_embeddings")
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64, help="windows a step and process")
    parser.add_argument("--steps", type=int, default=16000)
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--decay", type=float, default=0.1)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--books", type=int, default=2400, help="pieces of books a shard")
    parser.add_argument("--prompt-weight", type=float, default=0.2)
    parser.add_argument("--stream-weight", type=float, default=0.4, help="0 trains without streams")
    parser.add_argument("--gamma", type=int, default=4)
    parser.add_argument("--stream-layers", type=int, default=3)
    parser.add_argument("--anchors", type=int, default=32, help="anchors a window")
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--check-every", type=int, default=2000, help="steps between checks and checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    accelerator = Accelerator()
    set_seed(args.seed + accelerator.process_index)
    torch.set_float32_matmul_precision("high")
    device = accelerator.device
    if accelerator.is_main_process and not (args.out / "tokenizer.json").exists():
        if args.init:
            args.out.mkdir(parents=True, exist_ok=True)
            for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
                (args.out / name).write_bytes((args.init / name).read_bytes())
        else:
            make_tokenizer(args)
    accelerator.wait_for_everyone()
    tokenizer = Tokenizer.from_file(str(args.out / "tokenizer.json"))
    end = tokenizer.token_to_id(END)
    context = multiprocessing.get_context("spawn")
    feed_arguments = (args.data, args.out / "tokenizer.json", args.window, args.books)
    with context.Pool(args.workers, _start, feed_arguments) as pool:
        feed = shards(pool, seeds_of(args.seed, accelerator.process_index, accelerator.num_processes), args.workers + 2)
        train(args, accelerator, tokenizer, end, feed, device)


def make_base(args: argparse.Namespace, vocab_size: int, end: int) -> CausalLM:
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=args.hidden,
        intermediate_size=args.intermediate,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads,
        num_key_value_heads=args.kv_heads,
        head_dim=args.head_dim,
        max_position_embeddings=args.max_length,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
    )
    base = CausalLM(config)
    for name, parameter in base.named_parameters():
        if parameter.dim() == 2:
            deep = name.endswith(("o_proj.weight", "down_proj.weight"))
            nn.init.normal_(parameter, std=0.02 / (2 * args.layers) ** 0.5 if deep else 0.02)
    return base


def train(
    args: argparse.Namespace,
    accelerator: Accelerator,
    tokenizer: Tokenizer,
    end: int,
    feed: Iterator[np.ndarray],
    device: torch.device,
) -> None:
    base = load_model(args.init, torch.float32) if args.init else make_base(args, tokenizer.get_vocab_size(), end)
    base = base.to(device).train()
    # Without LoRA: the streams of the pre-training are the base's own weights.
    stream_config = StreamConfig(gamma=args.gamma, stream_layers=args.stream_layers, rank=0, targets=())
    streams = Streams(base, stream_config).requires_grad_(args.stream_weight > 0)
    objective = Objective(base, streams, args.stream_weight, args.prompt_weight, args.dropout).to(device)
    matrices = [p for p in objective.parameters() if p.dim() == 2]
    vectors = [p for p in objective.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": args.decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = Optimizer(groups, args.lr, (0.9, 0.95))
    work = args.work or args.out.with_name(args.out.name + ".work")
    begin = load_checkpoint(work / "checkpoint.pt", objective, optimizer) if args.resume else 0
    accelerator.print(f"{sum(p.numel() for p in base.parameters()):,} parameters, device {device}")

    step_module = accelerator.prepare(objective) if accelerator.num_processes > 1 else objective
    if not args.no_compile:
        step_module = torch.compile(step_module, dynamic=False)
    generator = torch.Generator(device).manual_seed(args.seed + accelerator.process_index)
    examples = held_out(args.data)
    history: list[dict[str, float]] = []
    bar = steps_bar(begin, args.steps, accelerator.is_main_process)
    windows, at, started = torch.empty(0, 5, args.window), 0, time.time()
    for step in bar:
        if at + args.batch > len(windows):
            windows, at = torch.from_numpy(next(feed)).to(device, non_blocking=True), 0
        part = windows[at : at + args.batch]
        at += args.batch
        anchors, used = Batch.of(part).draw_anchors(args.anchors, generator)
        with torch.autocast(device.type, torch.bfloat16):
            loss, parts = step_module(part, anchors, used)
        accelerator.backward(loss)
        optimizer.step(learning_rate(step, args.steps, args.warmup, args.lr))
        if (step + 1) % 200 == 0:
            bar.set_postfix_str(f"losses {[round(x, 3) for x in parts.flatten().tolist()]}")
        if ((step + 1) % args.check_every == 0 or step + 1 == args.steps) and accelerator.is_main_process:
            record = {
                "step": step + 1,
                "losses": [round(x, 4) for x in parts.flatten().tolist()],
                "held_out_exact_match": exact_match(base, tokenizer, examples, end),
                "skipped_steps": optimizer.skipped.item(),
                "seconds": round(time.time() - started, 1),
            }
            history.append(record)
            print(json.dumps(record), flush=True)
            save_checkpoint(work / "checkpoint.pt", step + 1, objective, optimizer)
    if accelerator.is_main_process:
        save_llama(base, args.out, torch.bfloat16)
        if args.stream_weight:
            save_streams(streams, base, args.out / "streams", torch.bfloat16)
        work.mkdir(parents=True, exist_ok=True)
        options = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
        (work / "training.json").write_text(json.dumps({"options": options, "history": history}, indent=2) + "\n")


if __name__ == "__main__":
    main()
