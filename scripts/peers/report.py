#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Joins what the GPU benchmarks wrote and makes tables, a list of targets and plots of it.

    report.py FOLDER [--document docs/benchmarks.md] [--plots docs/plots]

FOLDER holds what there is of kernels.jsonl (kernel_bench), peers.jsonl (measure.py), passes.json (scripts/bench passes) and
tasks*.json (scripts/bench tasks). The report is printed, and written to FOLDER/report.md. With --document the tables
replace what stands between `<!-- begin generated: NAME -->` and `<!-- end generated: NAME -->`; a section without figures
stays as it is. Plots need matplotlib.
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]

FEW_ROWS = [1, 8, 16, 32, 64]
MANY_ROWS = [128, 160, 256, 512, 2560]
LORA_ROWS = [32, 64, 128, 160, 256, 512]


def read_lines(file: Path) -> list[Row]:
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines() if line.strip()]


def read_object(file: Path) -> Row:
    return json.loads(file.read_text()) if file.exists() else {}


def micros(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def times(value: float) -> str:
    return f"{value:.2f}×"


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


class Results:
    """All figures of one folder."""

    def __init__(self, folder: Path) -> None:
        kernel_lines = read_lines(folder / "kernels.jsonl")
        peer_lines = read_lines(folder / "peers.jsonl")
        self.machine = next((r for r in kernel_lines if r["kind"] == "machine"), {})
        self.peer_machine = next((r for r in peer_lines if r["kind"] == "machine"), {})
        self.cases = [r for r in kernel_lines if r["kind"] == "case"]
        self.failures = [r for r in kernel_lines if r["kind"] == "failure"]
        self.peers: dict[tuple[str, str], Row] = {(r["peer"], r["name"]): r for r in peer_lines if r["kind"] == "case"}
        self.passes = read_object(folder / "passes.json")
        if self.machine:
            # The benchmark of passes knows its floor only when it is told the roof.
            for p in self.passes.get("single", []):
                p["floor_milliseconds"] = p["bytes"] / self.machine["read_gbps"] * 1e-6
        self.tasks = [json.loads(file.read_text()) for file in sorted(folder.glob("tasks*.json"))]

    def of(self, operation: str) -> list[Row]:
        return [c for c in self.cases if c["operation"] == operation]

    def case(self, operation: str, shape: str, rows: int, variant: str = "") -> Row | None:
        for c in self.cases:
            if (c["operation"], c["shape"], c["rows"], c["variant"]) == (operation, shape, rows, variant):
                return c
        return None

    def peer(self, peer: str, name: str) -> float | None:
        row = self.peers.get((peer, name))
        return row["us"] if row else None

    def over_peer(self, peer: str, case: Row | None) -> float | None:
        """The peer's time over ours; of a linear with LoRA the peer computes none."""
        if case is None:
            return None
        theirs = self.peer(peer, case["name"].removesuffix(" lora 16"))
        return theirs / case["us"] if theirs else None


# ------------------------------------------------------------------ sections


def machine_section(r: Results) -> str:
    if not r.machine:
        return ""
    m = r.machine
    lines = [
        f"{m['description']}; CUDA driver {m['driver'] // 1000}.{m['driver'] % 1000 // 10}; {m['date']}.",
        f"Reads: {m['read_gbps']:.0f} GB/s, the roof of everything below.",
    ]
    if r.peer_machine:
        p = r.peer_machine
        lines.append(
            f"PyTorch {p['torch']} in the same run: a bf16 product of 8192³ at {p['tensor_tflops']:.0f} TFLOP/s, "
            f"a sum over 4 GiB of bf16 at {p['read_gbps']:.0f} GB/s."
        )
    return "\n".join(lines)


def target_of(c: Row) -> str:
    if c["target_kind"] == "none":
        return ""
    limit = f"{c['target']:g} µs" if c["target_kind"] == "us" else times(c["target"])
    return f"≤ {limit}: " + ("reached" if c["reached"] else "**over**")


def attention_section(r: Results) -> str:
    rows = []
    for c in r.of("attention"):
        cells = [
            c["shape"],
            str(c["rows"]),
            micros(c["us"]),
            micros(c["floor_us"]),
            times(c["ratio"]),
            f"{c['bytes'] / c['us'] * 1e-3:.0f}",
            f"{c['flops'] / c['us'] * 1e-6:.0f}",
            target_of(c),
        ]
        for peer in ("sdpa", "flex"):
            theirs = r.peer(peer, c["name"])
            cells.append(f"{micros(theirs)} ({theirs / c['us']:.1f}×)" if theirs else "")
        rows.append(cells)
    head = ["case", "rows", "µs", "floor µs", "× floor", "GB/s", "TFLOP/s", "target", "SDPA µs", "FlexAttention µs"]
    return table(head, rows) if rows else ""


def linear_section(r: Results) -> str:
    cases = r.of("linear")
    shapes = list(dict.fromkeys(c["shape"] for c in cases))

    def grid(columns: list[int], variant: str) -> str:
        rows = []
        for shape in shapes:
            cells = [shape]
            for m in columns:
                c = r.case("linear", shape, m, variant)
                if c is None:
                    cells.append("")
                    continue
                against = r.over_peer("cublas", c)
                cells.append(micros(c["us"]) + (f" ({against:.2f}×)" if against else ""))
            rows.append(cells)
        return table(["N × K"] + [f"M = {m}" for m in columns], rows)

    if not shapes:
        return ""
    parts = [
        "µs, and in brackets cuBLAS's time over ours.",
        grid(FEW_ROWS, ""),
        grid(MANY_ROWS, ""),
    ]
    if any(c["variant"] for c in cases):
        parts += [
            "With rank-16 LoRA on four rows of five, the streams (cuBLAS computes no LoRA):",
            grid(LORA_ROWS, "lora 16"),
        ]
    return "\n\n".join(parts)


def layer_section(r: Results) -> str:
    rows = []
    for c in r.of("layer"):
        against = r.over_peer("cublas", c)
        rows.append(
            [
                c["shape"] + (", " + c["variant"] if c["variant"] else ""),
                str(c["rows"]),
                micros(c["us"]),
                micros(c["floor_us"]),
                times(c["ratio"]),
                target_of(c),
                times(against) if against else "",
            ]
        )
    return table(["layer", "rows", "µs", "floor µs", "× floor", "target", "cuBLAS's time over ours"], rows) if rows else ""


def head_section(r: Results) -> str:
    rows = []
    for c in r.of("lm_head"):
        against = r.over_peer("torch", c)
        rows.append(
            [
                c["shape"],
                str(c["rows"]),
                micros(c["us"]),
                micros(c["floor_us"]),
                times(c["ratio"]),
                times(against) if against else "",
            ]
        )
    return table(["V × h", "rows", "µs", "floor µs", "× floor", "PyTorch's time over ours"], rows) if rows else ""


def row_section(r: Results) -> str:
    big = {"attention", "linear", "layer", "lm_head"}
    rows = [
        [c["operation"], " ".join(filter(None, [c["shape"], c["variant"]])), str(c["rows"]), micros(c["us"])]
        for c in r.cases
        if c["operation"] not in big
    ]
    return table(["operation", "shape", "rows", "µs"], rows) if rows else ""


def pass_section(r: Results) -> str:
    rows = []
    for p in r.passes.get("single", []):
        floor = p["floor_milliseconds"]
        rows.append(
            [
                p["shape"],
                str(p["context"]),
                "plain" if p["nodes"] == 1 else f"tree of {p['nodes']}, streams on all",
                f"{p['milliseconds']:.3f}",
                f"{floor:.3f}" if floor else "",
                times(p["milliseconds"] / floor) if floor else "",
                times(p["against_plain"]) if p["nodes"] > 1 else "",
                f"{p['host_microseconds']:.0f}",
                f"{p['tokens_per_pass']:.2f}",
            ]
        )
    head = ["shape", "context", "pass", "ms", "floor ms", "× floor", "× plain", "host µs", "tokens per pass"]
    return table(head, rows) if rows else ""


def batch_section(r: Results) -> str:
    rows = [
        [
            b["shape"],
            str(b["batch"]),
            "plain" if b["nodes"] == 1 else f"trees of {b['nodes']}, streams {b['placement']}",
            f"{b['tokens_per_second']:,.0f}",
            times(b["against_plain"]),
        ]
        for b in r.passes.get("batch", [])
    ]
    return table(["shape", "batch", "speculation", "tokens/s", "against plain"], rows) if rows else ""


def task_section(r: Results) -> str:
    rows = []
    for suite in r.tasks:
        for t in suite.get("tasks", []):
            nodes = suite.get("nodes", 0)
            rows.append(
                [
                    t.get("model", ""),
                    t["task"],
                    str(t.get("batch", 1)),
                    "default policy" if nodes == 0 else f"trees of {nodes}",
                    f"{t['tokens_per_pass']:.2f}",
                    f"{t['plain_tokens_per_second']:,.0f}",
                    f"{t['tokens_per_second']:,.0f}",
                    times(t["speedup"]),
                    times(t["end_to_end_speedup"]),
                    f"{t['identical_texts']} of {t['prompts']}",
                ]
            )
    head = [
        "model",
        "task",
        "batch",
        "speculation",
        "tokens per pass",
        "plain tokens/s",
        "tokens/s",
        "speed-up",
        "prefill included",
        "texts equal",
    ]
    return table(head, rows) if rows else ""


# ------------------------------------------------------------------ targets


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(math.log(v) for v in values) / len(values))


def linear_targets(r: Results) -> list[list[str]]:
    """Target, measured, whether reached."""
    targets = []

    def against(rows: list[int], variants: tuple[str, ...]) -> list[tuple[float, str]]:
        found = []
        for c in r.of("linear"):
            ratio = r.over_peer("cublas", c)
            if ratio and c["rows"] in rows and c["variant"] in variants:
                found.append((1 / ratio, c["name"].removeprefix("linear ")))
        return found

    few = against(FEW_ROWS, ("",))
    if few:
        worst, where = max(few)
        mean = geometric_mean([1 / ratio for ratio, _ in few])
        targets.append(["linear, M ≤ 64: no shape slower than 1.03× cuBLAS", f"{worst:.3f}× ({where})", worst <= 1.03])
        targets.append(["linear, M ≤ 64: geometric mean at least 1.10× cuBLAS's speed", times(mean), mean >= 1.10])
    for label, rows, variants, limit in (
        ("linear, M 128 to 256: not slower than cuBLAS", [128, 160, 256], ("",), 1.0),
        ("linear with LoRA, M 128 to 256: not slower than cuBLAS", [128, 160, 256], ("lora 16",), 1.0),
        ("linear, M 512 and 2,560: at least 85 % of cuBLAS's speed", [512, 2560], ("",), 1 / 0.85),
    ):
        found = against(rows, variants)
        if found:
            worst, where = max(found)
            # Two runs of cuBLAS itself differ by half a percent.
            targets.append([label, f"{worst:.3f}× its time ({where})", worst <= limit * 1.005])
    return [[t, m, "reached" if ok else "**over**"] for t, m, ok in targets]


def pass_targets(r: Results) -> list[list[str]]:
    targets = []
    for p in r.passes.get("single", []):
        where = f"{p['shape']}, context {p['context']}"
        llama_2 = p["shape"] == "llama-2-7b"
        if p["nodes"] > 1:
            limit = 1.15 if llama_2 else 1.18
            targets.append(
                [f"{where}: speculative ≤ {limit}× plain", times(p["against_plain"]), p["against_plain"] <= limit]
            )
        elif llama_2 and p["context"] == 512:
            targets.append([f"{where}: plain ≤ 3.8 ms", f"{p['milliseconds']:.3f} ms", p["milliseconds"] <= 3.8])
        elif not llama_2 and p["floor_milliseconds"]:
            ratio = p["milliseconds"] / p["floor_milliseconds"]
            targets.append([f"{where}: plain ≤ 1.18× its floor", times(ratio), ratio <= 1.18])
        targets.append(
            [
                f"{where}, {'plain' if p['nodes'] == 1 else 'speculative'}: host time ≤ 50 µs a pass",
                f"{p['host_microseconds']:.0f} µs",
                p["host_microseconds"] <= 50,
            ]
        )
    return [[t, m, "reached" if ok else "**over**"] for t, m, ok in targets]


def task_targets(r: Results) -> list[list[str]]:
    targets = []
    for suite in r.tasks:
        if suite.get("nodes", 0) != 0:
            continue
        for t in suite.get("tasks", []):
            batch = t.get("batch", 1)
            if t["task"] == "sql" and batch == 1:
                limit = 1.6 if t.get("model") == "demo" else 1.8
                targets.append(
                    [f"{t['model']}, sql, batch 1: at least {limit}× plain", times(t["speedup"]), t["speedup"] >= limit]
                )
            targets.append(
                [
                    f"{t.get('model', '')}, {t['task']}, batch {batch}: never below 0.97× plain",
                    times(t["end_to_end_speedup"]),
                    t["end_to_end_speedup"] >= 0.97,
                ]
            )
    return [[t, m, "reached" if ok else "**below**"] for t, m, ok in targets]


def target_section(r: Results) -> str:
    rows = []
    for c in r.cases:
        if c["target_kind"] != "none":
            limit = f"{c['target']:g} µs" if c["target_kind"] == "us" else f"{c['target']:g}× the floor"
            measured = f"{micros(c['us'])} µs" if c["target_kind"] == "us" else times(c["ratio"])
            rows.append([f"{c['name']}: ≤ {limit}", measured, "reached" if c["reached"] else "**over**"])
    trees = [(r.over_peer("sdpa", c), c["shape"]) for c in r.of("attention") if "tree" in c["shape"]]
    trees = [t for t in trees if t[0]]
    if trees:
        worst, where = min(trees)
        verdict = "reached" if worst >= 4 else "**below**"
        rows.append(["attention over trees: everywhere at least 4× SDPA with a mask", f"{worst:.1f}× ({where})", verdict])
    rows += linear_targets(r) + pass_targets(r) + task_targets(r)
    rows += [[f["name"], f["problem"], "**not run**"] for f in r.failures]
    return table(["target", "measured", ""], rows) if rows else ""


SECTIONS: dict[str, Callable[[Results], str]] = {
    "gpu-machine": machine_section,
    "gpu-attention": attention_section,
    "gpu-linear": linear_section,
    "gpu-layers": layer_section,
    "gpu-lm-head": head_section,
    "gpu-rows": row_section,
    "gpu-passes": pass_section,
    "gpu-batch": batch_section,
    "gpu-tasks": task_section,
    "gpu-targets": target_section,
}


# ------------------------------------------------------------------ plots


def plot(r: Results, folder: Path) -> list[str]:
    try:
        import matplotlib
    except ImportError:
        print("report.py: no matplotlib, so no plots", file=sys.stderr)
        return []
    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams.update({"svg.hashsalt": "tributary", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3})
    folder.mkdir(parents=True, exist_ok=True)
    written = []

    def save(figure: Any, name: str) -> None:
        figure.tight_layout()
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        plt.close(figure)
        written.append(name)

    where = f"{r.machine.get('device', '')}, {r.machine.get('date', '')}"

    def context_of(shape: str) -> int:
        return int(shape.rsplit(", ", 1)[1].removesuffix("k"))

    kinds: dict[str, list[Row]] = {}
    for c in r.of("attention"):
        if re.match(r"tree|one row", c["shape"]):
            kinds.setdefault(c["shape"].rsplit(", ", 1)[0], []).append(c)
    if kinds:
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
        for kind, cases in kinds.items():
            contexts = [context_of(c["shape"]) for c in cases]
            left.plot(contexts, [c["ratio"] for c in cases], marker="o", label=kind)
            speedups = [(context_of(c["shape"]), r.over_peer("sdpa", c)) for c in cases]
            speedups = [s for s in speedups if s[1]]
            if speedups and not kind.startswith("one"):
                right.plot(*zip(*speedups), marker="o", label=kind)
        for axes in (left, right):
            axes.set_xscale("log", base=2)
            axes.set_xlabel("context, thousands of tokens")
            axes.set_ylim(bottom=0)
        left.set_ylabel("time over floor")
        right.set_ylabel("SDPA's time over ours")
        right.axhline(4, color="grey", linestyle="--")
        left.legend(fontsize=7)
        figure.suptitle(f"multi_stream_attention, {where}")
        save(figure, "gpu-attention")

    shapes = list(dict.fromkeys(c["shape"] for c in r.of("linear")))
    lines = []
    for shape in shapes:
        points = [(m, r.over_peer("cublas", r.case("linear", shape, m))) for m in FEW_ROWS + MANY_ROWS]
        points = [p for p in points if p[1]]
        if points:
            lines.append((shape, points))
    if lines:
        figure, axes = plt.subplots(figsize=(7, 4))
        for shape, points in lines:
            axes.plot(*zip(*points), marker="o", label=shape)
        axes.axhline(1, color="grey", linestyle="--")
        axes.set_xscale("log", base=2)
        axes.set_xlabel("rows")
        axes.set_ylabel("cuBLAS's time over ours")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=7, ncols=2)
        axes.set_title(f"linear, {where}")
        save(figure, "gpu-linear")

    single = r.passes.get("single", [])
    if single:
        figure, axes = plt.subplots(figsize=(7, 4))
        groups = list(dict.fromkeys((p["shape"], p["context"]) for p in single))
        for i, (shape, context) in enumerate(groups):
            here = [p for p in single if (p["shape"], p["context"]) == (shape, context)]
            for j, p in enumerate(here):
                axes.bar(i + 0.35 * j, p["milliseconds"], 0.33, color=("C0", "C1")[j % 2])
                axes.hlines(p["floor_milliseconds"], i + 0.35 * j - 0.17, i + 0.35 * j + 0.17, color="black")
        axes.set_xticks([i + 0.17 for i in range(len(groups))], [f"{s}\n{c}" for s, c in groups])
        axes.set_ylabel("ms a pass")
        axes.legend(
            handles=[
                plt.Rectangle((0, 0), 1, 1, color="C0", label="plain, 1 token"),
                plt.Rectangle((0, 0), 1, 1, color="C1", label="tree of 32, 4 tokens"),
                plt.Line2D([0], [0], color="black", label="floor: bytes / roof"),
            ]
        )
        axes.set_title(f"passes through the Java API, {where}")
        save(figure, "gpu-passes")

    batch = r.passes.get("batch", [])
    if batch:
        figure, axes = plt.subplots(figsize=(7, 4))
        labels = list(
            dict.fromkeys("plain" if b["nodes"] == 1 else f"{b['nodes']} nodes, {b['placement']}" for b in batch)
        )
        sizes = list(dict.fromkeys(b["batch"] for b in batch))
        width = 0.8 / len(labels)
        for j, label in enumerate(labels):
            heights = [
                b["tokens_per_second"]
                for b in batch
                if ("plain" if b["nodes"] == 1 else f"{b['nodes']} nodes, {b['placement']}") == label
            ]
            axes.bar([i + j * width for i in range(len(heights))], heights, width * 0.95, label=label)
        axes.set_xticks([i + 0.4 - width / 2 for i in range(len(sizes))], [f"batch {s}" for s in sizes])
        axes.set_ylabel("tokens per second")
        axes.legend(fontsize=7)
        axes.set_title(f"batches of Llama-2-7B's shape, {where}")
        save(figure, "gpu-batch")
    return written


# ------------------------------------------------------------------ output


def replace_sections(document: Path, sections: dict[str, str]) -> list[str]:
    text = document.read_text()
    replaced = []
    for name, content in sections.items():
        begin = f"<!-- begin generated: {name} -->"
        end = f"<!-- end generated: {name} -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        if content and pattern.search(text):
            text = pattern.sub(lambda _, c=content, b=begin, e=end: f"{b}\n{c}\n{e}", text)
            replaced.append(name)
    document.write_text(text)
    return replaced


def main() -> int:
    parser = argparse.ArgumentParser(description="Tables, targets and plots of the GPU benchmarks.")
    parser.add_argument("folder", type=Path, help="where the benchmarks wrote their figures")
    parser.add_argument("--document", type=Path, metavar="FILE", help="replace the generated sections of this file")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write SVG plots there")
    arguments = parser.parse_args()
    results = Results(arguments.folder)
    sections = {name: section(results) for name, section in SECTIONS.items()}
    report = "\n\n".join(f"## {name}\n\n{content}" for name, content in sections.items() if content)
    if not report:
        print(f"report.py: {arguments.folder} holds no figures", file=sys.stderr)
        return 1
    (arguments.folder / "report.md").write_text(report + "\n")
    print(report)
    if arguments.document:
        print(f"\n{arguments.document}: {', '.join(replace_sections(arguments.document, sections)) or 'nothing'} replaced")
    if arguments.plots:
        print(f"{arguments.plots}: {', '.join(plot(results, arguments.plots)) or 'no plots'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
