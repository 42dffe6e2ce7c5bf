"""Time travel for the API: a child process for each moment asked about, which replays the log and then answers.

The server's own process neither folds nor holds what is past, so it serves on as if nobody had asked. Parent and
child talk in lines: JSON questions one way; the other way how the work goes on, and then an answer to each question.
"""

import asyncio
import contextlib
import logging
import os
import queue
import shutil
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from api.travel import Past, Preparing, Question, answered
from models.surfaces import load
from ops.past.engine import Moment, Then, engine_of
from ops.past.replay import ground, replay
from ops.progress import Advance
from ops.state.scratch import Scratch
from streams import experiments
from streams.errors import RefoldError, Unavailable
from streams.settings import Settings
from streams.times import written

logger = logging.getLogger(__name__)
COMMAND = [sys.executable, "-m", "ops.past.travel"]
MOST = 3  # moments held ready, a process each
IDLE_SECONDS = 900.0  # without a question, after which a child ends
TELL_SECONDS = 0.5  # between two lines of a child about its work
LINE = 64 << 20  # bytes of a line
LONGEST = 60  # seconds that anybody is told to wait

_questions = msgspec.json.Decoder(Question)


class _Word(msgspec.Struct, omit_defaults=True):
    """What a child says before it answers: how far it has folded, that it is ready, or why it never will be."""

    done: int = 0
    total: int = 0
    ready: bool = False
    failed: str = ""


class Traveller:
    """Answers questions about the past (`api.travel.Travel`); one moment is prepared at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.data / settings.api_name / "travel"
        self._trips: OrderedDict[int, Trip] = OrderedDict()
        self._count = 0

    async def start(self) -> None:
        """Remove what an earlier life has left."""
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def stop(self) -> None:
        """End all children."""
        trips, self._trips = self._trips, OrderedDict()
        for trip in trips.values():
            await trip.end()

    async def ask(self, at: int, question: Question) -> bytes | None:
        """Return the answer as of `at` (ms) as JSON, None where nothing was known.

        Raises Preparing until the state of then is ready, Unavailable with the reason when it cannot be had.
        """
        trip = self._trips.get(at)
        if trip is not None and trip.over:
            del self._trips[at]
            await trip.end()
            if trip.failed:  # said once; who asks again has it tried again
                raise Unavailable(f"the state as of {written(at)} cannot be had: {trip.failed}")
        if at not in self._trips:
            self._set_out(at)
            while len(self._trips) > MOST:
                await self._trips.popitem(last=False)[1].end()
        self._trips.move_to_end(at)
        return await self._trips[at].ask(question)

    def _set_out(self, at: int) -> None:
        for other in self._trips.values():
            if not (other.ready or other.over):
                raise Preparing(f"one moment is prepared at a time; {other}", other.seconds)
        self._count += 1  # a folder of its own: that of an earlier trip to then may still be on its way out
        self._trips[at] = Trip(self._settings, at, self._folder / f"{at}-{self._count}")


class Trip:
    """A child process that prepares the state of one moment in a folder, and answers from it."""

    def __init__(self, settings: Settings, at: int, folder: Path) -> None:
        self.ready = False
        self.failed = ""
        self._ended = False
        self._settings, self._at, self._folder = settings, at, folder
        self._word = _Word()
        self._began = time.monotonic()
        self._child: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._following = asyncio.create_task(self._follow(), name=f"travel to {at}")

    def __str__(self) -> str:
        done, total = self._word.done, self._word.total
        how = f"{done:,} of {total:,} records are folded" if total else "it begins"
        if total and done >= total:
            how = "its items are placed"
        return f"the state as of {written(self._at)} is being prepared: {how}"

    @property
    def over(self) -> bool:
        """Whether no answer will come any more."""
        ended = self.ready and self._child is not None and self._child.returncode is not None
        return self._ended or ended

    @property
    def seconds(self) -> int:
        """When to ask again, as far as can be told."""
        done, total = self._word.done, self._word.total
        left = (time.monotonic() - self._began) * (total - done) / done if done else 0
        return min(max(2, round(left)), LONGEST)

    async def ask(self, question: Question) -> bytes | None:
        """Return the child's answer; raises Preparing, and Unavailable when it has ended."""
        if not self.ready:
            raise Preparing(str(self), self.seconds)
        assert self._child is not None
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        async with self._turn:
            self._child.stdin.write(msgspec.json.encode(question) + b"\n")
            with contextlib.suppress(ConnectionError):  # then it answers nothing either
                await self._child.stdin.drain()
            line = await self._child.stdout.readline()
        if not line:
            self._ended = True
            raise Unavailable(
                f"the process that held the state as of {written(self._at)} has ended; ask again"
            )
        return None if line == b"null\n" else line.rstrip(b"\n")

    async def end(self) -> None:
        """Kill the child and remove its folder."""
        self._ended = True
        self._following.cancel()
        await asyncio.wait([self._following])
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()
            await self._child.wait()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _follow(self) -> None:
        try:
            child = await self._start()
            assert child.stdout is not None
            while line := await child.stdout.readline():
                self._word = msgspec.json.decode(line, type=_Word)
                self.failed = self._word.failed
                if self._word.ready:
                    self.ready = True
                    return
            self.failed = self.failed or f"its process ended with code {await child.wait()}, see {self._log}"
        except (OSError, msgspec.DecodeError) as error:
            self.failed = f"{error}, see {self._log}"
        logger.warning("the state as of %s cannot be had: %s", written(self._at), self.failed)
        self._ended = True

    async def _start(self) -> asyncio.subprocess.Process:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("REFOLD_")}
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._child = await asyncio.create_subprocess_exec(
                *COMMAND, str(self._at), str(self._folder),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, limit=LINE,
                env={**ours, **self._settings.environment(), "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,
            )  # fmt: skip
        return self._child

    @property
    def _log(self) -> Path:
        return self._folder.with_suffix(".log")


def serve(settings: Settings, at: int, folder: Path, questions: IO[bytes], answers: IO[bytes]) -> None:
    """Replay the log up to `at` (ms) into a new folder, then answer questions; the child's whole life."""

    def say(line: bytes) -> None:
        answers.write(line + b"\n")
        answers.flush()

    asked = _listen(questions)
    try:
        config = load(settings.config)
        with ground(settings, config.actions) as on:
            manifest = replay(on, at, folder, progress=lambda total: _telling(total, say)).manifest
        with Scratch(folder, on.identity) as scratch:
            then = Then(scratch, on.settings)
            then.settle(at)
            past = Past(
                at, engine_of(then.state, config, Moment(experiments.load(settings), at)), manifest.positions
            )
            say(msgspec.json.encode(_Word(ready=True)))
            with contextlib.suppress(queue.Empty):
                while True:
                    question = _questions.decode(asked.get(timeout=IDLE_SECONDS))
                    say(answered(past, question) or b"null")
    except RefoldError as error:
        say(msgspec.json.encode(_Word(failed=str(error))))
        sys.exit(1)


def _listen(questions: IO[bytes]) -> "queue.Queue[bytes]":
    """Return a queue that fills with questions; the process ends with the parent, whatever it is at."""
    asked: queue.Queue[bytes] = queue.Queue()

    def listen() -> None:
        for line in questions:
            asked.put(line)
        os._exit(0)

    threading.Thread(target=listen, name="questions", daemon=True).start()
    return asked


def _telling(total: int, say: Callable[[bytes], None]) -> Advance:
    done, told = 0, 0.0

    def advance(more: int) -> None:
        nonlocal done, told
        done += more
        if time.monotonic() - told > TELL_SECONDS or done >= total:
            told = time.monotonic()
            say(msgspec.json.encode(_Word(done, total)))

    return advance


if __name__ == "__main__":
    os.nice(10)
    asked = os.fdopen(0, "rb", buffering=0)  # Python would not end while a thread waits in a buffered reader
    serve(Settings.from_env(), int(sys.argv[1]), Path(sys.argv[2]), asked, sys.stdout.buffer)
