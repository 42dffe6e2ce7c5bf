"""Ranking what the client found: its search results, or any other candidates, and no items beside them."""

from collections import Counter
from typing import Annotated

import msgspec
from msgspec import Meta

from api.answers import Answer, Request
from api.calls import BATCH, Call
from api.operations import Operation
from api.replies import Reply, as_json
from api.routes.recommend import Context, Explain, Session, SurfaceName, of_session, who
from api.services import Services
from streams.checks import Id, check_finite, check_ids
from streams.errors import Refused
from streams.slates import Asked

MOST = 1000


class Offered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A candidate, and the client's own score of it: only the order of scores counts."""

    item_id: Id
    score: float | None = None


class ToRank(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shall be ranked, best first unless all have scores, and for whom; nothing of a session is stored."""

    items: Annotated[tuple[Offered, ...], Meta(min_length=1, max_length=MOST)]
    user_id: Id = ""
    session: Session = ()
    n: Annotated[int, Meta(ge=1, le=MOST, description="length of the list")] = MOST
    surface: SurfaceName = "search"
    context: Context = {}
    explain: Explain = False


def operations(services: Services) -> list[Operation]:
    """Return the operation."""

    async def rank(call: Call) -> Reply:
        asked, at = await call.read(ToRank, BATCH), services.now()
        offered = in_order(asked.items)
        check_ids(asked.user_id)
        request = Request(
            at=at,
            user_id=asked.user_id,
            session=tuple(of_session(event, at, services) for event in asked.session),
            n=min(asked.n, len(offered)),
            surface=asked.surface,
            context=asked.context,
            explain=asked.explain,
            offered=offered,
        )
        with services.recommending.enter(call.scope):
            answer = services.engine.recommend(request)
            said = Asked(operation="rank", n=request.n, context=request.context)
            services.slates.put(answer, said, who(request.session))
            return as_json(answer)

    return [
        Operation(
            method="POST",
            path="/v1/rank",
            name="rank",
            scope="read",
            handler=rank,
            bodies=(ToRank,),
            answers={200: Answer},
            problems=(400, 408, 413, 415, 422, 503),
            summary="The client's own candidates, ranked for a user or a session.",
        )
    ]


def in_order(items: tuple[Offered, ...]) -> tuple[str, ...]:
    """Return the ids in the client's order: by its scores where it sent them. Raises Refused.

    >>> in_order((Offered("a", 0.1), Offered("b", 0.7)))
    ('b', 'a')
    """
    ids = [item.item_id for item in items]
    check_ids(*ids)
    if len(set(ids)) < len(ids):
        raise Refused(f"items: {Counter(ids).most_common(1)[0][0][:64]!r} is sent twice")
    scores = [item.score for item in items if item.score is not None]
    if not scores:
        return tuple(ids)
    if len(scores) < len(items):
        raise Refused(
            f"items: {len(scores)} of {len(items)} have a score; send it with all of them, or with none"
        )
    check_finite("items[].score", scores)
    order = sorted(range(len(ids)), key=lambda place: -scores[place])
    return tuple(ids[place] for place in order)
