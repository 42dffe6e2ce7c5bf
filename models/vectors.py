"""Item and user vectors by random indexing: learned online, row by row, the same bytes on every replay.

Every item key has a fixed sign vector drawn from its hash. A user's vector is the fading sum of the signs of what
they chose; an item's context is the sum of the vectors users arrived with (Sahlgren 2005, "An introduction to
random indexing"). Items that people reach in the same way have contexts that point the same way; `models.space`
makes the indexed vectors of them. No row reads another row, so each row's own mark suffices.
"""

from functools import lru_cache
from hashlib import blake2b

import numpy as np

from streams.rows import Vector

FADING = 0.85  # share of a user's vector that is left after the next choice
_FADING = np.float32(FADING)


@lru_cache(maxsize=1 << 17)
def signs(key: str, dimensions: int) -> Vector:
    """Return the fixed vector of a key, entries -1 or +1, shape (dimensions,).

    >>> float(signs("a", 64) @ signs("a", 64))
    64.0
    """
    blocks = -(-dimensions // 512)
    digest = b"".join(blake2b(key.encode(), digest_size=64, salt=bytes([n])).digest() for n in range(blocks))
    bits = np.unpackbits(np.frombuffer(digest, dtype=np.uint8), count=dimensions)
    vector = (bits.astype(np.float32) * 2.0) - 1.0
    vector.flags.writeable = False
    return vector


def advance(vector: Vector | None, key: str, dimensions: int) -> Vector:
    """Return a user's vector after choosing `key`; None is a user who chose nothing yet."""
    if vector is None:
        return signs(key, dimensions).copy()
    moved: Vector = vector * _FADING
    moved += signs(key, dimensions)
    return moved


def to_half(vectors: list[Vector]) -> bytes:
    """Return vectors as half floats, row after row, the form in which a record of touches carries them."""
    return np.concatenate(vectors).astype(np.float16).tobytes() if vectors else b""


def from_half(data: bytes, dimensions: int) -> Vector:
    """Return the vectors of `to_half` as float32, shape (n, dimensions)."""
    return np.frombuffer(data, dtype=np.float16).reshape(-1, dimensions).astype(np.float32)
