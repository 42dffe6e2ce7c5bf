"""On a real Kafka: lists shown by an API process and clicks after them come back to it as outcomes, each once."""

import sys
import time
from collections import Counter
from dataclasses import replace

import httpx
import pytest

from api.outcomes import sheets
from models.actions import DEFAULTS
from models.outcomes import Outcomes
from ops.processes import free_port
from ops.state.dump import changelog
from ops.state.verify import check, every

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]
USERS = 24
TRIED = {
    "key": "kept",
    "control": "old",
    "arms": {"old": {}, "new": {"set": {"seen": "keep"}}},
    "metrics": {"clicks": {"of": "click", "per": "lists"}},
}


def ready(base):
    try:
        return httpx.get(f"{base}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def until(found, expected):
    deadline = time.monotonic() + 90
    while (now := found()) != expected:
        assert time.monotonic() < deadline, now
        time.sleep(0.2)


def test_what_users_did_after_a_list_is_told_of_its_arm(settings, processes):
    here = replace(settings, port=free_port())
    base, refold = f"http://127.0.0.1:{here.port}", [sys.executable, "-m", "ops.cli"]
    environment = here.environment()
    processes.start("worker", [*refold, "worker"], env=environment)
    processes.start("api", [*refold, "api"], env=environment, ready=lambda: ready(base), seconds=90)
    with httpx.Client(base_url=base, timeout=20) as api:

        def units():
            return api.get("/v1/experiments/kept/report").json()["units"]

        def put(*events):
            assert api.post("/v1/events", json=list(events)).json()["refused"] == []

        api.post("/v1/items", json=[{"item_id": f"i{n}", "title": f"{n}"} for n in range(30)])
        put(*({"type": "click", "user_id": f"u{n}", "item_id": "i0"} for n in range(0, USERS, 2)))
        assert api.put("/v1/experiments/kept", json=TRIED).status_code == 200
        assert api.post("/v1/experiments/kept/start").status_code == 200
        shown = {}
        for n in range(USERS):
            shown[f"u{n}"] = api.get(f"/v1/recommend/u{n}").json()["arms"]["kept"]
            put({"type": "click", "user_id": f"u{n}", "item_id": "i4"})  # faster than anybody is
        until(units, {arm: Counter(shown.values())[arm] for arm in ("old", "new")})
        again = {"type": "click", "user_id": "u1", "item_id": "i3", "event_id": "twice"}
        put(*({"type": "click", "user_id": f"u{n}", "item_id": "i2"} for n in range(USERS)), again)
        put(again)
        api.delete("/v1/users/u0")

        def clicks():
            rows = [
                Outcomes.from_row(row)
                for number in range(settings.partitions)
                for row in changelog(settings, "outcomes", number).rows.values()
            ]
            return {arm: sheet.gram[:3, 0].tolist() for (_, arm), sheet in sheets(rows).items()}

        left = {user: arm for user, arm in shown.items() if user != "u0"}
        of = Counter(left.values())
        until(clicks, {arm: [of[arm], of[arm], 2 * of[arm] + (shown["u1"] == arm)] for arm in sorted(of)})
        until(units, dict(of))
    places = [unit for table in ("users", "outcomes") for unit in every(here, table)]
    reports = list(check(here, DEFAULTS, places))
    assert {report["verdict"] for report in reports} == {"equal"}, reports
