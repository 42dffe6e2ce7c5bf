"""Rebuild: the log folded again, without Faust and on all cores, into a new generation beside the live one.

Nothing live is touched until one record of `control` makes the new generation live; what a killed rebuild leaves is
a generation that is `building`, which the next one removes.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ops.broker import topics
from ops.broker.lag import end_offsets, set_committed
from ops.processes import Process, Processes
from ops.progress import Begin, silent
from ops.state import generations as known
from ops.state.fold import fingerprints, sources
from ops.state.generations import Tell, scratch
from ops.state.rebuilder import Done, Passed
from streams import generations
from streams.errors import StateError
from streams.generations import Generation, Generations
from streams.settings import Settings
from streams.topology import STAGES, Stage, partitions_of

LOOK = 0.05
_decode = msgspec.json.Decoder(Done | Passed).decode


def rebuild(
    settings: Settings,
    weights: Mapping[str, float],
    *,
    switch: bool,
    begin: Begin = silent,
    tell: Tell = lambda _: None,
    processes: int = 0,
) -> dict[str, Any]:
    """Fold everything anew, let the result stand by, make it live if asked to; return counts and comparisons.

    `processes` is how many fold at a time, 0 for one a core. Raises StateError without a live generation, and as
    the log does where it has a gap.
    """
    began = time.perf_counter()
    recorded = generations.load(settings)
    live = recorded.live
    if live is None:
        raise StateError("no generation of the state is live yet: start a worker, it folds the first one")
    for left in [one for one in recorded.all if one.stage == "building"]:
        tell(f"removing generation {left.number}, which was never finished")
        recorded = known.drop(settings, left.number, tell)
    made = _begin(settings, recorded, live, fingerprints(settings, weights))
    of = made.of(settings)
    done = _fold(settings, live, made, processes or os.cpu_count() or 1, begin)
    _commit(of, done)
    standing = generations.load(settings)
    standing.find(made.number)  # or somebody dropped it meanwhile
    generations.save(settings, standing.put(msgspec.structs.replace(made, stage="standby")))
    shutil.rmtree(scratch(of))
    seconds = time.perf_counter() - began
    if switch:
        known.switch(settings, made.number, tell)
    return {
        "generation": made.number,
        "stage": "live" if switch else "standby",
        **_summary(live, made, done, seconds),
    }


def _begin(
    settings: Settings, recorded: Generations, live: Generation, folds: Mapping[str, str]
) -> Generation:
    number = max(recorded.next, *(one.number + 1 for one in recorded.all))
    # what users say to items and the learner depends on their fold alone: the same fold says the same
    touches = live.touches if folds["users"] == live.folds["users"] else number
    made = Generation(
        number=number,
        stage="building",
        folds=dict(folds),
        touches=touches,
        made_at=time.time_ns() // 1_000_000,
    )
    generations.save(settings, recorded.put(made))
    topics.create(made.of(settings))
    return made


@dataclass
class _Said:
    """What the children have said so far."""

    advance: Callable[[int], None]
    done: list[Done] = field(default_factory=list)

    def hear(self, line: str) -> None:
        """Take a line; what is no JSON of ours is a log."""
        try:
            said = _decode(line)
        except msgspec.DecodeError:
            return
        if isinstance(said, Done):
            self.done.append(said)
        else:
            self.advance(said.passed)


def _fold(settings: Settings, live: Generation, made: Generation, count: int, begin: Begin) -> list[Done]:
    of = made.of(settings)
    shutil.rmtree(scratch(of), ignore_errors=True)
    scratch(of).mkdir(parents=True)
    said = _Said(begin(_records(live.of(settings))))
    # what is folded from what users said can be folded beside them if that is said already, else only after them; a
    # shard of the learner takes longest, and so comes first
    others: list[Stage] = ["learner", "items"]
    rounds: list[list[Stage]] = [["users"], others] if made.touches == made.number else [[*others, "users"]]
    for stages in rounds:
        with Processes(scratch(of) / "logs") as processes:
            command = [
                sys.executable,
                "-m",
                "ops.state.rebuilder",
                str(scratch(of)),
                str(live.number),
                str(live.touches),
            ]
            environment = {
                **of.environment(), "REFOLD_GENERATION": str(of.generation), "REFOLD_TOUCHES": str(of.touches)
            }  # fmt: skip
            _await(
                [
                    processes.start(f"rebuild-{n}", [*command, *stages], env=environment, hear=said.hear)
                    for n in range(min(count, _tasks(settings, stages)))
                ]
            )
    if len(said.done) != (all_of_them := _tasks(settings, STAGES)):
        raise StateError(f"{len(said.done)} of {all_of_them} partitions were folded")
    return said.done


def _tasks(settings: Settings, stages: Iterable[Stage]) -> int:
    return sum(partitions_of(settings, stage) for stage in stages)


def _await(children: Iterable[Process]) -> None:
    running = list(children)
    while running:
        time.sleep(LOOK)
        for child in list(running):
            if (code := child.poll()) is None:
                continue
            child.drain()
            if code:
                raise StateError(f"the rebuild stopped: {_last_word(child, code)}")
            running.remove(child)


def _last_word(child: Process, code: int) -> str:
    lines = child.tail(200).splitlines()
    said = [line.removeprefix("refold: ") for line in lines if line.startswith("refold: ")]
    return said[-1] if said else f"{child.name} ended with code {code}: {child.tail(5)}"


def _records(settings: Settings) -> int:
    """Return how many records there are to fold, touches of one's own about as many as the live ones."""
    with topics.admin(settings) as client:
        ends = [end_offsets(client, settings, source) for stage in STAGES for source in sources(stage)]
    return sum(end for by_partition in ends for end in by_partition.values())


def _commit(settings: Settings, done: Iterable[Done]) -> None:
    """Let the new groups go on where the rows stand."""
    reached: dict[str, dict[tuple[str, int], int]] = {stage: {} for stage in STAGES}
    for one in done:
        for source, position in one.positions.items():
            reached[one.stage][settings.topic(source), one.partition] = position
    with topics.admin(settings) as client:
        for stage, positions in reached.items():
            set_committed(client, settings.group(stage), positions)


def _summary(live: Generation, made: Generation, done: list[Done], seconds: float) -> dict[str, Any]:
    tables: dict[str, dict[str, Any]] = {}
    for one in done:
        for table, compared in one.compared.items():
            sums = tables.setdefault(table, {"equal": 0, "different": 0, "keys": []})
            sums["equal"] += compared.equal
            sums["different"] += compared.different
            sums["keys"] += compared.keys
    events = sum(one.events for one in done)
    busy = {stage: sum(one.busy for one in done if one.stage == stage) for stage in STAGES}
    same = made.folds == live.folds
    different = any(sums["different"] for sums in tables.values())
    return {
        "touches": made.touches,
        "verdict": "other folds" if not same else "different" if different else "equal",
        "events": events,
        "records": sum(one.records for one in done),
        "refused": sum(one.refused for one in done),
        "seconds": round(seconds, 1),
        "events_per_s": round(events / seconds),
        "busy": {stage: round(took, 1) for stage, took in busy.items()},
        "rss_mb": round(max(one.rss_mb for one in done)),
        "tables": tables,
    }
