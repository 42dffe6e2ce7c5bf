"""Spark learns the vectors that one process learns, from a file and from an export. Run by `make test-spark`."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from models.actions import DEFAULTS
from models.surfaces import load
from ops.evaluate.source import Columns, opened
from ops.log import export, manifest
from ops.train import history, spark, trails
from ops.train.moments import parts_of
from ops.train.rows import gather
from ops.train.scene import Scene
from ops.train.stages import Staged
from ops.train.vectors import Plan
from streams import events, items
from streams.errors import Refused
from streams.events import Event
from streams.items import Item
from streams.log import Record

START = 1_750_000_000_000
PLAN = Plan(width=8, rounds=20)
HOME = load().surfaces["home"]


def test_without_the_package_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark.errors", None)
    with pytest.raises(Refused, match=r"--engine spark needs: pip install 'refold\[spark\]'"):
        spark.opened()


@pytest.fixture(scope="module")
def session():
    pytest.importorskip("pyspark", reason="the extra `spark`")
    with pytest.MonkeyPatch.context() as patch:
        root = str(Path(spark.__file__).parents[2])
        patch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv(
            "PYSPARK_SUBMIT_ARGS",
            "--master local[1] --driver-memory 1g --conf spark.sql.shuffle.partitions=2 "
            "--conf spark.default.parallelism=3 pyspark-shell",
        )
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        held = spark.opened()
        yield held
        held.stop()


def told(count=900):
    """Events of users of two tastes; some chose one item only, and some events are no choices."""
    rng = np.random.default_rng(4)
    for n in range(count):
        user = int(rng.integers(60))
        item = (user % 2) * 20 + int(rng.integers(20))
        kind = ("click", "view", "impression", "dislike")[int(rng.choice(4, p=(0.6, 0.3, 0.05, 0.05)))]
        at = START + 1_000 * (n // 3)  # three at a time
        yield Event(event_id=str(n), type=kind, at=at, user_id=f"u{user}", item_id=f"i{item}")


def same(learned, other):
    assert list(learned.keys) == list(other.keys)
    assert learned.facts == other.facts
    for trail in (np.array([0]), np.array([3, 1, 2])):
        logits, wanted = (one.model.places() @ one.model.query(trail) for one in (learned, other))
        assert logits == pytest.approx(wanted, abs=1e-4)
        assert wanted.std() > 0.1


def both(read, heard, before):
    mine = spark.learn_vectors(read, PLAN, lambda _: None)(before)
    return mine, trails.learn_vectors(heard, PLAN, lambda _: None)(before)


@pytest.mark.spark
def test_a_file_gives_the_same_vectors(session, tmp_path):
    rows = [f"{one.user_id},{one.item_id},{one.at},{one.type}" for one in told()]
    file = tmp_path / "events.csv"
    file.write_text("\n".join(["user,item,at,type", *rows]))
    with opened(file, Columns(kind="type")) as source:
        heard = history.of_file(source, file.name, DEFAULTS)
        same(*both(spark.of_file(session, source.path, DEFAULTS), heard, START + 250_000))


def records(partition):
    """Records of several events; the clock of one partition was set back, some are dead letters, and from some
    records of a partition someone was erased."""
    own = [one for one in told() if int(one.user_id[1:]) % 3 == partition]
    for offset, start in enumerate(range(0, len(own), 4)):
        at = own[start].at - (60_000 if partition == 1 and offset % 7 == 3 else 0)
        value, headers = events.encode(own[start : start + 4]), ()
        if offset % 11 == 5:
            value = b"\xc1"
        elif partition == 2 and offset % 5 == 1:
            value, headers = events.without(value, {0}), (("erased", b""),)
        yield Record("events", partition, offset, b"k", value, at / 1000, headers)


def listed(partition):
    """The catalogue: some items are dated, one is taken back, one is no record."""
    own = [n for n in range(40) if n % 3 == partition]
    for offset, n in enumerate([*own, own[0], own[1]]):
        at = START - 5_000 + 20_000 * offset
        item = Item(title=f"thing {n}", categories=(f"c{n % 5}",), published_at=START if n % 2 else None)
        value = items.encode(item)
        if offset == len(own):
            value = None if partition else b"\xc1"
        yield Record("items", partition, offset, f"i{n}".encode(), value, at / 1000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("backup")
    said = {"events": records, "items": listed}
    held = {topic: {n: list(of(n)) for n in range(3)} for topic, of in said.items()}
    files = tuple(
        file
        for topic, parts in held.items()
        for n, own in parts.items()
        for file in export.files(tmp_path, topic, n, own)
    )
    spans = {topic: {n: (0, len(own)) for n, own in parts.items()} for topic, parts in held.items()}
    manifest.write(
        tmp_path,
        manifest.Manifest(
            namespace="shop",
            epoch=0,
            partitions=3,
            touches=0,
            made_at=START,
            spans=spans,
            folded={},
            files=files,
        ),
    )
    return tmp_path


@pytest.mark.spark
def test_an_export_gives_the_same_vectors(session, folder):
    heard = history.of_export(folder, DEFAULTS)
    same(*both(spark.of_export(session, folder, DEFAULTS), heard, START + 250_000))


@pytest.mark.spark
def test_what_teaches_nothing_is_refused(session, folder):
    with pytest.raises(Refused, match="0 people chose two items or more; item vectors need 20"):
        spark.learn_vectors(spark.of_export(session, folder, DEFAULTS), PLAN, lambda _: None)(START)


def rows_of(past):
    scene = Scene(DEFAULTS, 16)
    part = parts_of(past.count(), {"train": (0.2, 0.6, 120), "test": (0.6, 1.0, 120)})
    return gather(past, scene, HOME, part, 1, lambda _: None)


def same_rows(found, wanted):
    assert found.keys() == wanted.keys() == {"train", "test"}
    for name, rows in wanted.items():
        assert len(rows) > 20
        assert rows.matrix.std(axis=0).astype(bool).sum() > 12
        for field in rows.__dataclass_fields__:
            assert getattr(found[name], field).tobytes() == getattr(rows, field).tobytes(), (name, field)


@pytest.mark.spark
def test_a_file_gives_the_same_rows(session, tmp_path):
    rows = [
        f"{one.user_id},{one.item_id},{one.at},{one.type},c{int(one.item_id[1:]) % 5}|all" for one in told()
    ]
    file = tmp_path / "events.csv"
    file.write_text("\n".join(["user,item,at,type,category", *rows]))
    with opened(file, Columns(kind="type", category="category")) as source:
        heard = history.of_file(source, file.name, DEFAULTS)
        found = Staged(spark.of_file(session, source.path, DEFAULTS), heard.span, heard.data, DEFAULTS)

        assert found.count() == heard.count()
        assert found.time(400) == heard.time(400)
        same_rows(rows_of(found), rows_of(heard))


@pytest.mark.spark
@pytest.mark.parametrize("until", [None, START + 200_000])
def test_an_export_gives_the_same_rows(session, folder, until):
    heard = history.of_export(folder, DEFAULTS, until)
    found = Staged(spark.of_export(session, folder, DEFAULTS, until), heard.span, heard.data, DEFAULTS)

    assert (found.count(), found.span) == (heard.count(), heard.span)
    same_rows(rows_of(found), rows_of(heard))
