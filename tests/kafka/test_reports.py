"""Outcomes on a real broker: a click stands in the report of every reader, and sure harm stops the experiment."""

import json
import time

import httpx
import pytest
from typer.testing import CliRunner

from ops.cli import app
from ops.experiment.report import outcomes
from ops.run.system import running
from streams.events import Event
from streams.exposures import EXPOSURE, Exposure
from streams.log import Log
from streams.write import EventWriter, producer

pytestmark = pytest.mark.kafka
SECONDS = 60.0
USERS = 400
MEASURES = ("lists", "click", "pre.click")
DEFINITION = {
    "key": "try", "arms": {"a": {}, "b": {"set": {"diversity": 0.5}}}, "control": "a",
    "metrics": {"ctr": {"of": "click", "per": "lists", "primary": True, "margin": 0.05}},
}  # fmt: skip


def said(n, kind, user=None, **more):
    at = time.time_ns() // 1_000_000
    return Event(event_id=f"{kind}-{n}", type=kind, at=at, user_id=f"u{n if user is None else user}", **more)


def clicks(settings):
    """Return how many clicks stand in the table."""
    with Log(settings) as log:
        found = outcomes(log, settings.partitions)["try"].values()
    return sum(sheet.gram[0, 1 + sheet.names.index("click")] for sheet in found)


def write(settings, events):
    with producer(settings) as to:
        writer = EventWriter(settings, to)
        writer.write(events)
        writer.finish()


def until(what):
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < SECONDS
        time.sleep(0.05)


def test_what_people_do_stands_in_the_report_and_harm_stops_the_experiment(settings, monkeypatch):
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    with running(settings) as (base, _), httpx.Client(base_url=base) as client:
        assert client.put("/v1/experiments/try", json=DEFINITION).status_code == 200
        assert client.post("/v1/experiments/try/start").status_code == 200

        def report():
            return client.get("/v1/experiments/try/report").json()

        assert report()["verdict"] == "empty"
        exposures = [
            said(n, EXPOSURE, request_id=f"r{n}", exposures=(Exposure("try", 1, "ab"[n % 2], MEASURES),))
            for n in range(USERS)
        ]
        write(settings, exposures)
        until(lambda: sum(report()["units"].values()) == USERS)
        assert report()["comparisons"][0]["reason"] == "no 'click' has been counted yet"

        # nine of ten in the control click, and one of ten in the other arm
        write(
            settings,
            [said(n, "click", item_id="i") for n in range(USERS) if n % 20 == 1 or (n % 2 == 0 and n % 20)],
        )
        until(lambda: client.get("/v1/experiments/try").json()["state"] == "stopped")
        found, decided = report(), client.get("/v1/experiments/try").json()["decided"][-1]

        assert found["verdict"] == "breached"
        assert found["units"] == {"a": USERS // 2, "b": USERS // 2}
        assert decided["by"] == "guardrail"
        assert "'b' differs by -" in decided["reason"]

        # they go on clicking, and are shown no lists of it any more: what was judged stands
        write(settings, [said(f"{n}-again", "click", user=n, item_id="j") for n in range(USERS)])
        clicked = USERS // 2 * 9 // 10 + USERS // 2 // 10 + USERS
        until(lambda: clicks(settings) == clicked)
        assert report() | {"at": 0} == found | {"at": 0}
        done = CliRunner().invoke(app, ["experiment", "report", "try", "--lists", "--json"])
        told = json.loads(done.stdout)
        lists = told.pop("lists")
        assert told | {"at": 0} == found | {"at": 0}
        assert lists["arms"] == {}
        done = CliRunner().invoke(
            app,
            [
                "experiment",
                "duration",
                "--metric",
                "click/lists",
                "--lift",
                "0.1",
                "--users-per-day",
                "50",
                "--json",
            ],
        )
        assert json.loads(done.stdout)["experiment"] == "try"
