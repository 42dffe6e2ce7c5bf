"""Snapshots on disk: whole or not there, and never trusted before their checksums agree.

    folder/00000007/manifest      sha256 of what follows, then MessagePack: version, meta, sha256 of each part
    folder/00000007/<part>        one file per part

A snapshot is written under another name, synced, then renamed, so a crash leaves the older ones as they were.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgpack

from streams import durable
from streams.errors import StateError

T = TypeVar("T")
VERSION = 1
KEEP = 3
MANIFEST = "manifest"


def write(folder: Path, parts: Mapping[str, Callable[[Path], object]], meta: Mapping[str, Any]) -> Path:
    """Write the next snapshot, each part by its function of a path; keep the newest three. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    _remove(folder.glob(".*.tmp"))
    name = f"{max((int(s.name) for s in _snapshots(folder)), default=0) + 1:08d}"
    temporary = folder / f".{name}.tmp"
    temporary.mkdir()
    sums = {}
    for part, write_to in parts.items():
        write_to(temporary / part)
        with (temporary / part).open("rb") as file:
            os.fsync(file.fileno())
            sums[part] = hashlib.file_digest(file, "sha256").digest()
    body = msgpack.packb({"version": VERSION, "sha256": sums, "meta": dict(meta)})
    durable.write(temporary / MANIFEST, hashlib.sha256(body).digest() + body)
    final = temporary.rename(folder / name)
    durable.sync(folder)
    _remove(_snapshots(folder)[KEEP:])
    return final


def read(snapshot: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the parts and the caller's meta of one snapshot. Raises StateError when a byte differs."""
    try:
        manifest = (snapshot / MANIFEST).read_bytes()
        checksum, body = manifest[:32], manifest[32:]
        if hashlib.sha256(body).digest() != checksum:
            raise StateError(f"{snapshot / MANIFEST} differs from its checksum")
        head = msgpack.unpackb(body)
        if head["version"] != VERSION:
            raise StateError(f"{snapshot} has format {head['version']}, this release reads {VERSION}")
        parts = {}
        for part, checksum in head["sha256"].items():
            parts[part] = (snapshot / part).read_bytes()
            if hashlib.sha256(parts[part]).digest() != checksum:
                raise StateError(f"{snapshot / part} differs from its checksum")
    except OSError as error:
        raise StateError(f"{snapshot} cannot be read: {error}") from error
    else:
        return parts, head["meta"]


def newest(folder: Path, restore: Callable[[dict[str, bytes], dict[str, Any]], T]) -> T | None:
    """Restore the newest snapshot that is good, or return None where there is none at all.

    `restore` may refuse one with StateError too. Raises StateError with every reason when all are refused.
    """
    reasons = []
    for snapshot in _snapshots(folder):
        try:
            return restore(*read(snapshot))
        except StateError as error:
            reasons.append(str(error))
    if reasons:
        raise StateError(f"no good snapshot, rebuild from the log and remove {folder}: {'; '.join(reasons)}")
    return None


def _snapshots(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        (p for p in folder.iterdir() if p.name.isdecimal()), key=lambda p: int(p.name), reverse=True
    )


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
