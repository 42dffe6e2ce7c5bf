"""Scenarios of harm to workers: killed, robbed of their disk, scaled, stopped, killed at every step of a flush."""

import signal
import sys
import time
from collections.abc import Iterable

from ops.prove.cluster import WORKER, Member, wait
from ops.prove.points import FEW, MANY, POINTS
from ops.prove.scene import WORKERS, Scene
from streams.errors import Unavailable

ASLEEP = (
    20.0  # seconds a stopped worker sleeps: twice its session, so that others take over and it wakes a zombie
)
ALONE = "learner"  # has one partition: nobody but who is to be killed may own it


def kill(scene: Scene) -> None:
    """Kill random workers or stages 20 times, under load; their disks stay."""
    for n in range(4 if scene.quick else 20):
        scene.rest(1, 5 if scene.quick else 15)
        if n % 2:  # the others may strike whoever is still coming back
            scene.mended()
        scene.kill(scene.any_worker())


def lose_disk(scene: Scene) -> None:
    """Kill workers and delete their data; every other time one stays away until the others took over."""
    for n in range(2 if scene.quick else 20):
        scene.rest(1, 5)
        name = scene.any_worker()
        scene.lose(name)
        if n % 2 == 0:
            scene.mended()
        scene.cluster.back(name)


def scale(scene: Scene) -> None:
    """Scale workers 1-2-4-3-1 under load."""
    for count in (1, 2, 4, 3, 1):
        scene.cluster.run(f"worker-{n}" for n in range(count))
        scene.recovery.fault()
        scene.mended()
        scene.rest(5, 10)


def pause(scene: Scene) -> None:
    """Stop workers for 20 s: others take the partitions over, and the sleeper wakes as a zombie in mid-flush."""
    for _ in range(1 if scene.quick else 5):
        scene.rest(2, 5)
        with scene.cluster.paused(scene.any_worker()):
            scene.recovery.fault()
            time.sleep(ASLEEP)
        scene.mended()
        scene.figures["pauses"] = scene.figures.get("pauses", 0) + 1


def mixed(scene: Scene) -> None:
    """A little of each: two kills, two disks lost, one of them failing over while another worker is asleep."""
    for _ in range(2):
        scene.rest(1, 3)
        scene.kill(scene.any_worker())
    scene.rest(1, 3)
    lost, asleep = scene.draw.sample(WORKERS, 2)
    scene.lose(lost)
    with scene.cluster.paused(asleep):
        scene.recovery.fault()
        time.sleep(ASLEEP)
    scene.cluster.back(lost)
    scene.mended()
    scene.lose(lost)
    scene.cluster.back(lost)
    scene.figures["pauses"] = 1


def points(scene: Scene) -> None:
    """Kill the stages of a worker at each named point between fold, changelog, RocksDB, ack and commit."""
    cluster = scene.cluster
    cluster.run(())  # who comes instead of a worker has its folder
    others = [(name, stage) for name in WORKERS[1:] for stage in POINTS if stage != ALONE]
    for name, stage in others:
        cluster.add(f"{name}-{stage}", [_stage(stage)], REFOLD_WORKER=name)
    cluster.run(f"{name}-{stage}" for name, stage in others)
    members = []
    for stage, names in POINTS.items():
        commands = [
            [sys.executable, "-m", "ops.prove.points", stage, point, str(scene.draw.randint(1, most))]
            for point, most in _order(scene, stage, names)
        ]
        members.append(cluster.add(f"points-{stage}", [*commands, _stage(stage)], REFOLD_WORKER=WORKERS[0]))
        scene.figures[f"points_{stage}"] = len(commands)
    before, places = cluster.kills, sum(len(member.commands) - 1 for member in members)

    def passed() -> bool:
        died = sum(member.codes.count(-signal.SIGKILL) for member in members)
        while cluster.kills - before < died:
            cluster.kills += 1
            scene.recovery.fault()
        done = died == places
        if not done and not scene.writer.is_alive():
            raise Unavailable(f"the load ended before these points were passed: {_left(members)}")
        return done

    wait(passed, "every point is passed", 900)


def _order(scene: Scene, stage: str, names: Iterable[str]) -> list[tuple[str, int]]:
    """Return the points of a stage in the order drawn, each with the most passings until the kill."""
    order = [(point, FEW.get(point, MANY)) for point in names for _ in range(1 if scene.quick else 3)]
    scene.draw.shuffle(order)
    if stage != ALONE:
        return order
    # It claims its partition once, and what it restores is what it wrote and had not stored when it died.
    followed = {
        "changelog": [("changelog", MANY), ("restored", 1)],
        "claimed": [("claimed", 1)],
        "restored": [],
    }
    return [each for point, most in order for each in followed.get(point, [(point, most)])]


def _stage(stage: str) -> list[str]:
    return [*WORKER, "--stage", stage]


def _left(members: list[Member]) -> str:
    return ", ".join(" ".join(command[-3:]) for member in members for command in member.commands[:-1])
