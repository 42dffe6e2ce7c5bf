"""A check finds exactly the rows and touches that are not those of the log, and nothing where all is well."""

import contextlib
import random

import pytest

from models.actions import DEFAULTS
from models.items import ItemRow
from models.users import DUPLICATES, FOLDED, LATE, User
from ops.log.fake import Log
from ops.state import verify as verifying
from ops.state.fold import STAGES
from ops.state.verdict import Told, Verdict
from ops.state.verify import every, sample, verify, work
from streams import touches
from streams.changelog import NOTE
from streams.errors import StateError
from streams.settings import Settings
from tests.agents.simulator import run
from tests.ops.state.test_dump import worker
from tests.ops.state.test_fold import a_world, as_log


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(verifying, "PAUSES", (0.0, 0.0))


@pytest.fixture
def settings(tmp_path):
    return Settings(partitions=2, dimensions=16, data=tmp_path)


class Lived:
    """A log after workers lived on it, with crashes, and the RocksDB they left."""

    def __init__(self, settings, seed=0, crashes=2):
        self.settings, draw = settings, random.Random(seed)
        self.broker = a_world(seed)
        self.tables = {}
        for stage in STAGES:
            self.tables |= run(self.broker, stage, draw, crashes)
        self.log = as_log(self.broker)

    def disks(self):
        opened = contextlib.ExitStack()
        for table, partitions in self.tables.items():
            for number, rows in partitions.items():
                end = len(self.broker.log(f"refold-{table}-changelog", number)) - 1
                opened.enter_context(worker(self.settings, "worker-0", rows, end, table, number))
        return opened

    def verify(self, *units):
        with self.disks():
            return list(verify(self.log, self.settings, DEFAULTS, units or every(self.settings)))


def test_a_system_after_crashes_is_equal_everywhere(settings):
    lived = Lived(settings)
    passed = []
    with lived.disks():
        units = every(settings)
        verdicts = list(verify(lived.log, settings, DEFAULTS, units, passed.append))
    rows = [one for one in verdicts if isinstance(one, Verdict)]
    told = [one for one in verdicts if isinstance(one, Told)]
    assert [one.report() for one in verdicts if not one.equal] == []
    assert sorted((one.table, one.partition, one.place) for one in rows) == sorted(
        (table, number, place) for table, number in units for place in ("live", "changelog")
    )
    assert [one.partition for one in told] == [0, 1]
    assert all(one.touches for one in told)
    assert sum(passed) <= work(lived.log, units)
    for one in rows:
        if one.table == "users":
            assert one.tally[FOLDED] + one.tally[DUPLICATES] == one.events > 0
            assert one.tally[LATE] > 0
            assert one.refused == one.dead_letters > 0


def change(rows, kind, field, value):
    """Change a field of the first row; return its key, and its field as it was."""
    key = min(key for key in rows if key != NOTE)
    state = kind.from_row(rows[key])
    before = getattr(state, field)
    setattr(state, field, value)
    rows[key] = state.row()
    return key.decode(), before


def test_a_changed_row_of_a_worker_is_found_with_the_field_that_differs(settings):
    lived = Lived(settings, 1)
    key, before = change(lived.tables["items"][1], ItemRow, "chosen", 999)
    wrong = [one.report() for one in lived.verify() if not one.equal]
    (one,) = wrong
    assert (one["table"], one["partition"], one["place"], one["differing"]) == ("items", 1, "live", 1)
    assert one["keys"] == [{"key": key, "live": {"chosen": 999}, "log": {"chosen": before}}]


def test_rows_that_are_missing_or_too_many_are_found(settings):
    lived = Lived(settings, 2)
    rows = lived.tables["popular"][0]
    first, *_, last = sorted(key for key in rows if key != NOTE)
    rows[b"zzz"] = rows.pop(first)
    (one,) = [one.report() for one in lived.verify(("popular", 0)) if not one.equal]
    assert one["differing"] == 2
    found = {shown["key"]: shown for shown in one["keys"]}
    assert found[first.decode()]["live"] is None
    assert found["zzz"]["log"] is None
    assert last.decode() not in found


def test_a_user_who_counts_wrong_is_found(settings):
    lived = Lived(settings, 3)
    key, before = change(lived.tables["users"][0], User, "tally", [10_000, 0, 0])
    (one,) = [one.report() for one in lived.verify() if not one.equal]
    assert one["keys"] == [{"key": key, "live": {"tally": [10_000, 0, 0]}, "log": {"tally": before}}]
    assert one["folded"] > one["events"]


def test_a_difference_that_passes_is_none(settings, monkeypatch):
    lived = Lived(settings, 4)
    rows = lived.tables["users"][0]
    right = dict(rows)
    change(rows, User, "mass", 99.0)

    def flushes_meanwhile(_):
        with worker(settings, "worker-0", right, len(lived.broker.log("refold-users-changelog", 0)) - 1):
            pass

    monkeypatch.setattr(verifying.time, "sleep", flushes_meanwhile)
    with lived.disks() as disks:
        disks.close()
        verdicts = list(verify(lived.log, settings, DEFAULTS, [("users", 0)]))
    assert all(one.equal for one in verdicts)


def test_an_old_copy_on_another_worker_of_this_machine_is_not_asked(settings):
    lived = Lived(settings, 5)
    with worker(settings, "worker-9", {b"a": b"\x91\x02", NOTE: b"\x93\x00\x80\x90"}, 10_000, "users", 0):
        places = {
            one.place
            for one in verify(lived.log, settings, DEFAULTS, [("users", 0)])
            if isinstance(one, Verdict)
        }
    assert places == {"changelog"}


@pytest.mark.parametrize("kind", ["missing", "extra", "changed"])
def test_touches_that_are_not_those_of_the_events_are_named(settings, kind):
    lived = Lived(settings, 6, crashes=0)
    log = as_log(lived.broker)
    records = log._records["touches", 1]
    records[:] = records[:1] if kind != "extra" else records  # said once; the simulated worker said it again
    told = touches.decode(records[0].value)
    victim = next(at for at, each in enumerate(told.said) if isinstance(each, touches.Touch))
    touch = told.said[victim]
    if kind == "missing":
        del told.said[victim]
    elif kind == "changed":
        touch.weight += 1
    else:
        told.said.insert(victim, touches.Link(touch.origin, touch.item, "nobody", 1.0))
    records[0].value = touches.encode(told.epoch, told.partition, told.said, told.vectors)
    lived.log = log
    wrong = [one for one in lived.verify(("users", told.partition)) if not one.equal]
    (one,) = wrong
    assert isinstance(one, Told)
    named = {"missing": one.missing, "extra": one.extra}
    expected = {"missing": {"missing"}, "extra": {"extra"}, "changed": {"missing", "extra"}}[kind]
    assert {name for name, found in named.items() if found} == expected
    assert all(found[0][0] == touch.origin for found in named.values() if found)


def test_a_sample_is_the_same_for_the_same_seed(settings):
    units = every(settings)
    assert sample(units, 3, 7) == sample(units, 3, 7) != sample(units, 3, 8)
    assert sorted(sample(units, 99, 1)) == sorted(units)
    assert every(settings, "items") == [("items", 0), ("items", 1)]


def test_a_log_with_a_gap_ends_the_check(settings):
    lived = Lived(settings, 8)

    class Cut(Log):
        def read(self, topic, partition, *_):
            raise StateError(f"{topic}[{partition}] begins at offset 5")

    cut = Cut(2)
    cut.__dict__.update(lived.log.__dict__)
    with pytest.raises(StateError, match="begins at offset 5"):
        list(verify(cut, settings, DEFAULTS, [("users", 0)]))
