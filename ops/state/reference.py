"""The reference: the fold of one partition's log in a temporary folder, which goes as far as it is asked to."""

import contextlib
from collections.abc import Iterator, Mapping

from ops.state.fold import Advance, Folded, Hear, Source, fold, identity
from ops.state.scratch import Scratch, temporary
from streams.changelog import merge
from streams.settings import Settings
from streams.topology import Stage


class Reference:
    """The tables of a stage's partition as the log makes them, at the positions `reached`.

    `folded` counts what was read on the way there.
    """

    def __init__(
        self,
        log: Source,
        settings: Settings,
        stage: Stage,
        partition: int,
        weights: Mapping[str, float],
        scratch: Scratch,
        progress: Advance,
        hear: Hear | None,
    ) -> None:
        self.folded = Folded()
        self.reached: Mapping[str, int] = {}
        self._fold = log, settings, stage, partition, scratch
        self._weights = weights
        self._progress = progress
        self._hear = hear

    def fold(self, until: Mapping[str, int]) -> None:
        """Go on to the positions `until`, but never back."""
        self.reached = merge(self.reached, until)
        more = fold(*self._fold, self.reached, self._weights, self._progress, self._hear)
        self.folded.records += more.records
        self.folded.events += more.events
        self.folded.refused += more.refused

    def rows(self, table: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows of a table in the order of their keys."""
        _, _, _, partition, scratch = self._fold
        return scratch.rows(table).scan(partition)


@contextlib.contextmanager
def reference(
    log: Source,
    settings: Settings,
    stage: Stage,
    partition: int,
    weights: Mapping[str, float],
    progress: Advance = lambda _: None,
    hear: Hear | None = None,
) -> Iterator[Reference]:
    """Yield a reference at the beginning of the log; `progress` and `hear` as in `ops.state.fold.fold`."""
    with temporary(settings.data, identity(settings, weights)) as scratch:
        yield Reference(log, settings, stage, partition, weights, scratch, progress, hear)
