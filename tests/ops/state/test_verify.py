"""A check finds exactly the rows and touches that are not those of the log, and nothing where all is well."""

import msgspec
import pytest

from models.actions import DEFAULTS
from models.items import ItemRow
from models.users import DUPLICATES, FOLDED, LATE, User
from ops.log.fake import Log
from ops.state import verify as verifying
from ops.state.verdict import Told, Verdict
from ops.state.verify import every, sample, verify, work
from streams import examples, touches
from streams.changelog import NOTE, Note, encode
from streams.errors import StateError
from streams.settings import Settings
from tests.ops.state.lived import Lived, worker


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(verifying, "PAUSES", (0.0, 0.0))


def check(lived, *units):
    with lived.disks():
        return list(verify(lived.log, lived.settings, DEFAULTS, units or every(lived.settings)))


def test_a_system_after_crashes_is_equal_everywhere(tmp_path):
    lived, passed = Lived(tmp_path, seed=2), []
    units = every(lived.settings)
    with lived.disks():
        verdicts = list(verify(lived.log, lived.settings, DEFAULTS, units, passed.append))
    rows = [one for one in verdicts if isinstance(one, Verdict)]
    told = [one for one in verdicts if isinstance(one, Told)]
    assert [one.report() for one in verdicts if not one.equal] == []
    assert sorted((one.table, one.partition, one.place) for one in rows) == sorted(
        (table, number, place) for table, number in units for place in ("live", "changelog")
    )
    assert [(one.topic, one.partition) for one in told] == [
        (topic, number) for number in (0, 1) for topic in ("touches", "examples")
    ]
    assert all(sum(one.words for one in told if one.topic == topic) for topic in ("touches", "examples"))
    assert sum(passed) <= work(lived.log, units)
    for one in rows:
        if one.table == "users":
            assert one.tally[FOLDED] + one.tally[DUPLICATES] == one.events
            assert one.refused == one.dead_letters
    assert sum(one.events for one in rows) > 0
    assert sum(one.tally[LATE] for one in rows) > 0
    assert sum(one.dead_letters for one in rows) > 0


def change(rows, kind, field, value):
    """Change a field of the first row; return its key, and its field as it was."""
    key = min(key for key in rows if key != NOTE)
    state = kind.from_row(rows[key])
    before = getattr(state, field)
    setattr(state, field, value)
    rows[key] = state.row()
    return key.decode(), before


def test_a_changed_row_of_a_worker_is_found_with_the_field_that_differs(tmp_path):
    lived = Lived(tmp_path, 1)
    key, before = change(lived.tables["items"][1], ItemRow, "chosen", 999)
    wrong = [one.report() for one in check(lived) if not one.equal]
    (one,) = wrong
    assert (one["table"], one["partition"], one["place"], one["differing"]) == ("items", 1, "live", 1)
    assert one["keys"] == [{"key": key, "live": {"chosen": 999}, "log": {"chosen": before}}]


def test_rows_that_are_missing_or_too_many_are_found(tmp_path):
    lived = Lived(tmp_path, 2)
    rows = lived.tables["popular"][0]
    first, *_, last = sorted(key for key in rows if key != NOTE)
    rows[b"zzz"] = rows.pop(first)
    (one,) = [one.report() for one in check(lived, ("popular", 0)) if not one.equal]
    assert one["differing"] == 2
    found = {shown["key"]: shown for shown in one["keys"]}
    assert found[first.decode()]["live"] is None
    assert found["zzz"]["log"] is None
    assert last.decode() not in found


def test_a_user_who_counts_wrong_is_found(tmp_path):
    lived = Lived(tmp_path, 3)
    key, before = change(lived.tables["users"][0], User, "tally", [10_000, 0, 0])
    (one,) = [one.report() for one in check(lived) if not one.equal]
    assert one["keys"] == [{"key": key, "live": {"tally": [10_000, 0, 0]}, "log": {"tally": before}}]
    assert one["folded"] > one["events"]


def test_a_difference_that_passes_is_none(tmp_path, monkeypatch):
    lived = Lived(tmp_path, 4)
    rows = lived.tables["users"][0]
    right = dict(rows)
    change(rows, User, "first_at", 99)

    def flushes_meanwhile(_):
        end = lived.log.spans("users-changelog")[0][1] - 1
        with worker(lived.settings, "worker-0", right, end):
            pass

    monkeypatch.setattr(verifying.time, "sleep", flushes_meanwhile)
    with lived.disks() as disks:
        disks.close()
        verdicts = list(verify(lived.log, lived.settings, DEFAULTS, [("users", 0)]))
    assert all(one.equal for one in verdicts)


def test_an_old_copy_on_another_worker_of_this_machine_is_not_asked(tmp_path):
    lived = Lived(tmp_path, 5)
    old = {b"a": b"\x91\x02", NOTE: encode(Note())}
    with worker(lived.settings, "worker-9", old, 10_000, "users", 0):
        verdicts = list(verify(lived.log, lived.settings, DEFAULTS, [("users", 0)]))
    assert {one.place for one in verdicts if isinstance(one, Verdict)} == {"changelog"}


@pytest.mark.parametrize("topic", ["touches", "examples"])
@pytest.mark.parametrize("kind", ["missing", "extra", "changed"])
def test_what_is_not_said_by_the_events_is_named(tmp_path, topic, kind):
    lived, words = Lived(tmp_path, 6, harm=False), {"touches": touches, "examples": examples}[topic]
    record = next(record for record in lived.log._records[topic, 0])
    told = words.decode(record.value)
    said, victim = list(told.said), told.said[0]
    if kind == "missing":
        del said[0]
    elif kind == "changed":
        said[0] = msgspec.structs.replace(victim, weight=victim.weight + 1)
    else:
        said.insert(0, msgspec.structs.replace(victim, item="nobody"))
    record.value = words.encode(told.epoch, told.partition, said)
    (one,) = [one for one in check(lived, ("users", told.partition)) if not one.equal]
    assert isinstance(one, Told)
    assert one.topic == topic
    named = {"missing": one.missing, "extra": one.extra}
    expected = {"missing": {"missing"}, "extra": {"extra"}, "changed": {"missing", "extra"}}[kind]
    assert {name for name, found in named.items() if found} == expected
    assert all(victim.origin in found[0] for found in named.values() if found)


def test_a_sample_is_the_same_for_the_same_seed():
    settings = Settings(partitions=2)
    units = every(settings)
    assert units[-1] == ("learned", 0)  # it has a partition for each shard
    assert sample(units, 3, 7) == sample(units, 3, 7) != sample(units, 3, 8)
    assert sorted(sample(units, 99, 1)) == sorted(units)
    assert every(settings, "items") == [("items", 0), ("items", 1)]


def test_a_log_with_a_gap_ends_the_check(tmp_path):
    lived = Lived(tmp_path, 8)

    class Cut(Log):
        def read(self, topic, partition, *_):
            raise StateError(f"{topic}[{partition}] begins at offset 5")

    cut = Cut(2)
    cut.__dict__.update(lived.log.__dict__)
    with pytest.raises(StateError, match="begins at offset 5"):
        list(verify(cut, lived.settings, DEFAULTS, [("users", 0)]))
