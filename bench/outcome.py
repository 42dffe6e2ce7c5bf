"""From `POST /v1/events` to a changed report of an experiment, one click after the other.

Users are shown a list each, so that all of them take part. Then one of them clicks, and the report is asked until it
differs. The clock runs from before the POST to the first report that differs.
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from bench.freshness import send, served
from bench.report import AT_MOST, report
from ops.processes import Processes
from streams.settings import Settings

USERS = 200
PATIENCE = 60.0  # seconds until all lists count
TIMEOUT = 10.0  # seconds after which a click counts as never shown
TARGETS = {"p99_ms": (AT_MOST, 2_000.0)}
KEY = "varied"
TRIED = {
    "key": KEY,
    "control": "a",
    "arms": {"a": {}, "b": {"set": {"diversity": 0.4}}},
    "metrics": {"clicks": {"of": "click", "primary": True}},
}


def run(settings: Settings, clicks: int = 200) -> dict[str, Any]:
    """Measure on the broker of `settings` and return the report."""
    with tempfile.TemporaryDirectory(prefix="refold-bench-") as folder, Processes(Path(folder)) as processes:
        figures = asyncio.run(_measure(served(settings, Path(folder), processes), clicks))
    return report("outcome", settings.kafka, figures, TARGETS)


async def _measure(base: str, clicks: int) -> dict[str, float]:
    async with httpx.AsyncClient(base_url=base, timeout=10) as api:
        await send(api, "/v1/items", [{"item_id": f"item-{n}", "title": f"Item {n}"} for n in range(50)])
        (await api.put(f"/v1/experiments/{KEY}", json=TRIED)).raise_for_status()
        (await api.post(f"/v1/experiments/{KEY}/start")).raise_for_status()
        for n in range(USERS):
            (await api.get(f"/v1/recommend/user-{n}")).raise_for_status()
        ends = time.monotonic() + PATIENCE
        while sum((await _report(api))["units"].values()) < USERS:
            if time.monotonic() > ends:
                raise TimeoutError(f"not all of {USERS} lists count within {PATIENCE:.0f} s")
            await asyncio.sleep(0.1)
        waits = [await _probe(api, f"user-{n % USERS}", f"item-{n % 47}") for n in range(clicks)]
    seen = sorted(wait for wait in waits if wait is not None)
    return {
        "p50_ms": round(statistics.median(seen) * 1000, 1),
        "p99_ms": round(seen[min(len(seen) - 1, int(len(seen) * 0.99))] * 1000, 1),
        "max_ms": round(seen[-1] * 1000, 1),
        "clicks": len(seen),
        "never_shown": len(waits) - len(seen),
    }


async def _probe(api: httpx.AsyncClient, user: str, item: str) -> float | None:
    before = (await _report(api))["comparisons"]
    started = time.perf_counter()
    await send(api, "/v1/events", {"type": "click", "user_id": user, "item_id": item})
    while (waited := time.perf_counter() - started) < TIMEOUT:
        if (await _report(api))["comparisons"] != before:
            return waited
        await asyncio.sleep(0.005)
    return None


async def _report(api: httpx.AsyncClient) -> dict[str, Any]:
    answer = await api.get(f"/v1/experiments/{KEY}/report")
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found
