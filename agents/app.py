"""The worker's Faust apps, one a stage, because a Python process folds on one core.

`users` folds `events`, `profiles` and `slates` and says `touches` and `examples`; `items` folds `items` and `touches`;
`learner` folds `examples`. They meet only in Kafka and are scaled apart. Nothing happens at import; `create_app`
makes everything.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import faust
from faust.streams import _CStreamIterator
from yarl import URL

from agents import recovery, store, transport
from agents.consume import DeadLetters, consume
from agents.crash import die, why
from agents.flush import Flusher, Outgoing
from agents.items import ItemAgent
from agents.join import JoinAgent
from agents.learner import LearnerAgent
from agents.publisher import Publisher
from agents.table import Kept, Row, Table
from agents.users import UserAgent
from agents.watchdog import guard
from models.items import ItemRow
from models.join import Shown
from models.outcomes import Outcomes
from models.popular import Popular
from models.users import User
from streams.settings import Settings
from streams.topology import TABLES, Stage, partitions_of

SHOWN = 250  # rows of a partition in memory, about 20 KB each
ITEM_PAUSE = 0.25  # seconds; item rows repeat within a flush, so a longer pause writes fewer
LEARNER_PAUSE = 1.0  # and the learner's far more, and are larger


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


def create_app(settings: Settings, stage: Stage, weights: Mapping[str, float]) -> faust.App:
    """Return a stage's Faust app; `weights` give the meaning of event types.

    Settings that differ from Faust's defaults are there because the default loses records or hangs
    (docs/adr/0003).
    """
    assert _CStreamIterator is not None, (
        "Faust's compiled stream is missing: install its wheel, not its source"
    )
    app = faust.App(
        settings.group(stage),
        broker=[URL(f"{transport.SCHEME}://{host}") for host in settings.kafka.split(",")],
        broker_credentials=credentials(settings),
        store=f"{store.SCHEME}://",
        datadir=settings.data / settings.worker / settings.group(stage),
        web_enabled=False,
        topic_partitions=partitions_of(settings, stage),
        topic_replication_factor=settings.replication,
        topic_allow_declare=False,
        topic_disable_leader=True,
        processing_guarantee="at_least_once",  # exactly-once loses the store's offsets; marks do its work
        stream_wait_empty=False,
        stream_buffer_maxsize=4096,
        broker_session_timeout=10,
        broker_heartbeat_interval=1,  # a rebalance is heard of in the answer to one
        broker_rebalance_timeout=30,
        broker_request_timeout=30,
        broker_commit_interval=1,
        broker_max_poll_records=2_000,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 << 20,
        consumer_group_instance_id=f"{settings.group(stage)}-{settings.worker}",
        table_standby_replicas=1,  # rows beside a second worker's own, ready when the first one dies
        TableManager=recovery.tables(settings),
    )
    publisher = Publisher(settings)
    dead = DeadLetters(settings)
    attach = {"users": _users, "items": _items, "learner": _learner}[stage]
    tables, flusher = attach(app, settings, weights, publisher, dead)
    _keep_safe(app, settings, tables, publisher, flusher)
    sources = {
        source for one in TABLES for table in tables if one.name == table.name for source in one.sources
    }

    @app.task  # type: ignore[untyped-decorator]
    async def watchdog() -> None:
        await guard(app, settings, sources, flusher)

    return app


def _users(
    app: faust.App, settings: Settings, weights: Mapping[str, float], publisher: Publisher, dead: DeadLetters
) -> tuple[list[Table[Any]], Flusher]:
    users = Table("users", _Lazy(_table(app, settings, "users")), User, User.from_row)
    shown = Table("shown", _Lazy(_table(app, settings, "shown")), Shown, Shown.from_row, SHOWN)
    agent = UserAgent(settings, users, weights, JoinAgent(settings, shown, weights))

    def say() -> Outgoing:
        yield from dead.take()
        yield from agent.take()

    flusher = Flusher(settings, publisher, [users, shown], say, settings.flush_ms / 1000)
    _agent(app, settings, "events", agent.fold_events, flusher, dead)
    _agent(app, settings, "profiles", agent.fold_profiles, flusher, dead)
    _agent(app, settings, "slates", agent.fold_slates, flusher, dead)
    return [users, shown], flusher


def _items(
    app: faust.App, settings: Settings, _: Mapping[str, float], publisher: Publisher, dead: DeadLetters
) -> tuple[list[Table[Any]], Flusher]:
    items = Table("items", _Lazy(_table(app, settings, "items")), ItemRow, ItemRow.from_row)
    popular = Table("popular", _Lazy(_table(app, settings, "popular")), Popular, Popular.from_row)
    outcomes = Table("outcomes", _Lazy(_table(app, settings, "outcomes")), Outcomes, Outcomes.from_row)
    agent = ItemAgent(settings, items, popular, outcomes)
    flusher = Flusher(settings, publisher, [items, popular, outcomes], dead.take, ITEM_PAUSE)
    _agent(app, settings, "items", agent.fold_catalogue, flusher, dead)
    _agent(app, settings, "touches", agent.fold_touches, flusher, dead)
    return [items, popular, outcomes], flusher


def _learner(
    app: faust.App, settings: Settings, _: Mapping[str, float], publisher: Publisher, dead: DeadLetters
) -> tuple[list[Table[Any]], Flusher]:
    learned: Table[Row] = Table("learned", _Lazy(_table(app, settings, "learned")), Kept, Kept)
    agent = LearnerAgent(settings, learned)
    flusher = Flusher(settings, publisher, [learned], dead.take, LEARNER_PAUSE)
    _agent(app, settings, "examples", agent.fold_examples, flusher, dead)

    async def load(*_: Any, **__: Any) -> None:
        for (
            place
        ) in app.tables.recovery.active_tps:  # in a thread: a million rows take longer than a session lasts
            await asyncio.to_thread(agent.load, learned.partition(place.partition))

    app.on_rebalance_complete.connect(load, weak=False)
    return [learned], flusher


def _keep_safe(
    app: faust.App, settings: Settings, tables: list[Table[Any]], publisher: Publisher, flusher: Flusher
) -> None:
    @app.task  # type: ignore[untyped-decorator]
    async def flush() -> None:
        app.sensors.remove(app.monitor)  # statistics nobody reads here, at a twentieth of a record's cost
        await publisher.start()
        await flusher.run()

    async def settle(*_: Any, **__: Any) -> None:
        try:
            await flusher.flush()
        except Exception as error:  # noqa: BLE001 - what is not safe must not be committed
            die(f"the flush before giving up partitions failed: {why(error)}")
        for table in tables:
            table.forget()

    async def stop(*_: Any, **__: Any) -> None:
        await settle()
        await publisher.stop()

    async def adopt(*_: Any, **__: Any) -> None:
        take_over(settings, tables, app.tables.recovery.active_tps)

    app.on_partitions_revoked.connect(settle, weak=False)
    app.on_rebalance_complete.connect(adopt, weak=False)
    app.on_before_shutdown.connect(stop, weak=False)


def take_over(settings: Settings, tables: Iterable[Table[Any]], changelogs: Iterable[Any]) -> None:
    """Look at restored partitions, named by their changelogs.

    What must be said again is then said at once: records may be hours away, and compaction does not wait.
    """
    named = {settings.changelog(table.name): table for table in tables}
    for place in changelogs:
        named[place.topic].partition(place.partition)


class _Lazy:
    """A Faust table's store, which exists only once the app runs."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def get_row(self, partition: int, key: bytes) -> bytes | None:
        row: bytes | None = self._table.data.get_row(partition, key)
        return row

    def put_rows(self, partition: int, rows: Mapping[bytes, bytes | None], offset: int) -> None:
        self._table.data.put_rows(partition, rows, offset)

    def offset(self, partition: int) -> int:
        found: int = self._table.data.offset(partition)
        return found

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        found: Iterator[tuple[bytes, bytes]] = self._table.data.scan(partition)
        return found


def _table(app: faust.App, settings: Settings, name: str) -> Any:
    # raw, or recovery would read rows as JSON, log each as an error, and never end
    changelog = app.topic(
        settings.changelog(name),
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        compacting=True,
    )
    return app.Table(
        name,
        key_type=bytes,
        value_type=bytes,
        partitions=partitions_of(settings, name),
        changelog_topic=changelog,
        options=dict(store.OPTIONS),
        help=next(table.row for table in TABLES if table.name == name),
    )


def _agent(
    app: faust.App,
    settings: Settings,
    topic: str,
    fold: Callable[[Any], None],
    flusher: Flusher,
    dead: DeadLetters,
) -> None:
    raw = transport.Raw(key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    source = app.topic(settings.topic(topic), schema=raw)

    @app.agent(source, name=topic, concurrency=1)  # type: ignore[untyped-decorator]
    async def agent(stream: Any) -> None:
        try:
            await consume(stream, fold, flusher, dead)
        except Exception as error:  # noqa: BLE001 - Faust would start the agent again without what it held
            die(f"reading {topic} failed: {why(error)}")
