"""Just enough of an event loop: what is ready runs in order, and nothing passes while nobody turns it.

Every simulated process has one of its own, so that all of them take turns in one thread, without a clock or a socket.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast


class Loop:
    """An event loop that a simulator turns by hand, for code that only starts and awaits tasks."""

    def __init__(self) -> None:
        self._ready: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()

    def turn(self) -> None:
        """Run everything that is ready, until all that is left waits for somebody else."""
        if not self._ready:
            return
        asyncio._set_running_loop(cast("Any", self))  # noqa: SLF001 - made for whoever makes loops
        try:
            while self._ready:
                callback, args = self._ready.popleft()
                callback(*args)
        finally:
            asyncio._set_running_loop(None)  # noqa: SLF001

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # noqa: ARG002
        """Queue a callback."""
        self._ready.append((callback, args))
        return asyncio.Handle(callback, args, cast("Any", self))

    def create_future(self) -> "asyncio.Future[Any]":
        """Return a future of this loop."""
        return asyncio.Future(loop=cast("Any", self))

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> "asyncio.Task[Any]":  # noqa: ARG002
        """Start a coroutine at the next turn."""
        return asyncio.Task(coro, loop=cast("Any", self), name=name)

    def get_debug(self) -> bool:
        """Return that nobody debugs."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Say nothing of what a killed process leaves unfinished."""
