# SPDX-License-Identifier: Apache-2.0
"""
Trains a lossless streams adapter for a decoder of a supported family.

The base stays as it is. Its own greedy continuations of the prompts are the training texts (self-distillation); P_j and
LoRA on stream rows of the top layers learn to predict them γ tokens ahead.
"""

import argparse
import json
import random
import time
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from tokenizers import Tokenizer
from torch import Tensor, nn

from tributary_train.causal_lm import DEFAULT_CONTEXT, CausalLM, half_type, load_model
from tributary_train.data import Batch, Document, pack, read_jsonl, windows_of
from tributary_train.decoding import greedy
from tributary_train.evaluate import end_token
from tributary_train.streams import TARGETS, StreamConfig, Streams, describe, load_streams, save_streams
from tributary_train.training import (
    Optimizer,
    cross_entropy,
    learning_rate,
    load_checkpoint,
    save_checkpoint,
    steps_bar,
    stream_targets,
)


def read_prompts(files: list[Path], tokenizer: Tokenizer, longest: int, pieces: int, seed: int) -> list[list[int]]:
    """
    The prompts of all files as tokens; those longer than `longest` are left out. A file without prompts is plain text:
    its prompts are `pieces` random pieces.
    """
    prompts: list[str] = []
    for file in files:
        rows = read_jsonl(file)
        own = [r["prompt"] for r in rows if r["prompt"]]
        rng = random.Random(seed)
        prompts += own or list(windows_of([r["completion"] for r in rows], longest, pieces, rng))
    encoded = [e.ids for e in tokenizer.encode_batch_fast(prompts)]
    return [ids for ids in encoded if 0 < len(ids) <= longest]


def distil(
    base: CausalLM, prompts: list[list[int]], end: int, max_tokens: int, slots: int, show: str | None
) -> list[Document]:
    """The base's greedy continuations, behind their prompts."""
    texts = greedy(base, prompts, end, max_tokens, slots, show)
    return [Document(prompt + text, len(prompt)) for prompt, text in zip(prompts, texts) if len(text) > 1]


class Objective(nn.Module):
    """Cross-entropy of the streams (and of the pruning adapter); the base takes no gradient."""

    def __init__(self, base: CausalLM, streams: Streams):
        super().__init__()
        self.base, self.streams = base, streams

    def forward(self, windows: Tensor, anchors: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
        batch, gamma = Batch.of(windows), self.streams.config.gamma
        with torch.no_grad():
            _, inserted, key_values = self.base(
                batch.tokens, batch.positions, batch.mask(), self.streams.config.stream_layers
            )
        states = self.streams(self.base, inserted, batch.positions, key_values, anchors, batch.first)
        targets, weights = stream_targets(batch, anchors, used, gamma)
        logits = self.base.logits(states)
        loss = cross_entropy(logits, targets, weights)
        right = (logits.argmax(-1) == targets) * weights
        report = [loss.detach()[None], right.sum((0, 1)) / weights.sum((0, 1)).clamp_min(1)]
        if self.streams.pruning is not None:
            state = inserted.gather(1, anchors[:, :, None].expand(-1, -1, inserted.shape[2]))
            following = batch.tokens.gather(1, anchors + 1)
            loss = loss + cross_entropy(self.streams.confidence_logits(self.base, state), following, used.float())
        return loss, torch.cat(report)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face directory of the base")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help=".jsonl or .jsonl.xz files with prompts")
    parser.add_argument("--out", type=Path, required=True, help="adapter directory to write")
    parser.add_argument("--work", type=Path, help="folder of texts and checkpoint (default: OUT.work)")
    parser.add_argument("--init", type=Path, help="start from this adapter's stream embeddings")
    parser.add_argument(
        "--context",
        type=int,
        default=DEFAULT_CONTEXT,
        help="tokens that the engine will load the model for: beyond the original length, longrope takes long factors",
    )
    parser.add_argument("--gamma", type=int, default=4)
    parser.add_argument("--stream-layers", type=int, help="N_s (default: a third of the layers)")
    parser.add_argument("--position", choices=["offset", "anchor"], default="offset")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--alpha", type=float, help="default: 2 × rank")
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=TARGETS)
    parser.add_argument("--pruning-rank", type=int, default=0, help="0 trains no pruning adapter")
    parser.add_argument(
        "--pruning-threshold", type=float, default=0.0, help="calibrate it with the percentiles that evaluate reports"
    )
    parser.add_argument("--max-prompt", type=int, default=256, help="longer prompts are left out")
    parser.add_argument("--max-tokens", type=int, default=96, help="tokens of a continuation")
    parser.add_argument("--pieces", type=int, default=10000, help="prompts taken from a file of plain text")
    parser.add_argument("--slots", type=int, default=400_000, help="cache slots of one decoding batch")
    parser.add_argument("--window", type=int, default=512, help="at least max-prompt + max-tokens, else texts are cut")
    parser.add_argument("--batch", type=int, default=64, help="windows a step and process")
    parser.add_argument("--anchors", type=int, default=64, help="anchors a window")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--check-every", type=int, default=1000, help="steps between reports and checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint, with its texts")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    accelerator = Accelerator()
    set_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    device, rank = accelerator.device, accelerator.process_index
    base = load_model(args.model, torch.bfloat16, args.context).to(device).requires_grad_(False)
    config = StreamConfig(
        gamma=args.gamma,
        stream_layers=args.stream_layers or max(1, len(base.layers) // 3),
        position=args.position,
        rank=args.rank,
        alpha=args.alpha or 2.0 * args.rank,
        targets=tuple(args.targets),
        pruning_rank=args.pruning_rank,
        pruning_threshold=args.pruning_threshold,
    )
    streams = Streams(base, config)
    if args.init:
        start = load_streams(args.init, base)
        if start.stream_embeddings.shape != streams.stream_embeddings.shape:
            raise ValueError(f"{args.init}: gamma is {start.config.gamma}, expected {config.gamma}")
        streams.stream_embeddings.data.copy_(start.stream_embeddings)
    accelerator.print(f"streams: {describe(config)}")
    accelerator.print(f"{sum(p.numel() for p in streams.parameters()):,} parameters in the adapter")

    work = args.work or args.out.with_name(args.out.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    cache = work / f"windows.{rank}.pt"
    started = time.time()
    if args.resume:
        windows = torch.load(cache, weights_only=True)
    else:
        tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
        prompts = read_prompts(args.data, tokenizer, args.max_prompt, args.pieces, args.seed)
        mine = prompts[rank :: accelerator.num_processes]
        show = "continuations" if accelerator.is_main_process else None
        documents = distil(base, mine, end_token(args.model), args.max_tokens, args.slots, show)
        windows = torch.from_numpy(pack(documents, args.window, random.Random(args.seed)))
        torch.save(windows, cache)
        accelerator.print(f"{len(prompts):,} prompts, {len(windows):,} windows, {time.time() - started:.0f} s")
    if len(windows) < args.batch:
        raise ValueError(f"the texts fill {len(windows)} windows, a batch is {args.batch}: lower --batch or --window")

    objective = Objective(base, streams).to(device)
    optimizer = Optimizer([{"params": list(streams.parameters()), "weight_decay": 0.0}], args.lr, (0.9, 0.98))
    begin = load_checkpoint(work / "checkpoint.pt", streams, optimizer) if args.resume else 0
    step_module = accelerator.prepare(objective) if accelerator.num_processes > 1 else objective
    if not args.no_compile:
        step_module = torch.compile(step_module, dynamic=False)
    windows = windows.to(device)
    generator = torch.Generator(device).manual_seed(args.seed * 1000 + rank + begin)
    order, at = torch.empty(0, dtype=torch.long, device=device), 0
    history: list[dict[str, object]] = []
    bar = steps_bar(begin, args.steps, accelerator.is_main_process)
    for step in bar:
        if at + args.batch > len(order):
            order, at = torch.randperm(len(windows), device=device, generator=generator), 0
        part = windows[order[at : at + args.batch]]
        at += args.batch
        anchors, used = Batch.of(part).draw_anchors(args.anchors, generator)
        with torch.autocast(device.type, torch.bfloat16):
            loss, report = step_module(part, anchors, used)
        accelerator.backward(loss)
        optimizer.step(learning_rate(step, args.steps, args.warmup, args.lr))
        if (step + 1) % args.check_every == 0 or step + 1 == args.steps:
            values = [round(x, 4) for x in report.tolist()]
            record = {
                "step": step + 1,
                "loss": values[0],
                "stream_accuracy": values[1:],
                "skipped_steps": optimizer.skipped.item(),
                "seconds": round(time.time() - started, 1),
            }
            history.append(record)
            if accelerator.is_main_process:
                print(json.dumps(record), flush=True)
                save_checkpoint(work / "checkpoint.pt", step + 1, streams, optimizer)
    if accelerator.is_main_process:
        save_streams(streams, base, args.out, half_type(args.model))
        options = {k: str(v) if isinstance(v, (Path, list)) else v for k, v in vars(args).items()}
        (work / "training.json").write_text(json.dumps({"options": options, "history": history}, indent=2) + "\n")


if __name__ == "__main__":
    main()
