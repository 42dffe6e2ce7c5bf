"""Health and figures: is the process alive, is it worth asking, and how does it do."""

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST

from api.calls import Call
from api.operations import Operation
from api.problems import Problem
from api.replies import Reply, as_json
from api.services import Services


class Live(msgspec.Struct):
    """The process answers."""

    live: bool


class Health(msgspec.Struct):
    """How fresh the answers are; `trouble` is why they grow no fresher, `kafka` whether events are taken.

    Without Kafka reading goes on: once `ready`, a process stays so. `generation` numbers the state that answers.
    """

    ready: bool
    lag: int
    staleness_ms: float
    kafka: bool
    trouble: str
    missing: list[str]
    generation: int


def health(services: Services) -> Health:
    """Return how the process stands; `missing` says what it is not ready for."""
    tables, trouble = services.tables, services.trouble()
    missing = []
    if not tables.ready:
        missing = [trouble or f"the replica has {tables.lag()} records of the changelogs still to read"]
    return Health(
        ready=tables.ready,
        lag=tables.lag(),
        staleness_ms=tables.staleness_ms(),
        kafka=services.producer.connected,
        trouble=trouble,
        missing=missing,
        generation=services.generation(),
    )


def operations(services: Services) -> list[Operation]:
    """Return the operations."""

    async def live(_: Call) -> Reply:
        return as_json(Live(live=True))

    async def ready(_: Call) -> Reply:
        now = health(services)
        if not now.ready:
            raise Problem(503, "not-ready", "; ".join(now.missing), **msgspec.to_builtins(now))
        return as_json(now)

    async def metrics(_: Call) -> Reply:
        now, figures = health(services), services.metrics
        figures.ready.set(now.ready)
        figures.lag.set(now.lag)
        figures.staleness.set(now.staleness_ms / 1000.0)
        figures.kafka.set(now.kafka)
        figures.generation.set(now.generation)
        return Reply(200, figures.expose(), CONTENT_TYPE_LATEST.encode())

    return [
        Operation(
            method="GET",
            path="/health/live",
            name="live",
            scope="open",
            handler=live,
            answers={200: Live},
            summary="The process answers: restart it when it does not.",
        ),
        Operation(
            method="GET",
            path="/health/ready",
            name="ready",
            scope="open",
            handler=ready,
            answers={200: Health},
            problems=(503,),
            summary="The replica has caught up: send requests here.",
        ),
        Operation(
            method="GET",
            path="/metrics",
            name="metrics",
            scope="read",
            handler=metrics,
            answers={200: str},
            media="text/plain",
            summary="Figures as Prometheus reads them.",
        ),
    ]
