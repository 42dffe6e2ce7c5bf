"""A real Apache Kafka starts, keeps its log and stops; its topics are what the topology declares."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource

from ops.broker import kafka as broker
from ops.broker.topics import admin, answers, check, create, ensure
from ops.processes import free_port, is_free
from streams.errors import TopologyError, Unavailable
from streams.settings import Settings
from streams.topology import partitions_of, topics

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka):
    """Topics of the test's own, taken away at its end: the broker may be a shared one."""
    settings = Settings(kafka=kafka, partitions=3, namespace=f"test-{uuid.uuid4().hex[:8]}")
    yield settings
    with admin(settings) as client:
        ours = {topic.name for topic in topics(settings)}.intersection(client.list_topics())
        if ours:
            client.delete_topics(sorted(ours))


def put(settings, name, key, value):
    topic = settings.topic(name)
    with admin(settings) as client:
        client.alter_configs([ConfigResource("topic", topic, {key: value})])
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:  # the controller tells the broker a moment later
            if (
                client.describe_configs([ConfigResource("topic", topic)])["topic"][topic][key]["value"]
                == value
            ):
                return
    raise TimeoutError(topic)


def test_topics_are_created_as_declared(settings):
    assert create(settings) == [topic.name for topic in topics(settings)]
    assert create(settings) == []
    assert check(settings) == []
    with admin(settings) as client:
        name = settings.topic("items")
        entries = client.describe_configs([ConfigResource("topic", name)])["topic"][name]
    compacted = next(topic for topic in topics(settings) if topic.name == name)
    assert compacted.config().items() <= {key: entry["value"] for key, entry in entries.items()}.items()


def test_processes_that_start_together_agree(settings):
    outcomes = []

    def start():
        try:
            outcomes.append(ensure(settings))
        except Exception as error:  # noqa: BLE001 - asserted on below
            outcomes.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome for outcome in outcomes if not isinstance(outcome, list)] == []


def test_the_brokers_defaults_are_a_mismatch(settings):
    with admin(settings) as client:
        client.create_topics(
            {topic.name: {"num_partitions": partitions_of(settings, topic)} for topic in topics(settings)},
            wait_for_metadata=True,
        )
    with pytest.raises(TopologyError) as caught:
        check(settings)
    assert f"topic '{settings.topic('events')}' has retention.ms=604800000, expected -1" in str(caught.value)
    assert f"topic '{settings.topic('items')}' has cleanup.policy=delete, expected compact" in str(
        caught.value
    )
    create(settings, alter=True)
    assert check(settings) == []


def test_a_changed_configuration_and_partition_count_are_named(settings):
    create(settings)
    put(settings, "events", "retention.ms", "1000")
    with pytest.raises(
        TopologyError, match=r"retention\.ms=1000, expected -1: run `refold topics create --alter`"
    ):
        check(settings)
    other = Settings(kafka=settings.kafka, partitions=5, namespace=settings.namespace)
    with pytest.raises(TopologyError, match="has 3 partitions, expected 5: set REFOLD_PARTITIONS=3"):
        check(other)


def test_a_replication_beyond_the_brokers_is_refused(settings):
    with pytest.raises(TopologyError, match="REFOLD_REPLICATION=16"):
        create(Settings(kafka=settings.kafka, replication=16, namespace=settings.namespace))


def test_the_log_outlives_a_stop(tmp_path):
    partition = TopicPartition("events", 0)
    with broker.running(tmp_path) as bootstrap:
        create(Settings(kafka=bootstrap, partitions=1))
        producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
        producer.send("events", b"batch").get(20)
        producer.close()
    assert not answers(bootstrap)
    with broker.running(tmp_path) as bootstrap:  # on another port
        consumer = KafkaConsumer(bootstrap_servers=bootstrap)
        assert consumer.end_offsets([partition]) == {partition: 1}
        consumer.close()


def test_up_status_down(tmp_path):
    port = free_port()
    assert broker.status(tmp_path) is None
    up = broker.up(tmp_path, port)
    try:
        assert up == broker.status(tmp_path) == broker.up(tmp_path, port)
        assert up.bootstrap == f"127.0.0.1:{port}"
        assert answers(up.bootstrap)
        with pytest.raises(Unavailable, match="refold kafka down"):
            broker.up(tmp_path, port + 1)
    finally:
        assert broker.down(tmp_path)
    assert broker.status(tmp_path) is None
    assert not broker.down(tmp_path)
    assert is_free(port)


def test_a_killed_broker_is_not_taken_for_a_running_one(tmp_path):
    up = broker.up(tmp_path, free_port())
    os.kill(up.pid, signal.SIGKILL)
    os.waitpid(up.pid, 0)
    assert broker.status(tmp_path) is None


def test_a_broker_that_cannot_start_shows_why(tmp_path):
    with broker.running(tmp_path):
        pass
    meta = tmp_path / "data" / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=7"))
    with pytest.raises(Unavailable, match=r"(?s)kafka ended with code 1.*node.id"), broker.running(tmp_path):
        pass
    with pytest.raises(Unavailable, match=r"(?s)kafka ended with code 1.*node.id"):
        broker.up(tmp_path, free_port())
    assert broker.status(tmp_path) is None


def executable(path, script):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_missing_java_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(Unavailable, match="install a Java runtime of 17 or later"):
        broker.up(tmp_path, free_port())


def test_an_old_java_is_said(tmp_path, monkeypatch):
    executable(tmp_path / "bin/java", """echo 'openjdk version "11.0.2" 2019-01-15' >&2""")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(Unavailable, match="is Java 11: install"):
        broker.up(tmp_path, free_port())


def test_a_missing_maven_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="install Maven"):
        broker.jars()


def test_a_failed_fetch_is_shown_and_leaves_nothing(tmp_path, monkeypatch):
    executable(tmp_path / "bin/mvn", "echo Checksum validation failed; exit 1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with pytest.raises(Unavailable, match=r"(?s)cannot fetch Kafka .*Checksum validation failed"):
        broker.jars()
    assert list((tmp_path / "cache/refold").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ties children to their parent on Linux alone")
def test_no_broker_outlives_a_killed_session(tmp_path):
    port = free_port()
    session = f"""
import pathlib, time
from ops.broker import kafka
with kafka.running(pathlib.Path({str(tmp_path)!r}), {port}) as bootstrap:
    print(bootstrap, flush=True)
    time.sleep(600)
"""
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", session],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    ) as process:
        assert process.stdout.readline() == f"127.0.0.1:{port}\n"
        process.kill()
    deadline = time.monotonic() + 10
    while not is_free(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert is_free(port)
