"""Named arrays as bytes: the form of a trained model. Nothing in it can run, and nothing is read unchecked.

A MessagePack map of `v`, `kind`, `said` (settings of the model) and `arrays`: name, dtype, shape and bytes of each.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from streams.errors import StateError

VERSION = 1
DTYPES = ("|u1", "<i4", "<i8", "<f2", "<f4", "<f8")
Array = npt.NDArray[Any]


class Raw(msgspec.Struct, frozen=True, array_like=True):
    """One array, row after row."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


class Packed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything an artifact holds."""

    v: int
    kind: str
    said: dict[str, Any]
    arrays: dict[str, Raw]


def pack(kind: str, said: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """Return the bytes of named arrays; equal content has equal bytes. Raises StateError on another dtype.

    >>> kind, said, arrays = unpack(pack("ones", {"n": 2}, {"a": np.ones(2, np.float32)}))
    >>> kind, said, arrays["a"]
    ('ones', {'n': 2}, array([1., 1.], dtype=float32))
    """
    raw = {}
    for name in sorted(arrays):
        array = arrays[name]
        if array.dtype.str not in DTYPES:
            raise StateError(f"array {name!r} has dtype {array.dtype.str}; there are {', '.join(DTYPES)}")
        raw[name] = Raw(array.dtype.str, array.shape, array.tobytes())
    return msgspec.msgpack.encode(Packed(VERSION, kind, dict(sorted(said.items())), raw))


def unpack(data: bytes) -> tuple[str, dict[str, Any], dict[str, Array]]:
    """Return kind, settings and arrays (not writable) of packed bytes; raises StateError, naming what is wrong."""
    try:
        packed = msgspec.msgpack.decode(data, type=Packed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StateError(f"not a trained model: {error}") from None
    if packed.v != VERSION:
        raise StateError(f"a trained model of version {packed.v}; this release reads {VERSION}")
    arrays = {}
    for name, raw in packed.arrays.items():
        if raw.dtype not in DTYPES or len(raw.shape) > 4 or any(side < 0 for side in raw.shape):
            raise StateError(f"array {name!r} of dtype {raw.dtype!r} and shape {raw.shape} is none of ours")
        if len(raw.data) != prod(raw.shape) * np.dtype(raw.dtype).itemsize:
            raise StateError(f"array {name!r} of shape {raw.shape} has {len(raw.data)} bytes")
        arrays[name] = np.frombuffer(raw.data, dtype=raw.dtype).reshape(raw.shape)
    return packed.kind, packed.said, arrays


def named(what: str, arrays: Mapping[str, Array], names: Sequence[str]) -> None:
    """Raise StateError, which begins with `what`, unless the arrays have just these names."""
    if sorted(arrays) != sorted(names):
        raise StateError(f"{what} the arrays {', '.join(names)}, not {', '.join(sorted(arrays))}")


def shaped(arrays: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise StateError, naming the array, unless each is of finite float32 and has its shape."""
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != np.float32:
            raise StateError(f"array {name!r} is {array.dtype} {array.shape}, not float32 {shape}")
        if not np.isfinite(array).all():
            raise StateError(f"array {name!r} holds numbers that are not finite")
