"""Lists: one for each of many users, written into a Parquet file; for e-mail and notifications."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from api.answers import Answer, Request
from api.engine import Engine
from api.travel import known
from ops.progress import Advance
from streams import durable
from streams.errors import Refused

CHUNK = 2_000  # users whose lists are in memory at once
TURN = 20  # lists between two turns of the event loop, in which the state follows the log
SCHEMA = {
    "user_id": pl.String,
    "position": pl.Int32,
    "item_id": pl.String,
    "score": pl.Float64,
    "source": pl.String,
    "request_id": pl.String,
    "rung": pl.String,
}

Log = Callable[[Sequence[Answer]], Awaitable[None]]


@dataclass
class Made:
    """What came of it: lists by rung, users of whom nothing is known, and users for whom there is nothing to show."""

    rungs: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    empty: int = 0

    @property
    def lists(self) -> int:
        """How many lists there are."""
        return sum(self.rungs.values())


def check(out: Path) -> None:
    """Raise Refused where no file can be written."""
    if out.suffix != ".parquet":
        raise Refused(f"--out {str(out)!r} does not end in .parquet")
    if out.is_dir():
        raise Refused(f"--out {str(out)!r} is a folder; name a file in it")
    try:
        with _beginning(out).open("wb"):
            pass
        _beginning(out).unlink()
    except OSError as error:
        raise Refused(f"--out {str(out)!r} cannot be written: {error.strerror}") from None


async def write(
    engine: Engine, users: Sequence[str], asked: Request, out: Path, parts: Path, now: Callable[[], int],
    log: Log, step: Advance,
) -> Made:  # fmt: skip
    """Rank for each user as `asked`, let `log` have what was ranked, and write the file when all is done.

    `parts` is a folder for what is not whole yet. A file of that name gives place to the new one.
    """
    made, files = Made(), []
    for first in range(0, len(users), CHUNK):
        answers = []
        for number, user in enumerate(users[first : first + CHUNK]):
            answers.append(_answer(engine, user, asked, now(), made))
            step(1)
            if number % TURN == 0:
                await asyncio.sleep(0)
        answers = [answer for answer in answers if answer.items]
        await log(answers)
        files.append(parts / f"{first:012}.parquet")
        pl.DataFrame(_rows(answers), schema=SCHEMA, orient="row").write_parquet(files[-1])
    try:
        pl.scan_parquet(files).sink_parquet(_beginning(out))
        _beginning(out).replace(out)
        durable.sync(out.parent)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise Refused(f"--out {str(out)!r} cannot be written: {error}") from None
    return made


def _answer(engine: Engine, user_id: str, asked: Request, at: int, made: Made) -> Answer:
    user = engine.state.tables.user(user_id)
    made.unknown += user is None or not known(user)
    request = Request(at=at, user_id=user_id, n=asked.n, surface=asked.surface)
    answer = engine.recommend(request)
    if answer.items:
        made.rungs[answer.rung] += 1
    else:
        made.empty += 1
    return answer


def _rows(answers: Sequence[Answer]) -> list[tuple[Any, ...]]:
    return [
        (answer.user_id, place, item.item_id, item.score, item.source, answer.request_id, answer.rung)
        for answer in answers
        for place, item in enumerate(answer.items)
    ]


def _beginning(out: Path) -> Path:
    """Return the file that becomes `out` when it is whole."""
    return out.with_name(f".{out.name}.new")
