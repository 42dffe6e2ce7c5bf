"""The judge: whether, when all is folded, the three dumps of every partition are equal and no event is missing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.users import DUPLICATES, ERASE, FOLDED, LATE, User
from ops import dead_letters, dump
from ops.dump import Dumped
from ops.fold import ends, stage_of
from ops.prove.workload import Account
from streams import events
from streams.dead_letters import DeadLetter
from streams.events import Event
from streams.log import Log
from streams.settings import Settings
from streams.topology import TABLES

MOST = 5  # keys named for a partition that differs


class Judge:
    """Compares a settled system with its log; `differences` says in words what differs, `figures` what was counted."""

    def __init__(self, settings: Settings, weights: Mapping[str, float]) -> None:
        self.differences: list[str] = []
        self.figures: dict[str, int] = {}
        self._settings = settings
        self._weights = weights

    def judge(self, account: Account, buried: Sequence[DeadLetter]) -> None:
        """Compare tables and account; `buried` are dead letters that were taken out of their topic."""
        tally = [0, 0, 0]
        rows = 0
        for table in TABLES:
            for partition in range(self._settings.partitions):
                dumped = self._partition(table.name, partition)
                rows += len(dumped.rows)
                if table.name == "users":
                    for row in dumped.rows.values():
                        tally = [a + b for a, b in zip(tally, User.from_row(row).tally, strict=True)]
        self.figures["rows"] = rows
        self._account(account, tally, [*buried, *dead_letters.listed(self._settings)])

    def _partition(self, table: str, partition: int) -> Dumped:
        """Compare the three dumps of a partition, the log's at the very end of it; return the changelog's."""
        settings = self._settings
        with Log(settings) as log:
            until = ends(log, stage_of(table), partition)
        told = dump.changelog(settings, table, partition)
        folded = dump.log(settings, table, partition, until, self._weights)
        where = f"{table}[{partition}]"
        self._same(f"{where} in the changelog, beside the log", told.rows, folded.rows)
        if told.rows:  # else no worker has ever opened it
            live = dump.live(settings, table, partition)
            self._same(f"{where} at its worker, beside the changelog", live.rows, told.rows)
            self._equal(f"{where}: offset at its worker", live.offset, told.offset)
            self._equal(f"{where}: positions at its worker", live.positions, told.positions)
        return told

    def _account(self, account: Account, tally: list[int], letters: list[DeadLetter]) -> None:
        """Compare what was written, what the log holds, and where each event went."""
        places = [(letter.topic, letter.partition, letter.offset) for letter in letters]
        for place in sorted(set(places) ^ account.refused.keys()):
            self.differences.append(f"{place} was refused without poison, or poison was not refused")
        dead = sum(account.refused.get(place, 0) for place in places)
        good, erasures = 0, []
        for event in self._log(account):
            if event.type == ERASE:
                erasures.append(event.event_id)
            else:
                good += 1
        again = len(erasures) - len(set(erasures))  # a replayed tombstone says its erasure again
        self._equal("events in the log", good + account.refused_events, account.events)
        self._equal("duplicates", tally[DUPLICATES], account.duplicates + again)
        self._equal(
            "folded + duplicates + dead letters",
            tally[FOLDED] + tally[DUPLICATES] + dead,
            account.events + len(erasures),
        )
        self.figures |= {
            "events": account.events + len(erasures),
            "folded": tally[FOLDED],
            "duplicates": tally[DUPLICATES],
            "late": tally[LATE],
            "erasures": len(set(erasures)),
            "dead_letters": dead,
            "dead_records": len(letters),
        }

    def _log(self, account: Account) -> Iterator[Event]:
        """Yield every event of the log that is no poison."""
        topic = self._settings.topic("events")
        with Log(self._settings) as log:
            for partition in range(self._settings.partitions):
                for batch in log.read("events", partition):
                    for record in batch:
                        if (topic, partition, record.offset) not in account.refused:
                            yield from events.decode(record.value, int(record.timestamp * 1000))

    def _same(self, what: str, rows: Mapping[bytes, bytes], expected: Mapping[bytes, bytes]) -> None:
        differing = [key for key in rows.keys() | expected.keys() if rows.get(key) != expected.get(key)]
        if differing:
            named = ", ".join(repr(key) for key in sorted(differing)[:MOST])
            self.differences.append(f"{what}: {len(differing)} of {len(expected)} rows differ: {named}")

    def _equal(self, what: str, found: Any, expected: Any) -> None:
        if found != expected:
            self.differences.append(f"{what}: {found}, expected {expected}")
