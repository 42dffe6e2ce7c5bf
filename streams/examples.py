"""Examples: what the user agent tells the learner, each with its origin: what was chosen, and after what.

One record goes to one shard and holds, in origin order, everything one events partition had to say since the last
flush. `origin` numbers the event (`streams.touches.origin_of`), so an example said twice is learned once.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Literal

import msgspec

from streams.errors import Refused

VERSION = 1


class Choice(msgspec.Struct, frozen=True, array_like=True, tag_field="kind", tag="c", gc=False):
    """Someone chose `item`, or disliked it when `weight` is negative.

    `after` are the distinct items chosen before, newest first, without `item`; `at` in ms. `known` is how many distinct
    items they had acted on before, and `again` whether they chose this one before, as far as is known. `before` are
    hashes of what they acted on, once their trail is full and where the choice is new (`models.users.User.before`).
    """

    origin: int
    item: str
    after: tuple[str, ...]
    at: int
    weight: float
    known: int = 0
    again: bool = False
    before: bytes = b""


class Seen(msgspec.Struct, frozen=True, array_like=True, tag_field="kind", tag="s", gc=False):
    """What became known of a slate by one event, or by the slate itself when events waited for it.

    `origin` counts in the topic `source`. `request` stands for the slate, `features` for their names (`digest_of`).
    `rows` are the places that `matrix` holds the features of, float32 row by row; of these `fresh` are now known to be
    seen, and `chosen` names (action, place). `at` is when it was shown, in ms.
    """

    origin: int
    source: Literal["events", "slates"]
    at: int
    surface: str
    request: bytes
    features: bytes
    rows: tuple[int, ...]
    fresh: tuple[int, ...]
    chosen: tuple[tuple[str, int], ...]
    matrix: bytes


@lru_cache(maxsize=64)
def digest_of(features: tuple[str, ...]) -> bytes:
    """Return 8 bytes that stand for features of these names in this order."""
    return blake2b("\n".join(features).encode(), digest_size=8).digest()


class Examples(msgspec.Struct, frozen=True, array_like=True):
    """One record: the epoch and partition of `events` it speaks of, and its examples in origin order."""

    v: int
    epoch: int
    partition: int
    said: list[Choice | Seen]


_decoder = msgspec.msgpack.Decoder(Examples)
_encoder = msgspec.msgpack.Encoder()


def encode(epoch: int, partition: int, said: Sequence[Choice | Seen]) -> bytes:
    """Return the record of what one events partition says to its shard."""
    return _encoder.encode(Examples(VERSION, epoch, partition, list(said)))


def decode(value: bytes | None) -> Examples:
    """Return the examples of a record; raises Refused with the reason."""
    try:
        examples = _decoder.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"not a batch of examples: {error}") from None
    if examples.v != VERSION:
        raise Refused(f"examples version {examples.v} is unknown; this Refold reads version {VERSION}")
    return examples
