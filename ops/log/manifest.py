"""The manifest of an export: what it holds, up to where, and the checksum of every file; written last."""

import hashlib
from pathlib import Path

import msgspec

from streams import durable
from streams.errors import StateError

FORMAT = 1
NAME = "manifest.json"

Spans = dict[str, dict[int, tuple[int, int]]]


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file: records of one partition and one day, `first` and `last` their outermost offsets."""

    path: str
    topic: str
    partition: int
    first: int
    last: int
    records: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """An export; `spans` hold by topic and partition the first offset and the end, `made_at` is in ms.

    `touches` numbers the generation whose touches and examples these are, and `folded` are the positions of the sources
    of users up to which everything that follows from them is here too. `check` is the sha256 of all the rest.
    """

    format: int = FORMAT
    namespace: str
    epoch: int
    partitions: int
    shards: int = 1
    touches: int
    made_at: int
    spans: Spans
    folded: dict[str, dict[int, int]]
    files: tuple[File, ...]
    check: str = ""

    def sealed(self) -> "Manifest":
        """Return the manifest with its checksum."""
        blank = msgspec.structs.replace(self, check="")
        return msgspec.structs.replace(self, check=hashlib.sha256(msgspec.json.encode(blank)).hexdigest())


def read(folder: Path) -> Manifest:
    """Return the manifest of an export; raises StateError when there is none that can be trusted."""
    path = folder / NAME
    try:
        raw = path.read_bytes()
        kind = msgspec.json.decode(raw)["format"]
        if kind != FORMAT:
            raise StateError(
                f"{path} has format {kind}, this release reads {FORMAT}: use the one that wrote it"
            )
        manifest = msgspec.json.decode(raw, type=Manifest)
    except FileNotFoundError:
        raise StateError(
            f"{folder} has no {NAME}: it is no export, or one that was interrupted; make it anew"
        ) from None
    except (OSError, msgspec.DecodeError, KeyError, TypeError) as error:
        raise StateError(f"{path} cannot be read: {error}; take another copy of the export") from None
    if manifest.sealed() != manifest:
        raise StateError(f"{path} differs from its own checksum: take another copy of the export")
    return manifest


def write(folder: Path, manifest: Manifest) -> None:
    """Put a manifest into its place, whole or not at all. Raises OSError."""
    durable.write(folder / NAME, msgspec.json.format(msgspec.json.encode(manifest.sealed())))


def verify(folder: Path, file: File) -> None:
    """Raise StateError unless a file is there with every byte."""
    path = folder / file.path
    try:
        if digest(path) != file.sha256:
            raise StateError(f"{path} differs from its checksum: take another copy of the export")
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error}; take another copy of the export") from None


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
