# SPDX-License-Identifier: Apache-2.0
"""
Measures an adapter: tokens per pass of greedy, lossless speculation, and the exact match of SQL answers.

Lossless speculation emits the greedy text whatever it drafts. So the text is decoded plainly once, one pass gives the
streams of every position, and the walk of every tree is counted exactly from both.
"""

import argparse
import heapq
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import tqdm

from tributary_train.causal_lm import DEFAULT_CONTEXT, CausalLM, load_model
from tributary_train.data import encode_pairs, read_jsonl
from tributary_train.decoding import greedy
from tributary_train.sql import normalise
from tributary_train.streams import Streams, load_streams

_TOP = 32


@dataclass
class Count:
    """Tokens after the first one (the prompt's own pass gives that), an end token included, and their passes."""

    tokens: int = 0
    passes: int = 0


@torch.inference_mode()
def stream_candidates(
    base: CausalLM, streams: Streams, prompt: Sequence[int], text: Sequence[int]
) -> tuple[list[list[list[float]]], list[list[list[int]]], list[float]]:
    """
    Log-probabilities and tokens, best first, [anchor][stream][rank]; anchor 0 is the last prompt token. And what the
    pruning adapter believes of each next token of the text, [anchor] (empty without one).
    """
    device = base.model.norm.weight.device
    tokens = torch.tensor([[*prompt, *text]], device=device)
    positions = torch.arange(tokens.shape[1], device=device)[None]
    anchors = torch.arange(len(prompt) - 1, tokens.shape[1] - 1, device=device)[None]
    _, inserted, key_values = base(tokens, top=streams.config.stream_layers)
    logits: Tensor = base.logits(streams(base, inserted, positions, key_values, anchors)[0])
    if not logits.isfinite().all():
        raise ValueError("stream logits are not finite")
    best = logits.float().log_softmax(-1).topk(min(_TOP, logits.shape[-1]), -1)
    confidences: list[float] = []
    if streams.pruning is not None:
        beliefs = streams.confidence_logits(base, inserted[0, anchors[0]]).float().softmax(-1)
        confidences = beliefs.gather(1, torch.tensor(text, device=device)[:, None])[:, 0].tolist()
    return best.values.tolist(), best.indices.tolist(), confidences


def accepted(
    scores: list[list[float]], tokens: list[list[int]], truth: Sequence[int], root: int, end: int, rows: int | None
) -> int:
    """
    How many drafted tokens of `truth` a tree of `rows` rows (root included) holds as a path from its root; None drafts
    the chain of best tokens. Nothing is drafted below `end`.
    """
    if root == end:
        return 0
    if rows is None:
        count = 0
        for stream, token in zip(tokens, truth):
            if stream[0] != token:
                break
            count += 1
            if token == end:
                break
        return count
    # Best first: a heap of (score, path of ranks). A node's next sibling and its first child become candidates with it.
    heap = [(-scores[0][0], (0,))]
    nodes: set[tuple[int, ...]] = set()
    while heap and len(nodes) < rows - 1:
        cost, path = heapq.heappop(heap)
        nodes.add(path)
        depth, rank = len(path), path[-1]
        if rank + 1 < len(scores[depth - 1]):
            sibling = cost + scores[depth - 1][rank] - scores[depth - 1][rank + 1]
            heapq.heappush(heap, (sibling, (*path[:-1], rank + 1)))
        if depth < len(scores) and tokens[depth - 1][rank] != end:
            heapq.heappush(heap, (cost - scores[depth][0], (*path, 0)))
    path: tuple[int, ...] = ()
    for depth, token in enumerate(truth[: len(tokens)]):
        if token not in tokens[depth]:
            break
        longer = (*path, tokens[depth].index(token))
        if longer not in nodes:
            break
        path = longer
    return len(path)


def walk(
    scores: list[list[list[float]]],
    tokens: list[list[list[int]]],
    text: Sequence[int],
    end: int,
    rows: int | None,
    kept: Sequence[bool] | None = None,
) -> Count:
    """
    Counts the passes that emit `text`; the prompt's pass has given its first token. `kept` says for each token of the
    text whether pruning lets the edge to it stand: only edges on the text's path decide what is accepted.
    """
    emitted, count = 1, Count(tokens=len(text) - 1)
    while emitted < len(text):
        # The streams of the last node before the pending token; that one, text[emitted − 1], is the root.
        anchor = emitted - 1
        root = text[emitted - 1]
        taken = accepted(scores[anchor], tokens[anchor], text[emitted:], root, end, rows)
        if kept is not None and False in kept[emitted : emitted + taken]:
            taken = list(kept[emitted : emitted + taken]).index(False)
        emitted = min(len(text), emitted + taken + 1)
        count.passes += 1
    return count


def evaluate(
    base: CausalLM,
    streams: Streams | None,
    tokenizer: Tokenizer,
    rows: list[dict[str, str]],
    end: int,
    max_tokens: int,
    budgets: Sequence[int],
    name: str,
) -> dict[str, float]:
    """Tokens per pass for the chain and each node budget, and the exact match of the answers."""
    prompts = [d.tokens for d in encode_pairs(tokenizer, [(r["prompt"], "") for r in rows], None)]
    texts = greedy(base, prompts, end, max_tokens)
    answers = [tokenizer.decode(t) for t in texts]
    match = sum(normalise(a) == normalise(r["completion"]) for a, r in zip(answers, rows)) / len(rows)
    result: dict[str, float] = {"prompts": len(rows), "exact_match": match}
    result["mean_tokens"] = sum(map(len, texts)) / len(texts)
    if streams is None:
        return result
    threshold = streams.config.pruning_threshold
    counts = {(budget, False): Count() for budget in (None, *budgets)}
    if streams.pruning is not None:
        counts |= {(budget, True): Count() for budget in budgets}
    beliefs: list[float] = []
    for prompt, text in tqdm(list(zip(prompts, texts)), desc=name, mininterval=2):
        if len(text) < 2:
            continue
        scores, tokens, confidences = stream_candidates(base, streams, prompt, text)
        kept = [confidence >= threshold for confidence in confidences]
        beliefs += confidences[1:]
        for (budget, pruned), count in counts.items():
            one = walk(scores, tokens, text, end, budget, kept if pruned else None)
            count.tokens += one.tokens
            count.passes += one.passes
    for (budget, pruned), count in counts.items():
        key = ("chain" if budget is None else f"tree_{budget}") + ("_pruned" if pruned else "")
        result[f"tokens_per_pass_{key}"] = round(count.tokens / max(1, count.passes), 4)
    for percent in (1, 2, 5) if beliefs else ():
        # A threshold here would cut that share of the edges of the greedy text.
        result[f"confidence_percentile_{percent}"] = sorted(beliefs)[len(beliefs) * percent // 100]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face directory")
    parser.add_argument("--streams", type=Path, help="adapter directory (default: MODEL/streams, if there is one)")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help=".jsonl or .jsonl.xz files")
    parser.add_argument("--limit", type=int, help="prompts of each file")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--max-prompt", type=int, default=1024, help="longer prompts are left out, and counted")
    parser.add_argument("--tree", type=int, nargs="*", default=[16, 32], help="rows of best-first trees, root included")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--context",
        type=int,
        default=DEFAULT_CONTEXT,
        help="tokens that the engine will load the model for: beyond the original length, longrope takes long factors",
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--show", type=int, default=0, help="print so many answers")
    args = parser.parse_args()

    base = load_model(args.model, getattr(torch, args.dtype), args.context).to(args.device)
    path = args.streams or args.model / "streams"
    streams = load_streams(path, base).to(args.device) if args.streams or path.exists() else None
    if streams is not None:
        streams = streams.to(getattr(torch, args.dtype)).eval()
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    end = end_token(args.model)
    results = {}
    for file in args.data:
        rows = read_jsonl(file)[: args.limit]
        short = [r for r in rows if len(tokenizer.encode(r["prompt"]).ids) <= args.max_prompt]
        name = file.name.split(".jsonl")[0]
        results[name] = evaluate(base, streams, tokenizer, short, end, args.max_tokens, args.tree, name)
        results[name]["left_out"] = len(rows) - len(short)
        print(name, json.dumps(results[name]), flush=True)
        for row in short[: args.show]:
            ids = tokenizer.encode(row["prompt"], add_special_tokens=False).ids
            print(row["prompt"], "\n  =>", tokenizer.decode(greedy(base, [ids], end, args.max_tokens)[0]))
            print("  expected", row["completion"])
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n")


def end_token(model: Path) -> int:
    """The (first) end token of generation_config.json, else of config.json."""
    for name in ("generation_config.json", "config.json"):
        file = model / name
        end = json.loads(file.read_text()).get("eos_token_id") if file.exists() else None
        if end is not None:
            return end[0] if isinstance(end, list) else end
    raise ValueError(f"{model}: neither generation_config.json nor config.json names eos_token_id")


if __name__ == "__main__":
    main()
