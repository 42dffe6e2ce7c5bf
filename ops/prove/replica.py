"""The scenario of harm to an API process: killed, its RocksDB deleted, its index snapshot flipped, under load.

What it serves meanwhile is kept, and at the end held against the changelog: each answer must be one that the rows of
that user or item gave at some time.
"""

import http.client
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from api.columns import Columns
from api.lore import Lore
from api.views import item_view, user_view
from models.items import ItemRow
from models.users import User
from ops.processes import free_port
from ops.prove.cluster import wait
from ops.prove.scene import Scene
from ops.state import dump
from streams.changelog import NOTE
from streams.log import Log
from streams.settings import Settings

NAME = "api-0"
PARTS = ("base", "manifest", "based", "slots", "vectors")  # files of a snapshot
ASKED = 200  # users, and as many items, that are asked for
UNLEARNED = Lore(Columns())
TABLES: dict[str, Callable[[str, bytes, int], Any]] = {
    "users": lambda key, row, at: user_view(key, User.from_row(row), at),
    "items": lambda key, row, at: item_view(key, ItemRow.from_row(row), at, UNLEARNED),
}


class Asker(threading.Thread):
    """Asks for users, items and lists all the time within its block and keeps what was answered."""

    def __init__(self, scene: Scene, port: int) -> None:
        super().__init__(name="asker", daemon=True)
        self.answers: list[tuple[str, str, dict[str, Any]]] = []
        self.lists = 0
        self.faults: list[str] = []
        self._draw = random.Random(scene.draw.random())
        self._port = port
        self._closing = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self.join()

    def run(self) -> None:
        """Ask until the end of the block."""
        while not self._closing.wait(0.02):
            user, item = self._draw.randrange(ASKED), self._draw.randrange(ASKED)
            self._look("users", f"user-{user}")
            self._look("items", f"item-{item}")
            self._list(f"user-{user}")

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body of an answer; status 0 while nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def _look(self, table: str, key: str) -> None:
        status, body = self.get(f"/v1/{table}/{key}")
        if status == 200:
            self.answers.append((table, key, json.loads(body)))
        elif status not in (0, 404):
            self.faults.append(f"{table}/{key} was answered with {status}: {body[:200]!r}")

    def _list(self, user: str) -> None:
        status, body = self.get(f"/v1/recommend/{user}?n=10")
        if status == 200:
            self.lists += 1
        elif status:
            self.faults.append(f"the list of {user} was answered with {status}: {body[:200]!r}")


def replica(scene: Scene) -> None:
    """Kill an API process, delete its tables, flip its snapshot: it never serves wrong state and never dies of it."""
    cluster, port = scene.cluster, free_port()
    home = cluster.settings.data / NAME
    environment = {"REFOLD_PORT": str(port), "REFOLD_API_NAME": NAME}
    member = cluster.add(NAME, [[sys.executable, "-m", "ops.cli", "api"]], **environment)
    with Asker(scene, port) as asker:
        _ready(asker)
        for _ in range(1 if scene.quick else 4):
            scene.rest(2, 6)
            cluster.kill(NAME)
            _ready(asker)
            scene.rest(2, 6)
            cluster.lose(NAME)
            cluster.back(NAME)
            _ready(asker)
            for part in PARTS[:2] if scene.quick else PARTS:
                scene.rest(2, 6)
                member.wanted = False  # told to stop, it leaves a snapshot
                wait(lambda: member.process is None, f"{NAME} has stopped", 30)
                _flip(scene, home / "space", part)
                member.wanted = True
                _ready(asker)
        scene.writer.join()
    cluster.settled()  # the last list has been asked for: each is a slate, and a slate is folded too
    wait(lambda: _health(asker).get("lag") == 0, "the replica has read everything", 60)
    time.sleep(1)
    scene.differences += _stale(cluster.settings, asker)[:10]
    for code in member.codes:
        if code != -9:
            scene.differences.append(f"the API process ended with code {code}: {member.words}")
    scene.differences += asker.faults[:10]
    scene.differences += _wrong(cluster.settings, asker.answers)[:10]
    done = subprocess.run(  # noqa: S603 - the command is ours
        [sys.executable, "-m", "ops.prove.flips", "23" if scene.quick else "1"],
        check=True,
        capture_output=True,
    )
    flipped = json.loads(done.stdout)
    scene.differences += [f"a flipped snapshot was taken: {place}" for place in flipped["taken"]]
    scene.figures |= {"answers": len(asker.answers), "lists": asker.lists, "flips": flipped["flips"]}


def _ready(asker: Asker) -> None:
    wait(lambda: asker.get("/health/ready")[0] == 200, f"{NAME} is ready", 120)


def _health(asker: Asker) -> dict[str, Any]:
    status, body = asker.get("/health/ready")
    return json.loads(body) if status == 200 else {}


def _flip(scene: Scene, space: Path, part: str) -> None:
    """Flip a byte of every snapshot's part."""
    snapshots = sorted(space.glob("[0-9]*"))
    if not snapshots:
        scene.differences.append("the API process left no snapshot")
    for snapshot in snapshots:
        data = bytearray((snapshot / part).read_bytes())
        if data:
            data[scene.draw.randrange(len(data))] ^= 1 << scene.draw.randrange(8)
            (snapshot / part).write_bytes(data)


def _wrong(settings: Settings, answers: list[tuple[str, str, dict[str, Any]]]) -> list[str]:
    """Return the answers that are not what some row of the changelog looked like at that time."""
    asked = {(table, key) for table, key, _ in answers}
    rows: dict[tuple[str, str, str], bytes] = {}
    with Log(settings) as log:
        for table in TABLES:
            for partition in range(settings.partitions):
                for batch in log.changelog(table, partition):
                    for record in batch:
                        if record.key == NOTE or record.key is None or record.value is None:
                            continue
                        key = record.key.decode()
                        if (table, key) in asked:
                            rows[table, key, _marks(_view(table, key, record.value, 0))] = record.value
    wrong = []
    for table, key, said in answers:
        row = rows.get((table, key, _marks(said)))
        if row is None or _view(table, key, row, said["at"]) != _of_row(said):
            wrong.append(f"{table}/{key} never looked so: {json.dumps(said)[:300]}")
    return wrong


def _stale(settings: Settings, asker: Asker) -> list[str]:
    """Return the users and items whose answer, when all is read, is not the newest row."""
    stale = []
    for table in TABLES:
        for partition in range(settings.partitions):
            for raw, row in dump.changelog(settings, table, partition).rows.items():
                key = raw.decode()
                status, body = asker.get(f"/v1/{table}/{key}")
                said = json.loads(body)
                expected = _view(table, key, row, said.get("at", 0))
                if status == 404 and not expected["first_at"] and not expected.get("profile"):
                    continue  # an erased user is not known
                if _of_row(said) != expected:
                    stale.append(f"{table}/{key} is {body[:300]!r}, expected {json.dumps(expected)[:300]}")
    return stale


def _marks(view: Mapping[str, Any]) -> str:
    """Return what tells one state of a row from another: the offsets it reflects."""
    return json.dumps(view["offsets"])


def _view(table: str, key: str, row: bytes, at: int) -> Any:
    return _of_row(json.loads(msgspec.json.encode(TABLES[table](key, row, at))))


def _of_row(view: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one row alone decides: neighbours come from another table, which moves on by itself."""
    return {name: value for name, value in view.items() if name != "related"}
