"""Items: the catalogue's records."""

import msgspec

from streams.checks import Id, Millis, Name, Scalar, Text, check_finite, check_ids
from streams.errors import Refused

VERSION = 1
MAX_TAGS = 32
MAX_ATTRIBUTES = 64
MAX_VECTOR = 2048


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the catalogue says of one item; the record's key is its id. `boost` multiplies its score.

    `vector` says in the client's own terms what the item is like (of its text, or its picture); all items that
    carry one carry one of the same model.
    """

    v: int = VERSION
    title: Text = ""
    categories: tuple[Id, ...] = ()
    tags: tuple[Id, ...] = ()
    published_at: Millis | None = None
    expires_at: Millis | None = None
    available: bool = True
    boost: float = 1.0
    attributes: dict[Name, Scalar] = {}
    vector: tuple[float, ...] = ()


_decoder = msgspec.msgpack.Decoder(Item)
_encoder = msgspec.msgpack.Encoder()


def check(item: Item) -> Item:
    """Return the item if it keeps the contract, else raise Refused."""
    if item.v != VERSION:
        raise Refused(f"item version {item.v} is unknown; this Refold reads version {VERSION}")
    if not 0.0 <= item.boost <= 100.0:
        raise Refused(f"boost={item.boost} is outside 0..100")
    for field, values, most in (("categories", item.categories, 8), ("tags", item.tags, MAX_TAGS)):
        if len(values) > most:
            raise Refused(f"{len(values)} {field}; an item carries at most {most}")
        check_ids(*values)
    if len(item.attributes) > MAX_ATTRIBUTES:
        raise Refused(f"{len(item.attributes)} attributes; an item carries at most {MAX_ATTRIBUTES}")
    check_finite("attributes", item.attributes.values())
    if len(item.vector) > MAX_VECTOR:
        raise Refused(f"a vector of {len(item.vector)} numbers; an item carries at most {MAX_VECTOR}")
    check_finite("vector", item.vector)
    return item


def encode(item: Item) -> bytes:
    """Return the record of an item."""
    return _encoder.encode(item)


def decode(value: bytes) -> Item:
    """Return the item of a record of the catalogue; raises Refused with the reason."""
    try:
        return check(_decoder.decode(value))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"not an item: {error}") from None
