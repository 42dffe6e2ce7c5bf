"""Rings of hashes: bounded, append-only memories of ids, packed as bytes so that a row stores them as they are."""

from hashlib import blake2b


def known(ring: bytearray, digest: bytes) -> bool:
    """Tell whether a digest stands in the ring, at a multiple of its width.

    >>> known(bytearray(b"abcd"), b"bc"), known(bytearray(b"abcd"), b"cd")
    (False, True)
    """
    width = len(digest)
    at = ring.find(digest)
    while at != -1 and at % width:
        at = ring.find(digest, at + 1)
    return at != -1


def remember(ring: bytearray, digest: bytes, most: int) -> None:
    """Append a digest and forget the oldest beyond `most`."""
    ring += digest
    if len(ring) > most * len(digest):
        del ring[: len(digest)]


def digest(key: str, width: int) -> bytes:
    """Return `width` bytes that stand for a key."""
    return blake2b(key.encode(), digest_size=width).digest()
