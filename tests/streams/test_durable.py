import os

import pytest

from streams import durable


def test_a_file_is_put_over_another_and_nothing_else_stays(tmp_path):
    durable.write(tmp_path / "a", b"1")
    durable.write(tmp_path / "a", b"2")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"2")]


def test_what_cannot_be_written_whole_leaves_what_was_there(tmp_path, monkeypatch):
    durable.write(tmp_path / "a", b"1")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        durable.write(tmp_path / "a", b"2")
    assert (tmp_path / "a").read_bytes() == b"1"
