"""The worker: one Faust app with three tables and four agents. Nothing happens at import; `create_app` makes it all."""

import asyncio
from collections.abc import Mapping
from typing import Any

import faust
from faust.streams import _CStreamIterator
from yarl import URL

from agents import store, transport
from agents.consume import DeadLetters, consume
from agents.crash import die
from agents.flush import Flusher, Outgoing
from agents.items import ItemAgent
from agents.publisher import Publisher
from agents.table import Table
from agents.users import UserAgent
from models.items import ItemRow
from models.popular import Popular
from models.users import User
from streams.settings import Settings
from streams.topology import TABLES

ITEM_PAUSE = 0.25  # seconds; item rows repeat within a flush, so a longer pause writes fewer


def credentials(settings: Settings) -> Any:
    """Return Faust's credentials, or None for a broker without any."""
    context = settings.ssl_context()
    if settings.kafka_security.startswith("SASL"):
        return faust.SASLCredentials(
            mechanism=settings.kafka_mechanism,
            username=settings.kafka_user,
            password=settings.kafka_password,
            ssl_context=context,
        )
    return faust.SSLCredentials(context=context) if context else None


def create_app(settings: Settings, weights: Mapping[str, float]) -> faust.App:
    """Return the worker's Faust app; `weights` give the meaning of event types.

    Acks and commits: docs/adr/0003. Settings that differ from Faust's defaults are there because the default loses
    records or hangs.
    """
    assert _CStreamIterator is not None, (
        "Faust's compiled stream is missing: install its wheel, not its source"
    )
    hosts = [URL(f"{transport.SCHEME}://{host}") for host in settings.kafka.split(",")]
    app = faust.App(
        settings.app,
        broker=hosts,
        broker_credentials=credentials(settings),
        store=f"{store.SCHEME}://",
        datadir=settings.data / settings.worker,
        web_enabled=False,
        topic_partitions=settings.partitions,
        topic_replication_factor=settings.replication,
        topic_allow_declare=False,
        topic_disable_leader=True,
        processing_guarantee="at_least_once",  # exactly-once loses the store's offsets; marks do its work
        stream_wait_empty=False,
        stream_buffer_maxsize=1024,
        broker_session_timeout=10,
        broker_heartbeat_interval=3,
        broker_rebalance_timeout=30,
        broker_request_timeout=30,
        broker_commit_interval=1,
        broker_max_poll_records=500,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 << 20,
        consumer_group_instance_id=f"{settings.app}-{settings.worker}",
        table_standby_replicas=0,
    )
    _attach(app, settings, weights)
    return app


def _attach(app: faust.App, settings: Settings, weights: Mapping[str, float]) -> None:
    stores = {table.name: _table(app, table.name) for table in TABLES}
    users = Table("users", _Lazy(stores["users"]), User, User.from_row)
    items = Table("items", _Lazy(stores["items"]), ItemRow, ItemRow.from_row)
    popular = Table("popular", _Lazy(stores["popular"]), Popular, Popular.from_row)
    user_agent = UserAgent(settings, users, weights)
    item_agent = ItemAgent(settings, items, popular)
    publisher = Publisher(settings)
    dead_users, dead_items = DeadLetters(settings), DeadLetters(settings)

    def users_say() -> Outgoing:
        yield from dead_users.take()
        yield from user_agent.take()

    user_flush = Flusher(settings, publisher, [users], users_say, settings.flush_ms / 1000)
    item_flush = Flusher(settings, publisher, [items, popular], dead_items.take, ITEM_PAUSE)

    for name, fold, flusher, dead in (
        ("events", user_agent.fold_events, user_flush, dead_users),
        ("profiles", user_agent.fold_profiles, user_flush, dead_users),
        ("items", item_agent.fold_catalogue, item_flush, dead_items),
        ("touches", item_agent.fold_touches, item_flush, dead_items),
    ):
        _agent(app, settings.topic(name), name, fold, flusher, dead)

    @app.task  # type: ignore[untyped-decorator]
    async def flush() -> None:
        await publisher.start()
        await asyncio.gather(user_flush.run(), item_flush.run())

    async def settle(*_: Any, **__: Any) -> None:
        try:
            await asyncio.gather(user_flush.flush(), item_flush.flush())
        except Exception as error:  # noqa: BLE001 - what is not safe must not be committed
            die(f"the flush before giving up partitions failed: {error!r}")
        for table in (users, items, popular):
            table.forget()

    async def stop(*_: Any, **__: Any) -> None:
        await settle()

    app.on_partitions_revoked.connect(settle, weak=False)
    app.on_before_shutdown.connect(stop, weak=False)


class _Lazy:
    """A Faust table's store, which exists only once the app runs."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def get_row(self, partition: int, key: bytes) -> bytes | None:
        row: bytes | None = self._table.data.get_row(partition, key)
        return row

    def put_rows(self, partition: int, rows: Mapping[bytes, bytes | None], offset: int) -> None:
        self._table.data.put_rows(partition, rows, offset)


def _table(app: faust.App, name: str) -> Any:
    return app.Table(
        name,
        key_type=bytes,
        value_type=bytes,
        partitions=app.conf.topic_partitions,
        options=dict(store.OPTIONS),
        help=next(table.row for table in TABLES if table.name == name),
    )


def _agent(app: faust.App, topic: str, name: str, fold: Any, flusher: Flusher, dead: DeadLetters) -> None:
    source = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    @app.agent(source, name=name, concurrency=1)  # type: ignore[untyped-decorator]
    async def agent(stream: Any) -> None:
        await consume(stream, fold, flusher, dead)
