"""The snapshot of a space: with it an API process starts in a second instead of building its index again.

It holds the items' slots too, since the index knows items by nothing else. It need not match the tables: what
has changed since is found by placing all items again and comparing.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from api.columns import Columns
from api.index import VectorIndex
from api.placing import LIKES, Guess, Placed
from models.content import SKETCH, WIDTH, Content
from streams.errors import StateError

logger = logging.getLogger(__name__)


def save(folder: Path, columns: Columns, placed: Placed) -> None:
    """Write the snapshot; raises OSError."""
    n, guess = placed.n, placed.guess
    meta = {
        "ids": columns.ids[:n],
        "categories": list(columns.category_names),
        "guess": [] if guess is None else _said(guess),
        "y": placed.y[:n].tobytes(),
        "likes": placed.likes[:n].tobytes(),
        "live": placed.live[:n].tobytes(),
        "choices": placed.choices,
    }
    placed.index.save(folder, meta)


def load(folder: Path, columns: Columns, dimensions: int) -> Placed | None:
    """Return the newest good snapshot, its items given their slots in the empty columns, or None."""
    assert not len(columns), "slots must be given before any other item takes one"
    try:
        found = VectorIndex.load(folder, dimensions + 1)
        return None if found is None else _restore(columns, dimensions, *found)
    except (StateError, KeyError, TypeError, ValueError) as error:
        logger.warning("the snapshot in %s is left aside, the index is built again: %s", folder, error)
        shutil.rmtree(folder)
        return None


def _restore(columns: Columns, dimensions: int, index: VectorIndex, meta: dict[str, Any]) -> Placed:
    n = len(meta["ids"])
    guess = _heard(meta["guess"], dimensions) if meta["guess"] else None
    y = np.frombuffer(meta["y"], dtype=np.float16).reshape(n, dimensions + 1)
    likes = np.frombuffer(meta["likes"], dtype=np.int32).reshape(n, LIKES)
    live = np.frombuffer(meta["live"], dtype=np.bool_).reshape(n)
    if len(set(meta["ids"])) < n:
        raise StateError("an item stands in it twice")
    for name in meta["categories"]:
        columns.category(name)
    for item in meta["ids"]:
        columns.slot(item)
    return Placed(n, y, likes, live, index, guess, float(meta["choices"]))


def _said(guess: Guess) -> list[Any]:
    content = guess.content
    known = guess.known.astype("<i8").tobytes()
    return [content.matrix.tobytes(), content.middle.tobytes(), content.error, known, guess.ways.tobytes()]


def _heard(said: list[Any], dimensions: int) -> Guess:
    matrix, middle, error, known, ways = said
    content = Content(
        np.frombuffer(matrix, dtype=np.float32).reshape(WIDTH + SKETCH, dimensions + 1),
        np.frombuffer(middle, dtype=np.float32).reshape(dimensions + 1),
        float(error),
    )
    slots = np.frombuffer(known, dtype="<i8").astype(np.int64)
    return Guess(content, slots, np.frombuffer(ways, dtype=np.float32).reshape(len(slots), dimensions))
