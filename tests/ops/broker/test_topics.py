"""On the embedded broker; `tests/kafka/test_kafka.py` holds the same against Apache Kafka."""

import contextlib
import uuid
from dataclasses import replace

import pytest
from kafka.admin import ConfigResource

from ops.broker import embedded
from ops.broker.topics import admin, check, create, ensure
from ops.processes import free_port
from streams.errors import TopologyError, Unavailable
from streams.settings import Settings
from streams.topology import partitions_of, topics


@pytest.fixture(scope="module")
def bootstrap():
    with embedded.running() as bootstrap:
        yield bootstrap


@pytest.fixture
def settings(bootstrap):
    """Each test has topics of its own."""
    return Settings(kafka=bootstrap, partitions=3, namespace=f"test-{uuid.uuid4().hex[:8]}")


def put(settings, name, configs):
    with admin(settings) as client:
        client.alter_configs([ConfigResource("topic", settings.topic(name), configs)], raise_on_unknown=False)


def test_create_makes_all_and_then_nothing(settings):
    assert create(settings) == [topic.name for topic in topics(settings)]
    assert create(settings) == []
    assert check(settings) == []


def test_ensure_makes_what_is_missing(settings):
    create(settings)
    lost = settings.changelog("users")
    with admin(settings) as client:
        client.delete_topics([lost])
    with pytest.raises(TopologyError, match=rf"'{lost}' is missing: run `refold topics create`"):
        check(settings)
    assert ensure(settings) == [lost]
    assert ensure(settings) == []


def test_another_partition_count_is_named(settings):
    create(settings)
    other = Settings(kafka=settings.kafka, partitions=4, namespace=settings.namespace)
    with pytest.raises(TopologyError) as caught:
        check(other)
    lines = str(caught.value).splitlines()
    assert len(lines) == sum(not topic.shards for topic in topics(settings))
    assert f"'{settings.topic('events')}' has 3 partitions, expected 4" in lines[0]
    assert "REFOLD_PARTITIONS=3" in lines[0]
    assert "REFOLD_NAMESPACE" in lines[0]


def test_another_count_of_shards_is_named(settings):
    create(settings)
    with pytest.raises(TopologyError) as caught:
        check(replace(settings, shards=2))
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert f"'{settings.topic('examples')}' has 1 partitions, expected 2: set REFOLD_SHARDS=1" in lines[0]
    assert settings.changelog("learned") in lines[1]


@pytest.mark.parametrize(
    ("topic", "key", "value", "expected"),
    [("events", "retention.ms", "604800000", "-1"), ("items", "cleanup.policy", "delete", "compact")],
)
def test_another_configuration_is_named_and_mended(settings, topic, key, value, expected):
    create(settings)
    put(settings, topic, {key: value})
    with pytest.raises(TopologyError) as caught:
        check(settings)
    assert f"'{settings.topic(topic)}' has {key}={value}, expected {expected}" in str(caught.value)
    assert "run `refold topics create --alter`" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert create(settings) == []
    with pytest.raises(TopologyError):
        check(settings)
    create(settings, alter=True)
    assert check(settings) == []


def test_tuning_is_the_operators(settings):
    create(settings)
    put(settings, "items", {"segment.ms": "600000"})
    assert check(settings) == []


def test_what_the_broker_does_not_report_is_said(settings):
    with admin(settings) as client:
        bare = {
            topic.name: {"num_partitions": partitions_of(settings, topic), "replication_factor": 1}
            for topic in topics(settings)
        }
        client.create_topics(bare)
    untold = check(settings)
    name = settings.topic("events")
    assert f"topic '{name}': the broker does not report retention.ms, expected -1" in untold


def test_no_broker_is_said_at_once():
    nowhere = f"127.0.0.1:{free_port()}"
    for act in (create, check, ensure):
        with pytest.raises(Unavailable, match=f"no Kafka listens at '{nowhere}'"):
            act(Settings(kafka=nowhere))


def test_a_closed_client_is_left_after_an_error(settings):
    with contextlib.suppress(RuntimeError), admin(settings) as client:
        raise RuntimeError
    assert client._closed
