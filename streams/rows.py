"""Rows: the bytes of a table's values, MessagePack with an extension type for vectors.

A row is trusted (only workers write changelogs) but versioned: a row of another version is never guessed at.
"""

from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from streams.errors import StateError

VECTOR = 1  # extension type: little-endian float32, one after the other

Vector = npt.NDArray[np.float32]


def vector(numbers: bytes) -> msgpack.ExtType:
    """Return what packs as a vector, of the bytes of its numbers: in half the time that an array takes."""
    return msgpack.ExtType(VECTOR, numbers)


def _default(value: Any) -> msgpack.ExtType:
    if isinstance(value, np.ndarray) and value.dtype == np.float32:
        return vector(value.tobytes())
    raise TypeError(f"a row cannot hold a {type(value).__name__}")


def _hook(code: int, data: bytes) -> Any:
    if code == VECTOR:
        return np.frombuffer(data, dtype="<f4")
    raise StateError(f"a row holds the unknown extension type {code}; rebuild the table")


_packer = msgpack.Packer(default=_default, use_bin_type=True, autoreset=True)


def pack(version: int, fields: tuple[Any, ...]) -> bytes:
    """Return the bytes of a row.

    >>> unpack(1, pack(1, ("a", 2)))
    ['a', 2]
    """
    packed: bytes = _packer.pack((version, *fields))
    return packed


def unpack(version: int, row: bytes) -> list[Any]:
    """Return the fields of a row; vectors come back read-only. Raises StateError on another version."""
    try:
        fields: Any = msgpack.unpackb(row, ext_hook=_hook, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise StateError(
            f"a row of {len(row)} bytes is not MessagePack: {error}; rebuild the table"
        ) from None
    if not isinstance(fields, list) or not fields:
        raise StateError(f"a row of {len(row)} bytes holds no fields; rebuild the table")
    if fields[0] != version:
        raise StateError(f"a row has version {fields[0]!r}, this code reads {version}; rebuild the table")
    found: list[Any] = fields[1:]
    return found
