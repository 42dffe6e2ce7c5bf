"""/v1/experiments: what is tried on whom, for keys of scope admin; every change is one record of the topic."""

from typing import Annotated

import msgspec
from msgspec import Meta

from api.calls import SINGLE, Call
from api.operations import Operation
from api.outcomes import sheets
from api.problems import Problem
from api.replies import Reply, as_json
from api.services import Services
from models.definitions import defined, held, ramped, started
from streams.checks import Text
from streams.experiments import HOLDOUT, Definition, Ended, Holdout, Record, Share, Step

Revision = Annotated[
    int, Meta(ge=0, description="the revision you have seen: refused when there is a later one")
]


class Experiments(msgspec.Struct, frozen=True):
    """Every experiment, and the users who are kept out of all."""

    experiments: list[Record]
    holdout: Holdout


class SeenQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the change is made of."""

    revision: Revision | None = None


class EndQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why it ends."""

    reason: Text = ""


class Ramp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The steps from now on; `share` alone is one step, now."""

    steps: Annotated[tuple[Step, ...], Meta(max_length=100)] = ()
    share: Share | None = None


class HoldoutIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The part of the users who are kept out of every experiment; another `seed` draws others."""

    share: Share
    seed: Annotated[str, Meta(max_length=64)] = ""


def operations(services: Services) -> list[Operation]:
    """Return the operations."""
    follower, now, models = services.experiments, services.now, services.models
    config = services.engine.config

    def find(call: Call) -> Record:
        key = call.id("key")
        if key not in follower.known.records:
            known = ", ".join(sorted(follower.known.records)) or "none"
            raise Problem(404, "not-found", f"no experiment is called {key[:64]!r}; there are: {known}")
        return follower.known.records[key]

    async def written(word: Record | Holdout) -> Reply:
        await follower.write(word)
        return as_json(word)

    async def every(_: Call) -> Reply:
        known = follower.known
        return as_json(Experiments([one for _, one in sorted(known.records.items())], known.holdout))

    async def get(call: Call) -> Reply:
        return as_json(find(call))

    async def put(call: Call) -> Reply:
        key, seen = call.id("key"), call.query(SeenQuery).revision
        said = await call.read(Definition, SINGLE)
        if said.key != key:
            raise Problem(422, "refused", f"the definition is of {said.key!r}, the path of {key[:64]!r}")
        record = follower.known.records.get(key)
        if record is not None and seen is None:
            raise Problem(
                409, "conflict", f"{key!r} exists: say which revision you have seen, it is {record.revision}"
            )
        _check(record, seen)
        return await written(defined(follower.known, said, config, models(), now(), call.key_id))

    async def start(call: Call) -> Reply:
        record = find(call)
        _check(record, call.query(SeenQuery).revision)
        return await written(started(follower.known, record.key, config, models(), now(), call.key_id))

    async def ramp(call: Call) -> Reply:
        record, at = find(call), now()
        _check(record, call.query(SeenQuery).revision)
        said = await call.read(Ramp, SINGLE)
        steps = (*(() if said.share is None else (Step(at, said.share),)), *said.steps)
        return await written(ramped(follower.known, record.key, steps, at, call.key_id))

    async def end(call: Call, state: Ended) -> Reply:
        record = find(call)
        tables = services.tables
        found = sheets(tables.outcomes(record.key)) if tables.ready else None
        return as_json(await follower.end(record.key, state, call.query(EndQuery).reason, call.key_id, found))

    async def stop(call: Call) -> Reply:
        return await end(call, "stopped")

    async def kill(call: Call) -> Reply:
        return await end(call, "killed")

    async def hold(call: Call) -> Reply:
        seen = call.query(SeenQuery).revision
        said = await call.read(HoldoutIn, SINGLE)
        holdout = follower.known.holdout
        if seen is not None and seen != holdout.revision:
            raise _conflict(HOLDOUT, seen, holdout.revision)
        return await written(held(follower.known, said.share, said.seed, now(), call.key_id))

    one, bad = "/v1/experiments/{key}", (400, 408, 409, 413, 415, 422, 503)
    return [
        Operation(
            method="GET", path="/v1/experiments", name="getExperiments", scope="admin", handler=every,
            answers={200: Experiments},
            summary="See every experiment and the global holdout.",
        ),
        Operation(
            method="GET", path=one, name="getExperiment", scope="admin", handler=get,
            answers={200: Record}, problems=(404,),
            summary="See an experiment: its versions, its state and what was decided.",
        ),
        Operation(
            method="PUT", path=one, name="putExperiment", scope="admin", handler=put, query=SeenQuery,
            bodies=(Definition,), answers={200: Record}, problems=bad,
            summary="Define an experiment, or a new version of one that does not run.",
        ),
        Operation(
            method="POST", path=f"{one}/start", name="startExperiment", scope="admin", handler=start, query=SeenQuery,
            answers={200: Record}, problems=(404, 409, 422, 503),
            summary="Let units take part from now on.",
        ),
        Operation(
            method="POST", path=f"{one}/ramp", name="rampExperiment", scope="admin", handler=ramp, query=SeenQuery,
            bodies=(Ramp,), answers={200: Record}, problems=(*bad, 404),
            summary="Change which share takes part, now and later.",
        ),
        Operation(
            method="POST", path=f"{one}/stop", name="stopExperiment", scope="admin", handler=stop, query=EndQuery,
            answers={200: Record}, problems=(404, 409, 422, 503),
            summary="Stop an experiment; it can be started again.",
        ),
        Operation(
            method="POST", path=f"{one}/kill", name="killExperiment", scope="admin", handler=kill, query=EndQuery,
            answers={200: Record}, problems=(404, 409, 422, 503),
            summary="Stop an experiment for good: only a new version of it can be started.",
        ),
        Operation(
            method="PUT", path="/v1/holdout", name="putHoldout", scope="admin", handler=hold, query=SeenQuery,
            bodies=(HoldoutIn,), answers={200: Holdout}, problems=bad,
            summary="Keep a part of the users out of every experiment.",
        ),
    ]  # fmt: skip


def _check(record: Record | None, seen: int | None) -> None:
    revision = record.revision if record else 0
    if seen is not None and seen != revision:
        raise _conflict(record.key if record else "it", seen, revision)


def _conflict(key: str, seen: int, revision: int) -> Problem:
    return Problem(
        409, "conflict", f"{key!r} is at revision {revision}, not {seen}: look at it and try again"
    )
