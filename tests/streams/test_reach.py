"""A broker that is not there is said at once, by everything that reads a topic."""

import socket

import pytest

from streams import control
from streams.errors import Unavailable
from streams.reach import listens
from streams.settings import Settings


@pytest.fixture
def nowhere():
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def test_somebody_listens_or_nobody_does(nowhere):
    assert not listens(nowhere)
    assert not listens("no address")
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert listens(f"127.0.0.1:{server.getsockname()[1]}")


def test_what_was_decided_is_asked_of_a_broker_that_listens(nowhere):
    with pytest.raises(
        Unavailable, match=f"no Kafka listens at '{nowhere}': start one, or correct REFOLD_KAFKA"
    ):
        control.read(Settings(kafka=nowhere))
