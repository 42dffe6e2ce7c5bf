"""The cluster of a scenario: a broker that can be killed, and workers that are started again whenever they end.

A thread supervises the workers as `refold up` would; the scenario only says who shall run, and harms them.
"""

import contextlib
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from ops.broker import kafka, topics
from ops.broker.lag import lag
from ops.processes import Process, Processes, free_port
from streams.errors import RefoldError, Unavailable
from streams.settings import Settings

PAUSE = 1.0  # seconds until what ended is started again, as `refold up` has it
WORKER = [sys.executable, "-m", "ops.cli", "worker"]


@dataclass
class Member:
    """A process that shall run; `commands` are run one after the other, the last one again and again."""

    name: str
    commands: list[list[str]]
    environment: dict[str, str]
    wanted: bool = True
    process: Process | None = None
    due: float = 0.0
    codes: list[int] = field(default_factory=list)  # with which it ended by itself or was killed
    words: list[str] = field(default_factory=list)  # what its log said last, each time


class Cluster:
    """A broker and its members in one folder; a context manager, which leaves nothing running."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.folder = folder
        self._port = free_port()
        self.settings = replace(settings, kafka=f"127.0.0.1:{self._port}", data=folder / "data")
        self.members: dict[str, Member] = {}
        self.kills = 0
        self._processes = Processes(folder / "logs", grace=30)
        self._broker: Process | None = None
        self._closing = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        self._processes.__enter__()
        try:
            self.start_broker()
            topics.create(self.settings)
        except BaseException:
            self._processes.__exit__(None, None, None)
            raise
        self._supervisor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._supervisor.join()
        self._processes.__exit__(kind, error, trace)

    def start_broker(self) -> None:
        """Start the broker on what its disk holds."""
        self._broker = kafka.start(self._processes, self.folder / "kafka", self._port)

    def kill_broker(self) -> None:
        """Kill the broker at once; its disk stays."""
        assert self._broker is not None
        os.killpg(self._broker.pid, signal.SIGKILL)
        self._broker.stop()
        self.kills += 1

    def run(self, names: Iterable[str]) -> None:
        """Let exactly these workers run: start who is missing, stop (SIGTERM) who is not named."""
        wanted = set(names)
        for name in sorted(wanted - self.members.keys()):
            self.add(name, [WORKER])
        for name, member in self.members.items():
            member.wanted = name in wanted

    def add(self, name: str, commands: list[list[str]], **environment: str) -> Member:
        """Run commands under a name, one after the other, the last one again whenever it ends."""
        shared = {**self.settings.environment(), "REFOLD_WORKER": name, **environment}
        member = self.members[name] = Member(name, commands, shared)
        return member

    def kill(self, name: str, *, draw: random.Random | None = None) -> None:
        """Kill a member and its children at once; with `draw`, perhaps only one of its children."""
        process = self._running(name)
        processes = [process.pid, *children(process.pid)]
        victim = process.pid if draw is None else draw.choice(processes)
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        self.kills += 1
        gone = processes if victim == process.pid else [victim]
        wait(lambda: not any(alive(pid) for pid in gone), f"{name} is dead", 10)

    def lose(self, name: str) -> None:
        """Kill a member, keep it from coming back, and delete its disk."""
        self.kill(name)
        self.members[name].wanted = False  # said after it is dead, or it would be stopped in peace
        if (disk := self.settings.data / name).exists():  # else it had not even begun
            shutil.rmtree(disk)

    def back(self, name: str) -> None:
        """Let a member run again."""
        self.members[name].wanted = True

    @contextlib.contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """Stop a member and its children in their tracks within the block."""
        process = self._running(name)
        stopped = [process.pid, *children(process.pid)]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in reversed(stopped):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def settled(self, seconds: float = 300) -> None:
        """Wait until every stage has folded and committed all there is; raises Unavailable."""

        def folded() -> bool:
            try:
                return not any(lag(self.settings).values())
            except RefoldError:
                return False

        # What a record makes others say is written before it is committed; so nothing is on its way at lag 0.
        wait(folded, "the workers have folded everything", seconds)

    def _running(self, name: str) -> Process:
        """Return a member's process once there is one; raises Unavailable."""

        def ready() -> bool:
            process = self.members[name].process
            return process is not None and process.poll() is None

        wait(ready, f"{name} runs", 30)
        process = self.members[name].process
        assert process is not None
        return process

    def _supervise(self) -> None:
        while not self._closing.wait(0.05):
            for member in list(self.members.values()):
                self._tend(member)
        for member in self.members.values():
            if member.process is not None:
                member.process.stop(grace=0)  # all was judged, nothing is left to be lost

    def _tend(self, member: Member) -> None:
        process = member.process
        if process is None:
            if member.wanted and time.monotonic() >= member.due:
                command = member.commands[0] if len(member.commands) == 1 else member.commands.pop(0)
                log = self.folder / "logs" / f"{member.name}.log"
                member.process = Process(member.name, command, log, env=member.environment)
        elif (code := process.poll()) is not None:
            member.codes.append(code)
            member.words.append(process.tail(3))
            member.process, member.due = None, time.monotonic() + PAUSE
        elif not member.wanted:
            process.stop(20)
            member.process = None


def children(pid: int) -> list[int]:
    """Return the processes that a process has started, and theirs."""
    try:
        own = [
            int(n)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for n in (task / "children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [*own, *(below for child in own for below in children(child))]


def alive(pid: int) -> bool:
    """Tell whether a process runs, or could."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait(holds: Callable[[], bool], what: str, seconds: float) -> None:
    """Return as soon as something holds; raises Unavailable when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise Unavailable(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)
