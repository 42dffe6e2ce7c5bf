"""POST /v1/events: what people did, on its way into the log."""

from typing import Any

import msgspec
from uuid_utils import uuid7

from api.calls import Call
from api.columns import Columns
from api.operations import Operation
from api.problems import Problem
from api.producer import InDoubt
from api.replies import Reply, as_json
from api.routes.batches import RefusedOne, sort_out
from api.services import Services
from models.users import ERASE
from streams.checks import Id, Millis
from streams.errors import Refused
from streams.events import Event, check
from streams.exposures import EXPOSURE

# said by workers alone (DELETE /v1/users/{user_id} is the way to it), and by the API of what it shows
RESERVED = frozenset((ERASE, EXPOSURE))
_FIELDS = Event.__struct_fields__


class EventIn(Event, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """An event as a client sends it: absent, `event_id` is made, `at` is now, `categories` are the item's."""

    event_id: Id = ""
    at: Millis = 0


class EventsAccepted(msgspec.Struct):
    """What Kafka acknowledged: ids in the order of the accepted events, the last offset by partition.

    An answer whose `state.user_offset` is at least the offset reflects the events.
    """

    accepted: int
    event_ids: list[str]
    refused: list[RefusedOne]
    offsets: dict[int, int]


def complete(event: EventIn, now: int, columns: Columns) -> Event:
    """Return the event as it stands in the log, with all that its fold will need; raises Refused."""
    if event.type in RESERVED:
        raise Refused(f"type {event.type!r} is reserved")
    if event.exposures:
        raise Refused("exposures are reserved: the API writes them itself, beside what it shows")
    values: dict[str, Any] = {name: getattr(event, name) for name in _FIELDS}
    values["event_id"] = event.event_id or str(uuid7())
    values["at"] = event.at or now
    if not event.categories and event.item_id is not None:
        slot = columns.slot_of.get(event.item_id)
        if slot is not None:
            codes = columns.categories[slot].tolist()
            values["categories"] = tuple([columns.category_names[code] for code in codes if code >= 0])
    return check(Event(**values), now)


def operations(services: Services) -> list[Operation]:
    """Return the operation."""

    async def post(call: Call) -> Reply:
        now, columns = services.now(), services.tables.columns
        with services.ingesting.enter(call.scope):
            good, refused = await sort_out(
                call,
                EventIn,
                lambda event: complete(event, now, columns),
                "event",
                services.metrics,
                single=True,
            )
            ids = [event.event_id for event in good]
            try:
                offsets = await services.ingest.events(good)
            except InDoubt as error:
                detail = f"{error}; send again with these event_ids: what was written will not count twice"
                raise Problem(503, "in-doubt", detail, event_ids=ids, refused=refused) from None
        services.metrics.ingest("event", len(good))
        return as_json(EventsAccepted(len(good), ids, refused, offsets), 202)

    return [
        Operation(
            method="POST",
            path="/v1/events",
            name="postEvents",
            scope="write",
            summary="Say what people did: one event, or 1..500; answered once Kafka has acknowledged them.",
            handler=post,
            bodies=(EventIn, list[EventIn]),
            answers={202: EventsAccepted},
            problems=(400, 408, 413, 415, 422, 503),
        )
    ]
