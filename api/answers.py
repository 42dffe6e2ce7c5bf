"""Requests for lists and the answers to them, as the engine and the routes exchange them."""

from typing import NamedTuple

import msgspec

from streams.events import Event


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a list; `user_id` is empty for someone anonymous, whose `session` events come along.

    `at` is the time of the request in ms; `categories` keeps only items of one of them; `exclude` holds item ids.
    `offered` are item ids to be ranked, best first to the client, where no others shall be.
    `request_id` names the answer and draws what is explored; one is made when it is empty. `forced` are arms of
    experiments, for a test: such a list is no exposure and is not kept.
    """

    at: int
    user_id: str = ""
    session: tuple[Event, ...] = ()
    n: int = 20
    surface: str = "home"
    categories: tuple[str, ...] = ()
    context: dict[str, str] = {}
    exclude: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    explain: bool = False
    request_id: str = ""
    forced: dict[str, str] = {}


class Placed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item of an answer: its score, the source that found it and, when explained, its features.

    `ages` gives, per feature that has one, the age in ms of the state it was computed from; `because` is the one of
    the last choices near which it is chosen most, `why` how it came here other than by its score. `team` tells which of
    two interleaved lists chose it, 0 or 1.
    """

    item_id: str
    score: float
    source: str
    propensity: float = 1.0
    features: dict[str, float] = {}
    ages: dict[str, float] = {}
    because: str = ""
    why: str = ""
    team: int = -1


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A ranked list: who asked, which rung of the ladder served it and why, and what produced it.

    `state` tells how fresh the replica is: `lag` in records, `user_offset` of the last event folded into the
    user's row. `forced` names the arms that were asked for, not drawn. When explained, `experiments` tells why someone
    is in each experiment or not, and `stages` gives milliseconds per stage. An answer from a state of the past says
    with `as_of` (ms) of when, and with `positions` up to which offsets each topic's partitions were folded.
    """

    request_id: str
    user_id: str
    surface: str
    rung: str
    reason: str = ""
    arms: dict[str, str] = {}
    forced: tuple[str, ...] = ()
    models: dict[str, str] = {}
    items: tuple[Placed, ...]
    state: dict[str, int] = {}
    counts: dict[str, int] = {}
    stages: dict[str, float] = {}
    experiments: dict[str, str] = {}
    as_of: int = 0
    positions: dict[str, dict[int, int]] = {}


class Hit(NamedTuple):
    """An answer served again from the cache, as bytes that can be sent at once."""

    request_id: str
    body: bytes
    first: Answer
    at: int
