"""Skew: what was served, computed anew from the log, is the same to the bit; and what is not is found."""

import random
from dataclasses import replace

import msgspec
import pytest

from api.lore import warm
from models.features import NAMES
from ops.past import skew
from streams import slates
from streams.checks import OLDEST
from streams.items import Item
from tests.ops.past.served import Served
from tests.ops.past.world import World

LATER = 10**13


def told(on, **values):
    return skew.check(on, **{"begin": OLDEST, "until": LATER, **values})


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A world, and lists asked for in it between events: by users known and unknown, beside items and in contexts."""
    warm()  # else the first list comes too late
    world, draw, folder = World(3), random.Random(2), tmp_path_factory.mktemp("asked")
    on = world.ground(folder / "snapshots", settings=replace(world.settings, data=folder))
    api = Served(world, on, folder / "served")
    for n in range(3):
        world.live(40)
        for _ in range(6):
            categories = draw.choice(((), ("kind-1",)))
            api.ask(f"user-{draw.randrange(12)}", categories=categories, context={"country": "de"})
        api.ask("nobody")
        api.ask(operation="similar", beside=f"item-{n}")
        api.ask(operation="popular")
        world.item("item-0", Item(title="renamed", categories=("kind-2", f"new-{n}"), boost=2.0 + n))
    api.close()
    return world, on


def slates_in(world):
    for number in range(world.settings.partitions):
        for batch in world.log.read("slates", number):
            yield from ((number, record.key, slates.decode(record.value)) for record in batch)


def test_what_was_served_is_what_the_log_says(asked):
    world, on = asked
    report = told(on)
    assert report["mismatches"] == 0, report["examples"]
    assert set(report["features"]) == set(NAMES)
    assert report["slates"] >= 18
    assert sum(report["skipped"].values()) == 27 - report["slates"]
    assert all(reason.endswith(": no features") for reason in report["skipped"])
    shown = sum(len(slate.items) for _, _, slate in slates_in(world) if slate.features)
    assert report["values"] == shown * len(NAMES) > 100 * len(NAMES)
    assert report["not_compared"] == {}
    some = told(on, users=["user-1", "user-2"])
    assert 0 < some["slates"] < report["slates"]
    newest = told(on, last=3)
    assert newest["slates"] + sum(newest["skipped"].values()) == 3
    assert told(on, begin=LATER)["slates"] == 0


def test_every_feature_that_was_logged_otherwise_is_found(asked):
    world, on = asked
    number, key, slate = next(found for found in slates_in(world) if found[2].features and found[2].user_id)
    for column, name in enumerate(NAMES):
        first, *rest = slate.items
        values = list(first.features)
        values[column] += 0.001
        items = (msgspec.structs.replace(first, features=tuple(values)), *rest)
        planted = msgspec.structs.replace(slate, request_id=name, at=world.now + 1, items=items)
        world.log.append("slates", number, key, slates.encode(planted), world.now + 60)
    report = told(on, begin=world.now + 1)
    assert (report["slates"], report["mismatches"]) == (len(NAMES), len(NAMES))
    assert all(one["differ"] == 1 for one in report["features"].values())
    assert report["features"]["ctr"]["largest"] == pytest.approx(0.001, rel=1e-3)
    found = report["examples"][0]
    assert (found["slate"], found["item"]) == (found["feature"], slate.items[0].item_id)
    assert any(f"{found['feature']} was {found['logged']!r}" in line for line in skew.text(report))


def test_what_cannot_be_computed_anew_is_told_and_counted(asked):
    world, on = asked
    number, key, slate = next(found for found in slates_in(world) if found[2].features and found[2].user_id)
    read, at = slate.read, world.now + 10_000
    half = replace_state(read, items=((-1, -1), read.state.items[1]))
    for n, changed in enumerate(
        (
            {"read": None},
            {"read": msgspec.structs.replace(read, session=True)},
            {"read": replace_state(read, generation=4)},
            {"read": replace_state(read, popular=(0,))},
            {"asked": None},
            {"same_as": "another", "items": (), "features": (), "read": None},
            {"read": half},
            {"read": replace_state(read, learned=(-1,))},
            {"read": msgspec.structs.replace(read, guessed=(0,))},
            {"features": ("gone", *NAMES[1:])},
        )
    ):
        said = msgspec.structs.replace(slate, request_id=f"odd-{n}", at=at, **changed)
        world.log.append("slates", number, key, slates.encode(said), at + 1)
    report = told(on, begin=at)
    assert (report["slates"], report["mismatches"]) == (4, 0)
    assert sorted(report["skipped"].values()) == [1] * 6
    owned = [skew.OWNED[name] for name in ("items", "learned")]
    assert report["not_compared"] == {
        skew.HALVES.format("items"): 8 * len(owned[0]), skew.HALVES.format("learned"): 8 * len(owned[1]),
        skew.GUESSED: len(skew.PAIRED), skew.GONE: 8,
    }  # fmt: skip


def replace_state(read, **changed):
    return msgspec.structs.replace(read, state=msgspec.structs.replace(read.state, **changed))
