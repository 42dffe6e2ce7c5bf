"""Run: a scenario on a real system: the embedded broker or a given Kafka, a worker, an API process."""

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from ops.evaluate import plot
from ops.progress import Begin
from ops.run import system
from ops.simulate.drive import SURFACE
from ops.simulate.journal import LINES
from ops.simulate.scenarios import SCENARIOS, Played, Stage
from ops.simulate.world import build
from streams.settings import Settings

VISITS = 0.1  # lists a step for each of the people
NAME = "simulate"
BUDGET_MS = 5000.0


def simulate(
    given: Settings, scenario: str, *, embedded: bool, people: int, things: int, steps: int, seed: int,
    begin: Begin,
) -> dict[str, Any]:  # fmt: skip
    """Play a scenario on the Kafka that is given, or embedded, and return what it came to."""
    broker = system.embedded_settings(NAME) if embedded else system.own_settings(NAME, given)
    with broker as settings, system.running(_patient(settings, given)) as (base, _):
        began = time.monotonic()
        played = asyncio.run(_play(base, scenario, people, things, steps, seed, begin))
    return {
        "ok": all(played.checks.values()),
        "scenario": scenario,
        "broker": "embedded" if embedded else given.kafka,
        "seed": seed,
        "people": people,
        "things": things,
        "seconds": round(time.monotonic() - began, 1),
        "checks": played.checks,
        **played.figures,
        **played.journal.said(),
    }


async def _play(
    base: str, scenario: str, people: int, things: int, steps: int, seed: int, begin: Begin
) -> Played:
    async with httpx.AsyncClient(base_url=base, timeout=30) as api:
        lists = max(1, round(VISITS * people))
        return await SCENARIOS[scenario](
            Stage(api, build(people, things, steps, seed), steps, lists, begin(steps))
        )


def _patient(settings: Settings, given: Settings) -> Settings:
    """Return settings under which no list is worse because the machine is busy, unless a configuration is given."""
    config = given.config
    if not config:
        file = settings.data / "simulate.toml"
        file.write_text(f"[surfaces.{SURFACE}]\nbudget_ms = {BUDGET_MS}\n")
        config = str(file)
    return replace(settings, config=config)


def draw(file: Path, said: dict[str, Any]) -> None:
    """Draw what lists were worth, step by step."""
    title = f"{said['scenario']}: click rate of {said['lists']:,} lists, and what it could be"
    lines = {name: np.array([step[name] for step in said["steps"]]) for name in LINES}
    plot.write(file, title, "step", lines, len(said["steps"]))


def show(said: dict[str, Any]) -> None:
    """Print it for a person."""
    out = Console(highlight=False, soft_wrap=True)
    out.print(f"{said['scenario']} on {said['broker']}: {said['lists']:,} lists, {said['events']:,} events")
    table = Table("", "lists", *LINES)
    rows = [("first fifth of the steps", said["first"]), ("last fifth", said["last"])]
    rows += [(f"newcomers' list {one['list']}", one) for one in said["newcomers"]]
    rows += [(f"rung {rung}", one) for rung, one in said["rungs"].items()]
    for name, row in rows:
        table.add_row(name, f"{row['lists']:,}", *(f"{row[line]:.3f}" for line in LINES))
    out.print(table)
    for name in ("new_items", "arms", "stopped"):
        if name in said:
            out.print(f"{name}: {json.dumps(said[name])}")
    if "report" in said:
        out.print(f"report: {said['report']['verdict']}: {said['report']['words']}")
    for what, held in said["checks"].items():
        out.print(f"{'yes' if held else 'NO '}  {what}")
