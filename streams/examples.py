"""Examples: what the user agent tells the learner, each with its origin: what was chosen, and after what.

One record goes to one shard and holds, in origin order, everything one events partition had to say since the last
flush. `origin` numbers the event (`streams.touches.origin_of`), so an example said twice is learned once.
"""

import msgspec

from streams.errors import Refused

VERSION = 1


class Choice(msgspec.Struct, frozen=True, array_like=True, tag_field="kind", tag="c", gc=False):
    """Someone chose `item`, or disliked it when `weight` is negative.

    `after` are the distinct items chosen before, newest first, without `item`; `at` in ms.
    """

    origin: int
    item: str
    after: tuple[str, ...]
    at: int
    weight: float


class Examples(msgspec.Struct, frozen=True, array_like=True):
    """One record: the epoch and partition of `events` it speaks of, and its examples in origin order."""

    v: int
    epoch: int
    partition: int
    said: list[Choice]


_decoder = msgspec.msgpack.Decoder(Examples)
_encoder = msgspec.msgpack.Encoder()


def encode(epoch: int, partition: int, said: list[Choice]) -> bytes:
    """Return the record of what one events partition says to its shard."""
    return _encoder.encode(Examples(VERSION, epoch, partition, said))


def decode(value: bytes | None) -> Examples:
    """Return the examples of a record; raises Refused with the reason."""
    try:
        examples = _decoder.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"not a batch of examples: {error}") from None
    if examples.v != VERSION:
        raise Refused(f"examples version {examples.v} is unknown; this Refold reads version {VERSION}")
    return examples
