"""Generations of the state as their operator handles them: compared with the code, made live, dropped."""

import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from kafka import KafkaAdminClient
from kafka.errors import GroupIdNotFoundError, UnknownTopicOrPartitionError, for_code

from ops.broker.lag import committed, end_offsets
from ops.broker.topics import admin
from ops.state.fold import fingerprints, sources
from streams import generations
from streams.errors import StateError, TopologyError, Unavailable
from streams.generations import Generation, Generations
from streams.settings import Settings
from streams.topology import STAGES, topics

LEVEL_SECONDS = 5.0  # a generation is level when it reaches within these where the live one was before
ABSENT_SECONDS = 60.0  # without a worker until waiting is given up; one that starts needs a few
LEAVING_SECONDS = 60.0  # for workers to let go of a dropped generation; a silent one is thrown out after ten
LOOK = 0.2

Tell = Callable[[str], None]


def begin(settings: Settings, weights: Mapping[str, float]) -> Generations:
    """Return the recorded generations; on the very first start record number 0, folded by this code, as live."""
    recorded = generations.load(settings)
    if not recorded.all:
        recorded = recorded.put(
            Generation(number=0, stage="live", folds=fingerprints(settings, weights), made_at=_now())
        )
        generations.save(settings, recorded)
    return recorded


def every(settings: Settings) -> list[Settings]:
    """Return the settings of each generation workers keep up; ours alone where none is recorded yet."""
    try:
        recorded = generations.load(settings)
    except TopologyError:  # no topic `control`: nothing was ever started here
        return [settings]
    return [one.of(settings) for one in recorded.running] or [settings]


def differences(generation: Generation, folds: Mapping[str, str]) -> str:
    """Return what tells the folds of a generation from these, by stage; empty if nothing does.

    >>> one = Generation(number=0, stage="live", folds={"users": "users=2 weights=a"})
    >>> differences(one, {"users": "users=2 weights=b"})
    'users: weights=a there, weights=b here'
    """
    found = []
    for stage, here in folds.items():
        there = generation.folds.get(stage, "")
        if here != there:
            mine, theirs = set(here.split()), set(there.split())
            found.append(f"{stage}: {_said(theirs - mine)} there, {_said(mine - theirs)} here")
    return "; ".join(found)


def listed(settings: Settings) -> list[dict[str, Any]]:
    """Return every recorded generation with what makes it another one than the others, and its lag."""
    recorded = generations.load(settings)
    with admin(settings) as client:
        return [
            {
                "generation": one.number,
                "stage": one.stage,
                "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.made_at / 1000)),
                "touches": one.touches,
                "folds": "; ".join(one.folds[stage] for stage in STAGES),
                "behind": "" if one.stage == "building" else behind(client, one.of(settings)),
            }
            for one in recorded.all
        ]


def behind(client: KafkaAdminClient, settings: Settings) -> int:
    """Return how many records a generation's workers have not folded and committed."""
    left = 0
    for (_, topic), done in _reached(client, settings).items():
        ends = end_offsets(client, settings, topic)
        left += sum(max(0, end - done.get(number, 0)) for number, end in ends.items())
    return left


def switch(settings: Settings, number: int, tell: Tell) -> None:
    """Make a generation live once it is level with the one that is; raises StateError, Unavailable.

    One record does it: processes see the old live one or the new.
    """
    recorded = generations.load(settings)
    chosen = recorded.find(number)
    if chosen.stage == "building":
        raise StateError(
            f"generation {number} was never finished: `refold generations drop {number}`, `refold rebuild`"
        )
    if chosen.stage == "live":
        return
    if recorded.live is not None:
        _await_level(settings, recorded.live, chosen, tell)
    made = msgspec.structs.replace(chosen, stage="live")
    generations.save(settings, generations.load(settings).put(made))


def drop(settings: Settings, number: int, tell: Tell) -> Generations:
    """Forget a generation that is not live: record, groups, topics, and what this machine's folder holds of it.

    Returns those that are left. Raises StateError for the live one, Unavailable when workers go on folding it; then
    it can be dropped again.
    """
    recorded = generations.load(settings)
    gone, left = recorded.find(number), recorded.drop(number)
    generations.save(settings, recorded.put(msgspec.structs.replace(gone, stage="building")))
    of = gone.of(settings)
    kept = {topic.name for one in left.all for topic in topics(one.of(settings))}
    with admin(settings) as client:
        _await_leave(client, of, tell)
        ours = {topic.name for topic in topics(of)} - kept
        _delete_topics(client, ours & set(client.list_topics()))
    for path in (
        scratch(of),
        *(path for stage in STAGES for path in settings.data.glob(f"*/{of.group(stage)}")),
    ):
        shutil.rmtree(path, ignore_errors=True)
    left = generations.load(settings).drop(number)
    generations.save(settings, left)
    return left


def scratch(settings: Settings) -> Path:
    """Return the folder in which a generation is folded before it has workers."""
    return settings.data / f"rebuild-g{settings.generation}"


def _await_level(settings: Settings, old: Generation, new: Generation, tell: Tell) -> None:
    with admin(settings) as client:
        while True:
            goal = _reached(client, old.of(settings))
            if new.touches != old.touches:  # then others read another log, to where its users have come
                for place in (("items", "touches"), ("learner", "examples")):
                    goal[place] = end_offsets(client, new.of(settings), place[1])
            if _reaches(client, new.of(settings), goal, tell):
                return


def _reaches(client: KafkaAdminClient, settings: Settings, goal: Any, tell: Tell) -> bool:
    """Wait until a generation has come to these positions; tell whether it took no longer than a level one does."""
    began = heard = time.monotonic()
    while True:
        reached = _reached(client, settings)
        left = sum(
            max(0, end - reached[place].get(number, 0))
            for place, ends in goal.items()
            for number, end in ends.items()
        )
        now = time.monotonic()
        if not left:
            return now - began <= LEVEL_SECONDS
        present = _busy(client, map(settings.group, STAGES))
        missing = [stage for stage in STAGES if settings.group(stage) not in present]
        heard = heard if missing else now
        tell(f"generation {settings.generation} has {left} records to go to where the live one was")
        if now - heard > ABSENT_SECONDS:
            raise Unavailable(
                f"no worker folds the {' and '.join(missing)} of generation {settings.generation}, which is {left} "
                "records behind: start one with the code and configuration it was folded by, then "
                f"`refold generations switch {settings.generation}`"
            )
        time.sleep(LOOK)


def _reached(client: KafkaAdminClient, settings: Settings) -> dict[tuple[str, str], dict[int, int]]:
    return {
        (stage, source): committed(client, settings.group(stage), settings.topic(source))
        for stage in STAGES
        for source in sources(stage)
    }


def _busy(client: KafkaAdminClient, groups: Iterable[str]) -> list[str]:
    """Return those of the groups that have members; to describe one would warn of what Faust writes there."""
    states = {group["group_id"]: group["group_state"] for group in client.list_groups()}
    return [group for group in groups if states.get(group, "Dead") not in ("Empty", "Dead")]


def _await_leave(client: KafkaAdminClient, settings: Settings, tell: Tell) -> None:
    groups = [settings.group(stage) for stage in STAGES]
    deadline = time.monotonic() + LEAVING_SECONDS
    while busy := _busy(client, groups):
        tell(f"waiting for the workers of {', '.join(busy)} to let go")
        if time.monotonic() > deadline:
            raise Unavailable(
                f"workers go on in {', '.join(busy)}: stop them, then `refold generations drop "
                f"{settings.generation}` again"
            )
        time.sleep(LOOK)
    for group, outcome in client.delete_groups(groups).items():
        if outcome not in ("OK", GroupIdNotFoundError.__name__):
            raise Unavailable(f"the broker does not delete group {group!r}: {outcome}")


def _delete_topics(client: KafkaAdminClient, names: set[str]) -> None:
    if not names:
        return
    for topic in client.delete_topics(sorted(names), raise_errors=False)["topics"]:
        if topic["error_code"] not in (0, UnknownTopicOrPartitionError.errno):
            reason = for_code(topic["error_code"]).__name__
            raise Unavailable(f"the broker does not delete topic {topic['name']!r}: {reason}")


def _said(parts: set[str]) -> str:
    return " ".join(sorted(parts)) or "nothing else"


def _now() -> int:
    return time.time_ns() // 1_000_000
