"""Of when: the `as_of` parameter, which lets operators ask as of a moment of the past."""

import logging
from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from api.calls import Call
from api.problems import Problem
from api.replies import JSON, Reply
from api.services import Services
from api.travel import Question
from streams import times
from streams.errors import Refused

log = logging.getLogger("refold.api")
AsOf = Annotated[
    str,
    Meta(max_length=40, description="a time, ISO 8601 or ms: answer as of then; for keys of scope admin"),
]


class AsOfQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of when the answer shall be."""

    as_of: AsOf = ""


async def travelled(
    call: Call, services: Services, as_of: str, question: Callable[[int], Question], user_id: str = ""
) -> Reply:
    """Return the reply as of a time that the query names; raises Problem and Refused.

    What was known of `user_id` before they were erased is told no more, whoever asks.
    """
    call.require("admin")
    log.info("key %s asks as of %r", call.key_id, as_of)
    now, travel = services.now(), services.travel
    if as_of == "now" or as_of[-1:] in times.UNITS:
        raise Refused(f"as_of={as_of!r} moves on while its state is prepared: give ISO 8601 or milliseconds")
    at = times.parse(as_of, now)
    if at > now:
        raise Refused(f"as_of={as_of!r} lies in the future")
    user = services.tables.user(user_id) if user_id else None
    if user is not None and user.erased_at >= at:
        raise Problem(404, "not-found", f"user {user_id!r} was erased since {times.written(at)}")
    if travel is None:
        raise Problem(503, "unavailable", "this process was started without a way to travel in time")
    body = await travel.ask(at, question(at))
    if body is None:
        raise Problem(404, "not-found", f"nothing was known of that at {times.written(at)}")
    return Reply(200, body, JSON)
