"""A log in memory, as `streams.log.Log` reads one: for tests."""

from collections.abc import Iterator, Sequence

from streams.log import Record
from streams.settings import Settings
from streams.topology import partitions_of

BATCH = 7  # small, so that folds meet many batches


class Log:
    """Records by topic and partition; a compacted topic may lack offsets."""

    def __init__(self, partitions: int, shards: int = 1) -> None:
        self._settings = Settings(partitions=partitions, shards=shards)
        self._records: dict[tuple[str, int], list[Record]] = {}
        self._ends: dict[tuple[str, int], int] = {}

    def append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        at: int = 1_700_000_000_000,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> int:
        """Add a record written at `at` (ms) and return its offset."""
        place = topic, partition
        offset = self._ends.get(place, 0)
        self._records.setdefault(place, []).append(
            Record(topic, partition, offset, key, value, at / 1000, headers)
        )
        self._ends[place] = offset + 1
        return offset

    def compact(self, topic: str) -> None:
        """Drop every record that a later one with its key supersedes."""
        for place, records in self._records.items():
            if place[0] == topic:
                last = {record.key: record.offset for record in records}
                records[:] = [record for record in records if last[record.key] == record.offset]

    def changelog(self, table: str, partition: int, end: int | None = None) -> Iterator[list[Record]]:
        """Yield the records of the topic `TABLE-changelog`."""
        return self.read(f"{table}-changelog", partition, 0, end)

    def spans(self, topic: str) -> dict[int, tuple[int, int]]:
        """Return the first offset and the end of each partition."""
        count = partitions_of(self._settings, topic)
        return {number: (0, self._ends.get((topic, number), 0)) for number in range(count)}

    def positions_at(self, topic: str, at: int) -> dict[int, int]:
        """Return, by partition, the offset of the first record written after `at` (ms), the end if there is none."""
        return {
            number: next(
                (r.offset for r in self._records.get((topic, number), ()) if r.timestamp * 1000 > at), end
            )
            for number, (_, end) in self.spans(topic).items()
        }

    def read(
        self, topic: str, partition: int, start: int = 0, end: int | None = None
    ) -> Iterator[list[Record]]:
        """Yield the records `start` to `end` in batches."""
        end = self._ends.get((topic, partition), 0) if end is None else end
        found = [r for r in self._records.get((topic, partition), ()) if start <= r.offset < end]
        for at in range(0, len(found), BATCH):
            yield found[at : at + BATCH]
