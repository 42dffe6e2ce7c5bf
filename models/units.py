"""Units: whom a list is for, as experiments see them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from models.trials import standing
from models.users import SESSION_GAP, User

NOTHING: Mapping[str, Any] = {}


class Unit(NamedTuple):
    """Whom a list is for, as far as experiments ask; an empty `id` takes part in nothing.

    `events` counts what the user did, `before` are the trials they are in (version, arm). `forced` are arms for a test,
    which are never exposed. `session` is the session's id where it is not `id` itself.
    """

    id: str
    context: Mapping[str, str] = NOTHING
    surface: str = "home"
    events: int = 0
    profile: Mapping[str, Any] = NOTHING
    before: Mapping[str, tuple[int, str]] = NOTHING
    forced: Mapping[str, str] = NOTHING
    session: str = ""


def unit_of(
    who: str, user: User | None, now: int, context: Mapping[str, str], surface: str,
    forced: Mapping[str, str] = NOTHING,
) -> Unit:  # fmt: skip
    """Return the unit that a user is at `now` (ms), by their row; None is someone of whom nothing is known.

    A session is named by when it began, or by the end of the one before it while nothing happened in it yet.
    """
    if user is None:
        return Unit(who, context, surface, forced=forced)
    begun, last, _ = user.session
    session = f"{who}@{begun if now - last <= SESSION_GAP else last + SESSION_GAP}"
    events, profile = sum(user.totals.values()), user.profile or NOTHING
    return Unit(who, context, surface, events, profile, standing(user.trials), forced, session)
