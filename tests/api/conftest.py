import contextlib
import warnings
from functools import partial
from types import SimpleNamespace

import pytest

from api.app import create_app
from api.fake import Fake
from api.memory import MemoryProducer
from streams.events import Event
from streams.items import Item
from streams.settings import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the client asks for a successor of httpx that is not needed here
    from starlette.testclient import TestClient

NOW = 1_750_000_000_000


@pytest.fixture
def test_client():
    """Run an app as its only caller: `with test_client(app) as client`."""
    return partial(TestClient, base_url="http://127.0.0.1")


@pytest.fixture
def make_api(test_client):
    """Start an API over a folded log without a broker: `make_api(api_keys=..., events=[...])`."""
    with contextlib.ExitStack() as stack:

        def make(*, events=(), items=None, travel=None, **settings):
            catalogue = items
            if catalogue is None:
                catalogue = {
                    f"item-{n}": Item(title=f"Title {n}", categories=(f"kind-{n % 3}", f"shelf-{n % 7}"))
                    for n in range(40)
                }
            fake = Fake.of(events, catalogue, NOW, dimensions=16) if catalogue else Fake(16)
            producer, slates = MemoryProducer(), MemoryProducer()
            app = create_app(
                Settings(dimensions=16, partitions=4, **settings),
                state=fake.state,
                producer=producer,
                slate_producer=slates,
                travel=travel,
                now=lambda: NOW,
            )
            client = stack.enter_context(test_client(app))
            return SimpleNamespace(
                client=client, fake=fake, producer=producer, slates=slates, app=app, now=NOW
            )

        yield make


@pytest.fixture
def api(make_api):
    """An open API: forty items, and one user who chose three of them."""
    history = [
        Event(event_id=f"e{n}", type="click", at=NOW - 60_000 + n, user_id="anna", item_id=f"item-{n}",
              categories=(f"kind-{n % 3}",), surface="home", position=n)
        for n in range(3)
    ]  # fmt: skip
    return make_api(events=history)


@pytest.fixture
def value_of():
    """Read one figure of /metrics, 0 when it is not there yet."""

    def read(api, name):
        for line in api.client.get("/metrics").text.splitlines():
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        return 0.0

    return read
