"""Scenarios of harm to what workers rest on: the broker, the disk, the dead-letter topic."""

import errno
import shutil
import subprocess
import time
from pathlib import Path

from ops.broker import topics
from ops.log import dead_letters
from ops.prove.cluster import wait
from ops.prove.scene import WORKERS, Scene
from streams.errors import Unavailable

FULL_MB = 96  # size of the volume that is filled


def broker(scene: Scene) -> None:
    """Kill the broker under load and start it again on its data."""
    for _ in range(1 if scene.quick else 5):
        scene.rest(5, 10)
        scene.cluster.kill_broker()
        scene.recovery.fault()
        scene.rest(1, 4)
        scene.cluster.start_broker()
        scene.mended()


def broker_away(scene: Scene) -> None:
    """Take the broker away for two minutes; nobody can write meanwhile."""
    scene.rest(5, 10)
    with scene.silence():
        scene.cluster.kill_broker()
        time.sleep(30 if scene.quick else 120)
        scene.cluster.start_broker()
    scene.recovery.fault()  # counted from when the broker is back
    scene.mended()


def dead_letters_away(scene: Scene) -> None:
    """Delete the dead-letter topic while poison comes in, and make it again later."""
    settings = scene.cluster.settings
    name = settings.topic("dead-letters")
    scene.rest(5, 10)
    with scene.silence():
        scene.cluster.settled()
        scene.buried += dead_letters.listed(settings)  # they go with the topic, by our own hand
        with topics.admin(settings) as client:
            client.delete_topics([name])
            wait(lambda: name not in client.list_topics(), "the topic is gone", 30)
    time.sleep(30 if scene.quick else 90)
    topics.create(settings)
    scene.recovery.fault()  # counted from when the topic is back
    scene.mended()


def disk_full(scene: Scene) -> None:
    """Fill the volume of a worker, its log included, until it ends; then give space back."""
    cluster, name = scene.cluster, WORKERS[0]
    home, logs = cluster.settings.data / name, cluster.settings.data / "logs" / name
    cluster.run(WORKERS[1:])
    wait(lambda: cluster.members[name].process is None, f"{name} has stopped", 30)
    shutil.rmtree(home)
    shutil.rmtree(logs)
    _mount(scene, home)
    (home / "logs").mkdir()
    logs.symlink_to(home / "logs")
    cluster.run(WORKERS)
    for _ in range(1 if scene.quick else 3):
        scene.rest(10, 15)
        if not scene.writer.is_alive() and "times_full" in scene.figures:
            break  # recovery took so long that all is written: who has nothing to fold needs no disk
        ballast, ended = home / "ballast", len(cluster.members[name].codes)
        _fill(ballast)
        scene.recovery.fault()
        wait(lambda: len(cluster.members[name].codes) > ended, f"{name} has ended", 120)  # noqa: B023
        time.sleep(10)
        ballast.unlink()
        scene.recovery.fault()
        scene.mended()
        scene.figures["times_full"] = scene.figures.get("times_full", 0) + 1
    words = [word for word in cluster.members[name].words if "space" in word.lower()]
    if not words:
        scene.differences.append(f"no last word tells of the full disk: {cluster.members[name].words}")


def _fill(file: Path) -> None:
    """Write until nothing more fits; the worker writes beside us, so the room left cannot be asked for."""
    with file.open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(1 << 16))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def _mount(scene: Scene, folder: Path) -> None:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={FULL_MB}m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False).returncode:  # noqa: S603 - the command is ours
        raise Unavailable("a volume to be filled cannot be mounted: run this scenario as root")
    scene.later.callback(subprocess.run, ["umount", "-l", str(folder)], check=True)
