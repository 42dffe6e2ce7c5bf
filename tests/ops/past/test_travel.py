"""The children that hold moments of the past: one prepared at a time, a few kept, none that outlives its use."""

import asyncio
import contextlib
import os
import signal
import sys

import pytest

from api.travel import OfItem, OfUser, Preparing
from ops.past import travel
from ops.past.travel import Traveller
from ops.processes import free_port
from streams.errors import Unavailable
from streams.settings import Settings

# Talks as a child does: it is ready once a file `go` stands beside its folder, and answers with its time and pid.
CHILD = """
import json, os, pathlib, sys, time
at, folder = sys.argv[1], pathlib.Path(sys.argv[2])
folder.mkdir()
say = lambda **word: print(json.dumps(word), flush=True)
go = folder.parent / "go"
while not go.exists():
    say(done=25, total=100)
    time.sleep(0.01)
if (reason := go.read_text()) == "die":
    sys.exit(3)
elif reason:
    say(failed=reason)
    sys.exit(1)
say(ready=True)
for line in sys.stdin:
    asked = json.loads(line)
    print("null" if asked.get("user_id") == "nobody" else json.dumps({"at": at, "pid": os.getpid()}), flush=True)
"""
PRINTED = r'{"at": "%d", "pid": (\d+)}'


@pytest.fixture
def travelling(tmp_path, monkeypatch):
    """Run a coroutine with a traveller whose children are stand-ins; `go()` lets them get ready."""
    monkeypatch.setattr(travel, "COMMAND", [sys.executable, "-c", CHILD])
    settings = Settings(data=tmp_path, kafka=f"127.0.0.1:{free_port()}")
    folder = tmp_path / "api-0" / "travel"

    def run(life):
        async def main():
            traveller = Traveller(settings)
            await traveller.start()
            folder.mkdir(parents=True)
            try:
                await life(traveller, lambda reason="": (folder / "go").write_text(reason))
            finally:
                await traveller.stop()

        asyncio.run(asyncio.wait_for(main(), 60))
        assert not [path for path in folder.iterdir() if path.is_dir()]

    return run


ANNA = OfUser("anna")


async def answer(traveller, at, question=ANNA):
    """Ask until there is an answer."""
    while True:
        with contextlib.suppress(Preparing):
            return await traveller.ask(at, question)
        await asyncio.sleep(0.02)


def pid_of(answered):
    return int(answered.partition(b'"pid": ')[2].rstrip(b"}"))


def runs(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_it_says_how_the_work_goes_on_and_then_answers(travelling):
    async def life(traveller, go):
        with pytest.raises(Preparing, match="state as of 1970-01-01T00:00:07Z is being prepared: it begins"):
            await traveller.ask(7_000, ANNA)
        for _ in range(1000):
            with pytest.raises(Preparing) as told:
                await traveller.ask(7_000, ANNA)
            if "25 of 100 records" in told.value.detail:
                break
            await asyncio.sleep(0.02)
        assert 1 <= int(told.value.headers["retry-after"]) <= 60
        with pytest.raises(
            Preparing, match="one moment is prepared at a time; the state as of 1970-01-01T00:00:07Z"
        ):
            await traveller.ask(8_000, ANNA)
        go()
        first = await answer(traveller, 7_000)
        assert first.startswith(b'{"at": "7000"')
        assert await answer(traveller, 7_000, OfItem("tea")) == first  # the same child
        assert await answer(traveller, 7_000, OfUser("nobody")) is None
        assert (await answer(traveller, 8_000)).startswith(b'{"at": "8000"')

    travelling(life)


def test_many_at_once_get_each_their_answer(travelling):
    async def life(traveller, go):
        go()
        await answer(traveller, 1)
        names = ["anna", "nobody"] * 20
        found = await asyncio.gather(*(traveller.ask(1, OfUser(name)) for name in names))
        assert [one is None for one in found] == [name == "nobody" for name in names]

    travelling(life)


def test_a_few_moments_are_kept_and_the_one_unused_longest_goes(travelling):
    async def life(traveller, go):
        go()
        pids = {at: pid_of(await answer(traveller, at)) for at in (1, 2, 3)}
        assert pid_of(await answer(traveller, 1)) == pids[1]
        pids[4] = pid_of(await answer(traveller, 4))
        assert [runs(pids[at]) for at in (1, 2, 3, 4)] == [True, False, True, True]
        assert pid_of(await answer(traveller, 2)) != pids[2]
        assert not runs(pids[3])

    travelling(life)


def test_why_it_cannot_be_had_is_said_and_it_is_tried_again(travelling):
    async def life(traveller, go):
        for reason, said in (
            ("events[0] begins at 9", "cannot be had: events"),
            ("die", "ended with code 3, see .*log"),
        ):
            go(reason)
            with pytest.raises(Unavailable, match=said):
                await answer(traveller, 1)
        go()
        assert await answer(traveller, 1)

    travelling(life)


def test_a_child_that_died_is_replaced(travelling):
    async def life(traveller, go):
        go()
        pid = pid_of(await answer(traveller, 1))
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(Unavailable):  # unless its death is known by now
            await answer(traveller, 1)
        assert pid_of(await answer(traveller, 1)) != pid

    travelling(life)


def test_no_child_outlives_the_traveller(travelling):
    pids = []

    async def life(traveller, go):
        with pytest.raises(Preparing):
            await traveller.ask(2, ANNA)
        go()
        pids.append(pid_of(await answer(traveller, 2)))
        with pytest.raises(Preparing):
            await traveller.ask(3, ANNA)

    travelling(life)
    assert not any(map(runs, pids))
