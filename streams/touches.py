"""Touches: what the user agent tells the item agent, each with its origin: touches of items, outcomes of trials.

One record goes to one partition and holds, in origin order, everything one events partition had to say to it since
the last flush. `origin` is offset * 512 + index of the event, so a touch sent twice (a replay after a crash) is known
by the row's mark for that origin partition and folded once. Touches go to the partition of their item, outcomes to the
one with the number of the events partition: they come from there alone, in order.
"""

from collections.abc import Sequence

import msgspec

from streams.errors import Refused

VERSION = 3
HUGE = 1e100  # no sum of values comes near it, and its square can still be added up


def origin_of(offset: int, index: int) -> int:
    """Return the number that orders every event of one partition of `events`."""
    return offset << 9 | index


class Touch(msgspec.Struct, frozen=True, array_like=True, gc=False, tag_field="of", tag=0):
    """An event as its item sees it; `contexts` are the keys of `popular` it counts for."""

    origin: int
    item: str
    type: str
    at: int
    weight: float
    position: int
    surface: str
    contexts: tuple[str, ...]


class Outcome(msgspec.Struct, frozen=True, array_like=True, gc=False, tag_field="of", tag=1):
    """How a user's part in an experiment changed: a constant 1 and the measures `names`, before and after.

    Empty `before`, they came to the arm; empty `after`, they left it.
    """

    origin: int
    experiment: str
    version: int
    arm: str
    names: tuple[str, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]

    def __post_init__(self) -> None:
        """Raise ValueError, which a decoder takes for a refusal, where the numbers are none of these measures."""
        for vector in (self.before, self.after):
            if len(vector) not in (0, len(self.names) + 1) or not all(-HUGE < x < HUGE for x in vector):
                raise ValueError(f"{len(vector)} numbers of {len(self.names)} measures, or none below {HUGE}")


Said = Touch | Outcome


class Touches(msgspec.Struct, frozen=True, array_like=True):
    """One record: the origin's epoch and partition, and its touches in origin order."""

    v: int
    epoch: int
    partition: int
    said: list[Said]


_decoder = msgspec.msgpack.Decoder(Touches)
_encoder = msgspec.msgpack.Encoder()


def encode(epoch: int, partition: int, said: Sequence[Said]) -> bytes:
    """Return the record of what one events partition says to one item partition."""
    return _encoder.encode(Touches(VERSION, epoch, partition, list(said)))


def decode(value: bytes | None) -> Touches:
    """Return the touches of a record; raises Refused with the reason."""
    try:
        touches = _decoder.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"not a batch of touches: {error}") from None
    if touches.v != VERSION:
        raise Refused(f"touches version {touches.v} is unknown; this Refold reads version {VERSION}")
    return touches
