"""Dead letters: refused bytes, where they stood and why; nothing that came in is ever dropped."""

import msgspec

from streams.errors import Refused


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One refused record, whole; `at` is the record's own time in ms."""

    topic: str
    partition: int
    offset: int
    reason: str
    at: int
    key: bytes | None
    value: bytes | None


_decoder = msgspec.msgpack.Decoder(DeadLetter)
_encoder = msgspec.msgpack.Encoder()


def encode(letter: DeadLetter) -> bytes:
    """Return the record of a dead letter."""
    return _encoder.encode(letter)


def decode(value: bytes) -> DeadLetter:
    """Return the dead letter of a record; raises Refused with the reason."""
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"not a dead letter: {error}") from None
