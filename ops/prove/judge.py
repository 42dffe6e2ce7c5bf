"""The judge: whether, when all is folded, the three dumps of every partition are equal and no event is missing."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from models.users import DUPLICATES, ERASE, FOLDED, LATE, User
from ops.log import dead_letters
from ops.prove.workload import Account
from ops.state import dump, verify
from ops.state.fold import ends
from ops.state.reference import reference
from streams import events
from streams.dead_letters import DeadLetter
from streams.events import Event
from streams.log import Log
from streams.settings import Settings
from streams.topology import STAGES, partitions_of

MOST_TOLD = 1_000  # characters of a report of `refold verify`
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
        with Log(self._settings) as log:
            for stage, tables in STAGES.items():
                for partition in range(partitions_of(self._settings, stage)):
                    with reference(log, self._settings, stage, partition, self._weights) as truth:
                        truth.fold(ends(log, stage, partition))
                        for table in tables:
                            told = self._compare(log, table, partition, dict(truth.rows(table)))
                            rows += len(told)
                            if table == "users":
                                tally = _sum(tally, told.values())
            self._account(account, self._events(log, account), tally, buried)
        self.figures["rows"] = rows
        for report in verify.check(self._settings, self._weights, verify.every(self._settings, "users")):
            if report["verdict"] != "equal":  # beside users, it looks at what they told items
                self.differences.append(f"verify: {json.dumps(report)[:MOST_TOLD]}")

    def _compare(
        self, log: Log, table: str, partition: int, folded: Mapping[bytes, bytes]
    ) -> Mapping[bytes, bytes]:
        """Compare worker and changelog with what the log folds to, to its very end; return the changelog's rows."""
        where = f"{table}[{partition}]"
        with dump.in_changelog(log, self._settings, table, partition) as changelog:
            told = dict(changelog.scan())
            self._same(f"{where} in the changelog, beside the log", told, folded)
            if told:  # else no worker has ever opened it
                with dump.at_worker(self._settings, table, partition) as worker:
                    self._same(f"{where} at its worker, beside the changelog", dict(worker.scan()), told)
                    self._equal(f"{where}: offset at its worker", worker.offset, changelog.offset)
                    positions = worker.note.positions, changelog.note.positions
                    self._equal(f"{where}: positions at its worker", *positions)
            return told

    def _account(
        self, account: Account, good: Iterator[Event], tally: Sequence[int], buried: Sequence[DeadLetter]
    ) -> None:
        """Compare what was written, what the log holds (`good` beside poison), and where each event went."""
        letters = [*buried, *dead_letters.listed(self._settings)]
        places = [(letter.topic, letter.partition, letter.offset) for letter in letters]
        for place in sorted(set(places) ^ account.refused.keys()):
            self.differences.append(f"{place} was refused without poison, or poison was not refused")
        dead = sum(account.refused.get(place, 0) for place in places)
        written, erasures = 0, []
        for event in good:
            if event.type == ERASE:
                erasures.append(event.event_id)
            else:
                written += 1
        again = len(erasures) - len(set(erasures))  # a replayed tombstone says its erasure again
        self._equal("events in the log", written + account.refused_events, account.events)
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

    def _events(self, log: Log, account: Account) -> Iterator[Event]:
        """Yield every event of the log that is no poison."""
        topic = self._settings.topic("events")
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


def _sum(tally: list[int], rows: Iterable[bytes]) -> list[int]:
    """Return the tallies of users added up."""
    for row in rows:
        tally = [a + b for a, b in zip(tally, User.from_row(row).tally, strict=True)]
    return tally
