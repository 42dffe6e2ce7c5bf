"""From `POST /v1/events` to a changed `/v1/recommend`, while events stream in at a given rate.

Probes are users of their own, one after the other: ask for a list, post a click on its last item, ask until the
list differs. The clock runs from before the POST to the first answer that differs.
"""

import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from bench import load
from bench.report import AT_LEAST, AT_MOST, report
from ops.broker import topics
from ops.processes import Processes, free_port
from streams.settings import Settings

WARM = 5_000  # events folded before the first probe, so that there is something to rank
CHUNK = 25  # events a POST
TIMEOUT = 5.0  # seconds after which a probe counts as never changed
TARGETS = {"p50_ms": (AT_MOST, 150.0), "p99_ms": (AT_MOST, 500.0), "events_per_s": (AT_LEAST, 475.0)}


def run(settings: Settings, rate: int = 500, seconds: int = 30) -> dict[str, Any]:
    """Measure on the broker of `settings` and return the report."""
    with tempfile.TemporaryDirectory(prefix="refold-bench-") as folder, Processes(Path(folder)) as processes:
        figures = asyncio.run(_measure(served(settings, Path(folder), processes), rate, seconds))
    return report("freshness", settings.kafka, figures, TARGETS)


def served(settings: Settings, folder: Path, processes: Processes) -> str:
    """Start a worker and an API process over topics of their own; return the address of the API."""
    here = replace(settings, data=folder, namespace=f"bench-{uuid.uuid4().hex[:8]}", port=free_port())
    topics.create(here)
    environment = here.environment()
    base = f"http://127.0.0.1:{here.port}"
    refold = [sys.executable, "-m", "ops.cli"]
    processes.start("worker", [*refold, "worker", "--loglevel", "WARNING"], env=environment)
    processes.start("api", [*refold, "api"], env=environment, ready=lambda: _ready(base), seconds=60)
    return base


def _ready(base: str) -> bool:
    try:
        return httpx.get(f"{base}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


async def _measure(base: str, rate: int, seconds: int) -> dict[str, float]:
    async with httpx.AsyncClient(base_url=base, timeout=10) as api:
        await _catalogue(api)
        await _post(api, WARM, None)
        await _await_folds(api)
        stream = asyncio.create_task(_post(api, rate * seconds, rate))
        waits, missed, number = [], 0, 0
        while not stream.done():
            waited = await _probe(api, f"probe-{number % 50}")
            number += 1
            if waited is None:
                missed += 1
            else:
                waits.append(waited)
        sent = await stream
    waits.sort()
    return {
        "p50_ms": round(statistics.median(waits) * 1000, 1),
        "p99_ms": round(waits[min(len(waits) - 1, int(len(waits) * 0.99))] * 1000, 1),
        "max_ms": round(waits[-1] * 1000, 1),
        "events_per_s": round(sent),
        "probes": len(waits),
        "never_changed": missed,
    }


async def send(api: httpx.AsyncClient, path: str, body: Any) -> None:
    """Post, and as a client should, again when the API says that Kafka is slow: ids make that safe."""
    for _ in range(20):
        answer = await api.post(path, json=body)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            break
        await asyncio.sleep(0.5)
    answer.raise_for_status()


async def _catalogue(api: httpx.AsyncClient) -> None:
    for start in range(0, load.ITEMS, 500):
        listed = [
            {"item_id": f"item-{n}", "title": f"Item {n}", "categories": [f"category-{n % load.CATEGORIES}"]}
            for n in range(start, min(start + 500, load.ITEMS))
        ]
        await send(api, "/v1/items", listed)


async def _post(api: httpx.AsyncClient, count: int, rate: int | None) -> float:
    """Post events in chunks, `rate` a second (None: as fast as they go), and return the rate reached."""
    started = time.perf_counter()
    chunk: list[dict[str, Any]] = []
    for n, event in enumerate(load.events(count, seed=rate or 0), 1):
        chunk.append(
            {
                "event_id": event.event_id,
                "type": event.type,
                "user_id": event.user_id,
                "item_id": event.item_id,
                "categories": event.categories,
                "surface": event.surface,
            }
        )
        if len(chunk) == CHUNK or n == count:
            await send(api, "/v1/events", chunk)
            chunk = []
            if rate and (ahead := n / rate - (time.perf_counter() - started)) > 0:
                await asyncio.sleep(ahead)
    return count / (time.perf_counter() - started)


async def _await_folds(api: httpx.AsyncClient) -> None:
    event = {"type": "click", "user_id": "canary", "item_id": "item-1"}
    await send(api, "/v1/events", event)
    deadline = time.monotonic() + 60
    while (await api.get("/v1/users/canary")).status_code != 200:
        if time.monotonic() > deadline:
            raise TimeoutError("no event was folded within 60 s: see that the worker runs")
        await asyncio.sleep(0.1)


async def _probe(api: httpx.AsyncClient, user: str) -> float | None:
    before = [item["item_id"] for item in (await _list(api, user))]
    event = {"type": "click", "user_id": user, "item_id": before[-1]}
    started = time.perf_counter()
    await send(api, "/v1/events", event)
    while (waited := time.perf_counter() - started) < TIMEOUT:
        if [item["item_id"] for item in (await _list(api, user))] != before:
            return waited
        await asyncio.sleep(0.005)
    return None


async def _list(api: httpx.AsyncClient, user: str) -> list[dict[str, Any]]:
    answer = await api.get(f"/v1/recommend/{user}", params={"n": 20})
    answer.raise_for_status()
    items: list[dict[str, Any]] = answer.json()["items"]
    return items
