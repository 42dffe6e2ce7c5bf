"""The judge on a real Kafka: an honest system is equal, and each kind of lie is found and named."""

import sys
import time

import pytest
from rocksdict import Options, Rdict

from models.actions import DEFAULTS
from ops.broker.lag import lag
from ops.processes import Processes
from ops.prove.judge import Judge
from ops.prove.workload import Writer
from ops.state import dump
from streams import dead_letters, events
from streams.dead_letters import DeadLetter
from streams.errors import RefoldError
from streams.events import Event
from streams.partition import partition_of
from streams.write import producer

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


@pytest.fixture
def settings(install, tmp_path):
    return install(data=tmp_path, partitions=2)


def folded(settings):
    try:
        return not any(lag(settings).values())
    except RefoldError:
        return False


def judged(settings, account):
    judge = Judge(settings, DEFAULTS)
    judge.judge(account, [])
    return judge


def test_an_honest_system_is_equal_and_every_lie_is_named(settings, tmp_path):
    writer = Writer(settings, seed=7, count=1_500, seconds=1)
    writer.start()
    account = writer.finish()
    with Processes(tmp_path / "logs", grace=20) as processes:
        worker = [sys.executable, "-m", "ops.cli", "worker"]
        processes.start(
            "worker", worker, env=settings.environment(), ready=lambda: folded(settings), seconds=90
        )

    judge = judged(settings, account)
    assert judge.differences == []
    assert (
        judge.figures["events"]
        == judge.figures["folded"] + judge.figures["duplicates"] + (judge.figures["dead_letters"])
    )
    assert judge.figures["duplicates"] >= account.duplicates > 0
    assert judge.figures["dead_letters"] == account.refused_events > 0

    (path,) = dump.held(settings, "users", 0)
    db = Rdict(str(path), Options(raw_mode=True))
    db[b"nobody"] = next(row for key, row in db.items() if key.startswith(b"user-"))
    db.close()
    assert any(
        "users[0] at its worker" in said and "nobody" in said
        for said in judged(settings, account).differences
    )

    user = "user-1"
    place = partition_of(user, settings.partitions)
    lost = Event(event_id="lost", type="click", at=int(time.time() * 1000), user_id=user, item_id="item-1")
    letter = DeadLetter(
        topic=settings.topic("events"), partition=0, offset=10**6, reason="", at=0, key=None, value=None
    )
    with producer(settings) as to:
        to.send(settings.topic("events"), key=b"k", value=events.encode([lost]), partition=place)
        to.send(settings.topic("dead-letters"), value=dead_letters.encode(letter), partition=0)
    told = judged(settings, account).differences
    assert any(f"users[{place}] in the changelog, beside the log" in said and user in said for said in told)
    assert any("events in the log" in said for said in told)
    assert any("1000000) was refused without poison" in said for said in told)
