"""The whole request over HTTP on one core: how long it takes, where the time goes, what the cache spares.

The state is made up (bench/world.py) and lives in the server's process, pinned to one core; this one asks
from another. Slates are encoded and handed to a producer that drops them, so that no broker is needed.
"""

import asyncio
import multiprocessing
import os
import socket
import statistics
import time
from collections import defaultdict
from itertools import cycle
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import uvloop

from api.answers import Request
from api.engine import Engine
from bench.client import closed_loop, open_loop
from bench.report import AT_LEAST, AT_MOST, report
from bench.world import USERS, World
from models.surfaces import load
from streams.settings import Settings

N = 50  # items of a list
LOAD = 0.6
SAMPLE = 500  # requests taken apart
CONFIG = "[surfaces.home]\nttl_s = 0.0\n[surfaces.email]\nttl_s = 3600.0\n"
TARGETS = {
    "p99_ms": (AT_MOST, 15.0),
    "median_over_ann": (AT_MOST, 2.5),
    "cached_requests_per_s": (AT_LEAST, 8000.0),
}


def run(items: int = 1_000_000, seconds: float = 20.0) -> dict[str, Any]:
    """Measure and return the report; every phase takes `seconds`, and indexing the items minutes before."""
    cores = sorted(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with TemporaryDirectory(prefix="refold-bench-") as folder:
        server = context.Process(target=_serve, args=(items, folder, cores[0], there), daemon=True)
        server.start()
        there.close()
        try:
            inside = here.recv()
            os.sched_setaffinity(0, {cores[-1]})
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                figures = runner.run(_ask(inside.pop("port"), server.pid or 0, seconds))
        finally:
            os.sched_setaffinity(0, set(cores))
            server.terminate()
            server.join()
    figures |= {"items": items} | inside
    figures["median_over_ann"] = figures["p50_ms"] / figures["ann_ms"]
    return report("serve", "none", {name: round(float(value), 3) for name, value in figures.items()}, TARGETS)


async def _ask(port: int, pid: int, seconds: float) -> dict[str, float]:
    full = cycle(f"/v1/recommend/user-{n}?n={N}&surface=home" for n in range(USERS))
    hits = [f"/v1/recommend/user-{n}?n={N}&surface=email" for n in range(200)]
    await closed_loop(port, full, 2.0, connections=1)
    spent = _cpu(pid)
    capacity = await closed_loop(port, full, seconds)
    full_cpu = (_cpu(pid) - spent) / (capacity * seconds)
    alone = await open_loop(port, full, seconds / 2, capacity * 0.05)
    loaded = await open_loop(port, full, seconds, capacity * LOAD)
    await closed_loop(port, cycle(hits), 5.0, connections=1)
    spent = _cpu(pid)
    cached = await closed_loop(port, cycle(hits), seconds, connections=8)
    cached_cpu = (_cpu(pid) - spent) / (cached * seconds)
    return {
        "requests_per_s": capacity,
        "unloaded_p50_ms": float(np.median(alone)),
        "p50_ms": float(np.median(loaded)),
        "p99_ms": float(np.quantile(loaded, 0.99)),
        "cached_requests_per_s": cached,
        "cpu_ms": full_cpu * 1000.0,
        "cached_cpu_ms": cached_cpu * 1000.0,
    }


def _serve(items: int, folder: str, core: int, pipe: Pipe) -> None:
    import uvicorn  # noqa: PLC0415 - of the child alone

    from api.app import create_app  # noqa: PLC0415
    from api.memory import MemoryProducer  # noqa: PLC0415
    from api.server import config  # noqa: PLC0415

    surfaces = Path(folder) / "surfaces.toml"
    surfaces.write_text(CONFIG)
    world = World(items, lambda text: print(text, flush=True))
    os.sched_setaffinity(0, {core})
    inside = _apart(world, surfaces)
    listener = socket.create_server(("127.0.0.1", 0))
    settings = Settings(data=Path(folder), config=str(surfaces))
    app = create_app(settings, state=world.state, producer=MemoryProducer(), slate_producer=_Drop())
    server = uvicorn.Server(config(settings, app))
    pipe.send(inside | {"port": listener.getsockname()[1]})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve([listener]))


def _apart(world: World, surfaces: Path) -> dict[str, float]:
    """Take requests apart in this process: the bare search, and the median of every stage in ms."""
    stages: dict[str, list[float]] = defaultdict(list)
    engine = Engine(
        world.state, load(surfaces), observe=lambda stage, took: stages[stage].append(took * 1000.0)
    )
    quota = engine.config.surfaces["home"].quotas.ann
    counts, bare, whole = [], [], []
    for n in range(SAMPLE):
        user = world.user(f"user-{n % USERS}")
        assert user is not None
        query = world.lore.query(world.lore.after(user.trail))
        assert query is not None
        bare.append(_timed(lambda q=query: world.index.search(q, quota)))
        request = Request(at=world.now, user_id=f"user-{n % USERS}", n=N, explain=n % 10 == 0)
        began = time.perf_counter()
        answer = engine.recommend(request)
        if request.explain:
            counts.append(answer.counts["candidates"])
        else:
            whole.append((time.perf_counter() - began) * 1000.0)
    medians = {"rss_mb": _rss(), "learned_rows_per_s": world.rows_per_s}
    medians |= {f"stage_{stage}_ms": statistics.median(took) for stage, took in stages.items()}
    return {
        "candidates": statistics.mean(counts),
        "ann_ms": statistics.median(bare),
        "engine_ms": statistics.median(whole),
        **medians,
    }


def _cpu(pid: int) -> float:
    """Return the seconds a process has computed: what a request costs where others use the cores too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss() -> float:
    """Return the memory that this process has, in MB."""
    kib = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(kib.split()[1]) / 1024.0


def _timed(call: Any) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000.0


class _Drop:
    """A producer whose records nobody keeps."""

    connected = True

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def write(self, records: Any, _: float) -> list[int]:
        return [0] * len(records)

    async def write_batch(self, records: Any, seconds: float) -> None:
        await self.write(records, seconds)
