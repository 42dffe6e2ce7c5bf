"""Tables in a folder: they survive being closed, are copied whole, and are never mixed with others."""

import pytest

from ops.state.scratch import Scratch
from streams import changelog
from streams.changelog import NOTE, Note
from streams.errors import StateError

WHO = {"namespace": "", "users": "users=2"}
POSITIONS = Note(positions={"events": 7})


def test_rows_and_their_note_survive_being_closed(tmp_path):
    with Scratch(tmp_path, WHO) as scratch:
        rows = scratch.rows("users")
        assert (rows.offset(1), rows.note(1), list(rows.scan(1))) == (-1, Note(), [])
        rows.put_rows(1, {b"b": b"2", b"a": b"1", b"c": b"3", NOTE: changelog.encode(POSITIONS)}, 9)
        rows.put_rows(1, {b"c": None}, 10)
    with Scratch(tmp_path, WHO) as scratch:
        rows = scratch.rows("users")
        assert (rows.offset(1), rows.note(1)) == (10, POSITIONS)
        assert list(rows.scan(1)) == [(b"a", b"1"), (b"b", b"2")]
        assert rows.get_row(1, b"c") is None
        assert list(scratch.rows("users").scan(0)) == []


def test_a_checkpoint_is_another_scratch_that_stays_as_it_was(tmp_path):
    with Scratch(tmp_path / "a", WHO) as scratch:
        scratch.rows("users").put_rows(0, {b"a": b"1"}, 0)
        scratch.rows("items").put_rows(3, {b"i": b"5"}, 0)
        scratch.checkpoint(tmp_path / "b")
        scratch.rows("users").put_rows(0, {b"a": b"2"}, 1)
    with Scratch(tmp_path / "b", WHO) as scratch:
        assert list(scratch.rows("users").scan(0)) == [(b"a", b"1")]
        assert list(scratch.rows("items").scan(3)) == [(b"i", b"5")]


def test_a_folder_of_other_rows_is_refused(tmp_path):
    Scratch(tmp_path, WHO).close()
    with pytest.raises(StateError, match=r"users 'users=2' where 'users=3' is meant: name another folder"):
        Scratch(tmp_path, {**WHO, "users": "users=3"})


def test_a_folder_of_unknown_rows_is_refused(tmp_path):
    (tmp_path / "users-0.db").mkdir()
    with pytest.raises(StateError, match="of unknown origin"):
        Scratch(tmp_path, WHO)


def test_a_folder_that_is_open_elsewhere_is_refused_by_name(tmp_path):
    with Scratch(tmp_path, WHO) as scratch:
        scratch.rows("users").put_rows(0, {b"a": b"1"}, 0)
        with (
            Scratch(tmp_path, WHO) as other,
            pytest.raises(StateError, match=r"users-0\.db cannot be opened"),
        ):
            other.rows("users").get_row(0, b"a")
