"""Trials: which arms of which experiments a user has met, and what the user did from then on.

A trial begins with the first exposure and measures events from its time on. What changes is told as an outcome, so
that sums over all users follow without looking at them again. The rest of this module is a small grammar of what can
be measured:

lists               lists shown; `exposure.value` sums their items
TYPE                events of a type; `.value` sums their values, `.any` is 1 when there was one: `click.any`
TYPE@SURFACE        the same on one surface: `purchase.value@cart`
days                days with an act
pre.TYPE            events of a type before the trial
prefers             of an interleaved list: -1 if more was chosen of the first arm, 1 of the second, 0 of neither
capped              acts that are not counted: repeated within a second, or more than a person does in an hour
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from zlib import crc32

from models import actions, rings
from models.decay import DAY
from streams.checks import PATTERN
from streams.errors import Refused
from streams.events import Event
from streams.exposures import EXPOSURE, MEASURES, MOST, TEAM, Exposure
from streams.touches import Outcome

LISTS = 4  # interleaved lists whose teams are kept
RECENT = 8  # kinds of acts remembered by when they were last done
REPEAT = 1_000  # ms within which the same act on the same item is a click too many
BUSY = 600  # acts in an hour; no person does more
CREDITED = 2  # instead of a team, once its item was chosen
HOUR = DAY // 24
SPELLING = re.compile(r"(?P<type>[^@]+?)(?P<what>\.value|\.any)?(@(?P<surface>.+))?")

What = Literal["count", "value", "any", "days", "before", "prefers", "capped"]
Vector = tuple[float, ...]


class Measure(NamedTuple):
    """What is measured: of which type of event, and on which surface, None for any."""

    what: What
    type: str = ""
    surface: str | None = None


class Plan(NamedTuple):
    """Measures by when they change: with a type of event, or else the place of each, None where it is not measured."""

    of: Mapping[str, Sequence[tuple[int, Measure]]]
    before: Sequence[tuple[int, str]]
    days: int | None
    prefers: int | None
    capped: int | None


SINGLE: Mapping[str, Measure] = {
    "lists": Measure("count", EXPOSURE),
    "days": Measure("days"),
    "prefers": Measure("prefers"),
    "capped": Measure("capped"),
}


@dataclass(slots=True)
class Trial:
    """A user's part in an experiment since `since` (ms); `vector` is a constant 1 and the measures `names`.

    `day` is the last one counted; `lists` are the last interleaved ones, each [at, digest of the request, teams], and
    `balance` choices of the second arm less those of the first.
    """

    version: int
    arm: str
    unit: str
    since: int
    names: tuple[str, ...]
    vector: list[float]
    day: int = 0
    balance: int = 0
    lists: list[list[Any]] = field(default_factory=list)


@dataclass(slots=True)
class Trials:
    """All trials of a user by experiment, the one longest not shown first, and what tells acts from noise."""

    each: dict[str, Trial] = field(default_factory=dict)
    recent: dict[int, int] = field(default_factory=dict)  # hash of type and item -> when
    hour: int = 0
    acts: int = 0  # in that hour

    def fields(self) -> tuple[Any, ...]:
        """Return what a row holds of them."""
        each = {
            key: (one.version, one.arm, one.unit, one.since, one.names, one.vector, one.day, one.balance, one.lists)
            for key, one in self.each.items()
        }  # fmt: skip
        return each, self.recent, self.hour, self.acts

    @classmethod
    def of(cls, fields: Sequence[Any]) -> "Trials":
        """Return the trials that a row holds."""
        each, recent, hour, acts = fields
        trials = {
            key: Trial(version, arm, unit, since, tuple(names), vector, day, balance,
                       [[at, request, bytearray(teams)] for at, request, teams in lists])
            for key, (version, arm, unit, since, names, vector, day, balance, lists) in each.items()
        }  # fmt: skip
        return cls(trials, recent, hour, acts)


def measure(name: str) -> Measure:
    """Return what a name measures; raises Refused when it names nothing.

    >>> measure("purchase.value@cart")
    Measure(what='value', type='purchase', surface='cart')
    >>> measure("lists"), measure("pre.click")
    (Measure(what='count', type='exposure', surface=None), Measure(what='before', type='click', surface=None))
    """
    if name in SINGLE:
        return SINGLE[name]
    if name.startswith("pre."):
        found = Measure("before", name.removeprefix("pre."))
    elif parts := SPELLING.fullmatch(name):
        what: What = "value" if parts["what"] == ".value" else "any" if parts["what"] else "count"
        found = Measure(what, parts["type"], parts["surface"])
    else:
        found = Measure("count", "")
    if not all(PATTERN.fullmatch(part) for part in (found.type, found.surface) if part is not None):
        raise Refused(
            f"{name[:140]!r} measures nothing; there are {', '.join(SINGLE)}, TYPE, TYPE.value, TYPE.any (also with "
            "@SURFACE behind each of these three) and pre.TYPE"
        )
    return found


@lru_cache(maxsize=1024)
def plan(names: tuple[str, ...]) -> Plan:
    """Return when each measure changes, by its place in a vector; names that measure nothing stay zero."""
    of: dict[str, list[tuple[int, Measure]]] = {}
    before, single = [], dict[str, int]()
    for place, name in enumerate(names[:MEASURES], 1):
        try:
            found = measure(name)
        except Refused:  # the log is folded whatever it says; definitions are checked where they are made
            continue
        if found.what == "before":
            before.append((place, found.type))
        elif found.type:
            of.setdefault(found.type, []).append((place, found))
        else:
            single[found.what] = place
    return Plan(of, before, single.get("days"), single.get("prefers"), single.get("capped"))


def standing(trials: Trials | None) -> dict[str, tuple[int, str]]:
    """Return the version and the arm of every experiment that a user has met."""
    return {} if trials is None else {key: (one.version, one.arm) for key, one in trials.each.items()}


def expose(trials: Trials, event: Event, totals: Mapping[str, int], origin: int) -> list[Outcome]:
    """Fold an exposure; return what changed. `totals` count the user's events by type.

    Who met an arm stays in it: another arm of the same version, shown later, counts for nothing. A new version, or
    another unit, begins a trial of its own; what the one before came to stays counted.
    """
    said = []
    for key, shown in {each.experiment: each for each in event.exposures}.items():
        trial = trials.each.pop(key, None)
        before: Vector = ()
        if trial is None or (trial.version, trial.unit) != (shown.version, shown.unit):
            trial = _begin(shown, event.at, totals)
        else:
            before = tuple(trial.vector)
        trials.each[key] = trial
        if trial.arm != shown.arm or event.at < trial.since:
            continue
        _count(trial, event)
        if shown.teams:
            request = rings.digest(event.request_id or "", 8)
            trial.lists = [*trial.lists, [event.at, request, bytearray(shown.teams)]][-LISTS:]
        said += _changed(origin, key, trial, before)
    while len(trials.each) > MOST:
        del trials.each[next(iter(trials.each))]
    return said


def act(trials: Trials, event: Event, origin: int, weights: Mapping[str, float]) -> list[Outcome]:
    """Fold what a user did, and return which trials it changed; `weights` tell what is a choice."""
    impression = event.type == actions.IMPRESSION
    capped = _capped(trials, event, impression)
    said: list[Outcome] = []
    for key, trial in trials.each.items():
        if event.at < trial.since:
            continue
        known, before = plan(trial.names), tuple(trial.vector)
        if capped:
            if known.capped is not None:
                trial.vector[known.capped] += 1
        else:
            _count(trial, event)
            if known.days is not None and not impression and (day := event.at // DAY) > trial.day:
                trial.day = day
                trial.vector[known.days] += 1
            if known.prefers is not None and trial.lists:
                _credit(trial, event, weights)
                trial.vector[known.prefers] = (trial.balance > 0) - (trial.balance < 0)
        said += _changed(origin, key, trial, before)
    return said


def leave(trials: Trials | None, origin: int) -> list[Outcome]:
    """Return what takes a user out of all sums."""
    return [
        Outcome(origin, key, one.version, one.arm, one.names, tuple(one.vector), ())
        for key, one in (trials.each.items() if trials is not None else ())
    ]


def _begin(shown: Exposure, at: int, totals: Mapping[str, int]) -> Trial:
    vector: list[float] = [1, *(0 for _ in shown.measures)]
    for place, kind in plan(shown.measures).before:
        vector[place] = totals.get(kind, 0)
    return Trial(shown.version, shown.arm, shown.unit, at, shown.measures, vector)


def _count(trial: Trial, event: Event) -> None:
    for place, (what, _, surface) in plan(trial.names).of.get(event.type, ()):
        if surface is None or surface == event.surface:
            if what == "count":
                trial.vector[place] += 1
            elif what == "any":
                trial.vector[place] = 1
            elif event.value is not None:
                trial.vector[place] += event.value


def _changed(origin: int, key: str, trial: Trial, before: Vector) -> list[Outcome]:
    after = tuple(trial.vector)
    if after == before:
        return []
    return [Outcome(origin, key, trial.version, trial.arm, trial.names, before, after)]


def _capped(trials: Trials, event: Event, impression: bool) -> bool:
    kind, recent = crc32(f"{event.type}\0{event.item_id or ''}".encode()), trials.recent
    last = recent.pop(kind, None)
    recent[kind] = event.at
    if len(recent) > RECENT:
        del recent[next(iter(recent))]
    if last is not None and abs(event.at - last) < REPEAT:
        return True
    if impression:  # a page may send any number of them
        return False
    if (hour := event.at // HOUR) > trials.hour:
        trials.hour, trials.acts = hour, 0
    trials.acts += 1
    return trials.acts > BUSY


def _credit(trial: Trial, event: Event, weights: Mapping[str, float]) -> None:
    """Credit a choice to the arm that chose its item, in the list it answers or else the newest that showed it.

    Each place counts once (Radlinski et al. 2008, "How does clickthrough data reflect retrieval quality?").
    """
    if event.item_id is None or actions.weight_of(weights, event.type, event.value) <= 0:
        return
    request = None if event.request_id is None else rings.digest(event.request_id, 8)
    item = rings.digest(event.item_id, TEAM - 1)
    for at, shown, teams in reversed(trial.lists):
        if (request is not None and request != shown) or not at <= event.at <= at + DAY:
            continue
        for place in range(0, len(teams), TEAM):
            if teams[place : place + TEAM - 1] == item:
                team = teams[place + TEAM - 1]
                trial.balance += (team == 1) - (team == 0)
                teams[place + TEAM - 1] = CREDITED
                return
