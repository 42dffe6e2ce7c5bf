"""Slates: what the API served, logged after the answer; the unit of truth for learning and experiments."""

from typing import Literal

import msgspec

from streams.errors import Refused

VERSION = 1


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """One place of a slate; `features` are in the order of the slate's `features`."""

    item_id: str
    position: int
    score: float
    propensity: float
    source: str
    features: tuple[float, ...] = ()


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a slate was the answer to: `operation` as the API names it, `beside` the item of `similar`.

    A session that came with a request is not kept, nor are the candidates of `rank`.
    """

    operation: Literal["recommend", "recommendAnonymous", "similar", "popular", "rank"] = "recommend"
    n: int
    categories: tuple[str, ...] = ()
    context: dict[str, str] = {}
    exclude: tuple[str, ...] = ()
    beside: str = ""


class Reached(msgspec.Struct, frozen=True, array_like=True):
    """How far rows that an API process read had folded their sources: next offsets, partition by partition.

    -1 where that is not certain, as in the middle of a flush. `items` are folded from the catalogue and from touches,
    `popular` from touches, `learned` from examples. `generation` is that of the state.
    """

    generation: int = 0
    items: tuple[tuple[int, int], ...] = ()
    popular: tuple[int, ...] = ()
    learned: tuple[int, ...] = ()


class Read(msgspec.Struct, frozen=True, array_like=True):
    """What the features of a slate were computed from, `at` a time (ms).

    `user` is the offset in `events` of the last record folded into the user's row, -1 for none. `guessed` are the
    places whose item was so little known that what is said of it had a part. `session` tells that one came along.
    """

    at: int
    user: int = -1
    state: Reached = Reached()
    guessed: tuple[int, ...] = ()
    session: bool = False


class Slate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One answer; `same_as` names an earlier slate that was served again from the cache (then `items` is empty).

    `asked` is missing in slates from before it was written down. `forced` names the arms that a test asked for, `alike`
    the experiments whose other arms would have shown the same list. `teams` tells of each item of an interleaved list
    which of the two rankings chose it, 0 or 1, -1 for neither. `read` comes with features, but for slates from before
    it was written down.
    """

    v: int = VERSION
    request_id: str
    user_id: str
    at: int
    surface: str
    rung: str
    arms: dict[str, str] = {}
    models: dict[str, str] = {}
    same_as: str = ""
    asked: Asked | None = None
    features: tuple[str, ...] = ()
    items: tuple[Shown, ...] = ()
    forced: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()
    teams: tuple[int, ...] = ()
    read: Read | None = None


_decoder = msgspec.msgpack.Decoder(Slate)
_encoder = msgspec.msgpack.Encoder()


def encode(slate: Slate) -> bytes:
    """Return the record of a slate."""
    return _encoder.encode(slate)


def decode(value: bytes) -> Slate:
    """Return the slate of a record; raises Refused with the reason."""
    try:
        slate = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"not a slate: {error}") from None
    if slate.v != VERSION:
        raise Refused(f"slate version {slate.v} is unknown; this Refold reads version {VERSION}")
    return slate
