"""Child processes that never outlive us: started with a log file, awaited, stopped with their children.

    with Processes(Path("logs")) as processes:
        broker = processes.start("broker", ["kafka", "..."], ready=answers)
        ...
    # here, after Ctrl-C, SIGTERM or an error too, nothing of it runs any more

On Linux the kernel kills a child whose parent vanished, so not even `kill -9` leaves one behind; elsewhere
that one case does.
"""

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, NoReturn, Self

from streams.errors import Unavailable

POLL = 0.05  # seconds between two looks at a child
HEARD = 1_000  # of the lines that passed through us, so many are remembered
_PR_SET_PDEATHSIG = 1


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on.

    It lies below the ports that the kernel lends to outgoing connections: one of those could be taken by a
    client between this call and its use, and a client that polls it could even connect to itself.
    """
    for port in random.sample(range(20_000, 32_768), 100):
        if is_free(port):
            return port
    raise Unavailable("100 ports of 20000..32767 were tried, all are taken: end some programs first")


def is_free(port: int) -> bool:
    """Tell whether a server could listen on the port of 127.0.0.1."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections still linger in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Process:
    """One child in a session of its own, its output in `log`; `env` is added to ours.

    Start it from a thread that lives as long as it shall: the kernel ties its life to that thread. With
    `outlive` it is tied to nothing, and `detach` lets it run on; it inherits the file descriptors `keep`.
    With `hear` each line it says passes through us, so that its last words are known even when the disk is full.
    Raises Unavailable when the program cannot be started.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        outlive: bool = False,
        keep: Sequence[int] = (),
        hear: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        with contextlib.ExitStack() as stack:
            output: int | IO[bytes] = subprocess.PIPE
            with contextlib.suppress(OSError) if hear else contextlib.nullcontext():
                log.parent.mkdir(parents=True, exist_ok=True)
            if hear is None:
                output = stack.enter_context(log.open("ab"))
                self._start = output.tell()
            try:
                self._child = subprocess.Popen(  # noqa: S603 - the command is ours
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    # Unbuffered: what a killed Python program printed last is in its log.
                    env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
                    pass_fds=tuple(keep),
                    start_new_session=True,  # Ctrl-C reaches us alone, and we stop the children in order
                    preexec_fn=None if outlive else _die_with_parent(),  # noqa: PLW1509 - one system call
                )
            except OSError as error:
                raise Unavailable(f"{name} cannot be started, {command[0]!r}: {error.strerror}") from error
        self.pid = self._child.pid
        self._heard: deque[str] = deque(maxlen=HEARD)
        self._listener: threading.Thread | None = None
        if hear is not None:
            self._listener = threading.Thread(target=self._listen, args=(hear,), daemon=True)
            self._listener.start()

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs; its children end with it."""
        if self._child.returncode is None and self._child.poll() is not None:
            self._signal(signal.SIGKILL)
        return self._child.returncode

    def tail(self, lines: int = 20) -> str:
        """Return the last lines it has logged since it was started."""
        if self._listener is not None:
            return "\n".join(list(self._heard)[-lines:])
        with self.log.open("rb") as file:
            file.seek(max(self._start, file.seek(0, os.SEEK_END) - 65_536))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])

    def drain(self, seconds: float = 5) -> None:
        """Wait until what an ended child said through the pipe has been heard."""
        if self._listener is not None:
            self._listener.join(seconds)

    def check(self) -> None:
        """Raise Unavailable with the end of its log if it has ended."""
        if (code := self.poll()) is not None:
            raise Unavailable(f"{self.name} ended with code {code}; {self._log()}")

    def wait_until(self, ready: Callable[[], bool], seconds: float = 30) -> None:
        """Return as soon as it is ready; raise Unavailable if it ends first or is not ready in time."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise Unavailable(f"{self.name} was not ready within {seconds:g} s; {self._log()}")
            time.sleep(POLL)
        self.check()

    def stop(self, grace: float = 10) -> int:
        """Ask it and its children to end, kill what is left after `grace` seconds, return the exit code.

        What it said to the end has been heard then.
        """
        if self.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._child.wait(grace)
            finally:  # an impatient second Ctrl-C lands here too
                self._signal(signal.SIGKILL)
                self._child.wait()
        self.drain()
        return self._child.returncode

    def detach(self) -> None:
        """Let it run on when we end; it is no more our business."""
        self._child.returncode = 0  # else Popen warns of a child left running, which is what is wanted

    def _listen(self, hear: Callable[[str], None]) -> None:
        with self._child.stdout as pipe:  # type: ignore[union-attr]
            for line in pipe:
                said = line.decode(errors="replace").rstrip("\n")
                self._heard.append(said)
                # a full disk must not cost the words that tell of it
                with contextlib.suppress(OSError), self.log.open("ab") as log:
                    log.write(line)
                with contextlib.suppress(OSError):
                    hear(said)

    def _signal(self, number: signal.Signals) -> None:
        # A dead group: Linux raises the first, macOS the second.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _log(self) -> str:
        return f"the end of {self.log}:\n{self.tail() or '(empty)'}"


class Processes:
    """The children of one command, stopped in reverse order however the block is left.

    Within it SIGTERM and SIGHUP unwind the stack as Ctrl-C does, so that the stop is an orderly one.
    """

    def __init__(self, logs: Path, *, grace: float = 10) -> None:
        self.logs = logs
        self.grace = grace
        self._running: list[Process] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # the only one that may set handlers
            for number in (signal.SIGTERM, signal.SIGHUP):
                self._stack.callback(signal.signal, number, signal.signal(number, _leave))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready: Callable[[], bool] | None = None,
        seconds: float = 30,
        env: Mapping[str, str] | None = None,
        hear: Callable[[str], None] | None = None,
    ) -> Process:
        """Start a child that logs to `<logs>/<name>.log`, and wait until it is ready. Raises Unavailable."""
        process = Process(name, command, self.logs / f"{name}.log", env=env, hear=hear)
        self._stack.callback(process.stop, self.grace)
        self._running.append(process)
        if ready is not None:
            process.wait_until(ready, seconds)
        return process

    def watch(self, seconds: float | None = None) -> None:
        """Wait, at most `seconds`, and raise Unavailable as soon as a child ends by itself."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while deadline is None or time.monotonic() < deadline:
            for process in self._running:
                process.check()
            time.sleep(POLL)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _die_with_parent() -> Callable[[], None] | None:
    """Return what a child must run before its program so that the kernel kills it when we vanish."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: little is safe after it
    parent = os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it vanished before the line above
            os._exit(1)

    return tie
