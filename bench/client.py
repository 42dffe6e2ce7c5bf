"""A load generator: HTTP/1.1 on kept-alive connections, so raw that the server is the limit."""

import asyncio
import math
import random
import time
from collections.abc import Iterator
from typing import cast

import numpy as np
import numpy.typing as npt

Latencies = npt.NDArray[np.float64]


class Connection(asyncio.Protocol):
    """One connection with at most one request on its way."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answer: asyncio.Future[int] | None = None
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.open = True
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request that waits."""
        self.open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Collect an answer; done when its body is complete."""
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._buffer.find(b"content-length:") + 15
        length = int(self._buffer[at : self._buffer.index(b"\r\n", at)])
        if len(self._buffer) >= head + 4 + length and self._answer is not None:
            status = int(self._buffer[9:12])
            self._buffer.clear()
            self._answer.set_result(status)

    async def get(self, path: str) -> int:
        """Ask for a path; return the status."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
        return await self._answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


async def connect(port: int, count: int) -> list[Connection]:
    """Return open connections to a port of this machine."""
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in range(count)]


async def closed_loop(port: int, paths: Iterator[str], seconds: float, connections: int = 4) -> float:
    """Ask again as soon as answered; return good answers per second. Raises RuntimeError on an odd status."""
    opened = await connect(port, connections)
    began = time.perf_counter()
    done = 0

    async def work(connection: Connection) -> None:
        nonlocal done
        while time.perf_counter() - began < seconds:
            good = _good(await connection.get(next(paths)))  # first: `+=` reads the sum before it waits
            done += good

    await asyncio.gather(*map(work, opened))
    took = time.perf_counter() - began
    for connection in opened:
        connection.close()
    return done / took


async def open_loop(port: int, paths: Iterator[str], seconds: float, rate: float) -> Latencies:
    """Ask at random times, `rate` a second, answered or not; return each request's latency in ms.

    No request waits for another's answer, so a server that stands still is not let off; one that turns a request
    away for overload has never answered it (infinity). Timers tick in ms, hence the time counts from the sending.
    """
    idle = await connect(port, 4)
    took: list[float] = []
    draw, running = random.Random(5), set()

    async def ask() -> None:
        sent = time.perf_counter()
        connection = idle.pop() if idle else (await connect(port, 1))[0]
        if not connection.open:  # the server hangs up on the idle
            connection = (await connect(port, 1))[0]
        good = _good(await connection.get(next(paths)))
        took.append((time.perf_counter() - sent) * 1000.0 if good else math.inf)
        idle.append(connection)

    due = began = time.perf_counter()
    while due < began + seconds:
        due += draw.expovariate(rate)
        await asyncio.sleep(due - time.perf_counter())
        task = asyncio.create_task(ask())
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    for connection in idle:
        connection.close()
    return np.array(took)


def _good(status: int) -> bool:
    if status not in (200, 503):
        raise RuntimeError(f"the server answered {status}")
    return status == 200
