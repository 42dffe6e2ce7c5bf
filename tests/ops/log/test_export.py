"""Exports: bounded chunks by day, and nothing damaged or of another shape is ever restored."""

import dataclasses
import json

import polars as pl
import pytest

from ops.log import manifest as manifests
from ops.log.export import chunks, export, files
from ops.log.imports import records, restore
from ops.log.manifest import Manifest
from streams.errors import StateError
from streams.log import Record
from streams.settings import Settings

DAY = 86_400
MIDNIGHT = 1_700_006_400
SETTINGS = Settings(
    partitions=2, kafka="127.0.0.1:1"
)  # where nothing listens: what is refused never asked it


def made(offset, at=0.0, headers=()):
    return Record("events", 1, offset, b"k" if offset % 2 else None, b"%d" % offset, MIDNIGHT + at, headers)


@pytest.fixture
def folder(tmp_path):
    """An export of twenty events over two days."""
    written = list(files(tmp_path, "events", 1, [made(n, n * DAY / 10 + n / 1000) for n in range(20)]))
    manifest = Manifest(
        namespace="", epoch=0, partitions=2, touches=0, made_at=1, spans={"events": {1: (0, 20)}}, folded={},
        files=tuple(written),
    )  # fmt: skip
    manifests.write(tmp_path, manifest)
    return tmp_path


def test_a_file_holds_a_day_of_a_partition(folder):
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.parquet"))
    assert found == ["topic=events/day=2023-11-15/1-0.parquet", "topic=events/day=2023-11-16/1-10.parquet"]
    frame = pl.read_parquet(folder / "topic=events" / "**" / "*.parquet", hive_partitioning=True)
    assert frame["offset"].to_list() == list(range(20))
    assert set(frame.columns) == {"partition", "offset", "timestamp", "key", "value", "topic", "day"}


def test_records_come_back_in_order_though_their_times_were_not(tmp_path):
    said = [made(n, (n % 3) * DAY, ((("h", b"\xff"),) if n == 5 else ())) for n in range(30)]
    written = [file for part in (said[:12], said[12:]) for file in files(tmp_path, "events", 1, part)]
    assert len(written) == 6
    assert list(records(tmp_path, "events", written)) == said


def test_chunks_are_bounded(monkeypatch):
    monkeypatch.setattr("ops.log.export.MOST_RECORDS", 8)
    assert [len(chunk) for chunk in chunks([[made(n)] * 3 for n in range(7)])] == [9, 9, 3]
    monkeypatch.setattr("ops.log.export.MOST_BYTES", 4)
    assert [len(chunk) for chunk in chunks([[made(n)] * 3 for n in range(7)])] == [6, 6, 6, 3]


def refused(folder, match, settings=SETTINGS):
    with pytest.raises(StateError, match=match):
        restore(settings, folder)


def test_a_flipped_byte_is_refused(folder):
    path = folder / "topic=events/day=2023-11-16/1-10.parquet"
    whole = path.read_bytes()
    for at in (0, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        refused(folder, r"1-10\.parquet differs from its checksum")


def test_a_truncated_export_is_refused(folder):
    path = folder / "topic=events/day=2023-11-16/1-10.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    refused(folder, r"1-10\.parquet differs from its checksum")
    path.unlink()
    refused(folder, r"1-10\.parquet cannot be read: .*No such file")
    (folder / "manifest.json").unlink()
    refused(folder, r"has no manifest.json: it is no export, or one that was interrupted")


def test_a_changed_manifest_is_refused(folder):
    path = folder / "manifest.json"
    whole = path.read_text()
    path.write_text(whole.replace('"records": 10', '"records": 11', 1))
    refused(folder, "differs from its own checksum")
    path.write_text(whole[:-50])
    refused(folder, "cannot be read")
    path.write_text(json.dumps(json.loads(whole) | {"format": 2}))
    refused(folder, r"has format 2, this release reads 1: use the one that wrote it")
    path.write_text("[]")
    refused(folder, "cannot be read")


def test_an_export_of_another_shape_is_refused(folder):
    refused(folder, "REFOLD_PARTITIONS=4: set it to 2", dataclasses.replace(SETTINGS, partitions=4))
    refused(folder, "is of REFOLD_EPOCH=0, .* not 3", dataclasses.replace(SETTINGS, epoch=3))


def test_an_export_goes_on_only_with_its_own_log(folder):
    for changed, match in (
        ({"namespace": "other"}, "another log, its namespace is '', not 'other'"),
        ({"partitions": 3}, "its number of partitions is 2, not 3"),
        ({"epoch": 1}, "its epoch is 0, not 1"),
        ({"touches": 1}, "its generation of touches is 0, not 1"),
    ):
        with pytest.raises(StateError, match=match):
            export(dataclasses.replace(SETTINGS, **changed), folder)
    with pytest.raises(StateError, match="leave out --from"):
        export(SETTINGS, folder, since=5)
    (folder / "manifest.json").unlink()
    with pytest.raises(StateError, match=r"has no manifest.json"):
        export(SETTINGS, folder)
    assert len(list(folder.rglob("*.parquet"))) == 2
