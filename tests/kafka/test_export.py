"""Export and import on a real Kafka: the log that comes back folds to the very same rows."""

import dataclasses
import random
import time

import polars as pl
import pytest

from agents.fake import Message, Rows
from agents.table import Table
from agents.users import UserAgent
from models.actions import DEFAULTS
from models.users import User
from ops.broker.lag import STAGE_OF, lag, set_committed
from ops.broker.topics import admin
from ops.log.export import export
from ops.log.imports import fold, restore
from ops.progress import silent
from ops.state.dump import changelog
from ops.state.dump import log as folded
from ops.state.fold import sources
from streams import events, items, profiles, touches
from streams.append import Appender
from streams.errors import StateError
from streams.events import Event
from streams.generations import of_live
from streams.items import Item
from streams.log import Log, Record
from streams.partition import partition_of
from streams.profiles import Profile

pytestmark = pytest.mark.kafka
PARTITIONS = 2
DAY = 86_400_000
AT = 1_700_000_000_000 // DAY * DAY  # midnight
TABLES = {"users": ("events", "profiles"), "items": ("items", "touches"), "popular": ("touches",)}


class World:
    """Writes a log as clients and the users' worker would; `said` counts records by (topic, partition)."""

    def __init__(self, settings, seed=1):
        self.settings = settings
        self.draw = random.Random(seed)
        self.offsets = {}
        self.agent = UserAgent(settings, Table("users", Rows(), User, User.from_row, 1_000), DEFAULTS)

    def write(self, topic, partition, key, value, at, headers=()):
        offset = self.offsets.get((topic, partition), 0)
        self.offsets[topic, partition] = offset + 1
        record = Record(topic, partition, offset, key, value, at / 1000, headers)
        self.to.append(self.settings.topic(topic), partition, [record])
        return Message(topic, partition, offset, key, value, at / 1000, headers)

    def run(self, count, start=0):
        with Appender(self.settings) as self.to:
            for n in range(start, start + count):
                self.step(n, AT + n * DAY // 20)

    def forget(self, user):
        """Write a tombstone, and what a worker that folds it says."""
        with Appender(self.settings) as self.to:
            number = partition_of(user, PARTITIONS)
            with Log(self.settings) as log:  # others may have written one
                self.offsets["profiles", number] = log.spans("profiles")[number][1]
            at = int(time.time() * 1000)
            self.agent.fold_profiles(self.write("profiles", number, user.encode(), None, at))
            self.say(at)

    def step(self, n, at):
        user = f"user-{self.draw.randrange(6)}"
        number = partition_of(user, PARTITIONS)
        said = [
            Event(
                event_id=f"{n}-{k}",
                type=self.draw.choice(("view", "click", "purchase")),
                at=at,
                user_id=user,
                item_id=f"item-{self.draw.randrange(9)}",
                categories=(f"c{k}",),
            )
            for k in range(self.draw.randint(1, 3))
        ]
        headers = (("client", b"x"),) if n % 7 == 0 else ()
        self.agent.fold_events(self.write("events", number, user.encode(), events.encode(said), at, headers))
        if n % 5 == 0:
            value = None if n % 15 == 0 else profiles.encode(Profile(attributes={"n": float(n)}))
            self.agent.fold_profiles(self.write("profiles", number, user.encode(), value, at))
            key = f"item-{self.draw.randrange(9)}"
            value = items.encode(Item(title=f"{key} {n}"))
            self.write("items", partition_of(key, PARTITIONS), key.encode(), value, at)
        if n % 11 == 0:
            self.write("events", 0, None, b"\xc1 poison", at)
            self.write("slates", 1, b"k", b"slate", at)
        self.say(at)

    def say(self, at):
        for topic, partition, records in list(self.agent.take()):
            name = topic.removeprefix(f"{self.settings.namespace}.")
            for key, value in records:
                message = self.write(name, partition, key, value, at)
                if name == "events":
                    self.agent.fold_events(message)


def dumps(settings):
    with Log(settings) as log:
        ends = {source: log.spans(source) for source in ("events", "profiles", "items", "touches")}
    return {
        (table, n): folded(settings, table, n, {source: ends[source][n][1] for source in of}, DEFAULTS).digest
        for table, of in TABLES.items()
        for n in range(PARTITIONS)
    }


def commit(settings):
    """As a worker of the users stage that has folded everything."""
    with Log(settings) as log, admin(settings) as client:
        ends = {topic: log.spans(topic) for topic in sources("users")}
        at = {
            (settings.topic(topic), n): end for topic, spans in ends.items() for n, (_, end) in spans.items()
        }
        set_committed(client, settings.group("users"), at)


def everything(settings, topic):
    with Log(settings) as log:
        return [
            dataclasses.replace(record, topic="")
            for n, (begin, _) in log.spans(topic).items()
            for batch in log.read(topic, n, begin)
            for record in batch
        ]


@pytest.mark.timeout(300)  # a rebuild starts two processes
def test_a_restored_log_folds_to_the_same_rows(install, tmp_path):
    old, new = install(partitions=PARTITIONS), install(partitions=PARTITIONS)
    World(old).run(120)
    commit(old)
    done = export(old, tmp_path / "out")
    assert done["events"] == len(everything(old, "events")) > 120
    restored = restore(new, tmp_path / "out")
    assert restored == {topic: done[topic] for topic in restored}
    for topic in ("events", "touches", "examples", "slates", "dead-letters"):
        assert everything(new, topic) == everything(old, topic), topic
    for topic in ("profiles", "items"):  # which Kafka may have compacted at any time
        latest = [{one.key: one for one in everything(each, topic)} for each in (old, new)]
        assert latest[0] == latest[1], topic
    assert dumps(new) == dumps(old)
    days = pl.scan_parquet(tmp_path / "out/topic=events/**/*.parquet", hive_partitioning=True)
    per_day = days.group_by("day").len().collect()
    assert len(per_day) == 6
    with pytest.raises(StateError, match=r"topic '.*' is not empty"):
        restore(new, tmp_path / "out")
    assert fold(dataclasses.replace(new, data=tmp_path), tmp_path / "out", DEFAULTS, silent, lambda _: None)
    made = of_live(new)
    assert made.generation == 1
    for (table, n), digest in dumps(old).items():
        assert changelog(made, table, n).digest == digest
    assert lag(made) == dict.fromkeys(STAGE_OF, 0)


def test_a_second_export_goes_on_where_the_first_ended(install, tmp_path):
    old, new = install(partitions=PARTITIONS), install(partitions=PARTITIONS)
    world = World(old)
    world.run(60)
    first = export(old, tmp_path)
    files = set(tmp_path.rglob("*.parquet"))
    leftover = tmp_path / "topic=events/day=2023-11-14/0-999.parquet"
    leftover.write_bytes(b"of an export that was killed")
    assert export(old, tmp_path)["files"] == 0
    assert set(tmp_path.rglob("*.parquet")) == files
    world.run(60, start=60)
    second = export(old, tmp_path)
    assert 0 < second["events"] < first["events"] + second["events"] == len(everything(old, "events"))
    restore(new, tmp_path)
    assert everything(new, "events") == everything(old, "events")
    assert dumps(new) == dumps(old)


def test_a_span_comes_back_at_its_own_offsets_and_is_no_whole_log(install, tmp_path):
    old, new = install(partitions=PARTITIONS), install(partitions=PARTITIONS)
    World(old).run(120)
    since, until = AT + 2 * DAY, AT + 4 * DAY
    export(old, tmp_path, since, until)
    restore(new, tmp_path)
    assert not fold(
        new, tmp_path, DEFAULTS, silent, lambda _: None
    )  # there is no state without the beginning
    found = everything(new, "events")
    assert found == [one for one in everything(old, "events") if since <= one.timestamp * 1000 <= until]
    assert found[0].offset > 0
    with Log(new) as log, pytest.raises(StateError, match="begins at offset"):
        list(log.read("events", 0))


def test_touches_of_events_that_are_not_exported_stay_behind(install, tmp_path):
    """Their numbers will be those of other events."""
    old, new = install(partitions=PARTITIONS), install(partitions=PARTITIONS)
    World(old).run(40)
    with Log(old) as log:
        ends = {n: end for n, (_, end) in log.spans("events").items()}
        before = everything(old, "touches")
    item = next(f"item-{n}" for n in range(99) if partition_of(f"item-{n}", PARTITIONS) == 0)
    late = [
        touches.Touch(touches.origin_of(ends[0] - 1, 500), item, "click", AT, 1.0, 0, "", ()),
        touches.Touch(touches.origin_of(ends[0], 0), item, "click", AT, 1.0, 0, "", ()),
    ]
    end = len([one for one in before if one.partition == 0])
    with Appender(old) as to:
        record = Record("", 0, end, None, touches.encode(0, 0, late), AT / 1000)
        to.append(old.topic("touches"), 0, [record])
    export(old, tmp_path)
    restore(new, tmp_path)
    last = [one for one in everything(new, "touches") if one.partition == 0][-1]
    left = touches.decode(last.value)
    assert [said.origin for said in left.said] == [late[0].origin]
    others = [one for one in everything(new, "touches") if one != last]
    assert others == before
