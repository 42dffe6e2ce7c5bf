"""The application, composed: the only place that knows every part; nothing happens at import."""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from api import problems
from api.admission import Admission
from api.ahead import Ahead
from api.engine import Engine
from api.experiments import Follower as Experiments
from api.exposures import ExposureLog
from api.generation import Serving
from api.guard import Guard
from api.ingest import Ingest
from api.kafka_producer import KafkaProducer
from api.keys import Keys
from api.live import Still
from api.lore import warm
from api.metrics import Metrics
from api.operations import EscapedPaths, Operation, routes
from api.producer import Producer
from api.rankers import NONE_LIVE
from api.registry import Follower
from api.routes import events, experiments, health, items, pages, rank, recommend, reports, users
from api.services import Services, wall_clock
from api.slates import SlateLog
from api.state import State
from api.travel import Travel
from models.surfaces import load
from streams.settings import Settings

log = logging.getLogger("refold.api")
RECOMMENDING = 64  # at once; each works for milliseconds without pause, so more would only wait
INGESTING = 128  # at once; each waits for Kafka and holds a body of at most 1 MiB


def operations(services: Services) -> list[Operation]:
    """Return every operation; the most asked first, since routes are tried in order."""
    parts = (recommend, rank, events, users, items, experiments, reports, health)
    found = [operation for part in parts for operation in part.operations(services)]
    return [*found, *pages.operations(found)]


def create_app(
    settings: Settings,
    *,
    state: State | None = None,
    producer: Producer | None = None,
    slate_producer: Producer | None = None,
    travel: Travel | None = None,
    now: Callable[[], int] = wall_clock,
) -> Starlette:
    """Return the API as an ASGI application; what is not handed in is built from the settings, but no `travel`.

    Events and slates have a connection each: a burst of slates must not stand in an event's way.
    """
    metrics, keys = Metrics(), Keys(settings.api_keys)
    producer = producer or KafkaProducer(settings)
    slate_producer = slate_producer or KafkaProducer(settings)
    served = Serving(settings, now) if state is None else Still(state)
    follower = Follower(settings, metrics) if state is None else None
    config = load(settings.config)
    tried = Experiments(settings, config, producer, metrics, now)
    engine = Engine(
        served.state, config, observe=metrics.stage, count=metrics.count,
        rankers=follower or NONE_LIVE, experiments=tried,
    )  # fmt: skip
    served.on_swap.append(engine.serve)
    ahead = Ahead(engine, now, metrics.ahead)
    served.on_swap.append(ahead.serve)
    guard = Guard(tried, lambda: engine.state.tables, now)
    exposed = ExposureLog(producer, settings, metrics)  # with the events: clicks must not overtake them
    slates = SlateLog(slate_producer, engine.slate, settings, metrics, engine.shown, exposed)
    services = Services(
        settings=settings,
        trouble=lambda: served.trouble,
        generation=lambda: served.generation,
        engine=engine,
        experiments=tried,
        models=lambda: follower.served if follower else (),
        producer=producer,
        ingest=Ingest(producer, settings),
        slates=slates,
        ahead=ahead,
        metrics=metrics,
        recommending=Admission("recommend", RECOMMENDING, metrics),
        ingesting=Admission("ingest", INGESTING, metrics),
        travel=travel,
        now=now,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        warm()
        async with contextlib.AsyncExitStack() as stack:
            following = (tried, guard) if state is None else ()
            for part in (served, producer, slate_producer, slates, follower, *following, travel, ahead):
                if part is None:
                    continue
                await part.start()
                stack.push_async_callback(part.stop)
            yield

    app = Starlette(
        routes=routes(operations(services), keys, metrics),
        middleware=[Middleware(EscapedPaths)],
        exception_handlers={HTTPException: problems.handler, Exception: problems.handler},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # an unknown path is an error, not a riddle
    app.state.services = services
    return app
