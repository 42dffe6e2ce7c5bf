"""Events: what people did, the only thing Refold ever learns from."""

from collections.abc import Collection, Iterable

import msgspec

from streams.checks import PATTERN, Id, Kind, Millis, Name, Text, check_ids, check_time
from streams.errors import Refused
from streams.exposures import EXPOSURE, Exposures

VERSION = 1
MAX_BATCH = 500  # also the spacing of `origin` numbers: offset * 512 + index
MAX_CATEGORIES = 8
MAX_CONTEXT = 16
SESSION = "session:"  # before a session's id where it stands for a user


class Event(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """One fact in the life of a user; `at` is event time in ms since 1970.

    `categories` are those of the item: a fold sees only its own row and its record, so what it needs is said
    in the record (docs/adr/0002). `request_id` names the slate the event answers. `exposures` come with the reserved
    type `exposure` alone: which arms of experiments the list was shown under.
    """

    v: int = VERSION
    event_id: Id
    type: Kind
    at: Millis
    user_id: Id | None = None
    session_id: Id | None = None
    item_id: Id | None = None
    value: float | None = None
    request_id: Id | None = None
    surface: Kind | None = None
    position: int | None = None
    categories: tuple[Id, ...] = ()
    context: dict[Name, Text] = {}
    exposures: Exposures = ()

    @property
    def user(self) -> str:
        """The key of the event: the user's id, or the session's for someone unknown."""
        return self.user_id if self.user_id is not None else f"{SESSION}{self.session_id}"


_names: set[str] = (
    set()
)  # types and surfaces that keep the pattern; a pattern for each event would cost a third
_decoder = msgspec.msgpack.Decoder(list[Event])
_left = msgspec.msgpack.Decoder(list[Event | None])
_raw = msgspec.msgpack.Decoder(list[msgspec.Raw])
_encoder = msgspec.msgpack.Encoder()
NIL = msgspec.Raw(b"\xc0")


def check(event: Event, now: int) -> Event:
    """Return the event if it keeps the contract, else raise Refused; `now` in ms."""
    if event.v != VERSION:
        raise Refused(f"event version {event.v} is unknown; this Refold reads version {VERSION}")
    if event.user_id is None and event.session_id is None:
        raise Refused("an event needs a user_id or a session_id")
    for name in (event.type, event.surface):
        if name is not None and name not in _names:
            _check_name(name)
    check_ids(event.event_id, event.user_id, event.session_id, event.item_id, event.request_id)
    check_time(event.at, now)
    if event.value is not None and not -1e12 < event.value < 1e12:
        raise Refused(f"value={event.value} is not a finite number below 1e12")
    if len(event.categories) > MAX_CATEGORIES:
        raise Refused(f"{len(event.categories)} categories; an event carries at most {MAX_CATEGORIES}")
    if len(event.context) > MAX_CONTEXT:
        raise Refused(f"{len(event.context)} context fields; an event carries at most {MAX_CONTEXT}")
    if event.position is not None and not 0 <= event.position < 10_000:
        raise Refused(f"position={event.position} is outside 0..9999")
    if event.categories:
        check_ids(*event.categories)
    if event.exposures and event.type != EXPOSURE:
        raise Refused(f"an event of type {event.type!r} has exposures; only {EXPOSURE!r} carries them")
    return event


def _check_name(name: str) -> None:
    if not PATTERN.fullmatch(name):
        raise Refused(f"{name[:64]!r} is not a name: a-z first, then a-z, 0-9, _ . or -, at most 64")
    if len(_names) < 1024:
        _names.add(name)


def encode(events: Iterable[Event]) -> bytes:
    """Return the record of a batch."""
    return _encoder.encode(list(events))


def decode(value: bytes | None, now: int) -> list[Event]:
    """Return the events of a record of the log; raises Refused with the reason.

    A batch with one bad event is refused whole: its good events stand in the dead letter beside the bad one,
    and `refold dead-letters resend` sends them on.

    >>> click = Event(event_id="e", type="click", at=1_700_000_000_000, user_id="u")
    >>> decode(encode([click]), now=1_700_000_000_000) == [click]
    True
    """
    if not value:
        raise Refused("an empty record is not a batch of events")
    try:
        events = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"not a batch of events: {error}") from None
    if not 1 <= len(events) <= MAX_BATCH:
        raise Refused(f"a batch holds 1..{MAX_BATCH} events, this one {len(events)}")
    for event in events:
        check(event, now)
    return events


def decode_left(value: bytes | None, now: int) -> list[tuple[int, Event]]:
    """Return what is left of a batch that events were taken out of, each with its index; raises Refused.

    >>> click = Event(event_id="e", type="click", at=1_700_000_000_000, user_id="u")
    >>> decode_left(without(encode([click, click]), {0}), now=1_700_000_000_000) == [(1, click)]
    True
    """
    try:
        events = _left.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"not a batch of events: {error}") from None
    return [(index, check(event, now)) for index, event in enumerate(events) if event is not None]


def without(value: bytes, indexes: Collection[int]) -> bytes:
    """Return a record with nil in the place of some of its events, the others byte for byte as they are."""
    return _encoder.encode([NIL if at in indexes else event for at, event in enumerate(_raw.decode(value))])


def salvage(value: bytes, now: int) -> tuple[list[Event], list[tuple[int, str]]]:
    """Split a refused record into its good events and the (index, reason) of each bad one; raises Refused."""
    try:
        parts = _raw.decode(value)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(f"not a batch of events: {error}") from None
    good, bad = [], []
    for index, part in enumerate(parts):
        try:
            good.append(check(msgspec.msgpack.decode(part, type=Event), now))
        except (Refused, msgspec.DecodeError, UnicodeDecodeError) as error:
            bad.append((index, str(error)))
    return good, bad
