"""The API on a real Kafka: acknowledged, on the right partition, honest when the broker falls silent."""

import contextlib
import os
import signal
import time
import uuid
import warnings
from pathlib import Path

import pytest
from kafka.partitioner.default import murmur2

from api.app import create_app
from api.fake import Fake
from ops.broker import kafka as broker
from ops.broker.topics import admin, create
from streams import profiles, slates
from streams.events import decode
from streams.items import Item
from streams.read import records
from streams.settings import Settings
from streams.topology import topics

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

pytestmark = pytest.mark.kafka
CLICK = {"type": "click", "user_id": "u", "item_id": "item-1"}


@pytest.fixture
def settings(kafka):
    settings = Settings(kafka=kafka, partitions=3, dimensions=16, namespace=f"test-{uuid.uuid4().hex[:8]}")
    create(settings)
    yield settings
    with contextlib.suppress(Exception), admin(settings) as client:
        client.delete_topics([topic.name for topic in topics(settings)])


@contextlib.contextmanager
def serving(settings):
    now = time.time_ns() // 1_000_000
    fake = Fake.of(
        [], {f"item-{n}": Item(title=str(n), categories=("c",)) for n in range(5)}, now, dimensions=16
    )
    with TestClient(create_app(settings, state=fake.state), base_url="http://127.0.0.1") as client:
        yield client


def until(what, seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return
        time.sleep(0.05)
    raise TimeoutError


def connected(client):
    return client.get("/health/ready").json()["kafka"]


def read(settings, name):
    """Everything a topic holds, as kafka-python sees it: (partition, offset, key, value)."""
    return [(r.partition, r.offset, r.key, r.value) for r in records(settings, name)]


def accepted(send):
    """The first 202: a new topic may have no leader for a second, and 503 is then the honest answer."""
    replies = []
    until(lambda: replies.append(send()) or replies[-1].status_code == 202)
    return replies[-1].json()


def test_202_means_it_stands_in_the_log_where_every_client_would_put_it(settings):
    with serving(settings) as client:
        until(lambda: connected(client))
        batch = [{**CLICK, "user_id": f"user-{n}"} for n in range(30)]
        said = accepted(lambda: client.post("/v1/events", json=batch))
        found = {(partition, offset): value for partition, offset, _, value in read(settings, "events")}
        ids = []
        for partition, offset in said["offsets"].items():
            for event in decode(found[int(partition), offset], time.time_ns() // 1_000_000):
                ids.append(event.event_id)
                assert (murmur2(event.user.encode()) & 0x7FFFFFFF) % 3 == int(partition)
                assert event.categories == ("c",)
        assert sorted(ids) == sorted(said["event_ids"])


def test_profiles_items_and_tombstones_stand_in_order(settings):
    with serving(settings) as client:
        until(lambda: connected(client))
        first = accepted(lambda: client.put("/v1/users/u", json={"attributes": {"age": 3}}))
        second = accepted(lambda: client.delete("/v1/users/u"))
        assert second["offset"] > first["offset"]
        bulk = accepted(lambda: client.post("/v1/items", json=[{"item_id": f"i{n}"} for n in range(100)]))
        assert bulk["accepted"] == 100
    by_offset = {offset: (key, value) for _, offset, key, value in read(settings, "profiles")}
    assert profiles.decode(by_offset[first["offset"]][1]).attributes == {"age": 3}
    assert by_offset[second["offset"]] == (b"u", None)
    items = read(settings, "items")
    assert {key for _, _, key, _ in items} == {f"i{n}".encode() for n in range(100)}
    assert all((murmur2(key) & 0x7FFFFFFF) % 3 == partition for partition, _, key, _ in items)


def test_slates_follow_their_answers(settings):
    with serving(settings) as client:
        until(lambda: connected(client))
        ids = {client.get(f"/v1/recommend/user-{n % 4}").json()["request_id"] for n in range(40)}
    found = [
        slates.decode(value) for _, _, _, value in read(settings, "slates")
    ]  # stopping has written the rest
    assert {slate.request_id for slate in found} == ids
    assert all(slate.same_as or slate.items for slate in found)


def test_no_broker_no_event_but_lists(settings):
    lost = Settings(kafka="127.0.0.1:1", partitions=3, dimensions=16)
    with serving(lost) as client:
        began = time.monotonic()
        reply = client.post("/v1/events", json=CLICK)
        assert time.monotonic() - began < 0.5
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        assert "nothing was written" in reply.json()["detail"]
        assert client.get("/v1/recommend/u").status_code == 200


def test_a_broker_that_falls_silent_and_comes_back(tmp_path):
    """What is in doubt says so and may come; what follows is refused at once; afterwards all is well."""
    with broker.running(tmp_path) as bootstrap:
        settings = Settings(kafka=bootstrap, partitions=3, dimensions=16)
        create(settings)
        (pid,) = {int(p.name) for p in Path("/proc").glob("[0-9]*") if _runs(p, str(tmp_path))}
        with serving(settings) as client:
            until(lambda: connected(client))
            accepted(lambda: client.post("/v1/events", json={**CLICK, "event_id": "before"}))
            until(lambda: connected(client))  # an attempt before that one may be in doubt still
            os.kill(pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                doubt = client.post("/v1/events", json={**CLICK, "event_id": "doubt"})
                assert 0.9 < time.monotonic() - began < 2.0
                assert doubt.json()["type"] == "urn:refold:problem:in-doubt"
                assert doubt.json()["event_ids"] == ["doubt"]
                began = time.monotonic()
                after = client.post("/v1/events", json={**CLICK, "event_id": "after"})
                assert time.monotonic() - began < 0.5
                assert after.json()["type"] == "urn:refold:problem:unavailable"
                assert not connected(client)
            finally:
                os.kill(pid, signal.SIGCONT)
            accepted(lambda: client.post("/v1/events", json={**CLICK, "event_id": "again"}))
        now = time.time_ns() // 1_000_000
        said = [e.event_id for _, _, _, value in read(settings, "events") for e in decode(value, now)]
        assert said[0] == "before"
        assert said[-1] == "again"
        assert "after" not in said
        assert said.count("doubt") == 1


def _runs(process, folder):
    with contextlib.suppress(OSError):
        command = (process / "cmdline").read_bytes().decode(errors="replace")
        return "kafka.Kafka" in command and folder in command
    return False
