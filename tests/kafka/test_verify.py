"""On a real Kafka: tables are verified while a worker writes them, wrong rows are found, and an audit heals them."""

import contextlib
import random
import sys
import threading
import time

import pytest
from rocksdict import Options, Rdict

from agents.users import User
from models.actions import DEFAULTS
from ops.state import verify as verifying
from ops.state.audit import audit
from ops.state.dump import changelog, held, live, log
from ops.state.verify import check, every
from streams import changelog as notes
from streams import items
from streams.changelog import NOBODY, NOTE, Note
from streams.events import Event
from streams.items import Item
from streams.log import Log
from streams.partition import partition_of
from streams.write import EventWriter, producer

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]
PARTITIONS = 3
USERS, ITEMS = 40, 60


def start(processes, settings):
    return processes.start(
        "worker-0", [sys.executable, "-m", "ops.cli", "worker"], env=settings.environment()
    )


def clicks(seed, count):
    draw, start = random.Random(seed), int(time.time() * 1000) - 3_600_000
    for n in range(count):
        item = int(draw.paretovariate(0.8)) % ITEMS
        yield Event(
            event_id=f"{seed}-{n}",
            type=draw.choices(("impression", "view", "click", "purchase"), (4, 3, 2, 1))[0],
            at=start + n * 100 - (3 * 86_400_000 if draw.random() < 0.01 else 0),
            user_id=f"user-{draw.randrange(USERS)}",
            item_id=f"item-{item}",
            surface="home",
            position=n % 10,
            categories=(f"category-{item % 5}",),
        )


def write(settings, seed, count, until=None):
    """Write events, some twice, a few records that nobody can read, and a catalogue that changes; slowly until told."""
    with producer(settings) as to:
        writer, draw = EventWriter(settings, to, batch=4), random.Random(seed)
        for event in clicks(seed, count):
            writer.write([event] * (2 if draw.random() < 0.03 else 1))
            if draw.random() < 0.05:
                key = f"item-{draw.randrange(ITEMS)}"
                place = partition_of(key, PARTITIONS)
                to.send(
                    settings.topic("items"),
                    items.encode(Item(title=f"{key} {draw.random()}")),
                    key.encode(),
                    partition=place,
                )
            if draw.random() < 0.01:
                to.send(settings.topic("events"), b"\xc1 poison", b"k", partition=draw.randrange(PARTITIONS))
            if until is not None and until.wait(0.004):
                break
        writer.finish()


def until(holds, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.5)
    return found


def folded(settings):
    """Whether the worker has folded all events by now, and the items told all of it."""
    with Log(settings) as source:
        ends = {topic: source.spans(topic) for topic in ("events", "items", "touches")}
    return all(
        live(settings, table, number).positions.get(topic, 0) == ends[topic][number][1]
        for table, topic in (("users", "events"), ("items", "items"), ("items", "touches"))
        for number in range(PARTITIONS)
        if ends[topic][number][1]
    )


def verified(settings, units=None):
    return list(check(settings, DEFAULTS, units or every(settings)))


def test_verified_while_events_flow_then_found_wrong_and_healed(settings, processes, monkeypatch):
    worker = start(processes, settings)
    write(settings, 1, 400)
    until(lambda: all(held(settings, *unit) for unit in every(settings)), "the worker has all partitions")
    equal_while_events_flow(settings)
    until(lambda: folded(settings), "all is folded")
    equal_in_every_place(settings)

    # one row is changed in the worker's RocksDB, another in the changelog by an owner of the partition
    monkeypatch.setattr(verifying, "PAUSES", (1.0,))
    worker.stop()
    (path,) = held(settings, "users", 0)
    before = live(settings, "users", 0)
    here, there = sorted(before.rows)[:2]
    with contextlib.closing(Rdict(str(path), Options(raw_mode=True))) as db:
        db[here] = spoiled(before.rows[here])
    claim_and_write(settings, "users", 0, {there: spoiled(before.rows[there])}, before.positions)
    worker = start(processes, settings)
    until(lambda: live(settings, "users", 0).offset > before.offset, "the worker has restored the wrong row")
    wrong = {report["place"]: report for report in verified(settings, [("users", 0)]) if "table" in report}
    assert keys(wrong["live"]) == {here, there}
    assert keys(wrong["changelog"]) == {there}
    (shown,) = wrong["changelog"]["keys"]
    assert shown["changelog"] == {"first_at": 7}
    assert shown["log"] == {"first_at": User.from_row(before.rows[there]).first_at}

    # the audit of the day heals the changelog, and with its next flush the worker
    *found, healed = audit(settings, DEFAULTS, day=0)
    assert {report["verdict"] for report in found if "table" in report} == {"different"}
    assert (healed["verdict"], healed["rows"], healed["deleted"]) == ("healed", len(before.rows), 0)
    write(settings, 3, 200)
    assert until(worker.poll, "the worker finds itself fenced") == 70
    start(processes, settings)
    until(lambda: folded(settings), "all is folded again")
    reports = verified(settings)
    assert [report for report in reports if report["verdict"] != "equal"] == []
    assert places(reports) == everywhere(settings)


def equal_while_events_flow(settings):
    enough = threading.Event()
    flowing = threading.Thread(target=write, args=(settings, 2, 100_000, enough))
    flowing.start()
    try:
        reports = verified(settings)
        assert flowing.is_alive()
    finally:
        enough.set()
        flowing.join()
    assert [report for report in reports if report["verdict"] != "equal"] == []
    assert places(reports) == everywhere(settings)


def equal_in_every_place(settings):
    for table, number in every(settings):
        stand = live(settings, table, number)
        assert stand.rows or table in ("shown", "outcomes")  # without slates nobody was shown anything
        assert changelog(settings, table, number, stand.offset).digest == stand.digest
        assert log(settings, table, number, stand.positions, DEFAULTS).digest == stand.digest
    users = [
        report for report in verified(settings, every(settings, "users")) if report.get("place") == "live"
    ]
    assert sum(r["events"] for r in users) == sum(r["folded"] + r["duplicates"] for r in users) > 500
    assert sum(r["duplicates"] for r in users) > 0
    assert sum(r["late"] for r in users) > 0
    assert sum(r["refused"] for r in users) == sum(r["dead_letters"] for r in users) > 0


def places(reports):
    return {(r["table"], r["partition"], r["place"]) for r in reports if "table" in r}


def everywhere(settings):
    return {(*unit, place) for unit in every(settings) for place in ("live", "changelog")}


def keys(report):
    return {shown["key"].encode() for shown in report["keys"]}


def spoiled(row):
    user = User.from_row(row)
    user.first_at = 7
    return user.row()


def claim_and_write(settings, table, partition, rows, positions):
    with producer(settings) as to:

        def send(key, value, headers=()):
            sent = to.send(settings.changelog(table), value, key, partition=partition, headers=list(headers))
            return sent.get(timeout=10).offset

        owner = send(NOTE, notes.encode(Note(NOBODY, positions)))
        for key, row in rows.items():
            send(key, row, notes.headers(owner))
        send(NOTE, notes.encode(Note(owner, positions)), notes.headers(owner))
