"""Touches: what the user agent tells the item agent, re-keyed by item, each with its origin.

One record goes to one item partition and holds, in origin order, everything one events partition had to say to
it since the last flush. `origin` is offset * 512 + index of the event, so a touch sent twice (a replay after
a crash) is known by the item's mark for that origin partition and folded once.
"""

import msgspec

from streams.errors import Refused

VERSION = 2


def origin_of(offset: int, index: int) -> int:
    """Return the number that orders every event of one partition of `events`."""
    return offset << 9 | index


class Touch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event as its item sees it; `contexts` are the keys of `popular` it counts for."""

    origin: int
    item: str
    type: str
    at: int
    weight: float
    position: int
    surface: str
    contexts: tuple[str, ...]


class Touches(msgspec.Struct, frozen=True, array_like=True):
    """One record: the origin's epoch and partition, and its touches in origin order."""

    v: int
    epoch: int
    partition: int
    said: list[Touch]


_decoder = msgspec.msgpack.Decoder(Touches)
_encoder = msgspec.msgpack.Encoder()


def encode(epoch: int, partition: int, said: list[Touch]) -> bytes:
    """Return the record of what one events partition says to one item partition."""
    return _encoder.encode(Touches(VERSION, epoch, partition, said))


def decode(value: bytes | None) -> Touches:
    """Return the touches of a record; raises Refused with the reason."""
    try:
        touches = _decoder.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"not a batch of touches: {error}") from None
    if touches.v != VERSION:
        raise Refused(f"touches version {touches.v} is unknown; this Refold reads version {VERSION}")
    return touches
