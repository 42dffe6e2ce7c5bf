"""Features that were served on a real Kafka are what the log says, to the bit; one that was not is found."""

import json
import random
import time

import msgspec
import pytest
from typer.testing import CliRunner

from models.actions import DEFAULTS
from models.features import NAMES
from ops.cli import app
from ops.past.replay import ground
from ops.processes import free_port
from streams import slates
from tests.kafka.test_replay import act, send, system  # noqa: F401 - a fixture

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(install, tmp_path):
    return install(partitions=3, data=tmp_path / "data", port=free_port())


def checked(settings):
    """What the command says, and its exit code."""
    done = CliRunner().invoke(app, ["features", "--check", "--json"], env=settings.environment())
    return done.exit_code, json.loads(done.stdout.splitlines()[-1])


def slates_of(settings):
    with ground(settings, DEFAULTS) as on:
        read = (batch for number in on.log.spans("slates") for batch in on.log.read("slates", number))
        return [(record, slates.decode(record.value)) for batch in read for record in batch]


@pytest.mark.timeout(300)
def test_what_was_served_is_what_the_log_says_and_what_was_not_is_found(settings, system):  # noqa: F811
    client, _ = system
    draw = random.Random(7)
    act(client, draw, 30)
    for n in range(20):  # and while events are on their way
        client.post("/v1/events", json={"type": "click", "user_id": f"user-{n % 5}", "item_id": f"item-{n}"})
        client.get(f"/v1/recommend/user-{n % 4}?n=20&ctx.country=de")
        client.get(f"/v1/similar/item-{n}?n=10")
        client.post("/v1/rank", json={"user_id": f"user-{n % 4}", "items": [f"item-{n}", f"item-{n + 1}"]})
    client.post("/v1/recommend", json={"n": 5, "session": [{"type": "click", "item_id": "item-1"}]})
    time.sleep(1)

    code, report = checked(settings)
    assert code == 0
    assert report["mismatches"] == 0, report["examples"]
    assert set(report["features"]) == set(NAMES)
    assert report["slates"] >= 20, report
    assert all(one["compared"] >= 100 for one in report["features"].values()), report
    assert report["skipped"]["a session came with the request, and is not kept"] == 1

    record, slate = next(found for found in slates_of(settings) if found[1].features)
    first = slate.items[0]
    changed = msgspec.structs.replace(first, features=(*first.features[:-1], first.features[-1] * 1.0001))
    wrong = slates.encode(msgspec.structs.replace(slate, items=(changed, *slate.items[1:])))
    at = int(time.time() * 1000)
    send(
        settings, [(settings.topic("slates"), slate.user_id or slate.request_id, wrong, record.partition, at)]
    )
    code, report = checked(settings)
    assert (code, report["mismatches"]) == (1, 1)
    assert report["examples"][0]["item"] == first.item_id
    assert report["examples"][0]["feature"] == NAMES[-1]
