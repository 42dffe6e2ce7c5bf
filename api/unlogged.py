"""Unlogged: what slates and exposures hold beyond their answers, kept until both are written down."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from api.answers import Answer, Hit
from api.exposed import Exposed
from models.features import NAMES, Floats
from models.interleaving import Teams
from streams.slates import Read, Shown, Slate

MOST = 32_768  # answers whose slate nobody has asked for yet; about 50 MB when full
LOGGED = 200  # places of a list that are written down
T = TypeVar("T")


class Beyond(NamedTuple):
    """What a slate holds beyond its answer: the time, the features of each item, the answer it repeats.

    `exposed` are the experiments it was shown under, `teams` those of its places if it was interleaved, `read` tells
    what the features were computed from.
    """

    at: int
    rows: Floats | None = None
    same_as: str = ""
    exposed: Exposed | None = None
    teams: Teams | None = None
    read: Read | None = None


@dataclass(slots=True)
class Unlogged:
    """Bounded, by request id; what was not asked for in time is lost, and its slate has no features."""

    beyond: OrderedDict[str, Beyond] = field(default_factory=OrderedDict)
    exposed: OrderedDict[str, Exposed] = field(default_factory=OrderedDict)

    def put(self, request_id: str, beyond: Beyond) -> None:
        """Keep what a slate will hold, and the exposures of its list."""
        _put(self.beyond, request_id, beyond)
        self.expose(request_id, beyond.exposed)

    def expose(self, request_id: str, exposed: Exposed | None) -> None:
        """Keep the exposures of a list, if there are any."""
        if exposed is not None:
            _put(self.exposed, request_id, exposed)

    def delay(self, request_id: str, at: int) -> None:
        """Keep what was kept as if it were of now (ms)."""
        _put(self.beyond, request_id, self.beyond.pop(request_id, Beyond(0))._replace(at=at))

    def shown(self, served: Answer | Hit) -> tuple[int, Exposed] | None:
        """Return when (ms) and under which experiments a list was shown, None for under none; once per answer."""
        exposed = self.exposed.pop(served.request_id, None)
        if exposed is None:
            return None
        return served.at if isinstance(served, Hit) else self.beyond[served.request_id].at, exposed

    def slate(self, served: Answer | Hit) -> Slate:
        """Return what to log of an answer, with the features its scores came from; once per answer."""
        if isinstance(served, Hit):
            if served.request_id != served.first.request_id:
                return _repeated(served.first, served.request_id, served.at, served.first.request_id)
            served = served.first
        more = self.beyond.pop(served.request_id, Beyond(0))
        if more.same_as:
            return _repeated(served, served.request_id, more.at, more.same_as)
        if more.exposed is not None:
            more.exposed.settle()
        items = served.items[:LOGGED]
        rows = [] if more.rows is None else [tuple(row) for row in more.rows.tolist()]
        rows += [()] * (len(items) - len(rows))  # what is not known has no features
        shown = tuple(
            Shown(item.item_id, place, item.score, item.propensity, item.source, row)
            for place, (item, row) in enumerate(zip(items, rows, strict=True))
        )
        return Slate(
            request_id=served.request_id, user_id=served.user_id, at=more.at, surface=served.surface,
            rung=served.rung, arms=served.arms, models=served.models,
            features=() if more.rows is None else NAMES, items=shown, forced=served.forced,
            alike=() if more.exposed is None else more.exposed.alike,
            teams=() if more.teams is None else tuple(more.teams[:LOGGED].tolist()), read=more.read,
        )  # fmt: skip


def _put(of: OrderedDict[str, T], request_id: str, what: T) -> None:
    of[request_id] = what
    if len(of) > MOST:
        of.popitem(last=False)


def _repeated(answer: Answer, request_id: str, at: int, same_as: str) -> Slate:
    return Slate(
        request_id=request_id, user_id=answer.user_id, at=at, surface=answer.surface, rung="cached",
        arms=answer.arms, models=answer.models, same_as=same_as,
    )  # fmt: skip
