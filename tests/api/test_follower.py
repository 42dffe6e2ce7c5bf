"""The follower outlives whatever its client throws; see tests/kafka/test_replica.py for a real broker."""

import asyncio

import pytest

from api import follower as module
from api.consumer import close
from api.follower import Follower
from streams.settings import Settings


class Client:
    def __init__(self):
        self.closed = False

    async def close(self):
        self.closed = True


class Broken:
    """A consumer that throws at start, at stop, or at both."""

    made = 0

    def __init__(self, at_start=None, at_stop=None):
        self._client = Client()
        self._at_start, self._at_stop = at_start, at_stop
        Broken.made += 1

    async def start(self):
        if self._at_start:
            raise self._at_start

    async def stop(self):
        if self._at_stop:
            raise self._at_stop


@pytest.mark.parametrize("error", [asyncio.CancelledError(), RuntimeError("ours"), None])
def test_closing_never_throws_and_leaves_no_connection(error, caplog):
    used = Broken(at_stop=error)
    asyncio.run(close(used))
    assert used._client.closed == isinstance(error, asyncio.CancelledError)
    assert ("did not end well" in caplog.text) == isinstance(error, RuntimeError)


@pytest.mark.parametrize("at_start", [asyncio.CancelledError, OSError, KeyError])
@pytest.mark.parametrize("at_stop", [asyncio.CancelledError, None])
def test_it_goes_on_after_any_error_and_ends_when_told(monkeypatch, at_start, at_stop):
    monkeypatch.setattr(module, "RETRY_SECONDS", (0.01, 0.01))
    monkeypatch.setattr(module, "consumer", lambda _: Broken(at_start("x"), at_stop and at_stop()))

    async def main():
        Broken.made = 0
        follower = Follower(Settings(), ("users",), sink=None)
        running = asyncio.create_task(follower.run())
        await asyncio.sleep(0.2)
        assert not running.done()
        assert Broken.made > 2
        assert "x" in follower.trouble
        assert not follower.connected
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()

    asyncio.run(main())
