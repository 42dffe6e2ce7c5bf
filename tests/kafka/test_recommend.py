"""Lists in bulk on a real Kafka: from a replica of its own, for all that are known, logged as slates."""

import asyncio
import json
import os
import subprocess
import sys
import time

import polars as pl
import pytest

from agents.publisher import Publisher
from models.items import ItemRow, list_item
from models.popular import Popular
from models.users import User, react
from streams import slates
from streams.events import Event
from streams.items import Item
from streams.partition import partition_of
from streams.read import records

pytestmark = pytest.mark.kafka


def published(settings):
    """Say in the changelogs what two users, an erased one and twenty items are."""
    now = time.time_ns() // 1_000_000

    async def publish():
        publisher = Publisher(settings)
        await publisher.start()

        async def say(table, key, row):
            number = partition_of(key, settings.partitions)
            await publisher.send(settings.changelog(table), number, [(key.encode(), row.row())])

        for n in range(20):
            await say("items", f"i{n}", list_item(ItemRow(), Item(categories=(f"k{n % 3}",))))
        await say("popular", "all", Popular(items={"i1": 2.0}))
        await say("users", "gone", User(erased_at=5))
        for name in ("anna", "ben"):
            user = User()
            event = Event(event_id=name, type="click", at=now, user_id=name, item_id="i4", categories=("k1",))
            react(user, event, 0, {"click": 1.0})
            await say("users", name, user)
        await publisher.stop()

    asyncio.run(publish())


def refold(settings, *words):
    return subprocess.run(
        [sys.executable, "-m", "ops.cli", "recommend", *words],
        env=os.environ | settings.environment(), capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def test_everyone_who_is_known_gets_a_list_and_its_slate(settings, tmp_path):
    published(settings)
    out, state = tmp_path / "lists.parquet", tmp_path / "state"
    done = refold(settings, "--out", str(out), "--n", "4", "--folder", str(state), "--log-slates", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["users"], said["lists"], said["slates"], said["unknown"]) == (2, 2, 2, 0)
    assert said["lists_per_s"] > 0
    table = pl.read_parquet(out)
    logged = {}
    for record in records(settings, "slates"):
        slate = slates.decode(record.value)
        logged[slate.user_id] = slate
        assert record.partition == partition_of(slate.user_id, settings.partitions)
    assert sorted(logged) == sorted(set(table["user_id"])) == ["anna", "ben"]
    for user, slate in logged.items():
        rows = table.filter(pl.col("user_id") == user)
        assert rows["item_id"].to_list() == [item.item_id for item in slate.items]
        assert set(rows["request_id"]) == {slate.request_id}
        assert (slate.surface, slate.asked.n, len(slate.items)) == ("email", 4, 4)

    users = tmp_path / "users.txt"
    users.write_text("ben\nnobody\n")
    again = refold(
        settings,
        "--out",
        str(out),
        "--users",
        str(users),
        "--folder",
        str(state),
        "--surface",
        "home",
        "--json",
    )
    assert again.returncode == 0, again.stderr
    said = json.loads(again.stdout)
    assert (said["users"], said["lists"], said["slates"], said["unknown"]) == (2, 2, 0, 1)
    assert len(list(records(settings, "slates"))) == 2


def test_nobody_and_nowhere_are_refused(settings, tmp_path):
    out = tmp_path / "lists.parquet"
    for words, says in (
        (("--out", str(out)), "no user is known yet"),
        (("--out", str(out), "--surface", "attic"), "surface 'attic' is not configured"),
        (("--out", str(tmp_path / "lists.csv")), ".parquet"),
    ):
        done = refold(settings, *words)
        assert done.returncode == 1
        assert says in " ".join(done.stderr.split())
    assert not out.exists()
