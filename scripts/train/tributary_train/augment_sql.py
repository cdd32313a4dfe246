# SPDX-License-Identifier: Apache-2.0
"""Writes augmented text-to-SQL examples, so that streams learn from prompts the base has not learnt by heart."""

import argparse
import json
import lzma
import random
from pathlib import Path

from tributary_train.data import read_jsonl
from tributary_train.pretrain_demo import HELD_OUT
from tributary_train.sql import Augmenter, parse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="sql.train.jsonl[.xz]")
    parser.add_argument("--out", type=Path, required=True, help=".jsonl or .jsonl.xz file to write")
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--seed", type=int, default=2)
    args = parser.parse_args()
    examples = [e for e in (parse(r["prompt"], r["completion"]) for r in read_jsonl(args.data)[:-HELD_OUT]) if e]
    augment, rng = Augmenter(examples), random.Random(args.seed)
    with lzma.open(args.out, "wt") if args.out.suffix == ".xz" else open(args.out, "w") as out:
        for _ in range(args.copies):
            for example in examples:
                drawn = augment(example, rng)
                line = {"prompt": drawn.prompt(), "completion": drawn.completion()}
                out.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
