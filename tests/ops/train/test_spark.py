"""Spark learns the vectors that one process learns, from a file and from an export. Run by `make test-spark`."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from models.actions import DEFAULTS
from ops.evaluate.source import Columns, opened
from ops.log import export, manifest
from ops.train import history, spark, trails
from ops.train.vectors import Plan
from streams import events
from streams.errors import Refused
from streams.events import Event
from streams.log import Record

START = 1_750_000_000_000
PLAN = Plan(width=8, rounds=20)


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


def both(session, read, heard, before):
    mine = spark.learn_vectors(session, read, PLAN, lambda _: None)(before)
    return mine, trails.learn_vectors(heard, PLAN, lambda _: None)(before)


@pytest.mark.spark
def test_a_file_gives_the_same_vectors(session, tmp_path):
    rows = [f"{one.user_id},{one.item_id},{one.at},{one.type}" for one in told()]
    file = tmp_path / "events.csv"
    file.write_text("\n".join(["user,item,at,type", *rows]))
    with opened(file, Columns(kind="type")) as source:
        heard = history.of_file(source, file.name, DEFAULTS)
        same(*both(session, spark.of_file(source.path, DEFAULTS), heard, START + 250_000))


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


@pytest.fixture
def folder(tmp_path):
    files = tuple(file for n in range(3) for file in export.files(tmp_path, "events", n, list(records(n))))
    spans = {"events": {n: (0, len(list(records(n)))) for n in range(3)}, "items": {}}
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
    same(*both(session, spark.of_export(folder, DEFAULTS), heard, START + 250_000))


@pytest.mark.spark
def test_what_teaches_nothing_is_refused(session, folder):
    with pytest.raises(Refused, match="0 people chose two items or more; item vectors need 20"):
        spark.learn_vectors(session, spark.of_export(folder, DEFAULTS), PLAN, lambda _: None)(START)
