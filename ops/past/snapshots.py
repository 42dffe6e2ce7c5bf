"""Snapshots: tables folded up to a moment, kept in a folder each, and never trusted before their checksums agree.

    <data>/snapshots/1795428000000/manifest.json     what the rows are the fold of, SHA-256 of every file and of itself
    <data>/snapshots/1795428000000/users-0.db/...    the tables as `ops/state/scratch.py` has them

A snapshot is made under another name, synced and then renamed, so it is whole or not there.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from models.decay import DAY
from streams import durable
from streams.errors import StateError, Unavailable
from streams.times import written

logger = logging.getLogger(__name__)
VERSION = 1
MANIFEST = "manifest.json"
UNSEALED = ("LOG", "LOG.old.*", "LOCK", MANIFEST)  # RocksDB's diaries and lock are no part of the rows
LINKED = ".sst"  # never changed once written, so two folders may share one

Positions = dict[str, dict[int, int]]  # next offset by source and partition


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the rows beside it are: the fold of `positions`, which hold what was written up to `at` (ms).

    `begin` is where the fold began if not at the log's beginning, `users` those it was restricted to. `identity`
    says how it was folded, `log` by topic which archive stood for its beginning, `files` their SHA-256.
    """

    v: int = VERSION
    at: int
    begin: int = 0
    users: tuple[str, ...] = ()
    identity: dict[str, str]
    log: dict[str, str]
    positions: Positions
    files: dict[str, str] = {}

    def differs(self, identity: Mapping[str, str], log: Mapping[str, str]) -> str:
        """Return why a fold of this log by this code cannot go on from here, empty if it can."""
        if self.begin or self.users:
            return f"it holds only {'a span of the log' if self.begin else 'some users'}"
        for name in sorted({*self.identity, *identity}):
            if self.identity.get(name) != identity.get(name):
                return f"its {name} is {self.identity.get(name)!r}, {identity.get(name)!r} is meant"
        if rewritten := [name for name in log if self.log.get(name) != log[name]]:
            return f"topic {min(rewritten)!r} was rewritten since"
        return ""


class _Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: str
    manifest: msgspec.Raw


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Write the manifest of a folder whose tables are closed, and sync all of it; return it with its files."""
    manifest = msgspec.structs.replace(manifest, files=_digests(folder, sync=True))
    said = msgspec.json.encode(manifest)
    sealed = _Sealed(hashlib.sha256(said).hexdigest(), msgspec.Raw(said))
    durable.write(folder / MANIFEST, msgspec.json.encode(sealed) + b"\n")
    return manifest


def publish(folder: Path, into: Path) -> None:
    """Give a sealed folder its name, so that it outlasts a crash from now on; `into` is new or empty."""
    folder.replace(into)
    durable.sync(into.parent)


def read(folder: Path) -> Manifest:
    """Return the manifest of a folder; raises StateError when there is none that can be trusted."""
    path = folder / MANIFEST
    try:
        sealed = msgspec.json.decode(path.read_bytes(), type=_Sealed)
        if hashlib.sha256(sealed.manifest).hexdigest() != sealed.sha256:
            raise StateError(f"{path} differs from its checksum")
        manifest = msgspec.json.decode(sealed.manifest, type=Manifest)
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}; the folder is no snapshot") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateError(f"{path} is no manifest: {error}") from None
    if manifest.v != VERSION:
        raise StateError(f"{path} has version {manifest.v}, this release reads {VERSION}")
    return manifest


def copy(folder: Path, manifest: Manifest, into: Path) -> None:
    """Put a snapshot's tables into a new folder, sharing what never changes; raises StateError when a byte differs."""
    try:
        shutil.copytree(folder, into, copy_function=_link, ignore=shutil.ignore_patterns(*UNSEALED))
        found = _digests(into)
    except (OSError, shutil.Error) as error:
        raise StateError(f"{folder} cannot be copied to {into}: {error}") from error
    for name in sorted({*found, *manifest.files}):
        if found.get(name) != manifest.files.get(name):
            raise StateError(
                f"{folder / name} {'differs from its checksum' if name in found else 'is missing'}"
            )


def base(
    snapshots: Path, at: int, identity: Mapping[str, str], log: Mapping[str, str], into: Path
) -> Manifest | None:
    """Put the tables of the newest good snapshot of `at` or before into a new folder; None if there is none.

    One that cannot be used is named in the log, and an older one is taken.
    """
    for folder in listed(snapshots):
        if int(folder.name) > at:
            continue
        try:
            return _base(folder, identity, log, into)
        except StateError as error:
            logger.warning("a snapshot is left aside: %s", error)
            shutil.rmtree(into, ignore_errors=True)
    return None


def listed(snapshots: Path) -> list[Path]:
    """Return the snapshots in a folder, the newest first."""
    if not snapshots.is_dir():
        return []
    found = [path for path in snapshots.iterdir() if path.name.isdecimal()]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def prune(snapshots: Path, now: int, keep: int, days: int) -> list[Path]:
    """Remove all but the newest `keep` and the last of each of the last `days` days; return what was removed."""
    found = listed(snapshots)
    last_of: dict[int, Path] = {}
    for path in found:
        last_of.setdefault(int(path.name) // DAY, path)
    kept = {*found[:keep], *(path for day, path in last_of.items() if day > now // DAY - days)}
    return _remove([path for path in found if path not in kept])


def forget(snapshots: Path, log: Mapping[str, str]) -> list[Path]:
    """Remove those of a log that was rewritten since: they hold what was taken out of it."""
    gone = []
    for path in listed(snapshots):
        with contextlib.suppress(StateError):
            held = read(path).log
            if any(held.get(name) != archive for name, archive in log.items()):
                gone.append(path)
    return _remove(gone)


@contextlib.contextmanager
def lock(snapshots: Path) -> Iterator[None]:
    """Keep others from adding and removing, and remove what one that was killed has left; raises Unavailable."""
    snapshots.mkdir(parents=True, exist_ok=True)
    with (snapshots / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(f"another `refold snapshot` works in {snapshots}: wait for it") from None
        for left in snapshots.glob(".*.*"):
            shutil.rmtree(left)
        yield


def _base(folder: Path, identity: Mapping[str, str], log: Mapping[str, str], into: Path) -> Manifest:
    manifest = read(folder)
    if reason := manifest.differs(identity, log):
        raise StateError(f"{folder}: {reason}")
    copy(folder, manifest, into)
    return manifest


def _remove(folders: list[Path]) -> list[Path]:
    for path in folders:
        logger.info("snapshot %s of %s is removed", path, written(int(path.name)))
        shutil.rmtree(path)
    return folders


def _link(source: str, target: str) -> None:
    if source.endswith(LINKED):
        with contextlib.suppress(OSError):  # on another disk it is copied
            os.link(source, target)
            return
    shutil.copyfile(source, target)


def _digests(folder: Path, *, sync: bool = False) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            if sync:
                durable.sync(path)
        elif not any(path.match(pattern) for pattern in UNSEALED):
            with path.open("rb") as file:
                found[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
                if sync:
                    os.fsync(file.fileno())
    return found
