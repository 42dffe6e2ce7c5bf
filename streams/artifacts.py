"""Artifacts: what was trained, as files named by their own SHA-256, in a folder or behind an fsspec URL.

A name says the content, so a file is written once and never changed, and what is read is checked against its name.
"""

from hashlib import sha256
from pathlib import Path
from typing import Any

from streams import durable
from streams.errors import SettingsError, StateError, Unavailable
from streams.settings import Settings

MOST = 1 << 30  # bytes of one artifact


def place(settings: Settings) -> str:
    """Return where artifacts are kept: REFOLD_ARTIFACTS, or `artifacts` in the data folder."""
    return settings.artifacts or str(settings.data / "artifacts")


def name_of(data: bytes) -> str:
    """Return the name of an artifact, the SHA-256 of its content in hex."""
    return sha256(data).hexdigest()


def save(settings: Settings, data: bytes) -> str:
    """Store an artifact and return its name; raises Unavailable."""
    name = name_of(data)
    try:
        if "://" in place(settings):
            files, root = _remote(place(settings))
            files.makedirs(root, exist_ok=True)
            files.pipe_file(f"{root}/{name}", data)
        else:
            folder = Path(place(settings))
            folder.mkdir(parents=True, exist_ok=True)
            durable.write(folder / name, data)
    except OSError as error:
        raise Unavailable(f"artifact {name[:12]} cannot be stored at {place(settings)}: {error}") from error
    return name


def load(settings: Settings, name: str, size: int) -> bytes:
    """Return an artifact of `size` bytes; raises StateError when it is missing or is not what its name says."""
    if not 0 < size <= MOST:
        raise StateError(f"artifact {name[:12]} is said to have {size} bytes; 1 to {MOST} are read")
    try:
        if "://" in place(settings):
            files, root = _remote(place(settings))
            data: bytes = files.cat_file(f"{root}/{name}", start=0, end=size + 1)
        else:
            with (Path(place(settings)) / name).open("rb") as file:
                data = file.read(size + 1)
    except FileNotFoundError:
        raise StateError(f"artifact {name[:12]} is not at {place(settings)}: train the model again") from None
    except OSError as error:
        raise Unavailable(f"artifact {name[:12]} cannot be read at {place(settings)}: {error}") from error
    if len(data) != size or name_of(data) != name:
        raise StateError(
            f"artifact {name[:12]} at {place(settings)} is not what its SHA-256 says: train the model again"
        )
    return data


def _remote(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - an extra

        files, root = url_to_fs(url)
    except ImportError as error:
        raise SettingsError(f"REFOLD_ARTIFACTS={url!r}: {error}; `pip install refold[remote]`") from None
    except ValueError as error:
        raise SettingsError(f"REFOLD_ARTIFACTS={url!r}: {error}") from None
    return files, root.rstrip("/")
