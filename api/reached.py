"""Reached: how far the rows that answers are made of had folded their sources, where that is certain.

It is certain between two flushes, once the changelog was read to the end that it had when reading began: compaction
takes rows that newer ones follow, so what was read halfway is the fold of no position.
"""

import time
from collections.abc import Callable, Mapping

import msgspec

from api.follower import Place
from streams.changelog import Note, Reading
from streams.settings import Settings
from streams.slates import Reached
from streams.topology import TABLES, partitions_of

TOLD = ("items", "popular", "learned")  # a user's row says by itself what it is the fold of
SOURCES = {table.name: table.sources for table in TABLES}
TAKEOVER_SECONDS = (
    60.0  # in which a worker has surely folded again what the one before it folded and did not note
)
UNCERTAIN = -1


class Standing:
    """Where the rows of an API process stand; `now` is the same object for as long as nothing changed."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._generation, self._clock = settings.generation, clock
        self._of = {name: [UNCERTAIN] * partitions_of(settings, name) for name in TOLD}
        self._of_items = [(UNCERTAIN, UNCERTAIN)] * len(self._of["items"])
        self._goals: dict[Place, int] = {}
        self._torn: dict[Place, tuple[int, float]] = {}  # how often, and until when that is felt
        self._now: Reached | None = None

    @property
    def now(self) -> Reached:
        """How far sources are folded."""
        if self._now is None:
            popular, learned = tuple(self._of["popular"]), tuple(self._of["learned"])
            self._now = Reached(self._generation, tuple(self._of_items), popular, learned)
        return self._now

    def resume(self, ends: Mapping[Place, int]) -> None:
        """Take note of where the changelogs end while reading begins."""
        self._goals = dict(ends)
        self._torn.clear()

    def noted(self, place: Place, reading: Reading) -> Note:
        """Return the note to keep beside the rows, which says of itself whether they are the fold of its positions."""
        before, until = self._torn.get(place, (0, 0.0))
        if reading.torn != before:
            until = self._clock() + TAKEOVER_SECONDS
            self._torn[place] = reading.torn, until
        read = reading.offset + 1 >= self._goals.get(place, 0)
        certain = reading.whole and read and self._clock() >= until
        return msgspec.structs.replace(reading.note, whole=reading.offset if certain else UNCERTAIN)

    def leave(self, place: Place) -> None:
        """Take note that rows of a partition are about to change."""
        self._put(place, None)

    def stand(self, place: Place, note: Note | None, offset: int) -> None:
        """Take note that the rows of a partition are shown as they were at an offset of the changelog."""
        note = note or Note()
        self._put(place, note.positions if note.whole == offset else None)

    def _put(self, place: Place, positions: Mapping[str, int] | None) -> None:
        table, number = place
        if table not in TOLD:
            return
        said = [UNCERTAIN if positions is None else positions.get(name, 0) for name in SOURCES[table]]
        if table == "items":
            self._of_items[number] = said[0], said[1]
        else:
            self._of[table][number] = said[0]
        self._now = None
