"""Erasure on a real Kafka: out of a running system within seconds, out of the log for ever, and nobody else hurt."""

import contextlib
import dataclasses
import itertools
import random
import sys
import time

import httpx
import msgspec
import pytest

from models.actions import DEFAULTS
from models.users import User
from ops.broker.lag import set_committed
from ops.broker.topics import admin, create
from ops.log import archive
from ops.log.dead_letters import listed, resend
from ops.log.erase import erase
from ops.log.export import export
from ops.log.imports import restore
from ops.log.look import look
from ops.processes import Processes, free_port
from ops.state.dump import changelog
from ops.state.dump import log as folded
from ops.state.fold import sources
from streams import archives, events, generations, profiles, slates
from streams.errors import StateError
from streams.events import SESSION, Event
from streams.generations import Generation, Generations
from streams.items import Item
from streams.items import encode as encode_item
from streams.log import Log
from streams.partition import partition_of
from streams.profiles import Profile
from streams.slates import Slate
from streams.topology import STAGES
from streams.write import producer
from tests.kafka.test_export import World

pytestmark = pytest.mark.kafka
PARTITIONS = 2
USER = "anna"
TOPICS = ("events", "profiles", "slates", "dead-letters", "touches", "examples")


@pytest.fixture
def settings(install, tmp_path):
    return install(partitions=PARTITIONS, data=tmp_path, port=free_port())


@pytest.fixture
def start(settings, tmp_path):
    with Processes(tmp_path / "logs", grace=20) as processes:

        def started(command):
            argv = [sys.executable, "-m", "ops.cli", command]
            return processes.start(command, argv, env=settings.environment())

        yield started


def until(holds, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return found


def fill(settings, seed=1, count=150):
    """Events of many in shared records, profiles, slates, and a refused record with someone else's good event."""
    draw, now = random.Random(seed), int(time.time() * 1000) - 3_600_000
    users = [USER, *(f"user-{n}" for n in range(9))]

    def event(user, n):
        return Event(
            event_id=f"{seed}-{n}-{draw.random()}",
            type=draw.choice(("view", "click", "purchase")),
            at=now + n * 100,
            user_id=user,
            item_id=f"item-{draw.randrange(12)}",
            session_id="s" if user == USER else None,
            categories=("c",),
        )

    with producer(settings) as to:

        def send(topic, number, key, value):
            to.send(settings.topic(topic), key=key, value=value, partition=number)

        for n in range(12):
            key = f"item-{n}"
            send("items", partition_of(key, PARTITIONS), key.encode(), encode_item(Item(title=key)))
        for user in users:
            number = partition_of(user, PARTITIONS)
            send("profiles", number, user.encode(), profiles.encode(Profile(attributes={"a": user})))
        for n in range(count):
            said = draw.choices(users, k=draw.randint(1, 5))
            number = partition_of(said[0], PARTITIONS)
            batch = [event(user, n) for user in said if partition_of(user, PARTITIONS) == number]
            send("events", number, said[0].encode(), events.encode(batch))
        home = partition_of(USER, PARTITIONS)
        other = next(user for user in users[1:] if partition_of(user, PARTITIONS) == home)
        bad = msgspec.structs.replace(event(USER, 0), value=float("nan"))
        send("events", home, USER.encode(), events.encode([bad, event(other, 0)]))
        for user in users:
            slate = Slate(request_id=user, user_id=user, at=now, surface="home", rung="full")
            send("slates", partition_of(user, PARTITIONS), user.encode(), slates.encode(slate))


USERS = {"users": ("events", "profiles")}
SOURCES = {**USERS, "items": ("items", "touches")}


def fold(settings, tables=SOURCES):
    """Every row of the log's own fold, by table and partition."""
    with Log(settings) as log:
        ends = {topic: log.spans(topic) for topics in tables.values() for topic in topics}
    return {
        (table, n): folded(settings, table, n, {one: ends[one][n][1] for one in of}, DEFAULTS).rows
        for table, of in tables.items()
        for n in range(PARTITIONS)
    }


def caught_up(settings):
    def rows():
        there = {
            (table, n): changelog(settings, table, n)
            for table in ("users", "items")
            for n in range(PARTITIONS)
        }
        with Log(settings) as log:
            ends = {topic: log.spans(topic) for topic in ("events", "profiles", "items", "touches")}
        return all(
            position == ends[source][n][1]
            for (_, n), one in there.items()
            for source, position in one.positions.items()
        ) and all(one.positions for one in there.values())

    until(rows, "the worker has folded the log")


@pytest.mark.timeout(400)
def test_a_user_is_taken_out_of_the_log_and_nobody_else(settings, start):
    worker = start("worker")
    fill(settings)
    caught_up(settings)
    home = partition_of(USER, PARTITIONS)
    before = fold(settings)
    assert USER.encode() in before["users", home]
    assert "events" in str(look(settings, USER)["topics"])

    report = erase(settings, USER, cut=False)
    assert report["events"] > 10
    assert report["sessions"] == [f"{SESSION}s"]
    assert all(report["records"].values())
    assert fold(settings) == before  # nothing was written

    erase(settings, USER, cut=True)
    after = fold(settings)
    assert USER.encode() not in after["users", home]
    for n in range(PARTITIONS):
        others = {key: row for key, row in before["users", n].items() if key != USER.encode()}
        assert after["users", n] == others
    assert {key for of in (0, 1) for key in after["items", of]} == {
        key for of in (0, 1) for key in before["items", of]
    }
    assert after != before

    left = look(settings, USER)["topics"]
    kept = {settings.topic(f"refold-{table}-changelog") for table in ("users", "shown")}
    assert set(left) == kept  # until a rebuild and a drop
    assert made(settings) == {f"{topic}-archive-1" for topic in TOPICS}

    assert [USER.encode() in (letter.value or b"") for letter in listed(settings)] == [False]
    assert resend(settings) == {"sent": 1, "still_refused": 1}  # of the other in that record, and a nil
    caught_up(settings)
    after = fold(settings)

    second = next(user for user in map("user-{}".format, range(9)) if partition_of(user, PARTITIONS) != home)
    erase(settings, second, cut=True)
    twice = fold(settings)
    for n in range(PARTITIONS):
        others = {key: row for key, row in after["users", n].items() if key != second.encode()}
        assert twice["users", n] == others
    # read through the first archives, which are gone; the dead letters do not name the second user
    assert made(settings) == {f"{topic}-archive-{1 if topic == 'dead-letters' else 2}" for topic in TOPICS}
    assert erase(settings, USER, cut=True)["records"] == dict.fromkeys(map(settings.topic, TOPICS), 0)
    assert not worker.poll()


def made(settings):
    prefix = f"{settings.namespace}."
    with admin(settings) as client:
        ours = [name.removeprefix(prefix) for name in client.list_topics() if name.startswith(prefix)]
    return {name for name in ours if "-archive-" in name}


def commit(settings):
    """As workers that have folded everything."""
    with Log(settings) as log, admin(settings) as client:
        for stage in STAGES:
            at = {
                (settings.topic(topic), n): end
                for topic in sources(stage)
                for n, (_, end) in log.spans(topic).items()
            }
            set_committed(client, settings.group(stage), at)


class Killed(BaseException):
    """Not to be caught."""


def killed(step, done):
    """The step, which kills its process when it is called once more than that."""
    calls = itertools.count()

    def dying(*arguments):
        if next(calls) < done:
            return step(*arguments)
        raise Killed

    return dying


@pytest.mark.timeout(300)
def test_an_erasure_that_is_killed_loses_nothing_and_is_made_again(settings, tmp_path, monkeypatch):
    world = World(settings)
    world.run(30)
    user = "user-1"
    with pytest.raises(StateError, match="not folded by every worker: start workers"):
        erase(settings, user, cut=True, seconds=1)  # its tombstone is written, and nobody folds it
    world.forget(user)
    commit(settings)
    before = fold(settings, USERS)
    others = {
        place: {key: row for key, row in rows.items() if key != user.encode()}
        for place, rows in before.items()
    }

    for module, step, done in (
        (archive, "verify", 0),
        (archives, "save", 0),
        (archive, "cut", 0),
        (archive, "remove_unrecorded", 1),  # that before all, not that at the end
    ):
        with monkeypatch.context() as patched:
            patched.setattr(module, step, killed(getattr(module, step), done))
            with pytest.raises(Killed):
                erase(settings, user, cut=True)
        now = fold(settings, USERS)
        for place, rows in now.items():  # with the user before it was recorded, without them since
            assert rows in (before[place], others[place]), step
    erase(settings, user, cut=True)
    assert fold(settings, USERS) == others
    assert not look(settings, user)["topics"]
    assert made(settings) == {f"{topic}-archive-{n}" for topic, n in archived(settings)}
    with Log(settings, {}) as log:  # nothing stands before the archives' ends in the topics themselves
        for name, one in archives.load(settings).items():
            spans = log.spans(name.removeprefix(f"{settings.namespace}."))
            assert {n: begin for n, (begin, _) in spans.items()} == one.until

    export(settings, tmp_path / "out")  # what is left can be carried elsewhere, gaps and all
    new = dataclasses.replace(settings, namespace=f"{settings.namespace}-new")
    create(new)
    restore(new, tmp_path / "out")
    assert fold(new, USERS) == others


def test_touches_are_those_of_the_generations_there_are(settings):
    live = Generation(number=2, stage="live", folds={}, touches=2)
    generations.save(settings, Generations(all=(live,)))
    create(live.of(settings))
    with admin(settings) as client:
        client.delete_topics(
            [settings.topic("touches"), settings.topic("examples")]
        )  # as a drop of the first generation does
    World(live.of(settings)).run(10)
    commit(live.of(settings))
    found = erase(settings, "user-1", cut=False)["records"]
    both = {settings.topic("touches-g2"), settings.topic("examples-g2")}
    assert set(found) == {*map(settings.topic, TOPICS[:-2]), *both}
    assert all(found[topic] for topic in both)


def archived(settings):
    held = [one.topic.removeprefix(f"{settings.namespace}.") for one in archives.load(settings).values()]
    return {tuple(name.split("-archive-")) for name in held}


@pytest.mark.timeout(300)
def test_a_running_system_forgets_a_user_within_seconds(settings, start):
    start("worker")
    start("api")
    long = SESSION + "s" * 256
    with httpx.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=10) as api:

        def answers(path, **query):
            with contextlib.suppress(httpx.TransportError):
                return api.get(path, params=query)

        until(lambda: (answer := answers("/health/ready")) and answer.status_code == 200, "the API is ready")
        for n in range(8):
            item = {"title": f"item-{n}", "categories": ["tea" if n < 4 else "milk"]}
            until(
                lambda n=n, item=item: api.put(f"/v1/items/item-{n}", json=item).status_code == 202, "an item"
            )
        for who in ({"user_id": USER}, {"session_id": "s" * 256}, {"user_id": "ben"}):
            for n in range(3):
                click = {"type": "click", "item_id": f"item-{n}", "categories": ["tea"], **who}
                assert api.post("/v1/events", json=click).status_code == 202
        assert api.put(f"/v1/users/{USER}", json={"attributes": {"a": 1}}).status_code == 202
        for user in (USER, long, "ben"):
            until(
                lambda user=user: api.get(f"/v1/users/{user}").json().get("history"), f"{user[:9]} is known"
            )

        def full():
            found = api.get(f"/v1/recommend/{USER}", params={"explain": True}).json()
            return found["items"] if found["rung"] == "full" else None

        known = until(full, "a list of one's own")
        assert any(item["features"]["affinity"] for item in known)
        until(lambda: api.get(f"/v1/recommend/{USER}").json()["rung"] == "cached", "a cached list")

        began = time.monotonic()
        for user in (USER, long):
            assert api.delete(f"/v1/users/{user}").status_code == 202
        for user in (USER, long):
            until(
                lambda user=user: api.get(f"/v1/users/{user}").status_code == 404,
                f"{user[:9]} is forgotten",
                20,
            )
        assert time.monotonic() - began < 20
        explained = api.get(f"/v1/recommend/{USER}", params={"explain": True}).json()
        assert not any("features" in item for item in explained["items"])
        nobody = api.get("/v1/recommend/nobody").json()
        after = api.get(f"/v1/recommend/{USER}").json()
        assert after["rung"] == nobody["rung"]
        assert [one["item_id"] for one in after["items"]] == [one["item_id"] for one in nobody["items"]]
        assert api.get("/v1/users/ben").json()["history"]
    for user in (USER, long):
        row = changelog(settings, "users", partition_of(user, PARTITIONS)).rows[user.encode()]
        left = User.from_row(row)
        blank = User(marks=left.marks, ids=left.ids, erased_at=left.erased_at, tally=left.tally)
        assert left.erased_at
        assert blank.row() == row  # marks and hashes, which keep a replay from bringing the past back
