"""What folding and learning cost: CPU time on one core, with few items and with a million, and memory.

A worker with few items and one with many take turns, so that their ratio holds on a machine that does other things too.
"""

import os
import tempfile
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agents.learner import compile_kernels
from api.rows import Rows
from api.tables import CACHED_USERS
from bench.alone import RATE, TURN, USERS, Alone
from bench.report import AT_LEAST, AT_MOST, report
from models.users import User
from streams.changelog import NOBODY, Note

FEW = 10_000  # items
HISTORY = 60  # events of a user, on average, before anything is measured
TURNS = 3
TARGETS = {"events_per_s": (AT_LEAST, 5_000.0), "million_items": (AT_MOST, 1.5)}


def run(items: int = 1_000_000, turn: int = TURN) -> dict[str, Any]:
    """Measure and return the report: medians of turns of so many events, the first of which does not count."""
    compile_kernels()
    figures = {name: round(value, 3) for name, value in _measure(items, turn).items()}
    return report("learn", "none", figures, TARGETS)


def _measure(items: int, turn: int) -> dict[str, float]:
    few, before = Alone(FEW), _resident()
    many = Alone(items)
    grown = _resident() - before
    turns: dict[str, list[float]] = {}
    for each in (few, many):
        each.settle(USERS * HISTORY)
    for n in range(1 + TURNS):
        small, large = few.turn(turn), many.turn(turn)
        figures = small | {f"million_{part}": took for part, took in large.items()}
        figures["events_per_s"] = 1e6 / sum(small.values())
        figures["million_items"] = sum(large.values()) / sum(small.values())
        figures["learned_mb_per_s"] = few.written * RATE / turn / 1e6
        figures["million_learned_mb_per_s"] = many.written * RATE / turn / 1e6
        for name, figure in figures.items():
            turns.setdefault(name, []).extend([figure] * bool(n))
    return {name: float(np.median(took)) for name, took in turns.items()} | {
        "mb_per_million_items": grown / items,
        **_of_users(few.users()),
    }


def _of_users(rows: Mapping[bytes, bytes]) -> dict[str, float]:
    """Return what a million such users take on disk, and those that an API process keeps decoded take in memory."""
    with tempfile.TemporaryDirectory(prefix="refold-bench-") as folder:
        held = Rows(Path(folder) / "users.db", "bench")
        held.put(0, rows, 0, Note(NOBODY, {}))
        held.close()
        on_disk = sum(file.stat().st_size for file in held.path.rglob("*.sst"))
    tracemalloc.start()
    decoded = [User.from_row(row) for row in rows.values()]
    in_memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {
        "mb_per_million_users": on_disk / len(rows),
        "cached_users_mb": in_memory / len(decoded) * CACHED_USERS / 1e6,
    }


def _resident() -> int:
    """Return the bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
