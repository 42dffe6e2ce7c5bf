"""Time travel: questions of operators about a moment of the past, and what answers them.

Who prepares the state of a moment is no business of the API's (`ops/past/travel.py` does): it is handed in as a
`Travel`.
"""

from dataclasses import dataclass
from typing import Protocol

import msgspec

from api.answers import Request
from api.engine import Engine
from api.problems import Problem
from api.views import item_view, user_view
from models.users import User

Positions = dict[str, dict[int, int]]  # next offset by topic and partition


class OfUser(msgspec.Struct, frozen=True, tag="user"):
    """What was known of a user."""

    user_id: str


class OfItem(msgspec.Struct, frozen=True, tag="item"):
    """What was known of an item."""

    item_id: str


class OfList(msgspec.Struct, frozen=True, tag="list"):
    """Which list a request would have got; its `at` is the moment."""

    request: Request


Question = OfUser | OfItem | OfList


class Preparing(Problem):
    """The state of a moment is not there yet; `seconds` is when to ask again."""

    def __init__(self, detail: str, seconds: int) -> None:
        super().__init__(503, "preparing", detail, headers={"retry-after": str(seconds)})


class Travel(Protocol):
    """Answers questions about the past."""

    async def start(self) -> None:
        """Make ready, in the running loop."""

    async def stop(self) -> None:
        """End all work and throw away what was prepared."""

    async def ask(self, at: int, question: Question) -> bytes | None:
        """Return the answer as of `at` (ms) as JSON, None where nothing was known.

        Raises Preparing until the state of then is ready, Unavailable with the reason when it cannot be had.
        """


@dataclass(frozen=True)
class Past:
    """A state of one moment: an engine over it, and how far the log was folded into it."""

    at: int
    engine: Engine
    positions: Positions


def answered(past: Past, question: Question) -> bytes | None:
    """Return the answer of a state to a question as JSON, None where it knows nothing."""
    tables = past.engine.state.tables
    found: msgspec.Struct
    match question:
        case OfUser(user_id):
            user = tables.user(user_id)
            if user is None or not known(user):
                return None
            found = user_view(user_id, user, past.at)
        case OfItem(item_id):
            row = tables.item(item_id)
            if row is None:
                return None
            found = item_view(item_id, row, past.at, tables.lore)
        case OfList(request):
            found = past.engine.recommend(request)
    return msgspec.json.encode(msgspec.structs.replace(found, as_of=past.at, positions=past.positions))


def known(user: User) -> bool:
    """Tell whether a row says anything of its user: an erased one holds marks and no more."""
    return bool(user.first_at or user.profile)
