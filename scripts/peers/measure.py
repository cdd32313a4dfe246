#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
What PyTorch takes for the cases of kernel_bench, on the same GPU, timed the same way: cuBLAS for the linears, SDPA with a
mask and FlexAttention for the token trees, and the peak of a large matrix product.

N launches are captured into a CUDA graph and replayed between two events; a figure is the median over the replays, divided
by N. The launches rotate over copies of the weights, or of keys and values, that are together far larger than the L2 cache.

    measure.py --json FILE [--quick] [--filter TEXT] [--flex-seconds S]

Needs torch with CUDA.
"""

import argparse
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

GRAPH_SECONDS = 1e-3
MOST_LAUNCHES = 512
POOL_BYTES = 4 << 30
Q_HEADS = 32
HEAD_DIM = 128
GAMMA = 4
# Roughly what the hardware does, only to choose how many launches a graph holds.
READ = 3e12
FLOPS = 600e12

SHAPES = [
    (4096, 4096),
    (6144, 4096),
    (12288, 4096),
    (22016, 4096),
    (28672, 4096),
    (4096, 11008),
    (4096, 14336),
    (32000, 4096),
]
ROWS = [1, 8, 16, 32, 64, 128, 160, 256, 512, 2560]
LAYERS = {
    "Llama-2-7B": [(12288, 4096), (4096, 4096), (22016, 4096), (4096, 11008)],
    "Llama-3-8B": [(6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336)],
}


@dataclass(frozen=True)
class Times:
    """Seconds of one launch."""

    median: float
    best: float


class Bench:
    """Times launches and writes their figures, one JSON object a line."""

    def __init__(self, out: TextIO, quick: bool, wanted: str) -> None:
        self.out = out
        self.quick = quick
        self.wanted = wanted
        self.l2_bytes = torch.cuda.get_device_properties(0).L2_cache_size
        generator = torch.Generator(device="cuda").manual_seed(1)
        self.pool = torch.empty(POOL_BYTES // 2, dtype=torch.bfloat16, device="cuda")
        for part in self.pool.split(1 << 28):
            part.normal_(0, 0.5, generator=generator)

    def copies_of(self, size: float) -> int:
        """How many copies of so many bytes the launches rotate over."""
        return max(1, min(max(2, math.ceil(8 * self.l2_bytes / size)), int(POOL_BYTES / size)))

    def time(self, launch: Callable[[int], object], copies: int, expected: float) -> Times:
        """Times `launch(copy)`, which takes about `expected` seconds."""
        rounds = math.ceil(GRAPH_SECONDS / (max(expected, 3e-6) * copies))
        launches = copies * max(1, min(rounds, MOST_LAUNCHES // copies))
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for copy in range(min(copies, 3)):
                launch(copy)
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for i in range(launches):
                launch(i % copies)
        begin = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        times = []
        for i in range(-2, 5 if self.quick else 11):
            begin.record()
            graph.replay()
            end.record()
            end.synchronize()
            if i >= 0:
                times.append(begin.elapsed_time(end) * 1e-3 / launches)
        return Times(statistics.median(times), min(times))

    def case(self, peer: str, name: str, launch: Callable[[int], object], copies: int, expected: float) -> Times | None:
        """Times and writes a case; says why when the peer cannot do it."""
        try:
            times = self.time(launch, copies, expected)
        except Exception as e:  # a peer's limits are a result of this benchmark
            torch.cuda.synchronize()
            problem = str(e).splitlines()[0][:200] if str(e) else type(e).__name__
            self.write({"kind": "failure", "suite": "peers", "peer": peer, "name": name, "problem": problem})
            print(f"{name:<58} {peer:<16} not run: {problem}")
            return None
        self.report(peer, name, times)
        return times

    def report(self, peer: str, name: str, times: Times) -> None:
        self.write(
            {
                "kind": "case",
                "suite": "peers",
                "peer": peer,
                "name": name,
                "us": round(times.median * 1e6, 3),
                "best_us": round(times.best * 1e6, 3),
            }
        )
        print(f"{name:<58} {peer:<16} {times.median * 1e6:10.2f} us")

    def write(self, figures: dict[str, object]) -> None:
        self.out.write(json.dumps(figures) + "\n")
        self.out.flush()

    def is_wanted(self, name: str) -> bool:
        return self.wanted in name


def machine(bench: Bench) -> None:
    properties = torch.cuda.get_device_properties(0)
    n = 8192
    a = bench.pool[: n * n].view(n, n)
    b = bench.pool[n * n : 2 * n * n].view(n, n)
    c = torch.empty_like(a)
    product = bench.time(lambda _: torch.mm(a, b, out=c), 1, 2.0 * n**3 / FLOPS)
    read = bench.time(lambda _: bench.pool.sum(), 1, POOL_BYTES / READ)
    tflops = 2.0 * n**3 / product.median * 1e-12
    gbps = POOL_BYTES / read.median * 1e-9
    bench.write(
        {
            "kind": "machine",
            "suite": "peers",
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "device": properties.name,
            "torch": torch.__version__,
            "tensor_tflops": round(tflops, 1),
            "read_gbps": round(gbps, 1),
        }
    )
    print(f"{properties.name}, torch {torch.__version__}")
    print(f"bf16 product of 8192 x 8192 x 8192: {tflops:.0f} TFLOP/s; sum over 4 GiB of bf16: {gbps:.0f} GB/s")


def linears(bench: Bench) -> None:
    for n, k in SHAPES:
        size = 2.0 * n * k
        copies = bench.copies_of(size)
        weights = bench.pool[: copies * n * k].view(copies, n, k)
        for m in ROWS:
            name = f"linear {n} x {k} M={m}"
            if bench.is_wanted(name):
                x = torch.randn(m, k, dtype=torch.bfloat16, device="cuda")
                y = torch.empty(m, n, dtype=torch.bfloat16, device="cuda")
                bench.case(
                    "cublas",
                    name,
                    lambda i, x=x, y=y, w=weights: torch.mm(x, w[i].t(), out=y),
                    copies,
                    max(size / READ, size * m / FLOPS),
                )


def layers(bench: Bench) -> None:
    for model, shapes in LAYERS.items():
        elements = sum(n * k for n, k in shapes)
        copies = bench.copies_of(2.0 * elements)
        for m in (1, 8, 32, 64, 160):
            name = f"layer linears of {model} M={m}"
            if not bench.is_wanted(name):
                continue
            calls: list[list[tuple[Tensor, Tensor, Tensor]]] = []
            for copy in range(copies):
                at = copy * elements
                calls.append([])
                for n, k in shapes:
                    w = bench.pool[at : at + n * k].view(n, k).t()
                    at += n * k
                    x = torch.randn(m, k, dtype=torch.bfloat16, device="cuda")
                    calls[-1].append((x, w, torch.empty(m, n, dtype=torch.bfloat16, device="cuda")))

            def launch(i: int, calls: list[list[tuple[Tensor, Tensor, Tensor]]] = calls) -> None:
                for x, w, y in calls[i]:
                    torch.mm(x, w, out=y)

            bench.case("cublas", name, launch, copies, max(2.0 * elements / READ, 2.0 * elements * m / FLOPS))


def heads(bench: Bench) -> None:
    h = 4096
    for vocabulary in (32000, 128256):
        size = 2.0 * vocabulary * h
        copies = bench.copies_of(size)
        weights = bench.pool[: copies * vocabulary * h].view(copies, vocabulary, h)
        for m in (1, 32, 160):
            name = f"lm_head {vocabulary} x {h} M={m} k 8"
            if not bench.is_wanted(name):
                continue
            x = torch.randn(m, h, dtype=torch.bfloat16, device="cuda")

            def launch(i: int, x: Tensor = x, weights: Tensor = weights) -> None:
                logits = torch.mm(x, weights[i].t()).float()
                logits.argmax(-1)
                logits.logsumexp(-1)
                logits.topk(8, -1)

            bench.case("torch", name, launch, copies, max(size / READ, size * m / FLOPS))


def tree_mask(nodes: int) -> Tensor:
    """Ancestors or self of the nodes of a random branching tree, [nodes, nodes] bool."""
    generator = random.Random(1)
    parents, depths = [-1], [0]
    while len(parents) < nodes:
        parent = max(0, len(parents) - 1 - generator.randrange(6))
        parent = parent if depths[parent] < 16 else 0
        parents.append(parent)
        depths.append(depths[parent] + 1)
    mask = torch.zeros(nodes, nodes, dtype=torch.bool)
    for node in range(nodes):
        up = node
        while up >= 0:
            mask[node, up] = True
            up = parents[up]
    return mask


def step_mask(nodes: int, anchors: int) -> Tensor:
    """What rows see behind the prefix: nodes, then streams 1 … γ of each anchor. [rows, rows] bool."""
    rows = nodes + anchors * GAMMA
    mask = torch.zeros(rows, rows, dtype=torch.bool)
    mask[:nodes, :nodes] = tree_mask(nodes)
    for anchor in range(anchors):
        for j in range(GAMMA):
            row = nodes + anchor * GAMMA + j
            mask[row] = mask[anchor]
            mask[row, nodes + anchor * GAMMA : row + 1] = True
    return mask


def attention_cases(quick: bool) -> list[tuple[str, int, int, int, int]]:
    """Name without its rows, nodes, anchors, KV heads, context."""
    cases = []
    for kv_heads in (8, 32):
        for context in (1024, 4096, 16384, 65536):
            cases.append(("tree of 64", 64, 0, kv_heads, context))
    for context in (4096, 16384):
        cases.append(("tree of 32, 4 streams on all", 32, 32, 8, context))
    for kv_heads in (8, 32):
        for context in (16384, 65536) if quick else (1024, 4096, 16384, 65536):
            cases.append(("one row", 1, 0, kv_heads, context))
    return cases


def attention_name(kind: str, rows: int, kv_heads: int, context: int) -> str:
    return f"attention {kind}, {kv_heads} kv heads, {context // 1024}k M={rows}"


class KeyValues:
    """Copies of keys and values in the pool, as many as the launches rotate over."""

    def __init__(self, bench: Bench, kv_heads: int, slots: int) -> None:
        elements = kv_heads * slots * HEAD_DIM
        self.copies = bench.copies_of(4.0 * elements)
        both = bench.pool[: 2 * self.copies * elements].view(2, self.copies, 1, kv_heads, slots, HEAD_DIM)
        self.keys, self.values = both[0], both[1]
        self.bytes = 4.0 * elements


def sdpa(bench: Bench) -> None:
    """SDPA by whichever of its backends is quickest; for GQA also with keys and values repeated beforehand, uncounted."""
    backends = {
        "efficient": SDPBackend.EFFICIENT_ATTENTION,
        "cudnn": SDPBackend.CUDNN_ATTENTION,
        "flash": SDPBackend.FLASH_ATTENTION,
    }
    for kind, nodes, anchors, kv_heads, context in attention_cases(bench.quick):
        behind = step_mask(nodes, anchors).cuda()
        rows = behind.shape[0]
        slots = (context + rows + 7) // 8 * 8
        name = attention_name(kind, rows, kv_heads, context)
        if not bench.is_wanted(name):
            continue
        # Added to the scores, so that no launch has to convert it.
        mask = torch.full((rows, slots), -math.inf, dtype=torch.bfloat16, device="cuda")
        mask[:, :context] = 0
        mask[:, context : context + rows].masked_fill_(behind, 0)
        q = torch.randn(1, Q_HEADS, rows, HEAD_DIM, dtype=torch.bfloat16, device="cuda")
        best: Times | None = None
        chosen = ""
        for heads_in_memory in sorted({kv_heads, Q_HEADS}):
            stored = KeyValues(bench, heads_in_memory, slots)
            expected = max(stored.bytes / READ, 4.0 * Q_HEADS * rows * slots * HEAD_DIM / FLOPS)
            for backend_name, backend in backends.items():
                # One row sees every key but the padding: it needs no mask, and flash takes none.
                masked = rows > 1
                if backend is SDPBackend.FLASH_ATTENTION and masked:
                    continue

                def launch(
                    i: int, stored: KeyValues = stored, backend: SDPBackend = backend, masked: bool = masked
                ) -> Tensor:
                    with sdpa_kernel(backend):
                        return F.scaled_dot_product_attention(
                            q,
                            stored.keys[i],
                            stored.values[i],
                            attn_mask=mask if masked else None,
                            enable_gqa=stored.keys.shape[2] != Q_HEADS,
                        )

                try:
                    times = bench.time(launch, stored.copies, expected)
                except Exception:  # this backend does not do this case
                    torch.cuda.synchronize()
                    continue
                if best is None or times.median < best.median:
                    best = times
                    repeated = ", repeated" if heads_in_memory != kv_heads else ""
                    chosen = f"{backend_name}{repeated}"
        if best is not None:
            bench.report("sdpa", name, best)
            bench.write({"kind": "note", "suite": "peers", "peer": "sdpa", "name": name, "note": chosen})
        else:
            bench.write(
                {"kind": "failure", "suite": "peers", "peer": "sdpa", "name": name, "problem": "no backend takes it"}
            )
            print(f"{name:<58} sdpa             not run: no backend takes it")


def flex(bench: Bench, seconds: float) -> None:
    """FlexAttention, compiled; every shape compiles anew, so only as many as the time allows."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    compiled = torch.compile(flex_attention, dynamic=False)
    end = time.monotonic() + seconds
    cases = [c for c in attention_cases(bench.quick) if c[0] != "one row"]
    # The middle contexts first: they say most.
    cases.sort(key=lambda c: (c[4] not in (4096, 16384), c[3] == 8, c[4]))
    for kind, nodes, anchors, kv_heads, context in cases:
        behind = step_mask(nodes, anchors).cuda()
        rows = behind.shape[0]
        name = attention_name(kind, rows, kv_heads, context)
        if not bench.is_wanted(name):
            continue
        if time.monotonic() > end:
            bench.write(
                {"kind": "failure", "suite": "peers", "peer": "flex", "name": name, "problem": "left out: time is up"}
            )
            continue
        slots = context + rows

        def visible(
            batch: Tensor, head: Tensor, row: Tensor, slot: Tensor, behind: Tensor = behind, context: int = context
        ) -> Tensor:
            return (slot < context) | behind[row, (slot - context).clamp(min=0)]

        try:
            blocks = create_block_mask(visible, None, None, rows, slots, device="cuda")
        except Exception as e:
            problem = str(e).splitlines()[0][:200]
            bench.write({"kind": "failure", "suite": "peers", "peer": "flex", "name": name, "problem": problem})
            continue
        q = torch.randn(1, Q_HEADS, rows, HEAD_DIM, dtype=torch.bfloat16, device="cuda")
        stored = KeyValues(bench, kv_heads, slots)
        bench.case(
            "flex",
            name,
            lambda i, q=q, stored=stored, blocks=blocks: compiled(
                q, stored.keys[i], stored.values[i], block_mask=blocks, enable_gqa=stored.keys.shape[2] != Q_HEADS
            ),
            stored.copies,
            max(stored.bytes / READ, 4.0 * Q_HEADS * rows * slots * HEAD_DIM / FLOPS),
        )


def main() -> int:
    parser = argparse.ArgumentParser(description="PyTorch beside kernel_bench: cuBLAS, SDPA, FlexAttention.")
    parser.add_argument("--json", required=True, metavar="FILE", help="where the figures go, one JSON object a line")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, no FlexAttention")
    parser.add_argument("--filter", default="", metavar="TEXT", help="only cases whose name holds TEXT")
    parser.add_argument(
        "--flex-seconds", type=float, default=25, metavar="S", help="time for FlexAttention and its compiler"
    )
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("measure.py: torch finds no CUDA device", file=sys.stderr)
        return 1
    with open(arguments.json, "w") as out, torch.no_grad():
        bench = Bench(out, arguments.quick, arguments.filter)
        machine(bench)
        linears(bench)
        layers(bench)
        heads(bench)
        sdpa(bench)
        if not arguments.quick and arguments.flex_seconds > 0:
            flex(bench, arguments.flex_seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
