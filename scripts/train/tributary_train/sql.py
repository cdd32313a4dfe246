# SPDX-License-Identifier: Apache-2.0
"""The text-to-SQL task of the demo model: one canonical way to write an answer, and augmentation of questions."""

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

Span = tuple[int, int]

_QUERY = re.compile(r"^ ?SELECT (?:(MAX|MIN|COUNT|SUM|AVG) )?(\S+) FROM table(?: WHERE (.*?))?;?$", re.DOTALL)
_PROMPT = re.compile(r"^Columns: (.*)\nQuestion: (.*)\nSQL:$", re.DOTALL)
_NEXT = re.compile(r" AND (?=\S+ [=<>] )")
_CONDITION = re.compile(r"^(\S+) ([=<>]) (.*)$", re.DOTALL)
_NUMBER = re.compile(r"^-?[\d.,]*\d$")


@dataclass(frozen=True)
class Condition:
    """One `column operator value` of a WHERE clause; `span` is where the question spells the value, if it does."""

    column: str
    operator: str
    value: str
    span: Span | None


@dataclass(frozen=True)
class Example:
    """A question over the columns of one table, and its query."""

    columns: tuple[str, ...]
    question: str
    aggregate: str | None
    selected: str
    conditions: tuple[Condition, ...]

    def prompt(self) -> str:
        return f"Columns: {', '.join(self.columns)}\nQuestion: {self.question}\nSQL:"

    def completion(self) -> str:
        """The query with values spelt as in the question, text quoted and numbers bare: copying becomes exact."""
        aggregate = f"{self.aggregate} " if self.aggregate else ""
        where = " AND ".join(f"{c.column} {c.operator} {self._literal(c)}" for c in self.conditions)
        return f" SELECT {aggregate}{self.selected} FROM table{' WHERE ' + where if where else ''};"

    def _literal(self, condition: Condition) -> str:
        value = self.question[slice(*condition.span)] if condition.span else condition.value
        return value if _NUMBER.match(value) else f'"{value}"'


def parse(prompt: str, completion: str) -> Example | None:
    """Reads one example, or gives None where the text is not of the simple form (then it is used as it stands)."""
    head, query = _PROMPT.match(prompt), _QUERY.match(completion.rstrip())
    if not head or not query:
        return None
    question = head[2]
    # Lower-casing may change the length of exotic letters; then spans would be wrong.
    folded = question.lower() if len(question.lower()) == len(question) else question
    conditions, taken = [], []
    for text in _NEXT.split(query[3]) if query[3] else []:
        match = _CONDITION.match(text)
        if not match:
            return None
        value = match[3]
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = value[1:-1]
        value = value.strip()
        if not value:
            return None
        span = _find(folded, value.strip('" ').lower(), taken)
        if span:
            taken.append(span)
        conditions.append(Condition(match[1], match[2], value, span))
    return Example(tuple(head[1].split(", ")), question, query[1], query[2], tuple(conditions))


def normalise(query: str) -> str:
    """The form in which two queries are compared: case, quotes, spaces and `;` do not count."""
    return " ".join(re.sub(r"[\"';]", "", query.lower()).split())


class Augmenter:
    """Draws variants of examples: columns reordered, dropped and added, values and column names exchanged."""

    def __init__(self, examples: Sequence[Example]):
        self._values: dict[str, list[str]] = defaultdict(list)
        self._any: dict[bool, list[str]] = defaultdict(list)
        for example in examples:
            for c in example.conditions:
                if c.span:
                    value = example.question[slice(*c.span)]
                    self._values[c.column].append(value)
                    self._any[bool(_NUMBER.match(value))].append(value)
        self._columns = sorted({column for example in examples for column in example.columns})

    def __call__(self, example: Example, rng: random.Random) -> Example:
        example = self._exchange_values(example, rng)
        if rng.random() < 0.25:
            example = self._rename_column(example, rng)
        columns = list(example.columns)
        used = {example.selected, *(c.column for c in example.conditions)}
        if rng.random() < 0.2:
            columns = [c for c in columns if c in used or rng.random() < 0.7]
        if rng.random() < 0.2:
            columns += [c for c in rng.choices(self._columns, k=rng.randint(1, 3)) if c not in columns]
        rng.shuffle(columns)
        example = replace(example, columns=tuple(columns))
        draw = rng.random()
        if draw < 0.1 and len(example.question.lower()) == len(example.question):
            example = replace(example, question=example.question.lower())
        return example

    def _exchange_values(self, example: Example, rng: random.Random) -> Example:
        edits: dict[int, str] = {}
        for i, c in enumerate(example.conditions):
            if c.span and rng.random() < 0.5:
                own = self._values[c.column]
                # A column that is seen rarely knows too few values: borrow one of the same kind.
                numeric = bool(_NUMBER.match(example.question[slice(*c.span)]))
                pool = own if len(own) >= 8 and rng.random() < 0.8 else self._any[numeric]
                edits[i] = rng.choice(pool)
        return _rewrite(example, {example.conditions[i].span: text for i, text in edits.items()})

    def _rename_column(self, example: Example, rng: random.Random) -> Example:
        """Exchanges one column that the question names literally, in the table, the question and the query."""
        folded = example.question.lower()
        if len(folded) != len(example.question):
            return example
        taken = [c.span for c in example.conditions if c.span]
        for column in rng.sample(example.columns, len(example.columns)):
            span = _find(folded, column.lower().replace("_", " "), taken)
            new = rng.choice(self._columns)
            if span and span[1] - span[0] > 2 and new not in example.columns:
                text = new.lower().replace("_", " ")
                text = text.title() if example.question[span[0]].isupper() else text
                example = _rewrite(example, {span: text})
                exchange = {column: new}
                return replace(
                    example,
                    columns=tuple(exchange.get(c, c) for c in example.columns),
                    selected=exchange.get(example.selected, example.selected),
                    # The data lists conditions by column name.
                    conditions=tuple(
                        sorted(
                            (replace(c, column=exchange.get(c.column, c.column)) for c in example.conditions),
                            key=lambda c: c.column,
                        )
                    ),
                )
        return example


def _find(text: str, part: str, taken: Sequence[Span]) -> Span | None:
    """The first occurrence of part that stands at word borders (else any) and overlaps nothing taken."""
    if not part:
        return None
    fallback = None
    start = text.find(part)
    while start >= 0:
        end = start + len(part)
        if not any(start < b and a < end for a, b in taken):
            inside = (start > 0 and text[start - 1].isalnum() and part[0].isalnum()) or (
                end < len(text) and text[end].isalnum() and part[-1].isalnum()
            )
            if not inside:
                return start, end
            fallback = fallback or (start, end)
        start = text.find(part, start + 1)
    return fallback


def _rewrite(example: Example, edits: dict[Span, str]) -> Example:
    """Replaces spans of the question and moves the spans of all values accordingly."""
    if not edits:
        return example
    pieces, moved, position, length = [], {}, 0, 0
    spans = sorted({*edits, *(c.span for c in example.conditions if c.span)})
    for start, end in spans:
        before = example.question[position:start]
        text = edits.get((start, end), example.question[start:end])
        pieces += [before, text]
        moved[start, end] = (length + len(before), length + len(before) + len(text))
        length += len(before) + len(text)
        position = end
    question = "".join(pieces) + example.question[position:]
    conditions = tuple(replace(c, span=moved[c.span]) if c.span else c for c in example.conditions)
    return replace(example, question=question, conditions=conditions)
