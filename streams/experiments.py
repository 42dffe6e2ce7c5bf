"""The topic `experiments`: what is tried on whom, in which versions, and what was decided about it.

The last word on a key counts, but of two words that both follow the same one the first: see `stands`. So two people
who edit at once do not undo each other unseen, and a decision is one record, seen whole or not at all.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from streams import control
from streams.checks import Name, Scalar
from streams.errors import Refused
from streams.settings import Settings

VERSION = 1
TOPIC = "experiments"
KEPT = 50  # versions and decisions remembered of an experiment
HOLDOUT = "holdout"  # the key of the global holdout; no experiment can have it
BOTH = "both"  # the arm of everyone in an interleaved experiment
State = Literal["draft", "running", "stopped", "killed"]
Ended = Literal["stopped", "killed"]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Values = Annotated[tuple[Scalar, ...], Meta(min_length=1, max_length=100)]
_UNCOUNTED = ("lists", "days", "prefers", "capped", "exposure")


class Arm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One variant: its share relative to the other arms, and the surface parameters it lays over a surface."""

    weight: Annotated[float, Meta(ge=0.0, le=1000.0)] = 1.0
    set: dict[str, Any] = {}


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The mean of a measure over units, or the ratio of two measures' sums.

    `margin` makes it a guardrail: the relative harm (0.05: 5 % worse) that stops the experiment.
    """

    of: str
    per: str = ""
    better: Literal["up", "down"] = "up"
    primary: bool = False
    margin: Annotated[float, Meta(ge=0.0, le=1.0)] | None = None


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From `at` (ms) on this share of the slice takes part."""

    at: Annotated[int, Meta(ge=0)]
    share: Share


class Where(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom it concerns: values that the context and the profile must have, bounds on the user's events."""

    context: dict[Name, Values] = {}
    profile: dict[Name, Values] = {}
    min_events: Annotated[int, Meta(ge=0)] = 0
    max_events: Annotated[int, Meta(ge=0)] | None = None


class Definition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version of an experiment; it does not change, but that its ramp gets further steps.

    `slice` is the part of `layer` it has (a layer of its own when that is empty). Without `ramp` all of the slice takes
    part. Another `seed` draws other units. `surfaces` limits it to some (none named: all). With `sticky` a unit keeps
    the arm an earlier version gave it. With `counterfactual` a list counts as exposure only where another arm would
    have shown another one. `covariate`: variance is reduced by what units did before (CUPED). `at` in ms.
    """

    key: Name
    version: Annotated[int, Meta(ge=0)] = 0
    kind: Literal["ab", "interleaved"] = "ab"
    unit: Literal["user", "session", "item"] = "user"
    layer: Annotated[str, Meta(max_length=64)] = ""
    slice: tuple[Share, Share] = (0.0, 1.0)
    arms: dict[Name, Arm]
    control: str
    seed: Annotated[str, Meta(max_length=64)] = ""
    surfaces: tuple[Name, ...] = ()
    where: Where = Where()
    ramp: Annotated[tuple[Step, ...], Meta(max_length=100)] = ()
    sticky: bool = False
    counterfactual: bool = False
    metrics: dict[Name, Metric] = {}
    covariate: bool = True
    at: Annotated[int, Meta(ge=0)] = 0

    @property
    def measures(self) -> tuple[str, ...]:
        """What is measured of a unit, in the order an exposure names it."""
        named = [name for one in self.metrics.values() for name in (one.of, one.per) if name]
        found = ["lists", *(("prefers",) if self.kind == "interleaved" else ()), *named]
        if self.covariate:
            found += [f"pre.{kind}" for kind in map(_counted, named) if kind not in _UNCOUNTED]
        return tuple(dict.fromkeys(found))

    def share(self, now: int) -> float:
        """Return the share of the slice that takes part at `now` (ms).

        >>> Definition(key="a", arms={}, control="", ramp=(Step(10, 0.1), Step(20, 0.5))).share(15)
        0.1
        """
        if not self.ramp:
            return 1.0
        return next((step.share for step in reversed(self.ramp) if step.at <= now), 0.0)


class Decision(msgspec.Struct, frozen=True):
    """An experiment entered a state at a time (ms); `by` is a key's id, `refold` or `guardrail`."""

    state: State
    at: int
    reason: str = ""
    by: str = ""


class Final(msgspec.Struct, frozen=True):
    """What the units of each arm had come to at the end: of a `models.outcomes.Sheet` the upper half, row by row."""

    names: tuple[str, ...]
    arms: dict[str, tuple[float, ...]]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Everything said of an experiment; `revision` counts the words, and the newest version is the last.

    `final` is of the newest version once it ended, None where who ended it did not know.
    """

    v: int = VERSION
    key: str
    revision: int = 1
    state: State = "draft"
    versions: tuple[Definition, ...]
    decided: tuple[Decision, ...] = ()
    final: Final | None = None

    @property
    def current(self) -> Definition:
        """The newest version."""
        return self.versions[-1]

    def at(self, now: int) -> Definition | None:
        """Return the version that ran at a time (ms), None while none did."""
        states = [one.state for one in self.decided if one.at <= now]
        if not states or states[-1] != "running":
            return None
        return next((one for one in reversed(self.versions) if one.at <= now), None)


class Holdout(msgspec.Struct, frozen=True, kw_only=True):
    """The part of all users who are kept out of every experiment, and shown nothing that is explored."""

    v: int = VERSION
    revision: int = 0
    share: Share = 0.0
    seed: str = ""
    at: int = 0
    by: str = ""
    key: str = HOLDOUT


class Known(msgspec.Struct, frozen=True):
    """Everything the topic says."""

    records: dict[str, Record] = {}
    holdout: Holdout = Holdout()

    def find(self, key: str) -> Record:
        """Return an experiment; raises Refused for an unknown key."""
        if key not in self.records:
            known = ", ".join(sorted(self.records)) or "none"
            raise Refused(f"no experiment is called {key!r}; there are: {known}")
        return self.records[key]


def stands(old: bytes | None, new: bytes | None) -> bytes | None:
    """Return which of two words on a key counts: a new one that follows the old, else the old one.

    A word that follows none, the first that is left after compaction, counts.
    """
    if old is None or new is None:
        return new
    return new if _revision(new) == _revision(old) + 1 else old


def decode(said: Mapping[str, bytes]) -> Known:
    """Return what the last words by key say; raises StateError for one that another release wrote."""
    records: dict[str, Record] = {}
    holdout = Holdout()
    for key, value in said.items():
        if key == HOLDOUT:
            holdout = control.word(TOPIC, key, value, Holdout, VERSION)
        else:
            records[key] = control.word(TOPIC, key, value, Record, VERSION)
    return Known(records, holdout)


def encode(word: Record | Holdout) -> bytes:
    """Return the record of a word."""
    return msgspec.msgpack.encode(word)


def load(settings: Settings) -> Known:
    """Return what the topic says; raises as `control.read` and `decode` do."""
    return decode(control.read(settings, TOPIC, stands))


def publish(settings: Settings, word: Record | Holdout) -> None:
    """Say something new; raises Refused when somebody else said something at the same time, Unavailable."""
    value, counted = encode(word), False

    def watch(old: bytes | None, new: bytes | None) -> bytes | None:
        nonlocal counted
        found = stands(old, new)
        counted = counted or (found is new and new == value)
        return found

    control.write(settings, word.key, value, TOPIC)
    said = control.read(settings, TOPIC, watch)
    if not counted:
        control.write(
            settings, word.key, said[word.key], TOPIC
        )  # compaction keeps the last word: it must count
        raise Refused(f"{word.key!r} was changed by somebody else just now; look at it and try again")


def _counted(measure: str) -> str:
    """Return the type of event that a measure counts.

    >>> _counted("purchase.value@cart"), _counted("pre.click")
    ('purchase', 'click')
    """
    return measure.removeprefix("pre.").partition("@")[0].removesuffix(".value").removesuffix(".any")


class _Numbered(msgspec.Struct):
    revision: int = 0


def _revision(value: bytes) -> int:
    try:
        return msgspec.msgpack.decode(value, type=_Numbered).revision
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0
