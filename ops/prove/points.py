"""One stage of a worker that kills itself at a named point: `python -m ops.prove.points STAGE POINT PASSING`.

The code that runs is the worker's own; what is wrapped here, from outside, are the calls between its parts.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from faust.events import Event

from agents.flush import Flusher
from agents.publisher import Publisher
from agents.restoring import Restoring
from agents.table import Partition
from agents.transport import Consumer
from agents.worker import run
from models.surfaces import load
from streams.changelog import NOTE
from streams.settings import Settings
from streams.topology import STAGES, Stage

EVERY = {
    "folded": "a record is folded, nothing of it is sent",
    "sending": "a batch is handed to the network, not acknowledged",
    "claimed": "a partition is claimed in its changelog, before its first rows",
    "changelog": "a changelog has acknowledged rows that RocksDB lacks",
    "rows": "RocksDB has rows whose source records are not acked",
    "acked": "some of a flush's source records are acked",
    "committing": "offsets are about to be committed",
    "committed": "offsets are committed",
    "restored": "a part of the changelog is restored into RocksDB",
}
SAID = {"said": "touches, erasures or dead letters are acknowledged, their changelog records not sent"}
POINTS: Mapping[Stage, Mapping[str, str]] = {"users": {**EVERY, **SAID}, "items": EVERY, "learner": EVERY}
FEW = {
    "claimed": 2,
    "restored": 1,
    "committing": 3,
    "committed": 3,
}  # most passings until the kill: these are rare
MANY = 8


class Fuse:
    """Kills the process when the point is passed for the `passing`-th time."""

    def __init__(self, point: str, passing: int) -> None:
        self._point = point
        self._left = passing

    def at(self, point: str) -> None:
        """Pass a point."""
        if point == self._point:
            self._left -= 1
            if self._left <= 0:
                print(f"killed at {point}", file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)


def lay(fuse: Fuse) -> None:
    """Wrap the calls between the worker's parts."""
    send, submit, commit = Publisher.send, Publisher._submit, Consumer._commit  # noqa: SLF001 - from outside

    async def sending(self: Publisher, batch: Any, topic: str, partition: int) -> Any:
        sent = await submit(self, batch, topic, partition)
        fuse.at("sending")
        return sent

    async def sent(self: Publisher, topic: str, partition: int, records: Any, headers: Any = ()) -> int:
        listed = list(records)
        last = await send(self, topic, partition, listed, headers)
        claim = not headers and [key for key, _ in listed] == [NOTE]
        fuse.at("changelog" if headers else "claimed" if claim else "said")
        return last

    async def committing(self: Any, offsets: Any) -> Any:
        fuse.at("committing")
        done = await commit(self, offsets)
        fuse.at("committed")
        return done

    Publisher.send, Publisher._submit = sent, sending  # type: ignore[method-assign]  # noqa: SLF001
    Consumer._commit = committing  # noqa: SLF001
    _after(Flusher, "hold", lambda: fuse.at("folded"))
    _after(Partition, "store", lambda: fuse.at("rows"))
    _after(Restoring, "take", lambda: fuse.at("restored"))
    _after(Event, "ack", lambda: fuse.at("acked"))


def _after(owner: Any, name: str, then: Callable[[], None]) -> None:
    inner = vars(owner)[name]  # its own: what it inherits need not be what it calls

    def wrapped(*args: Any, **more: Any) -> Any:
        result = inner(*args, **more)
        then()
        return result

    setattr(owner, name, wrapped)


if __name__ == "__main__":
    lay(Fuse(sys.argv[2], int(sys.argv[3])))
    settings = Settings.from_env()
    run(settings, next(stage for stage in STAGES if stage == sys.argv[1]), load(settings.config).actions)
