"""A worker's RocksDB, its changelog alone and the fold of the log have the very same rows, at the same positions."""

import pytest

from models.actions import DEFAULTS
from models.learned import Common, Learned
from models.users import User
from ops.log.fake import Log
from ops.state import dump
from ops.state.dump import at_worker, decoded, flushes, in_changelog, in_log
from streams import changelog as notes
from streams.changelog import NOBODY, NOTE, Note, headers
from streams.errors import StateError
from streams.settings import Settings
from streams.topology import STAGES
from tests.ops.state.lived import Lived, places, worker


def note(owner, **positions):
    return notes.encode(Note(owner, positions))


@pytest.fixture
def settings(tmp_path):
    return Settings(partitions=2, dimensions=16, data=tmp_path)


@pytest.mark.parametrize("place", places(), ids=str)
def test_the_three_places_are_equal(tmp_path, place):
    lived, (stage, number) = Lived(tmp_path, 7), place
    for table in STAGES[stage]:
        with in_changelog(lived.log, lived.settings, table, number) as told:
            rows = dict(told.scan())
            positions = told.note.positions
            with in_log(lived.log, lived.settings, table, number, positions, DEFAULTS) as folded:
                assert dict(folded.scan()) == rows
                assert folded.note.positions == positions
        assert rows == {key: row for key, row in lived.tables[table][number].items() if key != NOTE}
        # those who live here need not be in an experiment, and then a flush writes no more than its note
        assert rows or table == "outcomes" or lived.log.spans(f"{table}-changelog")[number][1] == 0


def test_the_rows_of_a_running_worker_are_read_beside_it(settings):
    with worker(settings, "worker-0", {b"b": b"2", b"a": b"1", NOTE: note(3, events=9)}, 12):
        with at_worker(settings, "users", 0) as standing:
            assert list(standing.scan()) == [(b"a", b"1"), (b"b", b"2")]
            assert (standing.offset, standing.note) == (12, Note(3, {"events": 9}))
        with at_worker(settings, "users", 0) as again:
            assert again.offset == 12


def test_of_several_copies_the_furthest_is_the_owners(settings):
    with (
        worker(settings, "worker-0", {b"a": b"old"}, 99),
        worker(settings, "worker-1", {b"a": b"new"}, 100),
        at_worker(settings, "users", 0) as standing,
    ):
        assert list(standing.scan()) == [(b"a", b"new")]


def test_a_copy_that_a_full_disk_cut_off_in_the_making_is_none(settings):
    key, row = b"anna", User().row()
    with worker(settings, "worker-1", {key: row, NOTE: note(9)}, 20):
        (whole,) = dump.held(settings, "users", 0)
        begun = settings.data / "worker-0" / whole.relative_to(settings.data / "worker-1")
        begun.mkdir(parents=True)
        (begun / "LOCK").touch()
        with at_worker(settings, "users", 0) as standing:
            assert dict(standing.scan()) == {key: row}


def test_a_partition_that_no_worker_here_has_is_named(settings):
    with (
        worker(settings, "worker-0", {}, 1),
        pytest.raises(StateError, match=r"no worker in .* has users\[1\]"),
        at_worker(settings, "users", 1),
    ):
        pass


def test_a_changelog_is_read_up_to_its_last_whole_flush():
    log = Log(1)

    def write(key, value, owner=None):
        return log.append(
            "users-changelog", 0, key, value, headers=headers(owner) if owner is not None else ()
        )

    first = write(NOTE, note(NOBODY))
    write(b"a", b"1", first)
    write(b"b", b"1", first)
    write(NOTE, note(first, events=1), first)
    write(b"a", b"2", first)
    second = write(NOTE, note(NOBODY, events=1))
    write(b"c", b"1", second)
    write(b"b", b"stale", first)
    write(NOTE, note(first, events=9), first)
    write(b"c", b"2", second)
    last = write(NOTE, note(second, events=3), second)
    write(b"c", b"half", second)

    told = list(flushes(log.changelog("users", 0)))
    assert [(offset, rows) for _, rows, offset in told] == [
        (3, {b"a": b"1", b"b": b"1"}),
        (last, {b"a": b"2", b"c": b"2"}),
    ]
    assert told[-1][0] == Note(second, {"events": 3}, (b"b",))


def test_a_dump_up_to_an_offset_stops_at_the_note_before_it(settings):
    log = Log(2)
    owner = log.append("users-changelog", 0, NOTE, note(NOBODY))
    for n in range(3):
        log.append("users-changelog", 0, b"a", b"%d" % n, headers=headers(owner))
        log.append("users-changelog", 0, NOTE, note(owner, events=n), headers=headers(owner))
    for offset, expected in ((6, (6, b"2")), (5, (4, b"1")), (4, (4, b"1"))):
        with in_changelog(log, settings, "users", 0, offset) as standing:
            assert (standing.offset, dict(standing.scan())[b"a"]) == expected
    with in_changelog(log, settings, "users", 0, 1) as standing:
        assert (standing.offset, standing.note, list(standing.scan())) == (-1, Note(), [])


def test_a_row_of_an_unknown_version_is_refused_by_name(settings):
    with (
        worker(settings, "worker-0", {b"anna": b"\x91\x09", NOTE: note(0)}, 1),
        pytest.raises(StateError, match=r"users b'anna': a row has version 9.*`refold rebuild`"),
    ):
        dump.live(settings, "users", 0)


def test_a_row_is_shown_by_the_names_of_its_fields():
    user = User(marks={3: 1}, totals={"click": 2}, ids=bytearray(b"\x01\xff"), profile={"country": "de"})
    shown = decoded("users", b"anna", user.row())
    assert shown["totals"] == {"click": 2}
    assert shown["ids"] == "01ff"
    assert set(shown) == set(User.__slots__)


def test_the_rows_of_the_learner_are_shown_by_theirs():
    learned = Learned(4)
    shown = decoded("learned", b"tea", learned.row(learned.slot("tea")))
    assert (shown["slot"], len(shown["into"]), len(shown["out"])) == (0, 4, 4)
    common = decoded("learned", b"", Common(marks={1: 2}, choices=3).row())
    assert (common["marks"], common["choices"]) == ({1: 2}, 3)


def test_rows_that_a_claim_cut_off_from_their_note_count_only_where_each_counts_alone():
    log = Log(1)

    def write(key, value, owner=None):
        return log.append("x-changelog", 0, key, value, headers=headers(owner) if owner is not None else ())

    first = write(NOTE, note(NOBODY))
    write(b"a", b"1", first)
    write(NOTE, note(first, examples=1), first)
    write(b"a", b"half", first)
    second = write(NOTE, note(NOBODY, examples=1))
    write(b"b", b"2", second)
    write(NOTE, note(second, examples=2), second)
    assert [rows for _, rows, _ in flushes(log.changelog("x", 0), units=True)] == [{b"a": b"1"}, {b"b": b"2"}]
    assert [rows for _, rows, _ in flushes(log.changelog("x", 0))] == [
        {b"a": b"1"},
        {b"a": b"half", b"b": b"2"},
    ]
