"""/v1/users: profiles, erasure, and what is known of a user."""

import logging

import msgspec

from api.calls import SINGLE, Call
from api.operations import Operation
from api.problems import Problem
from api.replies import Reply, as_json
from api.routes.past import AsOfQuery, travelled
from api.services import Services
from api.travel import OfUser, known
from api.views import UserView, user_view
from streams.events import SESSION
from streams.profiles import Profile, check

log = logging.getLogger("refold.api")


class ProfileWritten(msgspec.Struct):
    """Where the record of a profile, or of an erasure, stands in the log."""

    user_id: str
    partition: int
    offset: int


def operations(services: Services) -> list[Operation]:
    """Return the operations."""

    async def put(call: Call) -> Reply:
        user_id = call.id("user_id", SESSION)
        with services.ingesting.enter(call.scope):
            place = await services.ingest.profile(user_id, check(await call.read(Profile, SINGLE)))
        services.metrics.ingest("profile", 1)
        return as_json(ProfileWritten(user_id, *place), 202)

    async def delete(call: Call) -> Reply:
        user_id = call.id("user_id", SESSION)
        with services.ingesting.enter(call.scope):
            place = await services.ingest.profile(user_id, None)
        services.metrics.ingest("erasure", 1)
        log.info("key %s erased a user: profiles[%d]@%d", call.key_id, place.partition, place.offset)
        return as_json(ProfileWritten(user_id, *place), 202)

    async def get(call: Call) -> Reply:
        user_id = call.id("user_id", SESSION)
        if as_of := call.query(AsOfQuery).as_of:
            return await travelled(call, services, as_of, lambda _: OfUser(user_id), user_id)
        user = services.tables.user(user_id)
        if user is None or not known(user):
            raise Problem(404, "not-found", f"user {user_id!r} is not known to this replica")
        return as_json(user_view(user_id, user, services.now()))

    path = "/v1/users/{user_id}"
    return [
        Operation(
            method="GET",
            path=path,
            name="getUser",
            scope="read",
            handler=get,
            query=AsOfQuery,
            answers={200: UserView},
            problems=(404, 422, 503),
            summary="See what is known of a user, decayed to now or then, and the offsets it reflects.",
        ),
        Operation(
            method="PUT",
            path=path,
            name="putUser",
            scope="write",
            handler=put,
            bodies=(Profile,),
            answers={202: ProfileWritten},
            problems=(400, 408, 413, 415, 422, 503),
            summary="Set a user's attributes.",
        ),
        Operation(
            method="DELETE",
            path=path,
            name="eraseUser",
            scope="admin",
            handler=delete,
            answers={202: ProfileWritten},
            problems=(422, 503),
            summary="Erase a user: their profile and everything in their row.",
        ),
    ]
