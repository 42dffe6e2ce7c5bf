"""Scenarios by name, and how one is run: a cluster under load, harm, peace, judgement, verdict."""

import contextlib
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.surfaces import load
from ops.prove import kills, outages
from ops.prove.cluster import Cluster
from ops.prove.judge import Judge
from ops.prove.recovery import Recovery
from ops.prove.replica import replica
from ops.prove.scene import WORKERS, Scene
from ops.prove.workload import Writer
from streams.errors import RefoldError
from streams.settings import Settings

EVENTS, FEW = 200_000, 20_000
KILLED = (-9, 137)  # exit codes of what was killed, and of its parent
CLEAR = ("refold worker: ", "refold: ")  # how a last word begins
SETTLE = 600.0  # seconds until all is folded at the latest


@dataclass(frozen=True)
class Scenario:
    """What is done to a cluster, and for how many seconds the load lasts, in full and in quick."""

    harm: Callable[[Scene], None]
    seconds: float
    quick: float


SCENARIOS = {
    "mixed": Scenario(kills.mixed, 60, 45),
    "kill": Scenario(kills.kill, 240, 30),
    "lose-disk": Scenario(kills.lose_disk, 300, 45),
    "scale": Scenario(kills.scale, 150, 90),
    "pause": Scenario(kills.pause, 180, 40),
    "points": Scenario(kills.points, 480, 150),
    "broker": Scenario(outages.broker, 120, 30),
    "broker-away": Scenario(outages.broker_away, 40, 20),
    "dead-letters-away": Scenario(outages.dead_letters_away, 150, 60),
    "disk-full": Scenario(outages.disk_full, 150, 50),
    "replica": Scenario(replica, 240, 45),
}


def run(name: str, settings: Settings, seed: int, *, quick: bool) -> dict[str, Any]:
    """Run one scenario and return its verdict; where it is not "equal", logs and data are kept in its `folder`."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"refold-{name}-"))
    verdict: dict[str, Any] = {"verdict": "different", "scenario": name, "seed": seed}
    try:
        found = _play(SCENARIOS[name], settings, folder, seed, quick=quick)
    except RefoldError as error:
        found = {"differences": [f"it came to no end: {error}"]}
    verdict |= {**found, "seconds": round(time.monotonic() - began)}
    if verdict["differences"]:
        return {**verdict, "folder": str(folder)}
    shutil.rmtree(folder)
    return {**verdict, "verdict": "equal"}


def _play(scenario: Scenario, settings: Settings, folder: Path, seed: int, *, quick: bool) -> dict[str, Any]:
    """Harm a cluster under load, let it come to rest, and return what the judge found."""
    count, seconds = (FEW, scenario.quick) if quick else (EVENTS, scenario.seconds)
    with contextlib.ExitStack() as stack:
        later = stack.enter_context(contextlib.ExitStack())
        cluster = stack.enter_context(Cluster(settings, folder))
        recovery = stack.enter_context(Recovery(cluster.settings))
        writer = Writer(cluster.settings, seed, count, seconds)
        scene = Scene(cluster, writer, recovery, random.Random(seed), quick, later)
        cluster.run(WORKERS)
        writer.start()
        recovery.fault()  # the start is the first thing to recover from, and is not counted
        scene.mended()
        recovery.seconds.clear()
        scenario.harm(scene)
        account = writer.finish()
        cluster.settled(SETTLE)
        scene.mended()
        judge = Judge(cluster.settings, load(settings.config).actions)
        judge.judge(account, scene.buried)
        died = [code for member in cluster.members.values() for code in member.codes]
        return {
            "kills": cluster.kills,
            **judge.figures,
            **scene.figures,
            "seconds_to_recover": recovery.figures(),
            "exit_codes": {str(code): died.count(code) for code in sorted(set(died))},
            "differences": [*scene.differences, *judge.differences, *_unclear(cluster)],
        }


def _unclear(cluster: Cluster) -> list[str]:
    """Return who ended by itself without saying why in its last line."""
    return [
        f"{member.name} ended with code {code} and said last: {words}"
        for member in cluster.members.values()
        for code, words in zip(member.codes, member.words, strict=True)
        if code not in KILLED and not words.splitlines()[-1:][0].startswith(CLEAR)
    ]
