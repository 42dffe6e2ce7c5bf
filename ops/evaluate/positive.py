"""Positive: a small language that says which rows of a file count, such as `rating >= 4 and kind == film`."""

import operator
import re
from collections.abc import Callable
from functools import reduce

import polars as pl

from streams.errors import Refused

OPERATORS: dict[str, Callable[[pl.Expr, float | str], pl.Expr]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
COMPARISON = re.compile(
    r"\s*(?P<column>`[^`]+`|\w+)\s*(?P<how>[<>=!]=|[<>=])\s*"
    r"(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?![\w.])|(?P<text>'[^']*'|\"[^\"]*\"|\w+))"
    r"\s*(?P<more>\b(?:and|or)\b|$)",
    re.IGNORECASE,
)
FORM = "`column op number`, joined by `and` and `or`; op is one of >= <= == != > <"


def positive(text: str, schema: pl.Schema) -> pl.Expr:
    """Return the condition that a text says over a file's columns; raises Refused, naming what is wrong.

    `and` binds closer than `or`. Text compares by == and != only, a name with blanks stands in backticks. What is
    missing in a row holds never.
    """
    alternatives: list[list[pl.Expr]] = [[]]
    at, more = 0, "and"
    while more:
        found = COMPARISON.match(text, at)
        if found is None:
            raise Refused(f"--positive {text!r}: {text[at:].strip()!r} is not understood; it takes {FORM}")
        alternatives[-1].append(_compared(found, text, schema))
        at, more = found.end(), found["more"].lower()
        if more == "or":
            alternatives.append([])
    every = [reduce(operator.and_, parts) for parts in alternatives]
    return reduce(operator.or_, every).fill_null(value=False)


def _compared(found: re.Match[str], text: str, schema: pl.Schema) -> pl.Expr:
    column, how, number = found["column"].strip("`"), found["how"], found["number"]
    if column not in schema:
        raise Refused(f"--positive {text!r}: no column {column!r}; there are {', '.join(schema)}")
    kind = schema[column]
    if kind.is_numeric():
        if number is None:
            raise Refused(f"--positive {text!r}: column {column!r} holds numbers, {found['text']} is none")
        return OPERATORS[how](pl.col(column), float(number))
    if how not in {"==", "!=", "="}:
        raise Refused(f"--positive {text!r}: column {column!r} is {kind}, which compares by == and != only")
    return OPERATORS[how](pl.col(column).cast(pl.String), number or found["text"].strip("'\""))
