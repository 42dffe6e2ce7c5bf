"""The two Faust apps declare what the topology says, and are set so that nothing is lost."""

import asyncio

import pytest
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from agents.app import create_app, take_over
from agents.batch import OFFSET
from agents.fake import Rows
from agents.store import Store
from agents.table import Table
from models.actions import DEFAULTS
from models.popular import Popular
from models.users import User
from streams.changelog import NOTE, Note, encode
from streams.settings import Settings
from streams.topology import TABLES

STAGES = {"users": {"users", "shown"}, "items": {"items", "popular", "outcomes"}, "learner": {"learned"}}


@pytest.fixture(params=STAGES)
def stage(request):
    return request.param


@pytest.fixture
def settings(tmp_path):
    return Settings(namespace="blue", partitions=3, shards=2, replication=2, worker="worker-7", data=tmp_path)


@pytest.fixture
def app(settings, stage):
    app = create_app(settings, stage, DEFAULTS)
    app.finalize()
    return app


def test_it_reads_the_sources_of_its_tables_as_raw_bytes(app, settings, stage):
    sources = {source for table in TABLES if table.name in STAGES[stage] for source in table.sources}
    assert {topic for agent in app.agents.values() for topic in agent.channel.topics} == {
        settings.topic(source) for source in sources
    }
    for agent in app.agents.values():
        assert agent.concurrency == 1
        assert agent.channel.schema.key_serializer == "raw"
        assert agent.channel.schema.value_serializer == "raw"


def test_it_has_the_tables_of_its_stage_with_their_changelogs(app, settings, stage):
    assert set(app.tables) == STAGES[stage]
    for name, table in app.tables.items():
        assert list(table.changelog_topic.topics) == [settings.changelog(name)]
        assert (table.key_type, table.value_type, table.partitions) == (
            *(bytes, bytes),
            2 if stage == "learner" else 3,
        )


def test_a_changelog_is_read_as_the_bytes_it_holds(app, settings):
    """Recovery decodes every record, and only logs what it cannot decode: it would never end."""
    row = User(totals={"click": 3}).row()
    for name, table in app.tables.items():
        tp = TP(settings.changelog(name), 0)
        message = ConsumerMessage(tp.topic, 0, 5, 0.0, 0, [], b"\xff", row, None, tp=tp)
        event = asyncio.run(table.changelog_topic.decode(message))
        assert (event.key, event.value) == (b"\xff", row)


def test_the_stages_together_are_the_topology(settings):
    apps = [create_app(settings, stage, DEFAULTS) for stage in STAGES]
    assert {name for app in apps for name in app.tables} == {table.name for table in TABLES}


def test_it_is_set_to_lose_nothing(app, settings, stage):
    assert app.conf.id == settings.group(stage)
    assert app.conf.processing_guarantee.value == "at_least_once"
    assert app.conf.consumer_auto_offset_reset == "earliest"
    assert app.conf.topic_allow_declare is False
    assert app.conf.topic_disable_leader is True
    assert app.conf.stream_wait_empty is False
    assert app.conf.table_standby_replicas == 1
    assert app.conf.consumer_group_instance_id == f"{settings.group(stage)}-worker-7"
    assert str(app.conf.datadir) == str(settings.data / "worker-7" / settings.group(stage))
    assert app.conf.web_enabled is False


def test_every_bootstrap_server_is_used(stage, tmp_path):
    app = create_app(Settings(kafka="a:1,b:2", data=tmp_path), stage, DEFAULTS)
    assert [str(url) for url in app.conf.broker] == ["refold://a:1", "refold://b:2"]


def test_a_password_reaches_faust(stage, tmp_path):
    settings = Settings(kafka_security="SASL_SSL", kafka_user="u", kafka_password="p", data=tmp_path)
    credentials = create_app(settings, stage, DEFAULTS).conf.broker_credentials
    assert (credentials.username, credentials.password) == ("u", "p")
    assert credentials.ssl_context is not None


def test_what_must_be_said_again_is_said_without_a_record_to_fold(settings):
    rows = Rows()
    rows.put_rows(1, {b"all": Popular().row(), NOTE: encode(Note(3, {}, (b"all",)))}, 7)
    table = Table("popular", rows, Popular, Popular.from_row)
    take_over(settings, [table], [TP(settings.changelog("popular"), number) for number in (0, 1)])
    assert [partition.number for partition in table.dirty()] == [1]


def test_restored_partitions_are_looked_at(app, settings, stage):
    async def restored():
        for name in STAGES[stage]:
            app.tables[name].data.put_rows(1, {NOTE: encode(Note(3, {}, (NOTE,)))}, 7)
            app.tables.recovery.active_tps.add(TP(settings.changelog(name), 1))
        await app.on_rebalance_complete.send()

    opened = []
    for table in app.tables.values():
        get_row = table.data.get_row
        table.data.get_row = lambda number, key, found=get_row: opened.append(number) or found(number, key)
    asyncio.run(restored())
    assert opened == [1] * len(STAGES[stage])


def test_rows_and_faust_mean_the_same_key_by_the_offset():
    assert Store.offset_key == OFFSET
