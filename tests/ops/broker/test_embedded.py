import socket

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from ops.broker import embedded
from ops.broker.topics import answers, create
from ops.processes import free_port, is_free
from streams.errors import Unavailable
from streams.settings import Settings


def test_what_is_written_is_read_and_gone_after_a_stop(tmp_path, caplog):
    port = free_port()
    settings = Settings(kafka=f"127.0.0.1:{port}", partitions=1)
    with embedded.running(tmp_path, port) as bootstrap:
        assert bootstrap == settings.kafka
        assert "keeps nothing when it stops" in caplog.text
        create(settings)
        producer = KafkaProducer(bootstrap_servers=bootstrap)
        producer.send("events", b"batch", key=b"u1").get(10)
        producer.close()
        consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
        consumer.assign([TopicPartition("events", 0)])
        assert [record.value for record in consumer.poll(10_000)[TopicPartition("events", 0)]] == [b"batch"]
        consumer.close()
    assert is_free(port)
    with embedded.running(tmp_path, port):
        assert "events" in create(settings)  # missing again


def test_a_free_port_is_found_and_the_broker_stops_after_an_error():
    bootstrap = ""

    def fail():
        nonlocal bootstrap
        with embedded.running() as bootstrap:
            assert answers(bootstrap)
            raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        fail()
    assert not answers(bootstrap)


def test_a_taken_port_is_named():
    with socket.create_server(("127.0.0.1", free_port())) as server:
        port = server.getsockname()[1]
        with pytest.raises(Unavailable, match=f"port {port} .* is taken"), embedded.running(port=port):
            pass


def test_a_broken_binary_shows_what_it_said(monkeypatch, tmp_path):
    fake = tmp_path / "tansu"
    fake.write_text("#!/bin/sh\necho not on this processor\nexit 2\n")
    fake.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(fake))
    with pytest.raises(Unavailable, match=r"(?s)embedded ended with code 2.*not on this processor"):
        embedded.running(tmp_path).__enter__()


def test_a_missing_binary_tells_the_way_out(monkeypatch):
    monkeypatch.setenv("CALF_TANSU_BIN", "/nowhere/tansu")
    with pytest.raises(Unavailable, match="refold kafka up"), embedded.running():
        pass
