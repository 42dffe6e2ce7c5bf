"""Replay is the fold of a prefix of the log, whatever it goes on from; a snapshot is used whole or not at all."""

import json
import os
from hashlib import sha256

import pytest

from models.actions import DEFAULTS
from models.decay import DAY
from models.users import User
from ops.past import snapshots
from ops.past.replay import advance, places, replay, tables
from ops.state.dump import replayed
from ops.state.fold import fold, sources
from ops.state.scratch import Scratch
from streams.errors import Refused, StateError, Unavailable
from streams.settings import Settings
from streams.topology import STAGES, partitions_of
from tests.ops.past.world import SETTINGS, START, STEP, World

LATER = START + 10**12


@pytest.fixture
def on(world, tmp_path):
    return world.ground(tmp_path / "snapshots")


def rows(folder, on, settings=SETTINGS):
    """Everything in a folder's tables, by table and partition."""
    with Scratch(folder, on.identity) as scratch:
        return {
            (table, number): dict(scratch.rows(table).scan(number))
            for stage, number in places(settings)
            for table in STAGES[stage]
        }


def folded(on, until, tmp_path, stages=tuple(STAGES)):
    """The fold of the records written up to a time, record by record."""
    folder = tmp_path / f"fold-{until}"
    with Scratch(folder, on.identity) as scratch:
        for stage in stages:
            for number in range(partitions_of(on.settings, stage)):
                ends = {
                    source: sum(
                        record.timestamp * 1000 <= until
                        for batch in on.log.read(source, number)
                        for record in batch
                    )
                    for source in sources(stage)
                }
                fold(on.log, on.settings, stage, number, scratch, ends, DEFAULTS)
    return rows(folder, on)


def test_it_is_the_fold_of_what_was_written_by_then(world, on, tmp_path):
    for name, until in (("half", world.half), ("all", world.now + 1), ("none", START - 1)):
        done = replay(on, until, tmp_path / name)
        assert rows(tmp_path / name, on) == folded(on, until, tmp_path)
        assert done.base == 0
        assert done.counts.records == sum(sum(by.values()) for by in done.manifest.positions.values())
    assert not any(rows(tmp_path / "none", on).values())
    assert len(rows(tmp_path / "half", on)["users", 0]) > 2


def test_folding_on_gives_what_folding_at_once_gives(world, on, tmp_path):
    replay(on, world.half, tmp_path / "parts")
    with Scratch(tmp_path / "parts", on.identity) as scratch:
        for until in range(world.half, world.now + STEP, 7 * STEP):
            advance(on, tables(scratch), until)
        advance(on, tables(scratch), LATER)
    replay(on, LATER, tmp_path / "whole")
    assert rows(tmp_path / "parts", on) == rows(tmp_path / "whole", on)


def test_it_goes_on_from_the_newest_snapshot_before_then(world, on, tmp_path):
    times = [world.half - 9 * STEP, world.half, world.now + 1]
    for at in times:
        replay(on, at, on.snapshots / str(at))
    until = world.half + 10 * STEP
    done = replay(on, until, tmp_path / "then")
    assert done.base == world.half
    assert done.counts.records < 40
    assert rows(tmp_path / "then", on) == folded(on, until, tmp_path)
    assert replay(on, times[0] - 1, tmp_path / "early").base == 0
    assert rows(on.snapshots / str(world.half), on) == folded(on, world.half, tmp_path)  # as it was


def test_a_snapshot_shares_files_and_stays_as_it_was(world, on, tmp_path):
    first = replay(on, world.half, on.snapshots / str(world.half))
    replay(on, LATER, tmp_path / "then")
    linked = [p for p in (on.snapshots / str(world.half)).rglob("*.sst") if p.stat().st_nlink > 1]
    assert linked
    again = snapshots.seal(on.snapshots / str(world.half), first.manifest)
    assert again.files == first.manifest.files


def test_a_span_is_folded_as_if_nothing_had_been_before(world, on, tmp_path):
    done = replay(on, world.now + 1, tmp_path / "span", begin=world.half)
    assert done.manifest.begin == world.half
    later = World(3)
    later.log, later.now = type(later.log)(2), START
    whole = folded(on, world.now + 1, tmp_path)
    span = rows(tmp_path / "span", on)
    assert set(span["users", 0]) <= set(whole["users", 0])
    users = [User.from_row(row) for number in range(2) for row in span["users", number].values()]
    told = sum(user.tally[0] + user.tally[1] for user in users)
    half = folded(on, world.half, tmp_path)
    before = [User.from_row(row) for number in range(2) for row in half["users", number].values()]
    both = [User.from_row(row) for number in range(2) for row in whole["users", number].values()]
    assert (
        told == sum(u.tally[0] + u.tally[1] for u in both) - sum(u.tally[0] + u.tally[1] for u in before) > 0
    )


def test_its_rows_can_be_dumped_and_stay_as_they_are(world, on, tmp_path):
    sealed = replay(on, world.half, tmp_path / "then").manifest
    held = rows(tmp_path / "then", on)
    found = {
        (table, number): {
            line["key"]: line["sha256"] for line in replayed(tmp_path / "then", table, [number])
        }
        for table, number in held
    }
    assert found == {
        place: {key.decode(): sha256(row).hexdigest() for key, row in of.items()}
        for place, of in held.items()
    }
    replay(on, world.half, on.snapshots / str(world.half))
    (first, second) = replayed(on.snapshots / str(world.half), "users", digests=True)
    assert first["digest"] != second["digest"]
    assert first["positions"] == {source: sealed.positions[source][0] for source in ("events", "profiles")}
    assert replay(on, LATER, tmp_path / "later").base == world.half  # the snapshot is still what was sealed
    for folder, partitions in ((tmp_path / "then", [7]), (tmp_path, None)):
        with pytest.raises(StateError, match=rf"{folder} holds no users\[\d\]: name a folder"):
            list(replayed(folder, "users", partitions))


@pytest.mark.parametrize("from_snapshot", [False, True])
def test_only_some_users_rows_are_kept(world, on, tmp_path, from_snapshot):
    if from_snapshot:
        replay(on, world.half, on.snapshots / str(world.half))
    whole = folded(on, world.now + 1, tmp_path)
    done = replay(on, world.now + 1, tmp_path / "some", users=("user-3", "user-5", "nobody"))
    found = rows(tmp_path / "some", on)
    expected = {
        key: row for n in range(2) for key, row in whole["users", n].items() if key in (b"user-3", b"user-5")
    }
    assert {key: row for n in range(2) for key, row in found["users", n].items()} == expected
    assert len(expected) == 2
    assert not any(found[table, n] for table in ("items", "popular") for n in range(2))
    assert set(done.manifest.positions) == set(sources("users"))
    assert done.base == (world.half if from_snapshot else 0)


def test_progress_tells_how_much_there_is_and_all_of_it(world, on, tmp_path):
    totals, steps = [], []

    def begin(total):
        totals.append(total)
        return steps.append

    done = replay(on, LATER, tmp_path / "all", progress=begin)
    assert totals == [sum(steps)] == [done.counts.records]


def test_nothing_is_overwritten(world, on, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    for into in (full, full / "notes.txt"):
        with pytest.raises(Refused, match=f"{into} is not an empty folder: name another one"):
            replay(on, LATER, into)
    assert [path.name for path in full.iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    replay(on, LATER, tmp_path / "empty")
    with pytest.raises(Refused, match="not an empty folder"):
        replay(on, LATER, tmp_path / "empty")


def test_what_failed_leaves_nothing(world, on, tmp_path):
    class Torn(type(world.log)):
        def read(self, *asked):
            yield from super().read(*asked)
            raise StateError("events[0] has a hole")

    world.log.__class__ = Torn
    with pytest.raises(StateError, match="hole"):
        replay(on, LATER, tmp_path / "deep" / "torn")
    assert not list((tmp_path / "deep").iterdir())


def test_a_span_must_end_after_it_begins(on, tmp_path):
    with pytest.raises(
        Refused, match="ends at 2025-06-15T15:06:40Z, before it begins at 2025-06-15T15:06:41Z"
    ):
        replay(on, START, tmp_path / "no", begin=START + 1000)


def test_items_from_before_a_rebuild_cannot_be_told(world, tmp_path):
    on = world.ground(tmp_path / "snapshots", touched_from=world.half)
    with pytest.raises(StateError, match="touches and examples of generation 0 were said anew by a rebuild"):
        replay(on, world.half - 1, tmp_path / "no")
    assert not (tmp_path / "no").exists()
    replay(on, world.half - 1, tmp_path / "users", users=("user-1",))
    replay(on, world.half, tmp_path / "since")


# Snapshots that cannot be used


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def table(snapshot):
    """A table's file that no older snapshot shares."""
    return next(path for path in sorted(snapshot.rglob("*.sst")) if path.stat().st_nlink == 1)


DAMAGES = {
    "a table's byte differs": (lambda s: flip(table(s)), "differs from its checksum"),
    "a table is cut": (lambda s: cut(table(s)), "differs from its checksum"),
    "a table is gone": (lambda s: table(s).unlink(), "is missing"),
    "a file was added": (lambda s: (s / "users-0.db" / "000999.sst").write_bytes(b"x"), "differs from its checksum"),
    "the manifest's byte differs": (lambda s: flip(s / "manifest.json"), "manifest.json"),
    "the manifest is cut": (lambda s: cut(s / "manifest.json"), "is no manifest"),
    "the manifest is gone": (lambda s: (s / "manifest.json").unlink(), "is no snapshot"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_snapshot_is_named_and_an_older_one_taken(world, on, tmp_path, caplog, damage):
    old, new = world.half - STEP, world.half
    for at in (old, new):
        replay(on, at, on.snapshots / str(at))
    harm, named = DAMAGES[damage]
    harm(on.snapshots / str(new))
    done = replay(on, LATER, tmp_path / "then")
    assert done.base == old
    assert named in caplog.text
    assert str(on.snapshots / str(new)) in caplog.text
    assert rows(tmp_path / "then", on) == folded(on, LATER, tmp_path)
    assert (on.snapshots / str(new)).exists()


def other(world, on, **changed):
    settings = Settings(**{"partitions": 2, "dimensions": 16, **changed})
    return world.ground(on.snapshots, settings=settings)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"settings": Settings(partitions=2, dimensions=16, epoch=1)}, "its epoch is '0', '1' is meant"),
        (
            {"settings": Settings(partitions=2, dimensions=16, namespace="a")},
            "its namespace is '', 'a' is meant",
        ),
        ({"settings": Settings(partitions=2, dimensions=16, touches=2)}, "its touches is '0', '2' is meant"),
        ({"weights": {**DEFAULTS, "click": 9.0}}, "its users is"),
        ({"archived": {"events": "events-rewritten"}}, "topic 'events' was rewritten since"),
    ],
)
def test_a_snapshot_of_something_else_is_named_and_left_aside(world, on, tmp_path, caplog, changed, named):
    replay(on, world.half, on.snapshots / str(world.half))
    done = replay(world.ground(on.snapshots, **changed), LATER, tmp_path / "then")
    assert done.base == 0
    assert named in caplog.text


def test_what_holds_a_part_only_is_no_base(world, on, tmp_path, caplog):
    replay(on, world.half, on.snapshots / str(world.half), users=("user-1",))
    replay(on, world.half - 1, on.snapshots / str(world.half - 1), begin=START)
    assert replay(on, LATER, tmp_path / "then").base == 0
    assert "it holds only some users" in caplog.text
    assert "it holds only a span of the log" in caplog.text


def test_another_version_of_the_manifest_is_refused(on, world):
    folder = on.snapshots / "1"
    replay(on, world.half, folder)
    said = json.loads((folder / "manifest.json").read_text())
    said["manifest"]["v"] = 9
    body = json.dumps(said["manifest"], separators=(",", ":")).encode()
    (folder / "manifest.json").write_bytes(
        b'{"sha256":"%b","manifest":%b}' % (sha256(body).hexdigest().encode(), body)
    )
    with pytest.raises(StateError, match="has version 9, this release reads 1"):
        snapshots.read(folder)


def test_the_newest_are_kept_and_one_a_day(tmp_path):
    now = 20_000 * DAY + DAY // 2
    times = [now, now - 1, now - 2, now - DAY, now - DAY - 1, now - 2 * DAY, now - 3 * DAY, now - 9 * DAY]
    for at in times:
        (tmp_path / str(at)).mkdir()
    (tmp_path / "mine").mkdir()
    gone = snapshots.prune(tmp_path, now, keep=2, days=3)
    assert {int(path.name) for path in gone} == {now - 2, now - DAY - 1, now - 3 * DAY, now - 9 * DAY}
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"mine", *(str(at) for at in (now, now - 1, now - DAY, now - 2 * DAY))}


def test_snapshots_of_a_log_that_was_rewritten_are_forgotten(world, on):
    for at in (world.half, world.half + 1):
        replay(on, at, on.snapshots / str(at))
    cut(on.snapshots / str(world.half) / "manifest.json")
    assert snapshots.forget(on.snapshots, {}) == []
    assert snapshots.forget(on.snapshots, {"events": "events-rewritten"}) == [
        on.snapshots / str(world.half + 1)
    ]


def test_two_do_not_work_on_the_snapshots_at_once(tmp_path):
    with snapshots.lock(tmp_path), pytest.raises(Unavailable, match="another `refold snapshot` works in"):
        snapshots.lock(tmp_path).__enter__()


def test_every_table_of_every_partition_is_replayed():
    assert places(SETTINGS) == [(stage, n) for stage in STAGES for n in range(partitions_of(SETTINGS, stage))]
