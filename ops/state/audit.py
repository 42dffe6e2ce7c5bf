"""Audit: verify one partition of one table a day, and heal it where its rows are not the fold of the log.

To heal is to become the partition's owner for a moment (streams/changelog.py): a claim fences the worker off, whose
last note says how far its sources are folded and acked; then come the true rows at just these positions, deletions of
rows that should not be, and a note. The worker, alive, finds itself fenced at its next flush, ends, and restores what
was written here; nothing it had acked is missing from it, and what it had not acked it folds again.
"""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from aiokafka.errors import KafkaError

from agents.flush import Headers, Record
from agents.publisher import Publisher
from ops.state.dump import at_worker, held
from ops.state.fold import Advance, stage_of
from ops.state.reference import Reference, reference
from ops.state.verify import Unit, check, every
from streams import changelog
from streams.changelog import NOBODY, NOTE, Note, Reading
from streams.errors import StateError, Unavailable
from streams.log import Log
from streams.settings import Settings
from streams.topology import UNITS

DAY = 86_400  # seconds
TRIES = 5  # of being the only one who writes from the claim to the note
CHUNK = 2_000  # rows sent before asking whether someone else has written meanwhile

Send = Callable[[list[Record], Headers], int]


def today() -> int:
    """Return the number of this day."""
    return int(time.time()) // DAY


def unit(settings: Settings, day: int) -> Unit:
    """Return the table and partition whose turn it is on a day.

    >>> unit(Settings(partitions=2), 0), unit(Settings(partitions=2), 3), unit(Settings(partitions=2), 6)
    (('users', 0), ('items', 1), ('users', 0))
    """
    units = every(settings)
    return units[day % len(units)]


def audit(
    settings: Settings,
    weights: Mapping[str, float],
    day: int,
    begin: Callable[[int], Advance] = lambda _: lambda _: None,
) -> Iterator[dict[str, Any]]:
    """Yield what verifying the day's partition found, and if rows differ, that they were healed.

    Raises StateError when others kept writing to its changelog, and as `verify` does.
    """
    table, partition = unit(settings, day)
    different = False
    for report in check(settings, weights, [(table, partition)], begin):
        different = different or ("table" in report and report["verdict"] == "different")
        yield report
    if different:
        healed = heal(settings, weights, table, partition)
        yield {"table": table, "place": "changelog", "verdict": "healed", **dataclasses.asdict(healed)}


class Fenced(Exception):  # noqa: N818 - it is said to ourselves
    """Someone else wrote between our records."""


@dataclass(frozen=True)
class Healed:
    """What a heal wrote: rows, deletions, all as the owner it became for that."""

    partition: int
    owner: int
    rows: int
    deleted: int
    positions: Mapping[str, int]


def heal(settings: Settings, weights: Mapping[str, float], table: str, partition: int) -> Healed:
    """Write a partition's true rows to its changelog, as its owner; raises StateError when others keep writing too."""
    with Log(settings) as log, _sending(settings, table, partition) as send:
        for _ in range(TRIES):
            with reference(log, settings, stage_of(table), partition, weights) as truth:
                truth.fold(
                    _standing(log, table, partition)[0].positions
                )  # most of it, while nobody is fenced yet
                with contextlib.suppress(Fenced):
                    return take_over(log, settings, truth, send, table, partition)
    raise StateError(
        f"{table}[{partition}] was not healed: {TRIES} times a worker wrote to its changelog meanwhile; "
        "stop its worker and audit again"
    )


def take_over(
    log: Log, settings: Settings, truth: Reference, send: Send, table: str, partition: int
) -> Healed:
    """Claim the partition and write its true rows, by `send`; raises Fenced when someone else writes meanwhile."""
    owner = end = send([(NOTE, changelog.encode(Note(NOBODY, dict(truth.reached))))], ())
    headers = changelog.headers(owner)

    def write(records: list[Record]) -> None:
        nonlocal end
        end += len(records)
        if send(records, headers) != end:
            raise Fenced

    note, keys = _standing(log, table, partition, owner)
    truth.fold(note.positions)
    last = (NOTE, changelog.encode(Note(owner, note.positions)))
    keys |= _keys_here(settings, table, partition)
    rows, written = truth.rows(table), 0
    while chunk := list(islice(rows, CHUNK)):
        write(list(chunk))
        written += len(chunk)
        keys.difference_update(key for key, _ in chunk)
    write([*((key, None) for key in sorted(keys)), last])
    return Healed(partition, owner, written, len(keys), note.positions)


def _standing(log: Log, table: str, partition: int, end: int | None = None) -> tuple[Note, set[bytes]]:
    """Return the note a changelog stands at before an offset, and every key that was ever written there."""
    reading = Reading(units=table in UNITS)
    keys: set[bytes] = set()
    for batch in log.changelog(table, partition, end):
        reading.read(batch)
        keys.update(record.key for record in batch if record.key is not None)
    return reading.note, keys - {NOTE}


def _keys_here(settings: Settings, table: str, partition: int) -> set[bytes]:
    """Return the keys that a worker of this machine has: one that should not be may stand in its RocksDB alone."""
    if not held(settings, table, partition):
        return set()
    with at_worker(settings, table, partition) as standing:
        return {key for key, _ in standing.scan()}


@contextlib.contextmanager
def _sending(settings: Settings, table: str, partition: int) -> Iterator[Send]:
    """Yield what appends records with headers to the changelog and returns the offset of the last."""
    publisher = Publisher(settings)
    with asyncio.Runner() as runner:

        def send(records: list[Record], headers: Headers) -> int:
            return runner.run(publisher.send(settings.changelog(table), partition, records, headers))

        try:
            runner.run(publisher.start())
            try:
                yield send
            finally:
                runner.run(publisher.stop())
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"the changelog of {table}[{partition}] took no record: {error!r}") from error
