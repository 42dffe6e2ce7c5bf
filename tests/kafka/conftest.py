import os

import pytest

from ops import kafka as broker


@pytest.fixture(scope="session")
def kafka(tmp_path_factory):
    """The bootstrap address of a real Apache Kafka: the one REFOLD_KAFKA names, else one of our own."""
    if given := os.environ.get("REFOLD_KAFKA"):
        yield given
        return
    with broker.running(tmp_path_factory.mktemp("kafka")) as bootstrap:
        yield bootstrap
