"""Lists that a real system served and people clicked are judged from the log alone."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from ops.processes import Processes, free_port
from streams import items
from streams.items import Item
from streams.partition import partition_of
from streams.write import producer

pytestmark = pytest.mark.kafka
ROOT = Path(__file__).parents[2]
OPEN = """
[surfaces.home]
seen = "keep"
ttl_s = 0.0
budget_ms = 10000.0
max_per_category = 0
explore = {{ kind = "plackett-luce", slots = 3, temperature = {temperature}, budget = 1.0 }}
"""
USERS = 12


@pytest.fixture
def settings(install, tmp_path):
    served = tmp_path / "served.toml"
    served.write_text(OPEN.format(temperature=1.0))
    return install(data=tmp_path / "data", port=free_port(), config=str(served))


@pytest.fixture
def client(settings, tmp_path):
    """A worker and an API process that have taken in a catalogue."""
    with producer(settings) as to:
        for n in range(60):
            value = items.encode(Item(title=str(n), categories=(f"kind-{n % 3}",)))
            key = f"item-{n}"
            number = partition_of(key, settings.partitions)
            to.send(settings.topic("items"), key=key.encode(), value=value, partition=number)
    with Processes(tmp_path / "logs", grace=20) as processes:
        for part in ("worker", "api"):
            processes.start(part, [sys.executable, "-m", "ops.cli", part], env=settings.environment())
        with httpx.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=30) as client:
            until(lambda: answers(client, "/health/ready") and answers(client, "/v1/items/item-59"))
            yield client


def until(holds, seconds=240):
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def answers(client, path):
    with contextlib.suppress(httpx.TransportError):
        reply = client.get(path)
        return reply if reply.status_code == 200 else None


def click(client, user, item, **more):
    said = client.post("/v1/events", json={"type": "click", "user_id": user, "item_id": item, **more})
    assert said.status_code == 202, said.text


def clicks(client):
    """How many clicks the items know of."""
    found = (answers(client, f"/v1/items/item-{n}").json() for n in range(60))
    return sum(one["totals"].get("click", 0) for one in found)


def ope(settings, *arguments):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("REFOLD_")}
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli", "ope", "--from", "1h", *map(str, arguments)],
        cwd=ROOT, env={**clean, **settings.environment()}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.timeout(600)
def test_what_was_served_and_clicked_is_judged_by_the_command(settings, client, tmp_path):
    for n in range(USERS):
        for k in range(4):
            click(client, f"user-{n}", f"item-{(5 * n + 7 * k) % 60}")
    until(lambda: clicks(client) == 4 * USERS)
    time.sleep(1.5)  # from then on the state stands still, as when the past is answered again
    lists = []
    for n in range(4 * USERS):
        user = f"user-{n % USERS}"
        lists.append((user, client.get(f"/v1/recommend/{user}?n=10").json()))
    assert {listed["rung"] for _, listed in lists} == {"full"}
    time.sleep(1.0)
    for user, listed in lists:
        click(client, user, listed["items"][3]["item_id"], request_id=listed["request_id"])
    until(lambda: clicks(client) == 8 * USERS)

    code, said, failed = ope(settings, "--policy", settings.config, "--surface", "home", "--json")
    assert code == 0, failed
    found = json.loads(said)
    assert (found["slates"], found["skipped"]) == (len(lists), {})
    home = found["surfaces"]["home"]
    assert (home["lists"], home["explored_places"]) == (len(lists), 3 * len(lists))
    assert home["by_place"]["logged"]["value"] == pytest.approx(1 / 3, abs=1e-6)  # one of three, each time
    assert home["by_place"]["fidelity"] > 0.8
    assert home["by_place"]["mean_weight"] == pytest.approx(1.0, abs=0.1)
    assert home["by_place"]["snips"]["value"] == pytest.approx(1 / 3, abs=0.1)

    other = tmp_path / "other.toml"
    other.write_text(OPEN.format(temperature=0.1))
    code, said, failed = ope(settings, "--policy", other)
    assert code == 0, failed
    assert "home: too little support" in said  # so much less tried is another list nearly each time
    code, _, failed = ope(settings, "--policy", other, "--surface", "attic")
    assert code == 1
    assert "--surface attic: not configured; there are cart, email, home" in failed
