"""Experiments on a real broker: a kill reaches every process within two seconds, of two edits the first counts."""

import asyncio
import contextlib
import json
import time

import pytest
from typer.testing import CliRunner

from api.experiments import Follower
from api.kafka_producer import KafkaProducer
from api.metrics import Metrics
from models.definitions import defined, ended, ramped, started
from models.surfaces import load
from models.units import Unit
from ops.cli import app
from streams import control, experiments
from streams.errors import Refused
from streams.experiments import Arm, Definition, Step

pytestmark = pytest.mark.kafka
CONFIG = load()
KILLED_SECONDS = 2.0
SECONDS = 60.0


def definition(**more):
    return Definition(key="e", arms={"a": Arm(), "b": Arm(set={"diversity": 0.5})}, control="a", **more)


def now():
    return time.time_ns() // 1_000_000


def arms(follower):
    return follower.assigner.assign(Unit("u")).arms


async def until(what, seconds=SECONDS):
    async with asyncio.timeout(seconds):
        while not what():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def following(settings, count):
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            producer = KafkaProducer(settings)
            made.append(Follower(settings, CONFIG, producer, Metrics(), now))
            for part in (producer, made[-1]):
                await part.start()
                stack.push_async_callback(part.stop)
            await until(lambda: producer.connected)  # noqa: B023
        yield made


def test_a_kill_reaches_every_process_within_two_seconds(settings):
    async def play():
        async with following(settings, 2) as both:
            one = both[0]

            async def say(make, *more):
                await asyncio.to_thread(
                    experiments.publish, settings, make(one.known, *more, CONFIG, (), now(), "me")
                )
                await until(lambda: one.known == both[1].known)

            for kill in (
                lambda: one.end("e", "killed", "", "me"),
                lambda: asyncio.to_thread(
                    experiments.publish, settings, ended(one.known, "e", "killed", now())
                ),
            ):
                await say(defined, definition())
                await until(lambda: one.known.records)
                await say(started, "e")
                await until(lambda: all(map(arms, both)))
                killing = asyncio.ensure_future(kill())
                await until(lambda: not any(map(arms, both)), KILLED_SECONDS)
                await killing

    asyncio.run(play())


def test_of_two_edits_at_once_one_is_refused(settings):
    async def play():
        async with following(settings, 2) as both:
            one, other = both
            draft = defined(one.known, definition(), CONFIG, (), now(), "me")
            await asyncio.to_thread(experiments.publish, settings, draft)
            await until(lambda: one.known == other.known and one.known.records)
            words = [
                ramped(one.known, "e", (Step(now() + 60_000, share),), now(), "me") for share in (0.4, 0.6)
            ]
            done = await asyncio.gather(*map(Follower.write, both, words), return_exceptions=True)
            assert sorted(type(each).__name__ for each in done) == ["NoneType", "Problem"], done
            assert next(each.status for each in done if each) == 409
            await until(lambda: one.known == other.known)
            assert one.known.records["e"] == words[done.index(None)]
            return one.known

    known = asyncio.run(play())
    assert experiments.load(settings) == known
    assert experiments.decode(control.read(settings, "experiments")) == known  # what counts was said last


def test_who_says_something_later_is_refused(settings):
    first = defined(experiments.Known(), definition(), CONFIG, (), 1, "me")
    experiments.publish(settings, first)
    with pytest.raises(Refused, match="'e' was changed by somebody else just now"):
        experiments.publish(
            settings, defined(experiments.Known(), definition(seed="2"), CONFIG, (), 2, "they")
        )
    assert experiments.load(settings).records == {"e": first}
    assert experiments.decode(control.read(settings, "experiments")).records == {"e": first}


def test_the_commands(settings, tmp_path, monkeypatch):
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)

    def run(*words, fails=False):
        done = CliRunner().invoke(app, ["experiment", *map(str, words), "--json"])
        if fails:
            assert isinstance(done.exception, Refused)
            return str(done.exception)
        assert done.exit_code == 0, done.exception
        return [json.loads(line) for line in done.stdout.splitlines()]

    file = tmp_path / "varied.toml"
    file.write_text(
        'key = "varied"\ncontrol = "same"\nsurfaces = ["home"]\narms.same = {}\n'
        "arms.varied = { weight = 1.0, set = { diversity = 0.4 } }\n"
        "ramp = [{ at = 2026-01-01T00:00:00Z, share = 1.0 }]\n"
        '[metrics.ctr]\nof = "click"\nper = "lists"\nprimary = true\n'
    )
    assert run("create", file) == [{"key": "varied", "state": "draft", "version": 1, "revision": 1}]
    assert run("start", "varied")[0]["state"] == "running"
    assert "runs: only its ramp can be changed" in run("create", file, fails=True)
    assert run("ramp", "varied", "0.5", "1@+1h")[0]["revision"] == 3
    (line,) = run("list")
    assert (line["key"], line["share"], line["arms"]) == ("varied", 0.5, ["same", "varied"])
    whys = {run("who", f"u{n}")[0]["why"] for n in range(4)}
    assert whys <= {"drawn by the hash", "the ramp is not there yet"}
    assert run("who", "u1", "--surface", "cart") == []
    assert run("holdout", "1.0")[0] == {"share": 1.0, "seed": "", "revision": 1}
    assert run("who", "u1")[0]["why"] == "in the global holdout"
    assert run("stop", "varied", "--reason", "enough")[0]["state"] == "stopped"
    assert run("kill", "varied")[0]["state"] == "killed"
    shown = run("show", "varied")[0]
    assert [one["state"] for one in shown["decided"]] == ["draft", "running", "running", "stopped", "killed"]
    assert "was killed" in run("start", "varied", fails=True)
    assert run("create", file)[0]["version"] == 2
