"""Ranked lists: for someone known, for someone anonymous, beside an item, and for nobody in particular."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from api.answers import Answer, Request
from api.calls import SINGLE, Call
from api.operations import Operation
from api.replies import JSON, Reply, as_json
from api.routes.events import EventIn, complete
from api.routes.past import AsOf, travelled
from api.services import Services
from api.travel import OfList
from streams.checks import Id, Name, Text
from streams.errors import Refused
from streams.events import SESSION, Event
from streams.slates import Asked

Count = Annotated[int, Meta(ge=1, le=200, description="length of the list")]
SurfaceName = Annotated[Name, Meta(description="a surface of the configuration")]
Categories = Annotated[tuple[Id, ...], Meta(max_length=16, description="only items of one of these")]
Category = Annotated[Id, Meta(description="only items of this one")]
Exclude = Annotated[tuple[Id, ...], Meta(max_length=200, description="items to leave out")]
Context = Annotated[
    dict[Name, Text], Meta(max_length=16, description="ctx.NAME=VALUE: device, country, query")
]
Arms = Annotated[
    dict[Name, Name], Meta(max_length=16, description="arm.EXPERIMENT=ARM: see what that arm shows")
]
Explain = Annotated[bool, Meta(description="add features, their ages, counts and stages")]
Session = Annotated[
    tuple[EventIn, ...], Meta(max_length=50, description="what they did so far, oldest first")
]
SESSION_ID = "anonymous"


class ListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How any list may be."""

    n: Count = 20
    surface: SurfaceName = "home"
    category: Categories = ()
    exclude: Exclude = ()
    ctx: Context = {}
    explain: Explain = False


class RecommendQuery(ListQuery, frozen=True, forbid_unknown_fields=True):
    """How the list shall be, under which arms, and of when."""

    arm: Arms = {}
    as_of: AsOf = ""


class SimilarQuery(ListQuery, frozen=True, forbid_unknown_fields=True):
    """How the list beside an item shall be."""

    surface: SurfaceName = "item"


class PopularQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What shall be popular where."""

    n: Count = 20
    surface: SurfaceName = "home"
    category: Category | None = None
    ctx: Context = {}


class Anonymous(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for someone who is not known, with what they did so far; nothing of it is stored."""

    session: Session = ()
    n: Count = 20
    surface: SurfaceName = "home"
    categories: Categories = ()
    exclude: Exclude = ()
    context: Context = {}
    explain: Explain = False


def operations(services: Services) -> list[Operation]:
    """Return the operations."""
    engine, slates, gate, now = services.engine, services.slates, services.recommending, services.now
    ahead = services.ahead

    def check(surface: str) -> None:
        known = engine.config.surfaces
        if surface not in known:
            raise Refused(f"surface {surface!r} is not configured; there are {', '.join(sorted(known))}")

    def served(answer: Answer, asked: Asked, who: str = "") -> Reply:
        slates.put(answer, asked, who)
        return as_json(answer)

    async def recommend(call: Call) -> Reply:
        query = call.query(RecommendQuery)
        if query.arm:
            call.require("admin")
        request = Request(
            at=now(),
            user_id=call.id("user_id"),
            n=query.n,
            surface=query.surface,
            categories=query.category,
            context=query.ctx,
            exclude=query.exclude,
            explain=query.explain,
            forced=query.arm,
        )
        if query.as_of:
            check(query.surface)
            return await travelled(
                call,
                services,
                query.as_of,
                lambda at: OfList(msgspec.structs.replace(request, at=at)),
                request.user_id,
            )
        hit = engine.cached(request)
        if hit is not None:
            slates.put(hit, _asked(request) if hit.request_id == hit.first.request_id else None)
            ahead.asked(request, hit.request_id)
            return Reply(200, hit.body, JSON)
        check(query.surface)
        with gate.enter(call.scope):
            answer = engine.recommend(request)
            ahead.asked(request, answer.request_id)
            return served(answer, _asked(request))

    async def anonymous(call: Call) -> Reply:
        asked, at = await call.read(Anonymous, SINGLE), now()
        check(asked.surface)
        with gate.enter(call.scope):
            request = Request(
                at=at,
                session=tuple(of_session(event, at, services) for event in asked.session),
                n=asked.n,
                surface=asked.surface,
                categories=asked.categories,
                context=asked.context,
                exclude=asked.exclude,
                explain=asked.explain,
            )
            return served(
                engine.recommend(request), _asked(request, "recommendAnonymous"), who(request.session)
            )

    async def similar(call: Call) -> Reply:
        query, item_id = call.query(SimilarQuery), call.id("item_id")
        check(query.surface)
        with gate.enter(call.scope):
            answer = engine.similar(
                item_id,
                query.n,
                at=now(),
                categories=query.category,
                context=query.ctx,
                exclude=query.exclude,
                surface=query.surface,
                explain=query.explain,
            )
            asked = Asked(
                operation="similar",
                n=query.n,
                categories=query.category,
                context=query.ctx,
                exclude=query.exclude,
                beside=item_id,
            )
            return served(answer, asked)

    async def popular(call: Call) -> Reply:
        query = call.query(PopularQuery)
        check(query.surface)
        with gate.enter(call.scope):
            answer = engine.popular(query.n, query.surface, query.category or "", query.ctx, at=now())
            categories = (query.category,) if query.category else ()
            asked = Asked(operation="popular", n=query.n, categories=categories, context=query.ctx)
            return served(answer, asked)

    return [
        Operation(
            method="GET",
            path="/v1/recommend/{user_id}",
            name="recommend",
            scope="read",
            handler=recommend,
            query=RecommendQuery,
            answers={200: Answer},
            problems=(422, 503),
            summary="A ranked list for a user, now or as it would have been.",
        ),
        Operation(
            method="POST",
            path="/v1/recommend",
            name="recommendAnonymous",
            scope="read",
            handler=anonymous,
            bodies=(Anonymous,),
            answers={200: Answer},
            problems=(400, 408, 413, 415, 422, 503),
            summary="A ranked list for someone unknown, from the events of their session.",
        ),
        Operation(
            method="GET",
            path="/v1/similar/{item_id}",
            name="similar",
            scope="read",
            handler=similar,
            query=SimilarQuery,
            answers={200: Answer},
            problems=(422, 503),
            summary="What goes with an item.",
        ),
        Operation(
            method="GET",
            path="/v1/popular",
            name="popular",
            scope="read",
            handler=popular,
            query=PopularQuery,
            answers={200: Answer},
            problems=(422, 503),
            summary="What is popular on a surface, in a category, in a context.",
        ),
    ]


def _asked(request: Request, operation: Literal["recommend", "recommendAnonymous"] = "recommend") -> Asked:
    return Asked(
        operation=operation,
        n=request.n,
        categories=request.categories,
        context=request.context,
        exclude=request.exclude,
    )


def who(session: Sequence[Event]) -> str:
    """Return the key of the events of a session, "" for one that its client did not name."""
    key = session[0].user if session else ""
    return "" if key == f"{SESSION}{SESSION_ID}" else key


def of_session(event: EventIn, at: int, services: Services) -> Event:
    """Return an event of a session that came with a request, as the log would have it; raises Refused."""
    if event.user_id is None and event.session_id is None:
        event = msgspec.structs.replace(event, session_id=SESSION_ID)
    return complete(event, at, services.tables.columns)
