import contextlib
import os
import uuid

import pytest

from ops.broker import kafka as broker
from ops.broker.topics import admin, create
from ops.processes import Processes
from streams.settings import Settings

PARTITIONS = 3


@pytest.fixture(scope="session")
def kafka(tmp_path_factory):
    """The bootstrap address of a real Apache Kafka: the one REFOLD_KAFKA names, else one for each process of tests."""
    if given := os.environ.get("REFOLD_KAFKA"):
        yield given
        return
    with broker.running(tmp_path_factory.mktemp("kafka")) as bootstrap:
        yield bootstrap


@pytest.fixture
def install(kafka):
    """Make the topics of one more installation and return its settings; all are gone after the test."""
    made = []

    def new(**more):
        values = {"partitions": PARTITIONS, "dimensions": 16, "namespace": f"test-{uuid.uuid4().hex[:8]}"}
        settings = Settings(kafka=kafka, **(values | more))
        create(settings)
        made.append(settings)
        return settings

    yield new
    for one in made:
        with contextlib.suppress(Exception), admin(one) as client:
            client.delete_topics([name for name in client.list_topics() if name.startswith(one.namespace)])


@pytest.fixture
def settings(install, tmp_path):
    return install(data=tmp_path)


@pytest.fixture
def processes(tmp_path):
    with Processes(tmp_path / "logs", grace=20) as processes:
        yield processes
