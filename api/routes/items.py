"""/v1/items: the catalogue, and what is known of an item."""

from typing import Any

import msgspec

from api.calls import SINGLE, Call
from api.operations import Operation
from api.problems import Problem
from api.replies import Reply, as_json
from api.routes.batches import RefusedOne, sort_out
from api.routes.past import AsOfQuery, travelled
from api.services import Services
from api.travel import OfItem
from api.views import ItemView, item_view
from streams.checks import Id, check_ids
from streams.items import Item, check

_FIELDS = Item.__struct_fields__


class ItemIn(Item, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """An item with its id, as bulk writing takes it."""

    item_id: Id


class ItemWritten(msgspec.Struct):
    """Where the record of an item stands in the log."""

    item_id: str
    partition: int
    offset: int


class ItemsAccepted(msgspec.Struct):
    """What Kafka acknowledged: how many items, the last offset by partition."""

    accepted: int
    refused: list[RefusedOne]
    offsets: dict[int, int]


def _split(item: ItemIn) -> tuple[str, Item]:
    check_ids(item.item_id)
    values: dict[str, Any] = {name: getattr(item, name) for name in _FIELDS}
    return item.item_id, check(Item(**values))


def operations(services: Services) -> list[Operation]:
    """Return the operations."""

    async def write(item_id: str, item: Item | None) -> Reply:
        place = (await services.ingest.items([(item_id, item)]))[0]
        services.metrics.ingest("item", 1)
        return as_json(ItemWritten(item_id, *place), 202)

    async def put(call: Call) -> Reply:
        item_id = call.id("item_id")
        with services.ingesting.enter(call.scope):
            return await write(item_id, check(await call.read(Item, SINGLE)))

    async def delete(call: Call) -> Reply:
        with services.ingesting.enter(call.scope):
            return await write(call.id("item_id"), None)

    async def post(call: Call) -> Reply:
        with services.ingesting.enter(call.scope):
            good, refused = await sort_out(call, ItemIn, _split, "item", services.metrics, single=False)
            places = await services.ingest.items(good)
        services.metrics.ingest("item", len(good))
        return as_json(ItemsAccepted(len(good), refused, dict(places)), 202)

    async def get(call: Call) -> Reply:
        item_id = call.id("item_id")
        if as_of := call.query(AsOfQuery).as_of:
            return await travelled(call, services, as_of, lambda _: OfItem(item_id))
        row = services.tables.item(item_id)
        if row is None:
            raise Problem(404, "not-found", f"item {item_id!r} is not known to this replica")
        return as_json(item_view(item_id, row, services.now(), services.tables.lore))

    one, bad = "/v1/items/{item_id}", (400, 408, 413, 415, 422, 503)
    return [
        Operation(
            method="GET",
            path=one,
            name="getItem",
            scope="read",
            handler=get,
            query=AsOfQuery,
            answers={200: ItemView},
            problems=(404, 422, 503),
            summary="See what is known of an item, now or then, and the offsets it reflects.",
        ),
        Operation(
            method="PUT",
            path=one,
            name="putItem",
            scope="write",
            handler=put,
            bodies=(Item,),
            answers={202: ItemWritten},
            problems=bad,
            summary="List an item, or replace what the catalogue says of it.",
        ),
        Operation(
            method="DELETE",
            path=one,
            name="deleteItem",
            scope="write",
            handler=delete,
            answers={202: ItemWritten},
            problems=(422, 503),
            summary="Delist an item; what people did with it stays.",
        ),
        Operation(
            method="POST",
            path="/v1/items",
            name="postItems",
            scope="write",
            handler=post,
            bodies=(list[ItemIn],),
            answers={202: ItemsAccepted},
            problems=bad,
            summary="List 1..500 items; refused ones are named, the others stand.",
        ),
    ]
