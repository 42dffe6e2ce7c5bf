"""Durable: files that are there whole or not at all, also after a loss of power."""

import os
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Put a file into its place, over one that is there. Raises OSError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Let the names in a folder outlast a loss of power. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
